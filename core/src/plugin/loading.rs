//! A plugin file on its way into the process: read, copied, tried elsewhere, loaded.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object::ReadCache;
use rustix::fs::Stat;
use sha2::{Digest as _, Sha256};

use super::image::Image;
use super::manifest::Manifest;
use super::patience::Patience;
use super::place;
use super::tried::Tried;
use super::{Plugin, elf};
use crate::isolate::probe;

/// No plugin is this large; a larger file is refused before it is read.
const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;

/// How plugins are loaded.
#[derive(Debug, Default)]
pub(crate) struct Loading {
    /// The program whose processes try files that were never loaded; without one none is tried.
    program: Option<Arc<Path>>,
    tried: Option<Tried>,
    copies: Option<PathBuf>,
    patience: Patience,
}

impl Loading {
    /// As [`Registry::trying`](super::Registry::trying) says.
    pub(super) fn trying(&mut self, program: Option<Arc<Path>>, state_dir: Option<&Path>) {
        self.program = program;
        self.tried = state_dir.map(Tried::new);
    }

    /// Loads copies in a directory, for debuggers.
    pub(super) fn keeping_copies(&mut self, dir: Option<PathBuf>) {
        self.copies = dir;
    }

    /// How long it waits.
    pub(super) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Loads the file that has this manifest; gives the hash of its content, too. Blocks for a copy, for
    /// trying it, and for its constructors, for some ten seconds each at most.
    ///
    /// # Errors
    ///
    /// One sentence on why the host does without it.
    pub(super) fn load(
        &self,
        path: &Path,
        manifest: &Manifest,
    ) -> Result<(Arc<Plugin>, String), String> {
        let bytes = PluginFile::open(path)?.read()?;
        if elf::read(&*bytes).as_ref() != Ok(manifest) {
            return Err("it was changed while it was loaded".to_owned());
        }
        let hash = hash_of(&bytes);
        let image = Image::new(&bytes, manifest, &hash, self.copies.as_deref())?;
        drop(bytes);
        let is_known = (self.tried.as_ref()).is_some_and(|tried| tried.has(&hash));
        if let Some(program) = self.program.as_ref().filter(|_| !is_known) {
            probe(
                program,
                path,
                &manifest.id,
                image.file.as_fd(),
                &self.patience,
            )?;
            tracing::debug!("plugin {}: tried in a process of its own", path.display());
            if let Some(tried) = &self.tried {
                tried.add(&hash);
            }
        }
        let plugin = Plugin::load(path, &hash, manifest, image, &self.patience)?;
        Ok((Arc::new(plugin), hash))
    }
}

/// A plugin file that nobody else can have written.
pub(super) struct PluginFile {
    file: File,
    /// What it was when it was opened.
    pub(super) found: Stat,
}

impl PluginFile {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let (file, found) = place::open_file(path)?;
        if u64::try_from(found.st_size).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
            return Err(too_large());
        }
        Ok(Self { file, found })
    }

    /// Its manifest. Most of the file is not read for that.
    pub(super) fn manifest(&self) -> Result<Manifest, String> {
        elf::read(&ReadCache::new(&self.file))
    }

    /// All of it.
    pub(super) fn read(&self) -> Result<Vec<u8>, String> {
        // Room for all of it at once, should it be as long as it says.
        let len = u64::try_from(self.found.st_size).unwrap_or_default();
        let room = usize::try_from(len.min(MAX_FILE_BYTES) + 1).unwrap_or_default();
        let mut bytes = Vec::with_capacity(room);
        (&self.file)
            .rewind()
            .and_then(|()| {
                (&self.file)
                    .take(MAX_FILE_BYTES + 1)
                    .read_to_end(&mut bytes)
            })
            .map_err(|error| format!("it cannot be read: {error}"))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(too_large());
        }
        Ok(bytes)
    }

    /// SHA-256 of its content.
    pub(super) fn hash(&self) -> Result<String, String> {
        self.read().map(|bytes| hash_of(&bytes))
    }
}

fn too_large() -> String {
    format!("it is more than {MAX_FILE_BYTES} bytes long, which no plugin is")
}

fn hash_of(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('?');
    Sha256::digest(bytes)
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}
