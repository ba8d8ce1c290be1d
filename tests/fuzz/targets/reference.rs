//! Fuzzes the property [`jeton_fuzz::reference`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jeton_fuzz::reference::check(bytes));
