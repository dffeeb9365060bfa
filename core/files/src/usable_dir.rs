//! Whether a host could use a directory, found out without making or changing anything.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;

use rustix::fs::{Access, access};

/// What is at the path of a directory that this process could use; none where it could make one.
///
/// # Errors
///
/// Something else is there, or this user may not write there.
pub fn look(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(found) => {
            writable(path, &found)?;
            Ok(Some(found))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A link that leads nowhere is in the way of a directory.
            if fs::symlink_metadata(path).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let parent = path.parent().filter(|path| !path.as_os_str().is_empty());
            look(parent.unwrap_or(Path::new("."))).map(|_| None)
        }
        Err(error) => Err(error),
    }
}

fn writable(path: &Path, found: &Metadata) -> io::Result<()> {
    if !found.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(access(path, Access::WRITE_OK | Access::EXEC_OK)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_is_there_or_could_be_made_or_is_in_the_way_of_something() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "").unwrap();
        symlink("nowhere", at("link")).unwrap();
        assert!(look(dir.path()).unwrap().is_some());
        assert!(look(&at("a/b/c")).unwrap().is_none());
        assert!(!at("a").exists());
        let kind = |name: &str| look(&at(name)).unwrap_err().kind();
        assert_eq!(kind("file"), io::ErrorKind::NotADirectory);
        assert_eq!(kind("file/below"), io::ErrorKind::NotADirectory);
        assert_eq!(kind("link"), io::ErrorKind::AlreadyExists);
    }
}
