//! Sluicegate: an event subscription daemon.
//!
//! The map, in reading order. A room imports only from rooms before it, and only through that
//! room's `mod.rs`; a test in `tests/it` fails on an import that points backwards. Those that tests,
//! benches and examples in comments use from outside are public; the others are for this crate alone,
//! and their comments say only what a name does not.
//!
//! - [`report`]: how mistakes are shown (place, caret, nearest name), and text from outside (escaped)
//! - [`errors`]: the one list of error codes: what each means and what to do about it
//! - `lock`: how a lock is taken whose holder panicked
//! - `private`: files and folders that are their owner's alone, made in one place
//! - `budget`: bytes that bodies may hold, counted as they come, and refused to one too many; the pool of
//!   what is read from the journal to be delivered, which one waits for
//! - `https`: our own HTTPS client, for the command line
//! - `telemetry`: what the daemon tells of itself: log set-up and the one list of metrics
//! - `supervision`: what becomes of the daemon's long work when it fails
//! - [`event`]: what happened: events, the catalog of their types, JSON scanning and extraction
//! - [`formats`]: access logs of proxies that people already run: a line in, an event out
//! - [`generate`]: made-up events for demos, measurements and tests, the same for the same seed
//! - [`filter`]: CEL: text → tree → checked tree → program → yes or no; knows nothing of I/O
//! - `form`: one form for each thing that people write, and the doors that read, write and describe it
//! - `kafka`: what all clients of Kafka have in common: properties, topics, a producer in bounds
//! - `sinks`: all that is known of each kind of target: settings, limits, request, verdicts
//! - [`resources`]: what users own: destinations and subscriptions, valid by construction
//! - `store`: what users made through the API, sealed, in one SQLite file or a fleet's PostgreSQL database
//! - [`journal`]: the one log of records between senders and destinations; cursors, dead letters
//! - `pipeline`: the life of an event: dispatch (one call) and delivery (one task a destination)
//! - `control`: the control plane: changes of resources, checked, saved, put into force, published
//! - `http`: HTTP listeners in bounds: connections, TLS, time limits, bearer tokens, error answers
//! - `ingest`: the entrances: events in over HTTP, from Kafka and on standard input
//! - `api`: the API listener: operations routes and the control API; who may ask, and how often
//! - [`config`]: settings file → validated settings, all mistakes reported at once
//! - `daemon`: opens, reloads, drains and stops everything; the only room that sees all others
//! - [`cli`]: the command line, one file a command

pub mod report;
pub mod errors;
mod lock;
mod private;
mod budget;
mod https;
mod telemetry;
mod supervision;
pub mod event;
pub mod formats;
pub mod generate;
pub mod filter;
mod form;
mod kafka;
mod sinks;
pub mod resources;
mod store;
pub mod journal;
mod pipeline;
mod control;
mod http;
mod ingest;
mod api;
pub mod config;
mod daemon;
pub mod cli;
