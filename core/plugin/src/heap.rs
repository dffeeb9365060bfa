//! The C library's heap, which the host and all plugins share: what they free goes back to the system.
//!
//! By default the library learns from a program that frees a long piece of memory, up to 32 MiB, to keep
//! such pieces, in as many heaps as there are threads. A burst of long frames is then kept for good:
//! 200 MiB of 240 MiB, measured. docs/ARCHITECTURE.md compares what else would do.

/// Blocks of at least this length get their own mapping, which is returned to the system when they are freed.
#[cfg(target_env = "gnu")]
const MAPPED_FROM: std::ffi::c_int = 128 * 1024;

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    safe fn mallopt(parameter: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
}

/// Makes the process return freed memory to the system. To be called at the start of a program, before
/// it has threads; a program that embeds the host decides for itself.
pub fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    {
        /// `M_MMAP_THRESHOLD` and `M_TRIM_THRESHOLD` of glibc's `malloc.h`.
        const MMAP_THRESHOLD: std::ffi::c_int = -3;
        const TRIM_THRESHOLD: std::ffi::c_int = -1;
        // Setting a threshold stops glibc from adapting it. This fails only for values out of range.
        mallopt(MMAP_THRESHOLD, MAPPED_FROM);
        mallopt(TRIM_THRESHOLD, MAPPED_FROM);
    }
}
