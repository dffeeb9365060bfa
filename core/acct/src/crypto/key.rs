//! The key of an acct file, and where it comes from.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, URL_SAFE};
use zeroize::Zeroizing;

use super::{Cipher, CryptoError};
use evbus_files::named_file::NotRead;
use evbus_files::trust::{Denied, read_key, readers_of_key};

/// The length of a key, in bytes.
pub(super) const KEY_BYTES: usize = 32;
/// The most bytes read from a key file; a key has 44.
const MAX_KEY_FILE: u64 = 4096;

const DECODER: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The key of an acct file: 32 bytes in base64, of either alphabet. It is wiped from memory when it is
/// dropped, and `Debug` does not show it.
#[derive(Clone)]
pub struct AcctKey(Zeroizing<String>);

impl AcctKey {
    /// Takes a key as given; surrounding whitespace is ignored. The key is validated only when it is
    /// used or by [`check`](Self::check).
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.trim().to_owned()))
    }

    pub(super) fn from_bytes(bytes: &[u8; KEY_BYTES], cipher: Cipher) -> Self {
        Self(Zeroizing::new(match cipher {
            Cipher::Fernet => URL_SAFE.encode(bytes),
            Cipher::Aesgcm256 => STANDARD.encode(bytes),
        }))
    }

    /// The key itself, to be stored somewhere.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Checks that it has the form of a key.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Key`].
    pub fn check(&self) -> Result<(), CryptoError> {
        self.bytes().map(|_| ()).ok_or(CryptoError::Key)
    }

    /// Its bytes; `None` if it is not a key.
    pub(super) fn bytes(&self) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
        let text: Zeroizing<Vec<u8>> = Zeroizing::new(
            self.0
                .bytes()
                .map(|byte| match byte {
                    b'-' => b'+',
                    b'_' => b'/',
                    byte => byte,
                })
                .collect(),
        );
        // The decoder asks for slightly more room than it uses.
        let mut bytes = Zeroizing::new([0; KEY_BYTES + 16]);
        let length = DECODER
            .decode_slice(text.as_slice(), bytes.as_mut_slice())
            .ok()?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if length != KEY_BYTES {
            return None;
        }
        key.copy_from_slice(&bytes[..KEY_BYTES]);
        Some(key)
    }
}

/// Leaves the key out.
impl fmt::Debug for AcctKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AcctKey(..)")
    }
}

/// Where the key of an acct file comes from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// The key itself, kept in memory as long as this value lives.
    Given(AcctKey),
    /// The environment variable of this name. It is read each time the acct file is read, so that no
    /// second copy of the key stays in memory.
    Environment(String),
    /// A file, which is read each time the acct file is read.
    File(PathBuf),
}

impl KeySource {
    /// Who can read the key file besides its owner, if the file is accepted nevertheless, such as "group
    /// ssl-cert". The directories above it count too: nobody can read a file that they cannot reach.
    pub fn readers(&self) -> Option<String> {
        match self {
            Self::Given(_) | Self::Environment(_) => None,
            Self::File(path) => readers_of_key(path),
        }
    }

    /// The key. Blocks while it reads the file.
    ///
    /// # Errors
    ///
    /// One sentence: the key file cannot be read, can be read or written by other users, is empty or is too
    /// large, or the environment variable is not set.
    pub fn key(&self) -> Result<AcctKey, String> {
        let path = match self {
            Self::Given(key) => return Ok(key.clone()),
            Self::Environment(name) => return from_environment(name),
            Self::File(path) => path,
        };
        let refused = |why: &str| {
            format!(
                "cannot use key file {}: {why}; use a file with the key on its first line (--acct-key-file)",
                path.display()
            )
        };
        let mut content = Zeroizing::new(Vec::new());
        read_key(path, MAX_KEY_FILE, &mut content).map_err(|denied| match denied {
            Denied::Distrusted(sentence) => sentence,
            Denied::NotRead(error) => match error {
                NotRead::Absent => refused("no such file"),
                NotRead::Is(kind) => refused(&format!("it is {kind}")),
                NotRead::Forbidden => refused("this user may not read it"),
                NotRead::TooLarge => refused("it is larger than 4 KiB"),
                NotRead::Endless => refused("it is a pipe that does not end"),
                NotRead::Drained => refused("it is an empty pipe"),
                error @ NotRead::NoneLeft(_) => format!("key file {}: {error}", path.display()),
                NotRead::Failed(error) => refused(&error.to_string()),
            },
        })?;
        let text = std::str::from_utf8(&content).map_err(|_| refused("it is not UTF-8 text"))?;
        match text.trim_start().lines().next().map(AcctKey::new) {
            Some(key) if !key.reveal().is_empty() => Ok(key),
            _ => Err(refused("it is empty")),
        }
    }
}

fn from_environment(name: &str) -> Result<AcctKey, String> {
    let text = std::env::var(name).map(Zeroizing::new).map_err(|error| {
        // The error contains the text, which may be a damaged key.
        if let std::env::VarError::NotUnicode(text) = error {
            drop(Zeroizing::new(text.into_encoded_bytes()));
        }
        format!("the environment variable {name} is not set or not UTF-8; set it to the key of the acct file, or use --acct-key-file")
    })?;
    Ok(AcctKey::new(&text))
}
