//! Loading a plugin file into the process: read, copied, probed, loaded.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object::ReadCache;
use rustix::fs::Stat;
use sha2::{Digest as _, Sha256};

use super::image::Image;
use super::manifest::Manifest;
use super::patience::Patience;
use super::tried::Tried;
use super::trusted_path;
use super::{Plugin, elf};
use crate::process::probe;
use evbus_report::hex;

/// No plugin is this large; a larger file is refused before it is read.
const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;

/// How plugins are loaded.
#[derive(Debug, Default)]
pub struct Loading {
    /// The program that probes files that were never loaded; `None` disables probing.
    program: Option<Arc<Path>>,
    tried: Option<Tried>,
    copies: Option<PathBuf>,
    patience: Patience,
}

impl Loading {
    /// See [`Registry::trying`](super::Registry::trying).
    pub(crate) fn trying(&mut self, program: Option<Arc<Path>>, state_dir: Option<&Path>) {
        self.program = program;
        self.tried = state_dir.map(Tried::new);
    }

    /// Loads copies in a directory, for debuggers.
    pub(crate) fn keeping_copies(&mut self, dir: Option<PathBuf>) {
        self.copies = dir;
    }

    /// How long it waits.
    pub(crate) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Copies the file that has this manifest, and probes the copy unless its content was probed before. Blocks, for
    /// some ten seconds at most.
    ///
    /// # Errors
    ///
    /// One sentence on why the host does not use it.
    pub(crate) fn copy(&self, path: &Path, manifest: &Manifest) -> Result<Copied, String> {
        let file = PluginFile::open(path)?;
        let (image, hash) = Image::new(&file, manifest, self.copies.as_deref())?;
        if elf::read(&ReadCache::new(&image.file)).as_ref() != Ok(manifest) {
            return Err(CHANGED.to_owned());
        }
        let is_known = (self.tried.as_ref()).is_some_and(|tried| tried.has(&hash));
        if let Some(program) = self.program.as_ref().filter(|_| !is_known) {
            probe(
                program,
                path,
                &manifest.id,
                image.file.as_fd(),
                &self.patience,
            )?;
            tracing::debug!("plugin {}: probed in a process of its own", path.display());
            if let Some(tried) = &self.tried {
                tried.add(&hash);
            }
        }
        Ok(Copied { image, hash })
    }

    /// Loads the copy. Blocks for its constructors, for some ten seconds at most.
    ///
    /// # Errors
    ///
    /// As for [`copy`](Self::copy).
    pub(crate) fn load(
        &self,
        path: &Path,
        manifest: &Manifest,
        Copied { image, hash }: Copied,
    ) -> Result<Arc<Plugin>, String> {
        Plugin::load(path, &hash, manifest, image, &self.patience).map(Arc::new)
    }
}

/// Why a file is refused that was changed while it was read.
pub(crate) const CHANGED: &str = "it changed while it was being loaded";

/// A copied plugin that passed every check from outside.
#[derive(Debug)]
pub(crate) struct Copied {
    image: Image,
    /// SHA-256 of its content.
    pub(crate) hash: String,
}

/// A plugin file that nobody else can have written.
pub(crate) struct PluginFile {
    file: File,
    /// The file's attributes when it was opened.
    pub(crate) found: Stat,
}

impl PluginFile {
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let (file, found) = trusted_path::open_file(path)?;
        if u64::try_from(found.st_size).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
            return Err(too_large());
        }
        Ok(Self { file, found })
    }

    /// Its manifest. Most of the file is not read.
    pub(crate) fn manifest(&self) -> Result<Manifest, String> {
        elf::read(&ReadCache::new(&self.file))
    }

    /// Copies the whole file in pieces that fit into a processor's cache, and returns SHA-256 of its content in
    /// hexadecimal digits.
    ///
    /// # Errors
    ///
    /// One sentence; `unwritten` makes it where `copy` takes no more.
    pub(crate) fn copy_to(
        &self,
        copy: &mut impl Write,
        unwritten: impl Fn(io::Error) -> String,
    ) -> Result<String, String> {
        let unread = |error| format!("it cannot be read: {error}");
        let mut hash = Sha256::new();
        let mut piece = vec![0; PIECE_BYTES];
        let mut len = 0;
        (&self.file).rewind().map_err(unread)?;
        loop {
            let read = match (&self.file).read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unread(error)),
            };
            len += read as u64;
            if len > MAX_FILE_BYTES {
                return Err(too_large());
            }
            hash.update(&piece[..read]);
            copy.write_all(&piece[..read]).map_err(&unwritten)?;
        }
        Ok(hex(&hash.finalize()))
    }

    /// SHA-256 of its content.
    pub(crate) fn hash(&self) -> Result<String, String> {
        self.copy_to(&mut io::sink(), |error| error.to_string())
    }
}

/// How much of a file is in memory at a time.
const PIECE_BYTES: usize = 128 * 1024;

fn too_large() -> String {
    format!("it is larger than {MAX_FILE_BYTES} bytes, the limit for plugin files")
}
