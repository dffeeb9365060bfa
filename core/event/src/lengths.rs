//! Lengths as text, so that they fit into the memory of other texts.

/// What a length takes: five ASCII characters of seven bits each.
pub(super) const BYTES: usize = 5;

/// Appends a length below 2^35, which is more than a body may have.
pub(super) fn write(length: usize, text: &mut String) {
    for place in 0..BYTES {
        let bits = (length >> (7 * place)) & 0x7f;
        // Seven bits are one ASCII character.
        text.push(char::from(u8::try_from(bits).unwrap_or_default()));
    }
}

/// The lengths, two by two.
pub(super) fn read(text: &str) -> impl ExactSizeIterator<Item = (usize, usize)> {
    let length = |bytes: &[u8]| {
        let bits = bytes.iter().rev();
        bits.fold(0, |length, bits| (length << 7) | usize::from(*bits))
    };
    text.as_bytes().chunks_exact(2 * BYTES).map(move |pair| {
        let (first, second) = pair.split_at(BYTES);
        (length(first), length(second))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_they_were_written() {
        let lengths = [
            0,
            1,
            127,
            128,
            300,
            1 << 20,
            100 * 1024 * 1024,
            (1 << 35) - 1,
        ];
        let mut text = String::new();
        for length in lengths {
            write(length, &mut text);
        }
        let found: Vec<usize> = read(&text).flat_map(<[usize; 2]>::from).collect();
        assert_eq!(found, lengths);
    }
}
