//! Fuzzes the property [`jeton_fuzz::size`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jeton_fuzz::size::check(bytes));
