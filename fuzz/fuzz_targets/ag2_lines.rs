#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::ag2_lines(data));
