//! The settings file: YAML, TOML or JSON read into one tree in which every value knows its place,
//! references to the environment filled in, and a decoder that collects all mistakes.
//!
//! ```
//! use sluicegate::config::{Document, Format, Section};
//!
//! struct Batch {
//!     max_records: u64,
//! }
//!
//! fn batch(section: &mut Section<'_>) -> Option<Batch> {
//!     let max_records = section.optional("max_records").number(1..=500);
//!     Some(Batch { max_records: max_records.unwrap_or(500) })
//! }
//!
//! let text = "batch:\n  max_record: 100\n";
//! let document = Document::parse("s.yaml", text.to_owned(), Format::Yaml, &|_| None).unwrap();
//! let mistakes = document.decode(|root| root.required("batch").section(batch)).err().unwrap();
//! assert_eq!(
//!     mistakes.to_string(),
//!     "\
//! s.yaml:2:3: unknown setting `max_record` in `batch`
//!   |
//! 2 |   max_record: 100
//!   |   ^^^^^^^^^^
//!   = help: did you mean `max_records`?
//!
//! 1 mistake in s.yaml"
//! );
//! ```
//!
//! Its files in the order of the data: `document` opens and drives; `yaml`, `toml` and `json` make a
//! `tree`; `interpolate` fills it in; `settings` (with `listeners`, `resources` and `targets`) asks `decode` (through `door`, with
//! `units` of the resources) for what it holds, and `machine` whether it can be had there; all speak through `mistakes`.
//! Nothing that came from the environment or from a file that a setting names is ever printed.

mod control;
mod decode;
mod document;
mod door;
mod formats;
mod interpolate;
mod json;
mod kafka;
mod listeners;
mod loose;
mod machine;
mod memory;
mod mistakes;
mod reference;
mod resources;
mod scalar;
mod settings;
mod targets;
mod text;
mod toml;
mod tree;
mod yaml;

#[cfg(test)]
mod golden;

pub use crate::resources::{duration, show_duration, show_size, size};
pub use decode::{Section, Setting, TextOr};
pub use document::{Document, Format, MAX_FILE, load};
pub use interpolate::{MAX_FILLED, Referenced, Stamp};
pub use mistakes::{MAX_SHOWN, Mistake, Mistakes};
pub use reference::reference;
pub use resources::FilterText;
pub use settings::{Config, SCHEMA};
pub use text::Text;
pub use tree::{Key, MAX_ALIASED, MAX_NESTING, MAX_NODES, Node, Value};
