//! How much memory a daemon with these settings takes at most, part by part, so that whoever sets a
//! container's limit need not guess. Sums of bounds that are enforced elsewhere; it enforces nothing.

use super::Config;
use crate::api;
use crate::budget::{POOL_BYTES, RESERVE};
use crate::filter::{MAX_LAZY_CACHES_BYTES, compiled_bytes};
use crate::ingest::ENVOY_MEMORY;
use crate::journal::{CACHE_BYTES, Durability, readers_bytes};
use crate::resources::{DEFAULT_API_MEMORY, DESTINATION_BYTES, MAX_COMPILED_BY_API};

/// The program itself: code, threads' stacks, tables of 55 event types, the store, TLS, what the
/// allocator keeps; measured at rest, where it is 40 MiB, and rounded up.
const PROGRAM: u64 = 56 << 20;

/// What Kafka's client holds in messages that wait (16 MiB) and are being fetched (8 MiB), and what is
/// made of those that are taken in.
const KAFKA: u64 = 96 << 20;

/// Lines of one log file at a time, up to the longest, with their events and records.
const FILES: u64 = 16 << 20;

/// Most that a connection of Envoy's takes in windows and buffers.
const OF_AN_ENVOY: u64 = 192 << 10;

/// The events of 32 of its messages at a time, with their records.
const ENVOY_EVENTS: u64 = 32 << 20;

/// A record on its way takes its own bytes, those of the encoded request, and a copy that the client of
/// the service makes.
const COPIES_OF_A_RECORD: u64 = 3;

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
        let largest = self.largest_event();
        // One may be read beside the pool, and one that is larger than the pool's reserve is.
        let beyond_pool = largest + largest.saturating_sub(RESERVE);
        let on_their_way = COPIES_OF_A_RECORD * (POOL_BYTES + beyond_pool) as u64;
        // Those of the settings are compiled already.
        let filters = (compiled_bytes() + MAX_COMPILED_BY_API + MAX_LAZY_CACHES_BYTES) as u64;
        let destinations = DESTINATION_BYTES * self.resources.destinations().len();
        let subscriptions = self.resources.subscriptions().iter().map(|it| it.memory());
        let resources = (destinations + subscriptions.sum::<usize>()) as u64;
        let of_api = self.resources.api_memory.unwrap_or(DEFAULT_API_MEMORY) as u64;
        let of_ingest = self.ingest.iter().map(|it| it.connections.memory(it.tls.is_some()));
        let of_listeners = of_ingest.chain([self.api.connections.memory(self.api.tls.is_some())]);
        let connections = of_listeners.sum::<usize>() as u64;
        let mut parts = vec![part("the program", PROGRAM), part("journal", journal as u64)];
        if self.journal.durability == Durability::Disk {
            parts.push(part("reading the journal", readers_bytes(largest) as u64));
        }
        parts.push(part("connections", connections));
        if let Some(http) = &self.ingest {
            parts.push(part("bodies of events", http.max_memory as u64));
        }
        if let Some(relay) = self.ingest.as_ref().and_then(|http| http.relay.as_ref()) {
            parts.push(part("relay", relay.to.queue_bytes()));
        }
        if self.kafka.is_some() {
            parts.push(part("Kafka", KAFKA));
        }
        let held = self.resources.destinations().iter().map(|it| it.target.held_bytes()).sum();
        if held > 0 {
            parts.push(part("queues of targets", held));
        }
        if !self.files.is_empty() {
            parts.push(part("log files", FILES));
        }
        if let Some(syslog) = &self.syslog {
            parts.push(part("syslog", syslog.memory() as u64));
        }
        if let Some(envoy) = &self.envoy {
            let connections = envoy.connections.max_connections as u64 * OF_AN_ENVOY;
            parts.push(part("Envoy's streams", ENVOY_MEMORY as u64 + ENVOY_EVENTS + connections));
        }
        let of_requests = api::MAX_MEMORY + api::MAX_ANSWERS;
        parts.push(part("bodies and answers of the API", of_requests as u64));
        parts.push(part("regular expressions", filters));
        parts.push(part("destinations and subscriptions", resources));
        parts.push(part("what the API makes", of_api));
        parts.push(part("records on their way", on_their_way));
        parts
    }

    /// The largest event that any entrance takes, in bytes.
    fn largest_event(&self) -> usize {
        let of_http = self.ingest.iter().map(|it| it.max_event);
        let of_others = self.kafka.iter().map(|it| it.max_event);
        let of_lines = self.syslog.iter().map(|it| it.max_event);
        let of_files = self.files.iter().map(|it| it.max_event);
        let all = of_http.chain(of_others).chain(of_lines).chain(of_files);
        all.chain(self.stdin.iter().map(|it| it.max_event)).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Document, Format};

    fn most(text: &str) -> u64 {
        let document = Document::parse("s.yaml", text.to_owned(), Format::Yaml, &|_| None);
        let parts = Config::read(&document.unwrap()).unwrap().memory();
        // Those that other tests have compiled are none of these settings'.
        let besides_filters = parts.iter().filter(|part| part.name != "regular expressions");
        let filters = (MAX_COMPILED_BY_API + MAX_LAZY_CACHES_BYTES) as u64;
        besides_filters.map(|part| part.bytes).sum::<u64>() + filters
    }

    fn destinations(count: usize) -> String {
        let of = |at| {
            format!(
                "  - {{ id: d{at}, target: {{ kinesis: {{ stream_arn: 'arn:aws:kinesis:us-east-1:123456789012:stream/s' }} }} }}\n"
            )
        };
        format!("destinations:\n{}", (0..count).map(of).collect::<String>())
    }

    #[test]
    fn the_defaults_stay_below_512_mib_however_many_destinations_there_are() {
        for count in [1, 20, 100] {
            let bytes = most(&destinations(count));
            assert!(bytes < 512 << 20, "{count}: {} MiB", bytes >> 20);
        }
    }

    #[test]
    fn larger_events_take_more() {
        let text = "ingest: { http: { max_event: 8MiB } }\n";
        assert!(most(text) > most("data_dir: d\n") + (16 << 20));
    }
}
