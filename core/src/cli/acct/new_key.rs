//! Where a new key goes: to standard output, or into a file that this command makes.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use evbus::acct::{AcctKey, AcctSource, Cipher, KeySource};
use evbus_files::written_file;
use zeroize::Zeroizing;

use super::super::exit::Exit;
use super::super::output::{self, Reader};
use super::encryption;

#[derive(Debug, Args)]
pub(super) struct NewKeyOptions {
    /// Make a new key and write it to this file, with mode 0600; a file that is there is never
    /// overwritten
    #[arg(long, value_name = "F", conflicts_with_all = ["acct_key", "acct_key_file"])]
    new_key_file: Option<PathBuf>,
    /// Replace an encrypted file even if it was made with another key
    #[arg(long)]
    force: bool,
}

/// The key that a file is encrypted with.
pub(super) struct FileKey {
    pub(super) key: AcctKey,
    place: Place,
}

enum Place {
    /// Whoever gave it has it.
    Given,
    StandardOutput,
    File(PathBuf),
}

impl FileKey {
    /// The key that was given, or a new one, for a file that is to be `written`. One that is there is
    /// replaced only where this key opens it: whoever has the other key counts on it.
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
                "{}: found a file encrypted with another key, or a damaged one, expected one that this key opens, or none; give its key with --acct-key-file, or use --force to replace it",
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
                "--new-key-file: {name} gives a key already; unset it, or leave --new-key-file out"
            ))),
            (Some(path), _) => Ok(Self {
                key: generate()?,
                place: Place::File(path.clone()),
            }),
            (None, Some(source)) => Ok(Self {
                key: source.key().map_err(Exit::config)?,
                place: Place::Given,
            }),
            (None, None) if output::is_discarded() => Err(Exit::usage(
                "standard output is closed or a device that keeps nothing, so the new key would be lost; use --new-key-file, or --acct-key-file to use a key that you have",
            )),
            (None, None) => Ok(Self {
                key: generate()?,
                place: Place::StandardOutput,
            }),
        }
    }

    /// Hands a new key over, before the file `encrypted` with it takes its name: otherwise one could be
    /// left that nobody can open.
    pub(super) fn hand_over(&self, encrypted: &Path) -> Result<(), Exit> {
        let line = Zeroizing::new(format!("{}\n", self.key.reveal()));
        match &self.place {
            Place::Given => Ok(()),
            Place::StandardOutput => match output::write(line.as_bytes())? {
                Reader::There => Ok(()),
                Reader::Gone => Err(Exit::failed(format!(
                    "{}: nothing is written, since nobody reads the new key from standard output",
                    encrypted.display()
                ))),
            },
            Place::File(path) => write(path, line.as_bytes()).map_err(|error| {
                if error.kind() == io::ErrorKind::AlreadyExists {
                    return Exit::usage(format!(
                        "--new-key-file: {} is there already and may be the only key to other files; expected a new name",
                        path.display()
                    ));
                }
                Exit::failed(format!(
                    "{}: the key cannot be written: {error}",
                    path.display()
                ))
            }),
        }
    }
}

fn is_of_another_key(path: &Path, key: &AcctKey) -> bool {
    let source = AcctSource::new(path).key(KeySource::Given(key.clone()));
    encryption(path).is_some() && source.document().is_err()
}

fn write(path: &Path, key: &[u8]) -> io::Result<()> {
    let place = match written_file::Place::find(path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        found => found?,
    };
    let path = place.path();
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    let written = file.write_all(key).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key opens nothing, and would be in the way of the next try.
        let _ = fs::remove_file(path);
    }
    written
}
