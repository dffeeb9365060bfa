//! Fuzzes expressions and templates; see [`evbus_fuzz::expressions`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| evbus_fuzz::expressions::check(input));
