//! Calls `bodies::acl` with whatever bytes the fuzzer thinks of.

#![no_main]

#[path = "../bodies.rs"]
#[allow(dead_code, reason = "each target uses one of the bodies")]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::acl(bytes));
