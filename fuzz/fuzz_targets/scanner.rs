#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ironwal_fuzz::run("scanner", input));
