//! Calls `bodies::disk` with whatever bytes the fuzzer thinks of.

#![no_main]

#[path = "../disk.rs"]
#[allow(dead_code, reason = "the corpus is for the tests")]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::disk(bytes));
