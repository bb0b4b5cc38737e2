//! How much memory destinations and subscriptions take while they stand there, by what they are made of.
//!
//! Estimates from measurements of a running daemon, rather too high than too low. What batches and compiled
//! regular expressions take is counted elsewhere.

/// A destination with its task, its client and a connection, in bytes: measured with 500 of AWS's, rounded up.
pub const DESTINATION_BYTES: usize = 48 << 10;

/// Most bytes that what was made through the API may take if nothing else is set: 10,000 subscriptions with a
/// short filter each, or 1,000 destinations.
pub const DEFAULT_API_MEMORY: usize = 64 << 20;

/// A subscription without its sources, with its places in dispatch and in the lists.
const SUBSCRIPTION: usize = 2 << 10;

/// A source without filter and fields.
const SOURCE: usize = 512;

/// What each byte of a filter's text becomes: tree, program and index. Ordinary filters take 12; `contains`
/// with many short texts takes 28, nested lists 30.
const EACH_FILTER_BYTE: usize = 32;

/// A chosen field: its path, and its place in the projection.
const FIELD: usize = 256;

/// What a source takes, by the length of its filter and the number of its fields.
#[must_use]
pub const fn source_bytes(filter: usize, fields: usize) -> usize {
    SOURCE + EACH_FILTER_BYTE * filter + FIELD * fields
}

/// What a subscription takes, in bytes, by what its sources take.
pub fn subscription_bytes(sources: impl Iterator<Item = usize>) -> usize {
    SUBSCRIPTION + sources.sum::<usize>()
}

impl super::Subscription {
    /// What it takes, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        subscription_bytes(self.sources.iter().map(|source| {
            let text = source.filter.as_ref().map_or(0, |filter| filter.text().len());
            source_bytes(text, source.fields.as_ref().map_or(0, Vec::len))
        }))
    }
}
