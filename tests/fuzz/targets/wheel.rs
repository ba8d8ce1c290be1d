//! Fuzzes the property [`jeton_fuzz::wheel`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jeton_fuzz::wheel::check(bytes));
