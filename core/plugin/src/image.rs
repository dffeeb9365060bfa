//! What the dynamic linker opens: a copy of a plugin file that nobody can change.
//!
//! The copy exists so that overwriting the original in place cannot reach mapped pages, which kills the
//! process. It is a sealed file in memory: no directory is needed that others could reach, and nothing
//! is left behind by a host that is killed. For debuggers it can be a file in a directory.

use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::loading::PluginFile;
use super::manifest::Manifest;
use evbus_files::usable_dir;

/// The length to which an id is truncated in the name of a copy.
const MAX_SHOWN_ID: usize = 64;

/// A copy of a plugin file.
#[derive(Debug)]
pub(crate) struct Image {
    /// Read-only, so that nobody who receives the descriptor can change what is mapped.
    pub(crate) file: File,
    /// The path that the linker opens.
    pub(crate) path: PathBuf,
}

impl Image {
    /// Copies a plugin file, into memory or, for debuggers, into a directory; also returns SHA-256 of its content.
    ///
    /// # Errors
    ///
    /// One sentence on what stands in the way, and what to do.
    pub(crate) fn new(
        file: &PluginFile,
        manifest: &Manifest,
        copies: Option<&Path>,
    ) -> Result<(Self, String), String> {
        match copies {
            None => Self::in_memory(file, &manifest.id),
            Some(dir) => Self::in_directory(file, dir, &manifest.id),
        }
    }

    /// A copy that another process has made and sealed.
    pub(crate) fn received(file: OwnedFd) -> Self {
        let file = File::from(file);
        let path = descriptor_path(&file);
        Self { file, path }
    }

    fn in_memory(plugin: &PluginFile, id: &str) -> Result<(Self, String), String> {
        check_size_limit(plugin)?;
        let failed = |error: &dyn std::fmt::Display| {
            format!(
                "it cannot be copied to memory ({error}); use --plugin-copies DIR to load plugins from copies in a directory"
            )
        };
        let name = format!("evbus:{}", shown(id));
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = match memfd_create(&*name, flags | MemfdFlags::EXEC) {
            // Before Linux 6.3 every such file is executable.
            Err(Errno::INVAL) => memfd_create(&*name, flags),
            Err(error @ Errno::ACCESS) => {
                return Err(failed(&format_args!(
                    "{error}: vm.memfd_noexec of this system is 2"
                )));
            }
            made => made,
        }
        .map_err(|error| failed(&error))?;
        let mut memory = File::from(memory);
        let hash = plugin.copy_to(&mut memory, |error| failed(&error))?;
        seal(&memory).map_err(|error| failed(&error))?;
        let file = File::open(descriptor_path(&memory)).map_err(|error| {
            failed(&format_args!(
                "/proc, which is needed to open the copy, cannot be used: {error}"
            ))
        })?;
        let path = descriptor_path(&file);
        Ok((Self { file, path }, hash))
    }

    fn in_directory(plugin: &PluginFile, dir: &Path, id: &str) -> Result<(Self, String), String> {
        check_size_limit(plugin)?;
        let failed = |error: &dyn std::fmt::Display| {
            format!("it cannot be copied to {}: {error}", dir.display())
        };
        private(dir).map_err(|error| failed(&error))?;
        let mut copy = tempfile::Builder::new()
            .prefix(".copying-")
            .tempfile_in(dir)
            .map_err(|error| failed(&error))?;
        let hash = plugin.copy_to(&mut copy, |error| failed(&error))?;
        let path = dir.join(file_name(id, &hash));
        // Another host may have mapped the file that has the name now, so that file is not changed.
        copy.persist(&path).map_err(|error| failed(&error.error))?;
        let file = File::open(&path).map_err(|error| failed(&error))?;
        Ok((Self { file, path }, hash))
    }
}

/// Refuses a plugin larger than this process's file size limit, which applies to copies in memory too.
fn check_size_limit(plugin: &PluginFile) -> Result<(), String> {
    let (size, limit) = (
        u64::try_from(plugin.found.st_size).unwrap_or(0),
        getrlimit(Resource::Fsize).current,
    );
    match limit {
        Some(limit) if limit < size => Err(format!(
            "it has {}, but this process is limited to files of {}; raise the limit (`ulimit -f`, or LimitFSIZE= of the unit)",
            evbus_report::size(size),
            evbus_report::size(limit),
        )),
        _ => Ok(()),
    }
}

/// Makes sure that nobody, including this process, can change a file in memory any more.
///
/// Only future writing is sealed. That is as strong here, because nothing has mapped the file yet, and it does not
/// fail: sealing `WRITE` waits until nothing in the kernel refers to a page of the file, and gives up after 150 ms,
/// which moving pages on a busy machine can exceed.
fn seal(memory: &File) -> rustix::io::Result<()> {
    let seals = SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    match fcntl_add_seals(memory, seals | SealFlags::FUTURE_WRITE) {
        // Linux before 5.1 does not know this seal.
        Err(Errno::INVAL) => fcntl_add_seals(memory, seals | SealFlags::WRITE),
        sealed => sealed,
    }
}

/// Makes a directory that is private to this user, or checks that an existing one is.
fn private(dir: &Path) -> std::io::Result<()> {
    usable_dir::make(dir, 0o700)?;
    let found = fs::symlink_metadata(dir)?;
    let us = rustix::process::geteuid().as_raw();
    if found.is_dir() && found.uid() == us && found.mode() & 0o7777 == 0o700 {
        return Ok(());
    }
    Err(std::io::Error::other(format!(
        "it has mode {:04o} and belongs to user {}; expected a directory of user {us} with mode 0700",
        found.mode() & 0o7777,
        found.uid()
    )))
}

/// The name of a copy, which is unique for each content.
fn file_name(id: &str, hash: &str) -> String {
    format!("{}-{hash}.so", shown(id))
}

/// An id as part of a file name.
fn shown(id: &str) -> String {
    id.chars()
        .take(MAX_SHOWN_ID)
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => character,
            _ => '_',
        })
        .collect()
}

/// The path through which the linker can open a descriptor of this process again.
fn descriptor_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::unix::fs::PermissionsExt as _;

    use sha2::{Digest as _, Sha256};

    use super::*;

    fn manifest(id: &str) -> Manifest {
        let json = format!("{{\"manifest\":1,\"abi\":\"1.0\",\"id\":{id:?},\"version\":\"1\"}}");
        Manifest::parse(json.as_bytes()).expect("it is a manifest")
    }

    fn copied(bytes: &[u8], id: &str, copies: Option<&Path>) -> Result<(Image, String), String> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("plugin.so");
        fs::write(&path, bytes).expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        let file = PluginFile::open(&path).expect("nobody else can have written it");
        Image::new(&file, &manifest(id), copies)
    }

    #[test]
    fn a_copy_in_memory_cannot_be_changed_by_anybody() {
        let (image, _) = copied(b"bytes", "a", None).expect("a copy");
        let mut read = String::new();
        (&image.file).read_to_string(&mut read).expect("readable");
        assert_eq!(read, "bytes");
        // Without the seals, it could be opened for writing through its path.
        let writing = fs::OpenOptions::new().write(true).open(&image.path);
        let written = writing.and_then(|mut file| file.write_all(b"other"));
        assert!(written.is_err());
        assert_eq!(fs::read(&image.path).expect("readable"), b"bytes");
    }

    #[test]
    fn a_copy_is_sealed_while_the_kernel_holds_pages_of_it() {
        let memory = memfd_create(
            "evbus:test",
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
        );
        let mut memory = File::from(memory.expect("a file in memory"));
        memory.write_all(&[7; 8192]).expect("it can be written");
        let (_read, write) = rustix::pipe::pipe().expect("a pipe");
        // A pipe holds references to the pages, as the kernel does while it moves them.
        let flags = rustix::pipe::SpliceFlags::empty();
        let spliced = rustix::pipe::splice(&memory, Some(&mut 0), &write, None, 8192, flags);
        assert_eq!(spliced, Ok(8192));
        seal(&memory).expect("it is sealed");
        memory.rewind().expect("it has a beginning");
        memory.write_all(b"other").expect_err("it is sealed");
        memory.set_len(0).expect_err("it is sealed");
    }

    #[test]
    fn a_copy_is_whole_and_its_hash_is_that_of_all_of_it() {
        // Several full pieces and a partial one.
        let bytes: Vec<u8> = (0..300_001_u32).map(|at| (at % 251) as u8).collect();
        let (image, hash) = copied(&bytes, "a", None).expect("a copy");
        assert_eq!(fs::read(&image.path).expect("readable"), bytes);
        assert_eq!(hash.len(), 64);
        for (at, byte) in Sha256::digest(&bytes).iter().enumerate() {
            let digits = &hash[2 * at..2 * at + 2];
            assert_eq!(u8::from_str_radix(digits, 16), Ok(*byte), "{hash}");
        }
    }

    #[test]
    fn a_copy_in_a_directory_is_named_by_id_and_hash_and_the_directory_is_private() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let dir = parent.path().join("copies");
        let (image, hash) = copied(b"bytes", "../a b", Some(&dir)).expect("a copy");
        assert_eq!(image.path, dir.join(format!("___a_b-{hash}.so")));
        assert_eq!(fs::read(&image.path).expect("readable"), b"bytes");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o7777;
        assert_eq!((mode(&dir), mode(&image.path)), (0o700, 0o600));

        fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).expect("it is ours");
        let reason = copied(b"bytes", "a", Some(&dir)).expect_err("others may look into it");
        assert!(reason.contains("it has mode 0750"), "{reason}");
    }
}
