//! Fuzzes the frame decoder; see [`evbus_fuzz::frames`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| evbus_fuzz::frames::check(input));
