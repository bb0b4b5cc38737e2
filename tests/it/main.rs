//! The one integration binary: it starts the real daemon and talks to it as users do.
//!
//! Real parts where users have them (moto for AWS); a fake service only for faults that moto cannot
//! make, and Kafka as Apache's and in three other makes. Tests that need something absent on this machine say so in a line and pass.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits for processes by sleeping"
)]

#[cfg(feature = "kafka")]
mod apache_kafka;
mod api_commands;
mod aws;
mod azure;
mod callback;
mod cel_conformance;
mod cloudevents;
mod command_line;
mod control;
mod cost;
mod credentials;
mod datadog;
mod dead_letters;
mod dead_letters_asked;
mod delivery;
mod doctor;
mod documents;
mod doubt;
mod draining;
mod entrances;
#[cfg(feature = "envoy")]
mod envoy;
mod errors;
mod faults;
mod filters;
mod fleet;
mod full_disk;
mod fuzz;
mod fuzz_api;
mod hostile;
mod ingest;
mod journal;
mod judged;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod kafka_target;
mod kinesis;
mod ledger;
mod life;
mod log_files;
mod log_streams;
mod mapped;
mod moving;
mod ngrok;
mod operations;
mod packing;
mod policy;
mod proxies;
mod refusals;
#[cfg(feature = "kafka")]
mod relay;
mod reload;
mod replay;
mod settings;
mod shares;
mod splunk_hec;
mod support;
mod switches;
mod tidy;
mod tidy_circles;
mod tls;
mod webhooks;
