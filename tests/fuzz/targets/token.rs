//! Fuzzes the property [`jeton_fuzz::token`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jeton_fuzz::token::check(bytes));
