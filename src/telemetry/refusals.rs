//! What is refused at the entrances: counted by code, and logged at most once a second a code.
//!
//! So the log tells of each kind of refusal and grows with no stranger's input. What to refuse, and the
//! answer, is for whoever refuses; codes are a short list in the program, so the counts are bounded too.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tracing::info;

use crate::lock::lock;

/// How often one code is logged at most.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// How much of a message is logged, in bytes: what a stranger sent may stand in it.
const MAX_LOGGED: usize = 1_000;

/// Where something comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entrance {
    /// The listener of `ingest.http`.
    Http,
    /// The topics of `ingest.kafka`.
    Kafka,
    /// Standard input.
    Stdin,
    /// The log files of `ingest.files`.
    Files,
    /// The messages of `ingest.syslog`.
    Syslog,
    /// The streams of `ingest.envoy`.
    Envoy,
    /// The listener of `api`.
    Api,
}

impl Entrance {
    /// Those of events.
    pub const OF_EVENTS: [Entrance; 6] = [
        Entrance::Http,
        Entrance::Kafka,
        Entrance::Stdin,
        Entrance::Files,
        Entrance::Syslog,
        Entrance::Envoy,
    ];

    /// The word for it in the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Entrance::Http => "http",
            Entrance::Kafka => "kafka",
            Entrance::Stdin => "stdin",
            Entrance::Files => "files",
            Entrance::Syslog => "syslog",
            Entrance::Envoy => "envoy",
            Entrance::Api => "api",
        }
    }
}

/// All that was refused since the process began.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<BTreeMap<&'static str, OfCode>>);

#[derive(Debug, Default)]
struct OfCode {
    counts: BTreeMap<Entrance, u64>,
    logged: Option<Instant>,
    /// Refusals since then.
    not_logged: u64,
}

impl Refusals {
    /// Counts so many refusals with a code, and logs them, with one's message, unless the code was logged
    /// within the last second.
    pub fn tell(&self, entrance: Entrance, code: &'static str, count: u64, message: impl Display) {
        let Some(not_logged) = self.note(entrance, code, count, Instant::now()) else { return };
        let entrance = entrance.name();
        let mut message = message.to_string();
        message.truncate(message.floor_char_boundary(MAX_LOGGED));
        info!(code, entrance, count, not_logged, "refused: {message}");
    }

    /// Counts; tells how many were not logged before this one if it is to be logged.
    fn note(
        &self,
        entrance: Entrance,
        code: &'static str,
        count: u64,
        now: Instant,
    ) -> Option<u64> {
        let mut all = lock(&self.0);
        let of_code = all.entry(code).or_default();
        *of_code.counts.entry(entrance).or_default() += count;
        if of_code.logged.is_some_and(|logged| now.saturating_duration_since(logged) < LOG_EVERY) {
            of_code.not_logged += count;
            return None;
        }
        of_code.logged = Some(now);
        Some(std::mem::take(&mut of_code.not_logged))
    }

    /// How many were refused at some entrances, by code.
    #[must_use]
    pub fn counts(&self, entrances: &[Entrance]) -> Vec<(&'static str, u64)> {
        let all = lock(&self.0);
        let counts = all.iter().map(|(code, of_code)| {
            (*code, entrances.iter().filter_map(|it| of_code.counts.get(it)).sum())
        });
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_logged_once_a_second_and_then_says_how_many_were_not() {
        let refusals = Refusals::default();
        let began = Instant::now();
        let note = |code, millis| {
            refusals.note(Entrance::Http, code, 2, began + Duration::from_millis(millis))
        };
        assert_eq!(note("ERR_SLUICEGATE_1001", 0), Some(0));
        assert_eq!(note("ERR_SLUICEGATE_1001", 1), None);
        assert_eq!(note("ERR_SLUICEGATE_1002", 2), Some(0), "another code");
        assert_eq!(note("ERR_SLUICEGATE_1001", 999), None);
        assert_eq!(note("ERR_SLUICEGATE_1001", 1_000), Some(4));
        assert_eq!(note("ERR_SLUICEGATE_1001", 2_500), Some(0));
    }

    #[test]
    fn what_is_refused_is_counted_where_it_was() {
        let refusals = Refusals::default();
        refusals.tell(Entrance::Http, "ERR_SLUICEGATE_1001", 3, "no JSON");
        refusals.tell(Entrance::Stdin, "ERR_SLUICEGATE_1001", 1, "no JSON");
        refusals.tell(Entrance::Api, "ERR_NGROK_202", 1, "no key");
        let ingest = refusals.counts(&[Entrance::Http, Entrance::Kafka, Entrance::Stdin]);
        assert_eq!(ingest, [("ERR_SLUICEGATE_1001", 4)]);
        assert_eq!(refusals.counts(&[Entrance::Api]), [("ERR_NGROK_202", 1)]);
    }
}
