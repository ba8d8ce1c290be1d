//! Fuzzes the property [`jeton_fuzz::legal`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jeton_fuzz::legal::check(bytes));
