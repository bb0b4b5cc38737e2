//! `sluicegate filter test`: unit tests of filters, written in a file.
//!
//! ```yaml
//! tests:
//!   - name: errors are taken
//!     type: http_request_complete.v0
//!     filter: { library: server-errors }
//!     event: { http: { response: { status_code: 503 } } }
//!     match: true
//! ```

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};

use super::paint::{self, painted};
use super::{Failure, Outcome, load};
use crate::config::{self, FilterText, Mistake, Section};
use crate::event::{Catalog, Event, Timestamp};
use crate::pipeline::Trial;
use crate::report::{Span, counted, escaped};
use crate::resources::{ResourceError, Source};

/// When the events of a test happen that do not say: a fixed moment, so that tests say the same every
/// day.
const EVENT_TIME: &str = "2025-09-04T10:11:14Z";

#[derive(Debug, Args)]
pub(super) struct Test {
    /// The tests: a YAML, TOML or JSON file with a list `tests` of `name`, `type`, `filter` (text or
    /// `{library: …}`), `event`, `match`, and optionally `fields` and `projection`
    #[arg(value_name = "FILE")]
    tests: PathBuf,
    /// The settings file whose own event types are known too
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// One test, ready to run.
struct Case {
    name: String,
    trial: Trial,
    /// The event as JSON text.
    event: String,
    matches: bool,
    projection: Option<Json>,
}

impl Test {
    pub(super) fn run(self) -> Outcome {
        let settings = load(self.config.as_deref())?;
        let catalog = &settings.resources.catalog;
        let document = config::load(&self.tests, &|_| None)?;
        let cases = document
            .decode(|root| root.required("tests").list(|section| read_case(section, catalog)))?;
        let mut out = io::stdout().lock();
        let colours = paint::wanted(&out);
        let (mut failed, all) = (0usize, cases.len());
        for case in cases {
            match case.run() {
                Ok(()) => {
                    writeln!(out, "{}  {}", painted("ok", "32", colours), escaped(&case.name))?;
                }
                Err(difference) => {
                    failed += 1;
                    let verdict = painted("FAILED", "1;31", colours);
                    let (name, difference) = (escaped(&case.name), escaped(&difference));
                    writeln!(out, "{verdict}  {name}\n    {difference}")?;
                }
            }
        }
        writeln!(out, "{} of {} passed", all - failed, counted(all as u64, "test"))?;
        match failed {
            0 => Ok(()),
            _ => Err(Failure::work(format!("{} failed", counted(failed as u64, "test")))),
        }
    }
}

fn read_case(section: &mut Section<'_>, catalog: &Catalog) -> Option<Case> {
    let name = section.required("name").string();
    let event_type = section.required("type").string();
    let filter = FilterText::read(section.required("filter"));
    let fields = section.optional("fields").strings();
    let event = section.required("event").data();
    let matches = section.required("match").bool();
    let projection = section.optional("projection").data();
    let place = section.place();
    let (name, event_type, filter) = (name?, event_type?, filter?);
    let names = fields.map(|fields| fields.iter().map(|it| it.value.to_owned()).collect());
    let source = match Source::new(catalog, event_type.value, Some(filter.expression), names) {
        Ok(source) => source,
        Err(errors) => {
            for error in errors {
                section.push(match &error {
                    ResourceError::Filter(report) => {
                        filter.text.mistake("the filter does not compile", report)
                    }
                    other => refused(event_type.span, other),
                });
            }
            return None;
        }
    };
    let trial = Trial::new(source).map_err(|error| section.push(refused(place, &error))).ok()?;
    let event = enveloped(event?, event_type.value);
    if let Err(error) = Event::parse(&event, Timestamp::MIN, || 0) {
        let place = section.place_of("event");
        section.push(Mistake::at(place, format!("no event: {error}")));
        return None;
    }
    Some(Case { name: name.value.to_owned(), trial, event, matches: matches?, projection })
}

fn refused(place: Span, error: &ResourceError) -> Mistake {
    let mistake = Mistake::at(place, error.to_string());
    match error.help() {
        Some(help) => mistake.help(help),
        None => mistake,
    }
}

/// A whole event: one with an `object` is taken as it is, but for what it leaves out; other values
/// are the object.
fn enveloped(event: Json, event_type: &str) -> String {
    let mut whole = json!({
        "event_id": "ev_test",
        "event_type": event_type,
        "event_timestamp": EVENT_TIME,
    });
    match event {
        Json::Object(members) if members.get("object").is_some_and(Json::is_object) => {
            for (name, value) in members {
                whole[name.as_str()] = value;
            }
        }
        object => whole["object"] = object,
    }
    whole.to_string()
}

impl Case {
    /// Runs the test; what differs, if anything.
    fn run(&self) -> Result<(), String> {
        let event = self.trial.read(&self.event).map_err(|error| format!("no event: {error}"))?;
        let body = self.trial.matches(&event);
        let matches = body.is_some();
        if matches != self.matches {
            let says = |matches: bool| if matches { "a match" } else { "no match" };
            let mut difference = format!("expected {}, got {}", says(self.matches), says(matches));
            if let Some(error) = self.trial.counts().last_filter_error {
                difference += &format!(": {error}");
            }
            return Err(difference);
        }
        let (Some(expected), Some(body)) = (&self.projection, body) else { return Ok(()) };
        let found: Json = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        // A projection of the whole envelope names its object; otherwise only the object is compared.
        let compared = if expected.get("object").is_some() {
            found.clone()
        } else {
            found.get("object").cloned().unwrap_or(found.clone())
        };
        let same = match expected.get("object") {
            Some(_) => expected
                .as_object()
                .into_iter()
                .flatten()
                .all(|(name, value)| compared.get(name) == Some(value)),
            None => compared == *expected,
        };
        if same { Ok(()) } else { Err(format!("expected {expected}, got {compared}")) }
    }
}
