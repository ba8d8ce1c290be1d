//! Fuzzes the property [`jeton_fuzz::lane`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jeton_fuzz::lane::check(bytes));
