#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lastunit_fuzz::csv_import(input));
