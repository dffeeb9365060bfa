//! From a file on disk to an [`AcctFile`]: read, decrypt, render, parse.
//!
//! Each step is a function of the previous one. An encrypted file was rendered before it was encrypted, so it is
//! only unpacked; a plain one goes through the render pipe.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::crypto::CryptoError;
use super::overrides::{self, JsonObject};
use super::{
    AcctDocument, AcctError, AcctFile, Cipher, KeySource, Location, RenderPipe, pack, render, yaml,
};
use evbus_files::named_file::{NotRead, PIPE_TIMEOUT};
use evbus_files::trust::{Denied, Trust};
use evbus_jinja::position_of;

/// The largest acct file that is read, in bytes; also the longest text one may render to.
pub const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// An acct file, and what it takes to read it.
#[derive(Debug, Clone)]
pub struct AcctSource {
    path: PathBuf,
    key: Option<KeySource>,
    cipher: Option<Cipher>,
    render_pipe: RenderPipe,
    extras: JsonObject,
    overrides: JsonObject,
}

impl<P: Into<PathBuf>> From<P> for AcctSource {
    fn from(path: P) -> Self {
        Self::new(path)
    }
}

impl AcctSource {
    /// A plain file, read through the render pipe `jinja|yaml`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            key: None,
            cipher: None,
            render_pipe: RenderPipe::default(),
            extras: JsonObject::new(),
            overrides: JsonObject::new(),
        }
    }

    /// The key of an encrypted file. With a key, a file that is not encrypted is refused.
    #[must_use]
    pub fn key(mut self, key: impl Into<Option<KeySource>>) -> Self {
        self.key = key.into();
        self
    }

    /// The cipher of an encrypted file; by default it is detected from the content.
    #[must_use]
    pub fn cipher(mut self, cipher: impl Into<Option<Cipher>>) -> Self {
        self.cipher = cipher.into();
        self
    }

    /// The render pipe of a plain file: the steps from its text to its data.
    #[must_use]
    pub fn render_pipe(mut self, pipe: RenderPipe) -> Self {
        self.render_pipe = pipe;
        self
    }

    /// Values for entries that lack them: the keys `key`, `partition` and `topics` of `extras.kafka`.
    #[must_use]
    pub fn extras(mut self, extras: JsonObject) -> Self {
        self.extras = extras;
        self
    }

    /// Values that replace values of the file; mappings are merged.
    #[must_use]
    pub fn overrides(mut self, overrides: JsonObject) -> Self {
        self.overrides = overrides;
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// It cannot be read or decrypted, is not a regular file, can be written by users other than its owner and
    /// root, is larger than [`MAX_FILE_BYTES`], is not UTF-8, is a template that cannot be rendered, or is not
    /// YAML; with every fault found until then. All others are among [`AcctFile::faults`], so that those of the
    /// entries are found in the same round.
    pub fn load(&self) -> Result<AcctFile, Vec<AcctError>> {
        let name = self.name();
        let trust = Trust::checked();
        let mut faults = Vec::new();
        let mut root = match self.read_with(&trust, &mut faults) {
            Ok(document) => document.into_root(),
            Err(error) => {
                faults.push(error);
                AcctError::sort(&mut faults);
                return Err(faults);
            }
        };
        overrides::override_with(&mut root, &self.overrides);
        let extras = overrides::add_extras(&mut root, &self.extras);
        let doubt = trust.doubt();
        if let Some(found) = &doubt {
            tracing::warn!("acct file {name}: found {found}; `$exec` commands are not run");
        }
        let (file, found) = AcctFile::examine_tree(root, &name);
        faults.extend(found);
        match extras {
            Ok(true) => {}
            Ok(false) => tracing::warn!(
                "acct file {name}: it has no section `kafka`, so that --extras has no effect; check the name of the section, or remove --extras"
            ),
            Err(message) => {
                let place = Location::whole(&Arc::from(overrides::EXTRAS));
                faults.push(AcctError::new(place, "", &message));
            }
        }
        AcctError::sort(&mut faults);
        match file {
            Some(file) => Ok(file.in_dir(self.dir(), doubt).with_faults(faults)),
            None => Err(faults),
        }
    }

    /// Reads the file's data, for every tool, without extras and overrides. The file may belong to anybody,
    /// because nothing in it is run. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// Every fault.
    pub fn document(&self) -> Result<AcctDocument, Vec<AcctError>> {
        self.document_without(|_| Vec::new())
    }

    /// As [`document`](Self::document), for data that is to be encrypted.
    ///
    /// # Errors
    ///
    /// Also every reason for which it cannot be encrypted.
    pub fn document_to_encrypt(&self) -> Result<AcctDocument, Vec<AcctError>> {
        self.document_without(AcctDocument::unfit)
    }

    fn document_without(
        &self,
        unfit: impl Fn(&AcctDocument) -> Vec<AcctError>,
    ) -> Result<AcctDocument, Vec<AcctError>> {
        let mut faults = Vec::new();
        let document = match self.read_with(&Trust::unchecked(), &mut faults) {
            Ok(document) => {
                let mut unfit = unfit(&document);
                // A key that is there twice is one fault.
                unfit.retain(|it| faults.iter().all(|twice| twice.location() != it.location()));
                faults.extend(unfit);
                Some(document)
            }
            Err(fault) => {
                faults.push(fault);
                None
            }
        };
        AcctError::sort(&mut faults);
        document.filter(|_| faults.is_empty()).ok_or(faults)
    }

    /// Repeated keys are faults in `twice`.
    fn read_with(
        &self,
        trust: &Trust,
        twice: &mut Vec<AcctError>,
    ) -> Result<AcctDocument, AcctError> {
        let name = self.name();
        let content = read(&self.path, &name, trust)?;
        let fault = |message: &str| AcctError::new(Location::whole(&name), "", message);
        let found = Cipher::of(&content);
        let Some(key) = &self.key else {
            if found == Some(Cipher::Fernet) {
                return Err(fault(&CryptoError::NoKey(Cipher::Fernet).to_string()));
            }
            let text = text(content, &name)?;
            let root = render::read(&text, &self.render_pipe, &name, self.dir(), trust, twice)?;
            return Ok(AcctDocument::new(root, &name, None));
        };
        let key = key.key().map_err(|message| fault(&message))?;
        let cipher = match (self.cipher, found) {
            (_, None) => return Err(fault(&CryptoError::NotEncrypted.to_string())),
            (Some(named), _) => named,
            (None, Some(found)) => found,
        };
        let packed = cipher
            .decrypt(&key, &content)
            .map_err(|error| fault(&error.to_string()))?;
        let root = pack::unpack(&packed).map_err(|found| {
            fault(&format!(
                "found {found} in the decrypted file, expected msgpack as written by acct's serial plugin msgpack; encrypt the file again"
            ))
        })?;
        Ok(AcctDocument::new(root, &name, Some(cipher)))
    }

    fn name(&self) -> Arc<str> {
        self.path.display().to_string().into()
    }

    /// The directory of the file, and of relative names in it.
    fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}

/// Reads a plain acct file; see [`AcctSource::load`].
///
/// # Errors
///
/// Those of [`AcctSource::load`].
pub fn load(path: &Path) -> Result<AcctFile, Vec<AcctError>> {
    AcctSource::new(path).load()
}

/// Reads an acct file's text, already decrypted and rendered; errors name the file as `name`.
///
/// # Errors
///
/// Every fault found in the text. Faults inside a provider's section are found by
/// [`super::Section::entries`].
pub fn parse(text: &str, name: &str) -> Result<AcctFile, Vec<AcctError>> {
    let file = Arc::from(name);
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(vec![too_large(&file)]);
    }
    let mut faults = Vec::new();
    let read = match yaml::parse(text, &file, &mut faults) {
        Ok(root) => {
            let (read, found) = AcctFile::examine_tree(root, &file);
            faults.extend(found);
            read
        }
        Err(error) => {
            faults.push(error);
            None
        }
    };
    AcctError::sort(&mut faults);
    read.filter(|_| faults.is_empty()).ok_or(faults)
}

fn read(path: &Path, name: &Arc<str>, trust: &Trust) -> Result<Zeroizing<Vec<u8>>, AcctError> {
    // An unencrypted file contains passwords.
    let mut content = Zeroizing::new(Vec::new());
    let refused = trust.read_given(path, MAX_FILE_BYTES, &mut content);
    refused.map(|()| content).map_err(|denied| {
        let error = match denied {
            Denied::Distrusted(sentence) => {
                return AcctError::new(Location::whole(name), "", &sentence);
            }
            Denied::NotRead(error) => error,
        };
        let message = match error {
            NotRead::TooLarge => return too_large(name),
            NotRead::Absent => "acct file not found; check its path".to_owned(),
            NotRead::Is(kind) => format!("found {kind}, expected a regular file; check the path of the acct file"),
            NotRead::Forbidden => "this user may not read the acct file; change its owner or mode".to_owned(),
            NotRead::Endless => format!("the pipe did not end within {} s; check the command that writes to it", PIPE_TIMEOUT.as_secs()),
            NotRead::Drained => "found an empty pipe, expected an acct file; a pipe can be read only once: use a file if it is to be read again".to_owned(),
            error @ NotRead::NoneLeft(_) => error.to_string(),
            NotRead::Failed(error) => format!("the acct file cannot be read ({error}); check the path and the disk"),
        };
        AcctError::new(Location::whole(name), "", &message)
    })
}

fn too_large(name: &Arc<str>) -> AcctError {
    AcctError::new(
        Location::whole(name),
        "",
        "the file is larger than 16 MiB; check that it is an acct file",
    )
}

/// Replaces `\r\n` and `\r` with `\n`, as Idem's reader does; the content can only become shorter.
fn unix_line_ends(content: &mut Vec<u8>) {
    let mut previous = 0;
    content.retain_mut(|byte| {
        let found = std::mem::replace(&mut previous, *byte);
        if *byte == b'\r' {
            *byte = b'\n';
            return true;
        }
        !(*byte == b'\n' && found == b'\r')
    });
}

/// The text of a plain file, with the line ends of Unix.
fn text(mut content: Zeroizing<Vec<u8>>, name: &Arc<str>) -> Result<Zeroizing<String>, AcctError> {
    unix_line_ends(&mut content);
    match std::str::from_utf8(&content) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(error) => {
            let position = std::str::from_utf8(&content[..error.valid_up_to()])
                .map(|text| position_of(text, text.len()))
                .ok();
            Err(AcctError::new(
                Location::at(name, position),
                "",
                "found bytes that are not UTF-8, expected YAML text; give the key with --acct-key-file or ACCT_KEY if the file is encrypted, or save it as UTF-8",
            ))
        }
    }
}
