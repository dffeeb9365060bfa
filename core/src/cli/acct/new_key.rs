//! The output of a new key: standard output, or a file that this command creates.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use evbus::acct::{AcctKey, AcctSource, Cipher, KeySource};
use evbus_files::written_file;
use evbus_report::system_text;
use zeroize::Zeroizing;

use super::super::exit::Exit;
use super::super::output::{self, Reader};
use super::encryption;

#[derive(Debug, Args)]
pub(super) struct NewKeyOptions {
    /// Generate a new key and write it to this file, with mode 0600; an existing file is never
    /// overwritten
    #[arg(long, value_name = "F", conflicts_with_all = ["acct_key", "acct_key_file"])]
    new_key_file: Option<PathBuf>,
    /// Replace an existing output file even if it is not encrypted, or encrypted with another key
    #[arg(long)]
    pub(super) force: bool,
}

/// The key that a file is encrypted with.
pub(super) struct FileKey {
    pub(super) key: AcctKey,
    place: Place,
}

enum Place {
    /// The user has it already.
    Given,
    StandardOutput,
    File(PathBuf),
}

/// Whether two paths lead to one file, which need not be there yet.
fn is_same(one: &Path, other: &Path) -> bool {
    matches!((place(one), place(other)), (Some(one), Some(other)) if one == other)
}

/// Refuses to write a file over the one that holds the key.
pub(super) fn refuse_key_file(key: &Path, written: &Path) -> Result<(), Exit> {
    if is_same(key, written) {
        return Err(Exit::usage(format!(
            "cannot write {}: it is the file of the key; give another name with --output-file",
            written.display()
        )));
    }
    Ok(())
}

/// Where a file is or would be made, behind all links.
fn place(path: &Path) -> Option<PathBuf> {
    /// As many as the kernel follows.
    const MAX_LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = dir.unwrap_or(Path::new(".")).canonicalize().ok()?;
        path = dir.join(path.file_name()?);
        match fs::read_link(&path) {
            Ok(target) => path = dir.join(target),
            Err(_) => return Some(path),
        }
    }
    None
}

impl NewKeyOptions {
    /// Refuses to write a file over the one that holds its key, or will.
    pub(super) fn refuse_key_file(
        &self,
        given: Option<&KeySource>,
        written: &Path,
    ) -> Result<(), Exit> {
        match (&self.new_key_file, given) {
            (Some(key), _) | (None, Some(KeySource::File(key))) => refuse_key_file(key, written),
            (None, _) => Ok(()),
        }
    }

    /// Refuses a new key for a file that has one.
    pub(super) fn refuse_for(&self, file: &Path) -> Result<(), Exit> {
        if self.new_key_file.is_some() {
            return Err(Exit::usage(format!(
                "--new-key-file is only for a new file, and {} exists; give its key with --acct-key-file",
                file.display()
            )));
        }
        Ok(())
    }
}

impl FileKey {
    /// The given key or a new one, for the file `written`. An existing file is replaced only if this key opens
    /// it, because the owners of another key rely on it.
    pub(super) fn new(
        given: Option<KeySource>,
        new: &NewKeyOptions,
        cipher: Cipher,
        written: &Path,
    ) -> Result<Self, Exit> {
        let key = Self::given_or_made(given, new, cipher)?;
        let well_formed = key.key.check();
        well_formed.map_err(|error| Exit::config(error.to_string()))?;
        if !new.force && is_of_another_key(written, &key.key) {
            return Err(Exit::usage(format!(
                "cannot replace {}: it is encrypted with another key, or damaged; give its key with --acct-key-file instead of a new one, or use --force to replace it",
                written.display()
            )));
        }
        Ok(key)
    }

    fn given_or_made(
        given: Option<KeySource>,
        new: &NewKeyOptions,
        cipher: Cipher,
    ) -> Result<Self, Exit> {
        let generate = || {
            let key = cipher.generate_key();
            key.map_err(|error| Exit::failed(error.to_string()))
        };
        match (&new.new_key_file, given) {
            (Some(_), Some(KeySource::Environment(name))) => Err(Exit::usage(format!(
                "--new-key-file: {name} already gives a key; unset it, or omit --new-key-file"
            ))),
            (Some(path), _) => {
                find(path).map_err(|error| unwritable(path, &error))?;
                Ok(Self {
                    key: generate()?,
                    place: Place::File(path.clone()),
                })
            }
            (None, Some(source)) => Ok(Self {
                key: source.key().map_err(Exit::config)?,
                place: Place::Given,
            }),
            (None, None) if output::is_discarded() => Err(Exit::usage(
                "the new key would be lost: standard output is closed or discarded; use --new-key-file, or use an existing key with --acct-key-file",
            )),
            (None, None) => Ok(Self {
                key: generate()?,
                place: Place::StandardOutput,
            }),
        }
    }

    /// Writes a new key to its place before the file `encrypted` with it takes its name; otherwise a file could
    /// remain that nobody can open.
    pub(super) fn hand_over(&self, encrypted: &Path) -> Result<(), Exit> {
        let line = Zeroizing::new(format!("{}\n", self.key.reveal()));
        match &self.place {
            Place::Given => Ok(()),
            Place::StandardOutput => match output::write(line.as_bytes())? {
                Reader::There => Ok(()),
                Reader::Gone => Err(Exit::failed(format!(
                    "{} was not written: standard output was closed before the new key was written",
                    encrypted.display()
                ))),
            },
            Place::File(path) => {
                write(path, line.as_bytes()).map_err(|error| unwritable(path, &error))
            }
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Exit {
    let key = path.display();
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Exit::usage(format!(
            "--new-key-file: {key} already exists and may be the only key to other files; give a new name"
        ));
    }
    Exit::failed(format!(
        "cannot write the key to {key}: {}; check its directory, or give another name with --new-key-file",
        system_text(error)
    ))
}

fn is_of_another_key(path: &Path, key: &AcctKey) -> bool {
    let source = AcctSource::new(path).key(KeySource::Given(key.clone()));
    encryption(path).is_some() && source.document().is_err()
}

/// Where a new key is to be written. Nothing may be there.
fn find(path: &Path) -> io::Result<written_file::Place> {
    match written_file::Place::find(path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            Err(io::ErrorKind::AlreadyExists.into())
        }
        Ok(place) if place.kind.is_some() => Err(io::ErrorKind::AlreadyExists.into()),
        found => found,
    }
}

fn write(path: &Path, key: &[u8]) -> io::Result<()> {
    let place = find(path)?;
    let path = place.path();
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    let written = file.write_all(key).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key is useless, and would block the next try.
        let _ = fs::remove_file(path);
    }
    written
}
