//! Fuzz targets for what any program may send to a host, and for expressions about events.
//!
//! A target is a function of bytes that panics where the project breaks a promise: [`frames`] for
//! the frame decoder, [`pull`] for a whole host behind its sockets, [`expressions`] for what operators write and what events
//! make of it. The first two hold what they see against [`model`], which reads the same format in another way. `cargo xtask fuzz` runs them with
//! libFuzzer; the tests of this crate replay the kept corpus with an ordinary build.

pub mod expressions;
pub mod frames;
pub mod input;
pub mod model;
pub mod pull;
pub mod same;
