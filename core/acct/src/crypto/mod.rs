//! The two ciphers of acct files, as acct for Python writes and reads them.
//!
//! A file is the data as msgpack (`pack`), encrypted and signed whole. Which cipher it was is detected
//! from the content, because neither leaves any other trace.

mod aesgcm256;
mod fernet;
mod key;

use std::fmt;
use std::str::FromStr;

use zeroize::{Zeroize as _, Zeroizing};

pub use key::{AcctKey, KeySource};

/// More stack than the ciphers need, in bytes, and much less than any thread has.
const STACK: usize = 128 * 1024;

/// How an acct file is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cipher {
    /// A fernet token: AES-128-CBC with HMAC-SHA256, as text.
    #[default]
    Fernet,
    /// AES-256-GCM: 12 bytes of nonce, then the ciphertext and its tag.
    Aesgcm256,
}

/// Why a file could not be encrypted or decrypted, as one sentence without a place: what happened, and
/// what to do. It contains nothing of the key or the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The key does not have the form of a key.
    #[error(
        "the key is not 32 bytes in base64; use the key that was printed when the file was encrypted (--acct-key-file, --acct-key or ACCT_KEY)"
    )]
    Key,
    /// The file is encrypted, but no key was given.
    #[error(
        "the file is encrypted with {0}, but no key was given; use --acct-key-file, ACCT_KEY or --acct-key"
    )]
    NoKey(Cipher),
    /// A key was given, but the file is not encrypted.
    #[error(
        "a key was given, but the file is not encrypted; encrypt it with `evbus acct encrypt`, or remove --acct-key-file, --acct-key and ACCT_KEY"
    )]
    NotEncrypted,
    /// The file does not have the structure of its cipher.
    #[error(
        "the file is truncated or damaged: it is not valid {0} data; copy it again, or restore it from a backup"
    )]
    Damaged(Cipher),
    /// The signature does not match the key and the content.
    #[error(
        "wrong key, or the file is damaged: {0} decryption failed; check the key (--acct-key-file, --acct-key or ACCT_KEY), and that the file is complete and unchanged"
    )]
    WrongKey(Cipher),
    /// The system provides no random numbers.
    #[error("the system provides no random numbers ({0}); see the system log")]
    Random(String),
}

impl Cipher {
    /// Its name in acct, which is also the extension of encrypted files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fernet => "fernet",
            Self::Aesgcm256 => "aesgcm256",
        }
    }

    /// The cipher that a file was encrypted with; `None` for text.
    pub fn of(content: &[u8]) -> Option<Self> {
        if fernet::is_token(content) {
            return Some(Self::Fernet);
        }
        let is_text = std::str::from_utf8(content).is_ok_and(|text| {
            !text.contains(|c: char| c.is_control() && !"\t\n\r\u{85}".contains(c))
        });
        // The shortest encrypted file is 28 random bytes; the chance that these are text is one in billions.
        (!is_text).then_some(Self::Aesgcm256)
    }

    /// Makes a key for this cipher.
    ///
    /// # Errors
    ///
    /// The system provides no random numbers.
    pub fn generate_key(self) -> Result<AcctKey, CryptoError> {
        wiping_the_stack(|| {
            let mut bytes = Zeroizing::new([0; key::KEY_BYTES]);
            random(bytes.as_mut_slice())?;
            Ok(AcctKey::from_bytes(&bytes, self))
        })
    }

    /// Encrypts what [`pack`](super::pack) made.
    pub(super) fn encrypt(self, key: &AcctKey, plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
        wiping_the_stack(|| {
            let key = key.bytes().ok_or(CryptoError::Key)?;
            match self {
                Self::Fernet => fernet::encrypt(&key, plain),
                Self::Aesgcm256 => aesgcm256::encrypt(&key, plain),
            }
        })
    }

    /// Decrypts a file's content.
    pub(super) fn decrypt(
        self,
        key: &AcctKey,
        content: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        wiping_the_stack(|| {
            let key = key.bytes().ok_or(CryptoError::Key)?;
            match self {
                Self::Fernet => fernet::decrypt(&key, content),
                Self::Aesgcm256 => aesgcm256::decrypt(&key, content),
            }
        })
    }
}

/// Runs work that has a key in its variables, then overwrites the part of the stack that it used: types that wipe
/// themselves leave copies behind when they are moved, and the ciphers' own variables are not wiped.
fn wiping_the_stack<T>(work: impl FnOnce() -> T) -> T {
    // Neither may be inlined: both must use the same part of the stack.
    #[inline(never)]
    fn run<T>(work: impl FnOnce() -> T) -> T {
        work()
    }
    #[inline(never)]
    #[expect(clippy::large_stack_arrays, reason = "it covers what was used")]
    fn wipe() {
        let mut used = [0_u8; STACK];
        used.zeroize();
        std::hint::black_box(&used);
    }
    let result = run(work);
    wipe();
    result
}

fn random(bytes: &mut [u8]) -> Result<(), CryptoError> {
    getrandom::fill(bytes).map_err(|error| CryptoError::Random(error.to_string()))
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Cipher {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Fernet, Self::Aesgcm256]
            .into_iter()
            .find(|cipher| cipher.name() == name)
            .ok_or_else(|| "expected fernet or aesgcm256".to_owned())
    }
}
