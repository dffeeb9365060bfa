//! The checksum of a log, and finding the flipped bit of a frame from it.

use super::FRAME_HEADER;

/// The two running sums of the checksum.
pub(super) type Sum = (u32, u32);

pub(super) fn checksum(bytes: &[u8], sum: Sum, big_endian: bool) -> Sum {
    bytes.chunks_exact(8).fold(sum, |(one, two), chunk| {
        let one = one
            .wrapping_add(word(&chunk[..4], big_endian))
            .wrapping_add(two);
        (
            one,
            two.wrapping_add(word(&chunk[4..], big_endian))
                .wrapping_add(one),
        )
    })
}

fn word(bytes: &[u8], big_endian: bool) -> u32 {
    let word = u32_at(bytes, 0);
    if big_endian { word } else { word.swap_bytes() }
}

/// The flipped bit of a frame.
pub(super) enum Flip {
    /// In the word at this position, whose right value is this.
    One(usize, u32),
    Several,
    None,
}

/// Chooses among the words that may contain the flipped bit. `is_last`: the frame is the last of its log.
pub(super) fn choose(found: &[(usize, u32)], frame: &[u8], is_last: bool) -> Flip {
    // A log ends with a commit: if the last frame is not one, the flipped bit is in its mark of a commit.
    let commit = found.iter().find(|(at, _)| *at == 4);
    match (found, commit) {
        ([], _) => Flip::None,
        ([(at, word)], _) => Flip::One(*at, *word),
        (_, Some((at, word))) if is_last && frame[4..8] == [0; 4] => Flip::One(*at, *word),
        _ => Flip::Several,
    }
}

/// Finds the words of a frame that may contain the flipped bit, and their right values: each makes the checksum the
/// stored one. Words are big-endian, as in the format.
///
/// The checksum is linear in the words: a bit changes it by its
/// own value times the weight of the word, which follows from its position alone. So little is left of the upper bits
/// of words in 32 bits that many positions have the same effect.
pub(super) fn flip_back(
    frame: &[u8],
    computed: Sum,
    stored: Sum,
    big_endian: bool,
) -> Vec<(usize, u32)> {
    let missing = (
        stored.0.wrapping_sub(computed.0),
        stored.1.wrapping_sub(computed.1),
    );
    // The weights of the last chunk's two words in the sums; `earlier` derives those of the chunk before.
    let mut counts: [Sum; 2] = [(1, 1), (0, 1)];
    let earlier = |(one, two): Sum| {
        let one = one.wrapping_add(two);
        (one, one.wrapping_add(two))
    };
    let chunks = (FRAME_HEADER..frame.len()).step_by(8).rev().chain([0]);
    let mut found = Vec::new();
    for chunk in chunks {
        for (at, count) in [(chunk, counts[0]), (chunk + 4, counts[1])] {
            let now = word(&frame[at..at + 4], big_endian);
            for bit in 0..32 {
                let flipped = now ^ (1 << bit);
                let by = flipped.wrapping_sub(now);
                if (count.0.wrapping_mul(by), count.1.wrapping_mul(by)) == missing {
                    let flipped = if big_endian {
                        flipped
                    } else {
                        flipped.swap_bytes()
                    };
                    found.push((at, flipped));
                }
            }
        }
        counts = counts.map(earlier);
    }
    found
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
