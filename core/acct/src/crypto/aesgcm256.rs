//! AES-256-GCM: a nonce of 12 bytes, then the ciphertext with its tag of 16.

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use zeroize::Zeroizing;

use super::key::KEY_BYTES;
use super::{Cipher, CryptoError};

const NONCE: usize = 12;
const TAG: usize = 16;

pub(super) fn encrypt(key: &[u8; KEY_BYTES], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut nonce = [0; NONCE];
    super::random(&mut nonce)?;
    // Room for the tag keeps the buffer from growing, so the plain text is in one place only, which is overwritten.
    let mut buffer = Vec::with_capacity(plain.len() + TAG);
    buffer.extend_from_slice(plain);
    Aes256Gcm::new(key.into())
        .encrypt_in_place(&nonce.into(), b"", &mut buffer)
        .expect("a file is shorter than the 64 GiB that one nonce is good for");
    Ok([nonce.as_slice(), &buffer].concat())
}

pub(super) fn decrypt(
    key: &[u8; KEY_BYTES],
    content: &[u8],
) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let Some((nonce, rest)) = content
        .split_first_chunk::<NONCE>()
        .filter(|(_, rest)| rest.len() >= TAG)
    else {
        return Err(CryptoError::Damaged(Cipher::Aesgcm256));
    };
    let mut buffer = Zeroizing::new(rest.to_vec());
    Aes256Gcm::new(key.into())
        .decrypt_in_place(nonce.into(), b"", &mut *buffer)
        .map_err(|_| CryptoError::WrongKey(Cipher::Aesgcm256))?;
    Ok(buffer)
}
