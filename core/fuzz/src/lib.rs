//! Fuzz targets for what any program may send to a host.
//!
//! A target is a function of bytes that panics where the project breaks a promise: [`frames`] for
//! the frame decoder, [`pull`] for a whole host behind its sockets. Both hold what they see against
//! [`model`], which reads the same format in another way. `cargo xtask fuzz` runs them with
//! libFuzzer; the tests of this crate replay the kept corpus with an ordinary build.

pub mod frames;
pub mod input;
pub mod model;
pub mod pull;
pub mod same;
