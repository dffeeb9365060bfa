//! Fernet tokens: version, time, initialization vector, ciphertext and signature, all of it as text in
//! base64. The key's first half signs, its second half encrypts.

use std::time::{SystemTime, UNIX_EPOCH};

use aes::Aes128;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::key::KEY_BYTES;
use super::{Cipher, CryptoError};

const VERSION: u8 = 0x80;
const HALF: usize = KEY_BYTES / 2;
const IV_BYTES: usize = 16;
/// Version, time and initialization vector.
const HEADER: usize = 1 + 8 + IV_BYTES;
const SIGNATURE: usize = 32;
const BLOCK: usize = 16;

/// Whether this is a token, or a part of one: the version and the high bytes of the time make every token
/// begin with `gAAAA`.
pub(super) fn is_token(content: &[u8]) -> bool {
    let token = bare(content);
    token.starts_with(b"gAAAA")
        && token
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(byte))
}

/// A token without what editors, mail and shells add to it: a byte order mark, quotes, and line breaks.
fn bare(content: &[u8]) -> Vec<u8> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let content = content.trim_ascii();
    let quoted = |quote: u8| {
        let inner = content.strip_prefix(&[quote])?;
        inner.strip_suffix(&[quote])
    };
    let content = quoted(b'"').or_else(|| quoted(b'\'')).unwrap_or(content);
    let is_part = |byte: &u8| !byte.is_ascii_whitespace();
    content.iter().copied().filter(is_part).collect()
}

pub(super) fn encrypt(key: &[u8; KEY_BYTES], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
    // A clock before 1970 must not prevent encryption; nobody reads the time.
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let mut iv = [0; IV_BYTES];
    super::random(&mut iv)?;
    let (signing, encrypting) = halves(key);
    let mut token = vec![VERSION];
    token.extend_from_slice(&time.to_be_bytes());
    token.extend_from_slice(&iv);
    token.extend(
        cbc::Encryptor::<Aes128>::new((&*encrypting).into(), &iv.into())
            .encrypt_padded_vec::<Pkcs7>(plain),
    );
    let signature = signer(&signing, &token).finalize().into_bytes();
    token.extend_from_slice(&signature);
    Ok(URL_SAFE.encode(token).into_bytes())
}

/// Decrypts a token of any age, as acct does.
pub(super) fn decrypt(
    key: &[u8; KEY_BYTES],
    content: &[u8],
) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    const DAMAGED: CryptoError = CryptoError::Damaged(Cipher::Fernet);
    const WRONG_KEY: CryptoError = CryptoError::WrongKey(Cipher::Fernet);
    let mut token = URL_SAFE
        .decode(bare(content))
        .map(Zeroizing::new)
        .map_err(|_| DAMAGED)?;
    let ciphertext = token.len().checked_sub(HEADER + SIGNATURE);
    if token.first() != Some(&VERSION)
        || !ciphertext.is_some_and(|length| length > 0 && length % BLOCK == 0)
    {
        return Err(DAMAGED);
    }
    let (signing, encrypting) = halves(key);
    let (signed, signature) = token.split_at(token.len() - SIGNATURE);
    signer(&signing, signed)
        .verify_slice(signature)
        .map_err(|_| WRONG_KEY)?;
    let mut iv = [0; IV_BYTES];
    iv.copy_from_slice(&token[HEADER - IV_BYTES..HEADER]);
    let end = token.len() - SIGNATURE;
    let length = cbc::Decryptor::<Aes128>::new((&*encrypting).into(), &iv.into())
        .decrypt_padded::<Pkcs7>(&mut token[HEADER..end])
        .map_err(|_| DAMAGED)?
        .len();
    token.truncate(HEADER + length);
    token.drain(..HEADER);
    Ok(token)
}

/// The half that signs and the half that encrypts.
fn halves(key: &[u8; KEY_BYTES]) -> (Zeroizing<[u8; HALF]>, Zeroizing<[u8; HALF]>) {
    let mut halves = (Zeroizing::new([0; HALF]), Zeroizing::new([0; HALF]));
    halves.0.copy_from_slice(&key[..HALF]);
    halves.1.copy_from_slice(&key[HALF..]);
    halves
}

fn signer(key: &[u8; HALF], message: &[u8]) -> Hmac<Sha256> {
    let mut signer = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    signer.update(message);
    signer
}
