//! Fuzzes the property [`jeton_fuzz::http`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jeton_fuzz::http::check(bytes));
