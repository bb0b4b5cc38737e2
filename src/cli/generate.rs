//! `sluicegate generate`: realistic events as NDJSON, the same bytes for the same seed and start.

use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::progress::Progress;
use super::{Failure, Outcome, catalog, load};
use crate::event::Timestamp;
use crate::generate::Generator;

#[derive(Debug, Args)]
pub(super) struct Generate {
    /// The event type
    #[arg(long = "type", value_name = "TYPE", default_value = "http_request_complete.v0")]
    event_type: String,
    /// How many events
    #[arg(long, default_value_t = 10)]
    count: u64,
    /// Which events: the same seed and start give the same bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// When the first event happens, RFC 3339 [default: now, cut to the hour]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    start: Option<Timestamp>,
    /// The settings file whose own event types are known too
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Generate {
    pub(super) fn run(self, progress: Progress) -> Outcome {
        let config = load(self.config.as_deref())?;
        let event_type = catalog::find(&config.resources.catalog, &self.event_type)?;
        let start = self.start.unwrap_or_else(this_hour);
        let mut generator = Generator::new(event_type, self.seed, start);
        let mut out = BufWriter::new(io::stdout().lock());
        let mut line = String::new();
        let bar = progress.unless_output_is_a_terminal().of(self.count, "events");
        for _ in 0..self.count {
            line.clear();
            generator.next_event(&mut line);
            line.push('\n');
            out.write_all(line.as_bytes())?;
            bar.add(1);
        }
        out.flush().map_err(Failure::from)
    }
}

/// Now, cut to the hour.
pub(super) fn this_hour() -> Timestamp {
    let now = Timestamp::now();
    Timestamp { seconds: now.seconds - now.seconds.rem_euclid(3_600), nanos: 0 }
}

pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "not RFC 3339, such as 2025-09-04T10:00:00Z".to_owned())
}
