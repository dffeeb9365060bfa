//! Texts as JSON strings, copied in whole spans, and where such a span ends.

use crate::MAX_BODY_BYTES;

/// Writes a text as a JSON string, with the escapes that `serde_json` writes. Stops early once `out` is longer
/// than a body may be. Whether the text is UTF-8 is for others to check.
pub(super) fn write(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = next_special(bytes, at) {
        out.extend_from_slice(&bytes[copied..found]);
        escape(bytes[found], out);
        at = found + 1;
        copied = at;
        if out.len() > MAX_BODY_BYTES {
            return;
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Where the next byte is that a string cannot have as it is: a quote, a backslash, a control character.
#[inline]
pub(crate) fn next_special(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let mut words = rest.chunks_exact(8);
    let mut at = from;
    for word in &mut words {
        // A chunk has eight bytes.
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        let is_low = word.wrapping_sub(LOW * 0x20);
        let quote = word ^ (LOW * u64::from(b'"'));
        let backslash = word ^ (LOW * u64::from(b'\\'));
        let is_zero = quote.wrapping_sub(LOW) & !quote | backslash.wrapping_sub(LOW) & !backslash;
        // A borrow can mark a byte above one that is special, never one below it.
        let found = (is_low & !word | is_zero) & HIGH;
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let tail = words.remainder();
    tail.iter()
        .position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')
        .map(|found| at + found)
}

#[cold]
fn escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(DIGITS[usize::from(byte >> 4)]);
            out.push(DIGITS[usize::from(byte & 15)]);
            return;
        }
    };
    out.push(b'\\');
    out.push(short);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_as_serde_json_writes_it() {
        let special: Vec<char> = (0..=0xa0).filter_map(char::from_u32).collect();
        for before in 0..18 {
            for after in [0, 1, 7, 8, 9] {
                for c in special.iter().copied().chain(['é', '\u{2028}', '🎉']) {
                    let text = format!("{}{c}{}\n{c}", "x".repeat(before), "\u{1}".repeat(after));
                    let mut written = Vec::new();
                    write(text.as_bytes(), &mut written);
                    assert_eq!(written, serde_json::to_vec(&text).expect("it is a text"));
                }
            }
        }
    }
}
