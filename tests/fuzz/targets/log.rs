//! Fuzzes the property [`jeton_fuzz::log`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jeton_fuzz::log::check(bytes));
