//! The parts that the C library's allocator sets memory apart in.

#[cfg(target_env = "gnu")]
use std::ffi::c_int;

/// What threads of a daemon share; glibc's own number is eight for each processor, and each keeps
/// what was freed in it.
#[cfg(target_env = "gnu")]
const MOST: c_int = 2;

/// Has the threads that begin from now on share a few parts.
pub(crate) fn keep_few() {
    #[cfg(target_env = "gnu")]
    // Where it fails there are more of them.
    let _ = mallopt(M_ARENA_MAX, MOST);
}

#[cfg(target_env = "gnu")]
const M_ARENA_MAX: c_int = -8;

#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "the declaration of a function of the C library, mallopt(3)")]
// SAFETY: it is glibc's own signature, and every value is allowed at any time.
unsafe extern "C" {
    safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
}
