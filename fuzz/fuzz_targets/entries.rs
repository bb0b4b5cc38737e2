//! Calls `bodies::entries` with whatever bytes the fuzzer thinks of.

#![no_main]

#[path = "../entries.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::entries(bytes));
