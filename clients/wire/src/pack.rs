//! Writes msgpack in its shortest forms.

use rmp::encode;

/// Why the results below may be dropped: a `Vec` takes every byte, so writing to it cannot fail.
fn into_vec<T, E>(_: Result<T, E>) {}

pub(crate) fn nil(out: &mut Vec<u8>) {
    into_vec(encode::write_nil(out));
}

pub(crate) fn bool(out: &mut Vec<u8>, value: bool) {
    into_vec(encode::write_bool(out, value));
}

pub(crate) fn uint(out: &mut Vec<u8>, value: u64) {
    into_vec(encode::write_uint(out, value));
}

pub(crate) fn int(out: &mut Vec<u8>, value: i64) {
    into_vec(encode::write_sint(out, value));
}

pub(crate) fn float(out: &mut Vec<u8>, value: f64) {
    into_vec(encode::write_f64(out, value));
}

pub(crate) fn str(out: &mut Vec<u8>, text: &[u8]) {
    match u8::try_from(text.len()) {
        // Most texts are short.
        Ok(len @ 0..32) => out.push(0xa0 | len),
        _ => into_vec(encode::write_str_len(out, length(text.len()))),
    }
    out.extend_from_slice(text);
}

pub(crate) fn bin(out: &mut Vec<u8>, bytes: &[u8]) {
    bin_head(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Announces `len` bytes that the caller writes.
pub(crate) fn bin_head(out: &mut Vec<u8>, len: usize) {
    into_vec(encode::write_bin_len(out, length(len)));
}

pub(crate) fn map(out: &mut Vec<u8>, pairs: u32) {
    into_vec(encode::write_map_len(out, pairs));
}

pub(crate) fn array(out: &mut Vec<u8>, items: u32) {
    into_vec(encode::write_array_len(out, items));
}

/// Bodies are bounded far below 4 GiB before they get here.
fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
