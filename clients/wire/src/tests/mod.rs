mod frames;
pub(crate) mod random;
