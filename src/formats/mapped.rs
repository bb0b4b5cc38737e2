//! JSON lines of anybody's, by a mapping: a line is walked through once, and its event written member by member.
//!
//! A value of another type than its field's is refused by name, and so is a line without its time.

use std::borrow::Cow;
use std::sync::Arc;

use super::entry::{Entry, group, instant, key, text};
use super::instant::Instant;
use super::line::{Line, given, host_and_port};
use super::mapping::{Envelope, MappedField};
use super::path::{Found, JsonPath};
use super::plan::{Made, Member, Part, Plan, Value};
use super::value::is_none;
use super::{Misfit, Stamp};
use crate::event::{EventType, JsonCursor, MAX_EVENT_ID, ksuid, string_value};

/// Most characters of a value that a refusal shows.
const SHOWN: usize = 40;

/// What the events of a format of JSON lines are made of.
#[derive(Debug)]
pub struct Mapping {
    name: String,
    event_type: Arc<EventType>,
    envelope: Envelope,
    fields: Vec<MappedField>,
    plan: Plan,
}

impl PartialEq for Mapping {
    fn eq(&self, other: &Mapping) -> bool {
        self.name == other.name
            && self.event_type == other.event_type
            && self.envelope == other.envelope
            && self.fields == other.fields
    }
}

impl Mapping {
    /// The mapping of a name, to fields of an event type.
    #[must_use]
    pub fn new(
        name: String,
        event_type: Arc<EventType>,
        envelope: Envelope,
        fields: Vec<MappedField>,
    ) -> Mapping {
        let plan = Plan::new(&event_type, &envelope, &fields);
        Mapping { name, event_type, envelope, fields, plan }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Appends the event of a line. Nothing is appended for one that is refused.
    pub(super) fn convert(
        &self,
        line: &str,
        is_escaped: bool,
        stamp: Stamp<'_>,
        out: &mut String,
    ) -> Result<(), Misfit> {
        let mut cursor = JsonCursor::new(line);
        if cursor.next_token() != Some(b'{') {
            return Line::new(line).misfit("a JSON object");
        }
        let mut found = vec![None; self.plan.slots];
        self.plan.paths.find(&mut cursor, 0, &mut found)?;
        cursor.end()?;
        let before = out.len();
        let reading =
            Reading { mapping: self, found: &found, is_escaped, request: self.request(&found) };
        let written = reading.write(stamp, out);
        if written.is_err() {
            out.truncate(before);
        }
        written
    }

    /// The request's line or target that is to be taken apart.
    fn request<'l>(&self, found: &[Option<Found<'l>>]) -> Entry<'l> {
        let text = |slot: Option<usize>| found[slot?].and_then(|it| string_value(it.json));
        let mut entry = Entry::default();
        if let Some(line) = text(self.plan.request_line) {
            entry.set_request(line);
        }
        if let Some(target) = text(self.plan.target).filter(|it| given(it).is_some()) {
            entry.target = Some(target);
        }
        entry
    }
}

/// A line while its event is written.
struct Reading<'m, 'l> {
    mapping: &'m Mapping,
    found: &'m [Option<Found<'l>>],
    is_escaped: bool,
    request: Entry<'l>,
}

impl<'l> Reading<'_, 'l> {
    fn write(&self, stamp: Stamp<'_>, out: &mut String) -> Result<(), Misfit> {
        let Mapping { plan, envelope, event_type, .. } = self.mapping;
        let path = envelope.event_timestamp.text();
        let Some(found) = self.value(plan.event_timestamp) else {
            return Err(missing("event_timestamp", path));
        };
        let time = string_value(found.json).unwrap_or(Cow::Borrowed(found.json));
        let time = Instant::of_any(&time)
            .ok_or_else(|| wrong(found, "a time", "event_timestamp", path))?;
        if let Some((_, field)) = plan.required.iter().find(|it| self.value(it.0).is_none()) {
            return Err(missing(&field.name, field.path.text()));
        }
        let event_id = self.text(plan.event_id, "event_id", envelope.event_id.as_ref())?;
        let account_id = self.text(plan.account_id, "account_id", envelope.account_id.as_ref())?;
        out.push('{');
        match (event_id, stamp.id) {
            (Some(id), _) => text(out, "event_id", &id),
            (None, Some(id)) => text(out, "event_id", &ksuid("ev", time.timestamp(), id)),
            (None, None) => {}
        }
        text(out, "event_type", &event_type.name);
        instant(out, "event_timestamp", Some(time));
        if let Some(account) = account_id.or(stamp.account_id.map(Cow::Borrowed)) {
            text(out, "account_id", &account);
        }
        key(out, "object");
        out.push('{');
        self.write_members(&plan.object, out)?;
        out.push_str("}}");
        Ok(())
    }

    fn write_members(&self, members: &[Member], out: &mut String) -> Result<(), Misfit> {
        for Member { name, made } in members {
            match made {
                Made::Group(inner) => {
                    let mut written = Ok(());
                    group(out, name, |out| written = self.write_members(inner, out));
                    written?;
                }
                Made::Value(value) => self.write_value(name, value, out)?,
                Made::Part(part) => {
                    if let Some(part) = self.part(*part) {
                        text(out, name, &part);
                    }
                }
                Made::Name => text(out, name, &self.mapping.name),
                Made::Escaped => {
                    if self.is_escaped {
                        key(out, name);
                        out.push_str("true");
                    }
                }
            }
        }
        Ok(())
    }

    fn write_value(&self, name: &str, value: &Value, out: &mut String) -> Result<(), Misfit> {
        let MappedField { name: field, path, .. } = &value.field;
        let Some(found) = self.value(value.slot) else { return Ok(()) };
        let before = out.len();
        key(out, name);
        match value.making.write(found.json, out) {
            Ok(true) => Ok(()),
            Ok(false) => {
                out.truncate(before);
                Ok(())
            }
            Err(wanted) => Err(wrong(found, wanted.0, field, path.text())),
        }
    }

    /// A value of the line that says something.
    fn value(&self, slot: usize) -> Option<Found<'l>> {
        self.found[slot].filter(|it| !is_none(it.json))
    }

    /// A text or a number of the line, as long as an event's id may be.
    fn text(
        &self,
        slot: Option<usize>,
        field: &str,
        path: Option<&JsonPath>,
    ) -> Result<Option<Cow<'l, str>>, Misfit> {
        let Some(found) = slot.and_then(|it| self.value(it)) else { return Ok(None) };
        let text = string_value(found.json).unwrap_or(Cow::Borrowed(found.json));
        if found.json.starts_with(['{', '[']) || text.len() > MAX_EVENT_ID {
            let path = path.map_or("", JsonPath::text);
            return Err(wrong(found, "a text of at most 256 bytes", field, path));
        }
        Ok(Some(text))
    }

    fn part(&self, part: Part) -> Option<Cow<'_, str>> {
        let (scheme, host, local) = self.request.url_parts();
        let halves = local.map(|it| it.split_once('?').unwrap_or((it, "")));
        let found = match part {
            Part::Method => {
                return Some(self.request.method.as_deref()?.to_ascii_lowercase().into());
            }
            Part::Scheme => return Some(scheme?.to_ascii_lowercase().into()),
            Part::Protocol => self.request.protocol.as_deref(),
            Part::Host => host.map(|it| host_and_port(it).0),
            Part::Path => halves.map(|it| it.0),
            Part::Query => halves.map(|it| it.1),
            Part::Raw => self.request.target.as_deref(),
            Part::Line => self.request.request_line.as_deref(),
        };
        found.map(Cow::Borrowed)
    }
}

fn missing(field: &str, path: &str) -> Misfit {
    Misfit { at: 0, expected: format!("a value at `{path}`, for `{field}`,").into() }
}

fn wrong(found: Found<'_>, wanted: &str, field: &str, path: &str) -> Misfit {
    let mut shown: String = found.json.chars().take(SHOWN).collect();
    if shown.len() < found.json.len() {
        shown.push('…');
    }
    Misfit {
        at: found.at,
        expected: format!("{wanted} at `{path}`, for `{field}`, not {shown},").into(),
    }
}

#[cfg(test)]
mod tests;
