//! Fuzzes the property [`jeton_fuzz::body`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jeton_fuzz::body::check(bytes));
