//! The events that are tried, and why some of a sample are none.

use std::io::{self, Write as _};
use std::path::Path;

use crate::cli::{Failure, events};
use crate::event::Timestamp;
use crate::formats::Format;
use crate::pipeline::{Sampled, Sampler};
use crate::report::{counted, escaped};
use crate::resources::Resources;

/// Most events of a sample: enough for any mix of events, and not more than memory for one minute.
const MAX_EVENTS: usize = 100_000;
/// Most bytes of a sample's events.
const MAX_BYTES: usize = 128 << 20;

/// A line of the sample that is no event.
#[derive(Clone, Debug)]
struct Bad {
    /// From 1.
    line: usize,
    reason: String,
}

/// A sample as it was read.
#[derive(Default)]
pub(super) struct Sample {
    /// Lines that may be events, with their numbers.
    lines: Vec<(usize, String)>,
    /// Those that were no events before anybody looked at their text.
    misfits: usize,
    first_misfit: Option<Bad>,
    /// The others of which none came, and the first of them.
    refused: usize,
    first_refused: Option<Bad>,
    cut: bool,
    /// When the first and the last of them happened.
    span: Option<(Timestamp, Timestamp)>,
}

impl Sample {
    /// Reads a file, or standard input; lines of an access log with a format.
    pub(super) fn read(file: Option<&Path>, format: Option<&Format>) -> Result<Sample, Failure> {
        let mut sample = Sample::default();
        let mut bytes = 0;
        events::for_each_line(events::open(file)?, format, |line, text| {
            if sample.lines.len() == MAX_EVENTS || bytes > MAX_BYTES {
                sample.cut = true;
                return Ok(());
            }
            match text {
                Ok(text) => {
                    bytes += text.len();
                    sample.lines.push((line, text.to_owned()));
                }
                Err(reason) => {
                    sample.misfits += 1;
                    let reason = reason.to_owned();
                    sample.first_misfit.get_or_insert(Bad { line, reason });
                }
            }
            Ok(())
        })?;
        Ok(sample)
    }

    /// Has all events make their records.
    pub(super) fn go_through(&mut self, resources: &Resources, sampled: &mut Sampled) {
        let sampler = Sampler::new(resources);
        (self.refused, self.first_refused, self.span) = (0, None, None);
        for (line, text) in &self.lines {
            match sampler.add(text, sampled) {
                Err(error) => {
                    self.refused += 1;
                    let bad = || Bad { line: *line, reason: error.to_string() };
                    self.first_refused.get_or_insert_with(bad);
                }
                Ok(time) => {
                    let (first, last) = self.span.unwrap_or((time, time));
                    self.span = Some((first.min(time), last.max(time)));
                }
            }
        }
    }

    /// How many events there are.
    pub(super) fn events(&self) -> usize {
        self.lines.len() - self.refused
    }

    /// How many lines are none.
    pub(super) fn bad(&self) -> usize {
        self.misfits + self.refused
    }

    /// Fails where there is no event, and says so of what was left out.
    pub(super) fn remark(&self) -> Result<(), Failure> {
        let bad = counted(self.bad() as u64, "line");
        let first = [&self.first_misfit, &self.first_refused].into_iter().flatten();
        let first = first.min_by_key(|it| it.line);
        let why = first.map(|it| format!("line {}: {}", it.line, escaped(&it.reason)));
        let why = why.unwrap_or_default();
        if self.events() == 0 && self.bad() == 0 {
            return Err(Failure::work(
                "the sample is empty: give events as NDJSON by --sample FILE or on standard input, or lines of an access log with --format",
            ));
        }
        if self.events() == 0 {
            return Err(Failure::work(format!(
                "the sample has no event: {bad}, and none can be read as one; {why}"
            )));
        }
        if self.cut {
            let remark =
                format!("remark: only the first {MAX_EVENTS} events, or 128 MiB, are looked at");
            writeln!(io::stderr(), "{remark}")?;
        }
        if self.bad() > 0 {
            writeln!(io::stderr(), "remark: {bad} of the sample cannot be read as events; {why}")?;
        }
        Ok(())
    }

    /// Events a second in the time that it spans.
    pub(super) fn rate(&self) -> Result<f64, Failure> {
        let millis = self.span.map_or(0, |(first, last)| last.unix_millis() - first.unix_millis());
        if millis < 1_000 {
            return Err(Failure::Usage(
                "the sample spans less than a second: say with --rate how many events a second come in"
                    .to_owned(),
            ));
        }
        Ok(self.events() as f64 / (millis as f64 / 1_000.0))
    }
}
