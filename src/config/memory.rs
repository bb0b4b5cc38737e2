//! How much memory a daemon with these settings takes at most, part by part, so that whoever sets a
//! container's limit need not guess. Sums of bounds that are enforced elsewhere; it enforces nothing.

use super::Config;
use crate::api;
use crate::journal::{CACHE_BYTES, Durability};

/// The program itself: code, threads' stacks, tables of 55 event types, the store, TLS, what the
/// allocator keeps; measured at rest and rounded up.
const PROGRAM: u64 = 64 << 20;

/// What Kafka's client holds in messages that wait (16 MiB) and are being fetched (8 MiB), and what is
/// made of those that are taken in.
const KAFKA: u64 = 96 << 20;

/// A batch takes its records' bytes, the encoded request's, and a copy that the client of the service
/// makes.
const COPIES_OF_A_BATCH: u64 = 3;

/// A part of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPart {
    /// What takes it.
    pub name: &'static str,
    /// Most bytes.
    pub bytes: u64,
}

impl Config {
    /// The parts of the memory that a daemon with these settings takes at most.
    #[must_use]
    pub fn memory(&self) -> Vec<MemoryPart> {
        let part = |name, bytes| MemoryPart { name, bytes };
        let journal = match self.journal.durability {
            Durability::Disk => CACHE_BYTES,
            Durability::Memory => self.journal.max_bytes,
        };
        let batches = self.resources.destinations().iter().map(|destination| {
            let at_a_time = destination.target.limits().in_flight as u64 + 1;
            COPIES_OF_A_BATCH * at_a_time * destination.batch.max_bytes as u64
        });
        let mut parts = vec![part("the program", PROGRAM), part("journal", journal as u64)];
        if let Some(http) = &self.ingest {
            parts.push(part("bodies of events", http.max_memory as u64));
        }
        if self.kafka.is_some() {
            parts.push(part("Kafka", KAFKA));
        }
        parts.push(part("bodies of the API", api::MAX_MEMORY as u64));
        parts.push(part("batches on their way", batches.sum()));
        parts
    }
}
