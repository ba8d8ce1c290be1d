//! Fuzzes the property [`jeton_fuzz::frame`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jeton_fuzz::frame::check(bytes));
