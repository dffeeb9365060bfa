//! How many lines there is room for, found out before any of them is written.
//!
//! A write that a full disk cuts short leaves half a line, which a reader may see before it is cut
//! off. So where room is scarce it is reserved first, behind the end of the file, for as many whole
//! lines as fit. A file system that cannot reserve shows with the write itself.

use std::fs::File;
use std::io;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// If there is this much more room than a batch needs, nothing is reserved: reserving takes time, and other programs
/// need a while to fill the disk.
const PLENTY: u64 = 16 * 1024 * 1024;

/// How many of the lines, at least one, can be written at the end of the file, whose length is
/// `len`. `ends` says where each line ends, counted as `start` is.
///
/// # Errors
///
/// There is no room for the first line.
pub(crate) fn lines_that_fit(
    file: &File,
    len: u64,
    start: usize,
    ends: &[usize],
) -> io::Result<usize> {
    let size = |lines: usize| ends[lines - 1].saturating_sub(start) as u64;
    // Beyond this limit the system not only refuses, but also sends a signal.
    let limit = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    let allowed = limit.saturating_sub(len);
    let mut lines = ends.partition_point(|end| (end - start) as u64 <= allowed);
    if lines == 0 {
        return Err(Errno::FBIG.into());
    }
    if free(file).is_some_and(|free| free >= size(lines).saturating_add(PLENTY)) {
        return Ok(lines);
    }
    let mut fits = reserve(file, len, size(lines));
    while let Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) = fits
        && lines > 1
    {
        lines /= 2;
        fits = reserve(file, len, size(lines));
    }
    match fits {
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(error.into()),
        // Some file systems cannot reserve room.
        _ => Ok(lines),
    }
}

fn reserve(file: &File, len: u64, bytes: u64) -> rustix::io::Result<()> {
    rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, len, bytes)
}

/// Bytes that the file system has left for users such as this one.
fn free(file: &File) -> Option<u64> {
    let found = rustix::fs::fstatvfs(file).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}
