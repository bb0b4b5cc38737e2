//! Sluicegate: an event subscription daemon.
//!
//! The map, in reading order. A room imports only from rooms before it, and only through that
//! room's `mod.rs`; a test in `tests/it` fails on an import that points backwards.

/// How mistakes are shown: place, caret, nearest name.
pub mod report;
/// What the daemon tells of itself: log set-up and the one list of metrics.
pub mod telemetry;
/// What happened: events, the catalog of their types and fields, JSON scanning and extraction.
pub mod event;
/// CEL: text → tree → checked tree → program → yes or no; knows nothing of I/O.
pub mod filter;
/// All that is known of each kind of target, one file a kind: settings, limits, request, verdicts.
pub mod sinks;
/// What users own: destinations and subscriptions, valid by construction.
pub mod resources;
/// The one log of records between senders and destinations; cursors and dead letters.
pub mod journal;
/// The life of an event: dispatch (one synchronous call) and delivery (one task a destination).
pub mod pipeline;
/// HTTP listeners in bounds: connections, time limits, bearer tokens, error answers.
pub mod http;
/// The entrances: events in over HTTP.
pub mod ingest;
/// The API listener: operations routes now, the control API later; translates, decides nothing.
pub mod api;
/// Settings file → validated settings, all mistakes reported at once.
pub mod config;
/// Opens, reloads, drains and stops everything; the only room that sees all others.
pub mod daemon;
/// The command line, one file a command.
pub mod cli;
