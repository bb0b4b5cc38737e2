//! Sluicegate: an event subscription daemon.
//!
//! The map, in reading order. A room imports only from rooms before it, and only through that
//! room's `mod.rs`; `tests/it` has a test that fails on an import that points backwards.

/// The settings file: a tree in which every value knows its place, and its decoder.
pub mod config;
/// What happened: envelope, event types and their fields, JSON scanning and extraction.
pub mod event;
/// What to let through: CEL filters, from text to yes or no.
pub mod filter;
/// How mistakes are shown: place, caret, nearest name.
pub mod report;
/// All that is known of each kind of target: settings, limits, request, verdict on each record.
pub mod sinks;
