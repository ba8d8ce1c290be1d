//! Fuzzes the property [`jeton_fuzz::resp`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jeton_fuzz::resp::check(bytes));
