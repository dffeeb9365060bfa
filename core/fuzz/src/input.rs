//! The meaning of an input: a stream, and the pieces in which it arrives.

/// The most pieces of a stream: each costs a system call.
const MAX_PIECES: usize = 48;

/// An input with its three bytes of settings taken off.
#[derive(Debug)]
pub struct Input<'a> {
    /// Chooses between what a target can do.
    pub mode: u8,
    seed: u8,
    /// Kibibytes of a sound frame that go before the stream, so that its parts come to lie across
    /// the ends of the host's read buffer.
    pub stuffing: usize,
    /// What is sent.
    pub stream: &'a [u8],
}

impl<'a> Input<'a> {
    /// Reads the settings.
    pub fn read(input: &'a [u8]) -> Self {
        let (settings, stream) = input.split_at(input.len().min(3));
        let setting = |at: usize| settings.get(at).copied().unwrap_or(0);
        Self {
            mode: setting(0),
            seed: setting(1),
            // Rarely, because it takes long.
            stuffing: usize::from(setting(2).saturating_sub(0xe0)) * 5,
            stream,
        }
    }

    /// The stream in pieces: one, single bytes as far as that goes, or by chance.
    pub fn pieces<'b>(&self, stream: &'b [u8]) -> Vec<&'b [u8]> {
        let longest = match self.seed {
            0 => stream.len(),
            1 => 1,
            seed => usize::from(seed),
        };
        let mut random = u32::from(self.seed) << 8 | u32::from(self.mode) | 1;
        let (mut pieces, mut rest) = (Vec::new(), stream);
        while !rest.is_empty() {
            random = random.wrapping_mul(0x0101_4a5d).wrapping_add(0x3c6e_f35f);
            let len = 1 + (random >> 16) as usize % longest;
            let len = if pieces.len() + 1 == MAX_PIECES || self.seed == 0 {
                rest.len()
            } else {
                len.min(rest.len())
            };
            let (piece, after) = rest.split_at(len);
            pieces.push(piece);
            rest = after;
        }
        pieces
    }
}
