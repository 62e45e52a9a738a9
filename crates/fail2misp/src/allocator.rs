//! What the C library's allocator keeps for itself.
//!
//! glibc sets memory apart for every thread, eight parts for each processor, and keeps the more of
//! what is freed the larger it was. A daemon that once had much to do would stay large.

#[cfg(target_env = "gnu")]
use std::ffi::c_int;

/// Parts that all threads share.
#[cfg(target_env = "gnu")]
const MOST_ARENAS: c_int = 2;

/// Free bytes at the end of a part that are kept.
#[cfg(target_env = "gnu")]
const MOST_FREE: c_int = 256 << 10;

/// Has the allocator keep little of what the threads free that begin from now on.
pub(crate) fn keep_little() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [(M_ARENA_MAX, MOST_ARENAS), (M_TRIM_THRESHOLD, MOST_FREE)] {
        // Where it fails it keeps more.
        let _ = mallopt(parameter, value);
    }
}

#[cfg(target_env = "gnu")]
const M_ARENA_MAX: c_int = -8;
#[cfg(target_env = "gnu")]
const M_TRIM_THRESHOLD: c_int = -1;

#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "the declaration of a function of the C library, mallopt(3)")]
// SAFETY: it is glibc's own signature, and every value is allowed at any time.
unsafe extern "C" {
    safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
}
