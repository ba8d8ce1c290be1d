//! Fuzzes the property [`jeton_fuzz::hot_path`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jeton_fuzz::hot_path::check(bytes));
