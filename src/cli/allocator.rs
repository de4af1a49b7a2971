//! The process's memory: jemalloc, and how soon it gives back to the machine what was freed.
//!
//! The limit of memory is of what the machine sees. What was freed goes back within a second by itself, so that the next
//! step finds most of what the last one used; when the limit is near, at once, on request.
//!
//! The options stand where jemalloc looks for them before `main`: in a symbol of its own name. That, and asking it to give
//! back, are the two things in the program that the compiler cannot check.

#![allow(unsafe_code, reason = "jemalloc reads its options from a symbol, and is asked through its C interface")]

use std::ffi::CStr;
use std::ptr;

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const OPTIONS: [u8; 60] = *b"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0\0";

/// What jemalloc links to as `const char *`: a pointer to text that ends with a zero byte.
// SAFETY: a reference to an array is a thin pointer that is valid for ever, and nothing else in the program has this name.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static JEMALLOC_OPTIONS: &[u8; OPTIONS.len()] = &OPTIONS;

/// All arenas: MALLCTL_ARENAS_ALL in jemalloc's manual.
const PURGE_ALL: &CStr = c"arena.4096.purge";

/// Gives everything that was freed back to the machine now.
pub fn give_back() {
    // SAFETY: the name ends with a zero byte, and a purge reads and writes nothing of ours.
    let failed =
        unsafe { tikv_jemalloc_sys::mallctl(PURGE_ALL.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
    debug_assert_eq!(failed, 0, "jemalloc knows the name");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option<T: Copy + Default>(name: &CStr) -> T {
        let (mut value, mut bytes) = (T::default(), size_of::<T>());
        // SAFETY: jemalloc writes the value only where its size is the one given.
        let failed = unsafe {
            let value = ptr::from_mut(&mut value).cast();
            tikv_jemalloc_sys::mallctl(name.as_ptr(), value, &mut bytes, ptr::null_mut(), 0)
        };
        assert_eq!(failed, 0, "{name:?}");
        value
    }

    #[test]
    fn jemalloc_took_the_options() {
        assert!(option::<bool>(c"opt.background_thread"));
        assert_eq!(option::<isize>(c"opt.dirty_decay_ms"), 1000);
        assert_eq!(option::<isize>(c"opt.muzzy_decay_ms"), 0);
        give_back();
    }
}
