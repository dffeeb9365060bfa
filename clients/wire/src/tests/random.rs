/// Numbers that look random and are the same in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        let bytes = self.step().to_le_bytes();
        u32::from_le_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]) as usize % end
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.step().to_le_bytes()[3]
    }

    fn step(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
