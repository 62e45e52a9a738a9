//! What the allocator keeps of memory that nobody needs any more.

use std::ffi::c_int;

/// Gives it back to the system; glibc does so by itself for its highest addresses alone.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // Whether there was any does not matter.
    let _ = malloc_trim(0);
}

#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "the declaration of a function of the C library, malloc_trim(3)")]
// SAFETY: it is glibc's own signature, and every value is allowed at any time.
unsafe extern "C" {
    safe fn malloc_trim(pad: usize) -> c_int;
}
