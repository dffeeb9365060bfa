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
/// The most that is read of a key file, in bytes; a key has 44.
const MAX_KEY_FILE: u64 = 4096;

const DECODER: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The key of an acct file: 32 bytes in base64, of either alphabet. It is wiped from memory when it is
/// let go, and does not show itself.
#[derive(Clone)]
pub struct AcctKey(Zeroizing<String>);

impl AcctKey {
    /// Takes a key as it was given; blanks and line ends around it do not count. Whether it is one shows
    /// when it is used.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.trim().to_owned()))
    }

    pub(super) fn from_bytes(bytes: &[u8; KEY_BYTES], cipher: Cipher) -> Self {
        Self(Zeroizing::new(match cipher {
            Cipher::Fernet => URL_SAFE.encode(bytes),
            Cipher::Aesgcm256 => STANDARD.encode(bytes),
        }))
    }

    /// The key itself, for whoever is to keep it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it has the form of a key.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Key`].
    pub fn check(&self) -> Result<(), CryptoError> {
        self.bytes().map(|_| ()).ok_or(CryptoError::Key)
    }

    /// Its bytes; none where it is no key.
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
        // With room to spare, since the decoder asks for a little more than it needs.
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
    /// It was given, and stays in memory as long as this does.
    Given(AcctKey),
    /// It stands in an environment variable of this name, which is read each time the acct file is, so that
    /// no second copy of it stays in memory.
    Environment(String),
    /// It stands in a file, which is read each time the acct file is.
    File(PathBuf),
}

impl KeySource {
    /// Who besides its owner can read a key file that is taken nevertheless, such as "group ssl-cert". The
    /// directories above count too: what nobody can reach nobody can read.
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
    /// One sentence on a key file that cannot be read, that other users can read or write, that is empty or too
    /// large for one, or on a variable
    /// that is not there.
    pub fn key(&self) -> Result<AcctKey, String> {
        let path = match self {
            Self::Given(key) => return Ok(key.clone()),
            Self::Environment(name) => return from_environment(name),
            Self::File(path) => path,
        };
        let refused = |found: &str| {
            format!(
                "found {found} as key file {}, expected a file with the key on its first line; check --acct-key-file",
                path.display()
            )
        };
        let mut content = Zeroizing::new(Vec::new());
        read_key(path, MAX_KEY_FILE, &mut content).map_err(|denied| match denied {
            Denied::Distrusted(sentence) => sentence,
            Denied::NotRead(error) => match error {
                NotRead::Absent => refused("no file"),
                NotRead::Is(kind) => refused(&kind.to_string()),
                NotRead::Forbidden => refused("a file this user may not read"),
                NotRead::TooLarge => refused("a file of more than 4 KiB"),
                NotRead::Endless => refused("a pipe that does not end"),
                NotRead::Drained => refused("a pipe with nothing in it"),
                error @ NotRead::NoneLeft(_) => format!("key file {}: {error}", path.display()),
                NotRead::Failed(error) => refused(&format!("a file that cannot be read ({error})")),
            },
        })?;
        let text = std::str::from_utf8(&content).map_err(|_| refused("bytes that are no text"))?;
        match text.trim_start().lines().next().map(AcctKey::new) {
            Some(key) if !key.reveal().is_empty() => Ok(key),
            _ => Err(refused("an empty file")),
        }
    }
}

fn from_environment(name: &str) -> Result<AcctKey, String> {
    let text = std::env::var(name).map(Zeroizing::new).map_err(|error| {
        // What is not text is in the error, and may be a key that was cut.
        if let std::env::VarError::NotUnicode(text) = error {
            drop(Zeroizing::new(text.into_encoded_bytes()));
        }
        format!("found no text in the environment variable {name}, expected the key of the acct file; set it, or give --acct-key-file")
    })?;
    Ok(AcctKey::new(&text))
}
