//! Fuzzes the property [`jeton_fuzz::duration`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jeton_fuzz::duration::check(bytes));
