//! What the development commands share with the tests of the other crates: the programs they need
//! from the system, and private brokers to test against.

pub mod brokers;
pub mod system;
