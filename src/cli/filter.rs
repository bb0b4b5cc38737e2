//! `sluicegate filter`: check an expression, or try it on events.

use std::io::{self, BufWriter, Read, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::events;
use super::expression::{Typed, refused};
use super::filter_test::Test;
use super::progress::Progress;
use super::{Failure, Outcome, OutputFormat, bench, paint};
use crate::filter::{self, Decision, EvalError};
use crate::formats::Format;
use crate::pipeline::{SubscriptionCounts, Trial};
use crate::report::{counted, escaped, line_column};

#[derive(Debug, Subcommand)]
pub(super) enum Filter {
    /// Compile an expression; a mistake is shown at its place
    Check(Check),
    /// Try an expression on events: projected matches out, counts on standard error
    Eval(Eval),
    /// Measure a filter and a field choice: time and throughput of each stage
    Bench(bench::Bench),
    /// Run unit tests of filters: exit code 1 if one fails, 78 if the file is wrong
    Test(Test),
}

impl Filter {
    pub(super) fn run(self, progress: Progress) -> Outcome {
        match self {
            Filter::Check(check) => check.run(),
            Filter::Eval(eval) => eval.run(),
            Filter::Bench(bench) => bench.run(progress),
            Filter::Test(test) => test.run(),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    typed: Typed,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

#[derive(Debug, Args)]
pub(super) struct Eval {
    #[command(flatten)]
    typed: Typed,
    /// The fields to print, joined by commas; the whole object if left out
    #[arg(long, value_delimiter = ',')]
    fields: Option<Vec<String>>,
    /// For each event, say on standard error which terms of the expression decided it, and what they
    /// found
    #[arg(long)]
    explain: bool,
    /// How results are printed; json gives each event's result, and the counts last
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
    /// Make the events of an access log's lines: nginx, apache, haproxy, caddy, traefik, envoy, aws_alb, or a format
    /// that the settings map
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Events as NDJSON, or lines of --format; standard input if left out
    #[arg(value_name = "FILE")]
    events: Option<PathBuf>,
}

impl Check {
    fn run(self) -> Outcome {
        let config = self.typed.settings()?;
        let event_type = self.typed.event_type(&config)?;
        let text = &self.typed.expression;
        let checked = filter::check(text, event_type);
        let mut out = io::stdout().lock();
        match (self.output, checked) {
            (OutputFormat::Table, Ok(_)) => {
                Ok(writeln!(out, "{}", paint::painted("ok", "32", paint::wanted(&out)))?)
            }
            (OutputFormat::Table, Err(error)) => Err(refused(&error.to_string())),
            (OutputFormat::Json, Ok(filter)) => {
                let result = json!({"ok": true, "mistakes": [], "normal": filter.normal()});
                Ok(writeln!(out, "{result}")?)
            }
            (OutputFormat::Json, Err(error)) => {
                let mistakes: Vec<_> = error
                    .mistakes()
                    .iter()
                    .map(|it| {
                        let (line, column) = line_column(text, it.span.start);
                        json!({"line": line, "column": column, "msg": it.message, "help": it.help})
                    })
                    .collect();
                let result = json!({"ok": false, "error_code": error.code(), "mistakes": mistakes});
                writeln!(out, "{result}")?;
                Err(Failure::work("the filter does not compile"))
            }
        }
    }
}

/// What the lines of the input were, beside the trial's own counts.
#[derive(Default)]
struct Lines {
    other_types: u64,
    bad: u64,
}

impl Eval {
    fn run(self) -> Outcome {
        let config = self.typed.settings()?;
        let source = self.typed.source(&config, self.fields.clone())?;
        let trial = if self.explain { Trial::explaining(source) } else { Trial::new(source) };
        let trial = trial.map_err(Failure::work)?;
        let input = events::open(self.events.as_deref())?;
        let format = events::format(self.format.as_deref(), &config.formats)?;
        let lines = self.print_matches(&trial, format.as_ref(), input)?;
        self.print_counts(&trial.counts(), &lines)?;
        if lines.bad > 0 {
            return Err(Failure::work("some lines are not events"));
        }
        Ok(())
    }

    fn print_counts(&self, counts: &SubscriptionCounts, lines: &Lines) -> Outcome {
        if self.output == OutputFormat::Json {
            let counts = json!({
                "matched": counts.matched,
                "seen": counts.seen,
                "filter_errors": counts.filter_errors,
                "last_filter_error": counts.last_filter_error,
                "other_types": lines.other_types,
                "bad_lines": lines.bad,
            });
            return Ok(writeln!(io::stdout(), "{}", json!({ "counts": counts }))?);
        }
        let mut remarks = io::stderr().lock();
        writeln!(
            remarks,
            "{} of {} matched, {}, {} of other types, {}",
            counts.matched,
            counted(counts.seen, "event"),
            counted(counts.filter_errors, "filter error"),
            lines.other_types,
            counted(lines.bad, "bad line")
        )?;
        if let Some(error) = &counts.last_filter_error {
            writeln!(remarks, "last filter error: {}", escaped(error))?;
        }
        Ok(())
    }

    fn print_matches(
        &self,
        trial: &Trial,
        format: Option<&Format>,
        input: impl Read,
    ) -> Result<Lines, Failure> {
        let mut out = BufWriter::new(io::stdout().lock());
        let mut lines = Lines::default();
        events::for_each_line(input, format, |number, text| {
            let event = text.map_err(str::to_owned);
            match event.and_then(|text| trial.read(text).map_err(|error| error.to_string())) {
                Ok((event, _)) if !trial.takes(&event) => lines.other_types += 1,
                Ok(event) => {
                    let explained =
                        trial.explain(&event.0).map(|(it, _)| explain(&it, self.output));
                    let body = trial.matches(&event);
                    if self.output == OutputFormat::Json {
                        let body = body.map(|body| String::from_utf8_lossy(&body).into_owned());
                        writeln!(out, "{}", result_line(number, body, explained))?;
                        return Ok(());
                    }
                    if let Some(explained) = explained {
                        writeln!(io::stderr(), "line {number}: {}", escaped(&explained))?;
                    }
                    if let Some(body) = body {
                        out.write_all(&body)?;
                        out.write_all(b"\n")?;
                    }
                }
                Err(error) => {
                    lines.bad += 1;
                    writeln!(io::stderr(), "line {number}: {}", escaped(&error))?;
                }
            }
            Ok(())
        })?;
        out.flush()?;
        Ok(lines)
    }
}

/// What decided an event: a line for people, or the same as JSON.
fn explain(decision: &Decision<'_>, output: OutputFormat) -> String {
    if output != OutputFormat::Json {
        return decision.to_string();
    }
    let terms = decision.terms.iter().map(|term| {
        let mut json = outcome(term.text, &term.value);
        json["fields"] = term.fields.iter().map(|(name, json)| (*name, json.clone())).collect();
        json
    });
    let mut json = outcome(decision.text, &decision.value);
    json["terms"] = terms.collect();
    json.to_string()
}

/// A part of a filter with its value, for programs.
fn outcome(part: &str, value: &Result<bool, EvalError>) -> serde_json::Value {
    json!({
        "part": part,
        "value": value.as_ref().ok(),
        "error": value.as_ref().err().map(ToString::to_string),
    })
}

/// One event's result for programs. The event and the explanation are JSON already.
fn result_line(number: usize, event: Option<String>, explanation: Option<String>) -> String {
    let matches = event.is_some();
    let member = |name: &str, json: Option<String>| {
        json.map_or(String::new(), |json| format!(",\"{name}\":{json}"))
    };
    let (event, explanation) = (member("event", event), member("decided_by", explanation));
    format!("{{\"line\":{number},\"match\":{matches}{event}{explanation}}}")
}
