//! Fuzzes the pull connection; see [`evbus_fuzz::pull`].
#![no_main]

use std::cell::RefCell;

use evbus_fuzz::pull::Bench;

thread_local! {
    /// libFuzzer passes all inputs on one thread.
    static BENCH: RefCell<Bench> = RefCell::new(Bench::start());
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| BENCH.with_borrow_mut(|bench| bench.check(input)));
