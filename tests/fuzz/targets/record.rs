//! Fuzzes the property [`jeton_fuzz::record`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jeton_fuzz::record::check(bytes));
