//! Why a filter says yes or no: the first of its parts that decided.
//!
//! A filter is taken apart at `&&`, `||`, `!` and `? :`, and each part is compiled as a filter of its
//! own. That is slower than the filter itself and for people only; results are the same.

use std::sync::Arc;

use crate::event::{Slot, SlotPlan};
use crate::report::Span;

use super::environment::Environment;
use super::error::EvalError;
use super::parse::parse;
use super::program::Program;
use super::tree::{Expr, Kind};

/// A filter taken apart, compiled for one plan of slots.
#[derive(Debug)]
pub struct Explainer {
    text: Arc<str>,
    whole: Part,
}

/// The part of a filter that decided an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'x> {
    /// The part's text.
    pub text: &'x str,
    /// Its value.
    pub value: Result<bool, EvalError>,
    /// The fields that it reads, with their JSON; none for those the event has not got. Empty where
    /// several parts decided together.
    pub fields: Vec<(&'x str, Option<String>)>,
}

/// Most bytes of a field's JSON that a decision shows.
const SHOWN: usize = 120;

#[derive(Debug)]
struct Part {
    span: Span,
    kind: PartKind,
}

#[derive(Debug)]
enum PartKind {
    Test(Program),
    Not(Box<Part>),
    All(Vec<Part>),
    Any(Vec<Part>),
    Choose(Box<[Part; 3]>),
}

impl Explainer {
    pub(super) fn new(text: &Arc<str>, env: &Environment, plan: &mut SlotPlan) -> Explainer {
        let mut builder = Builder { text, env, plan };
        let all = Span { start: 0, end: text.len() };
        let parsed = parse(text, true).ok().and_then(|tree| builder.part(&tree));
        let whole = parsed.or_else(|| builder.test(all));
        // The text was checked, so that it parses; a part that cannot stand alone would be met in
        // `part`, which then gives up for the whole.
        let whole = whole.unwrap_or(Part { span: all, kind: PartKind::Any(Vec::new()) });
        Explainer { text: text.clone(), whole }
    }

    /// What decided the event in `slots`.
    #[must_use]
    pub fn decide(&self, slots: &[Slot<'_>]) -> Decision<'_> {
        let Found { part, own: value, .. } = self.whole.decide(slots);
        let text = self.text.get(part.span.start..part.span.end).unwrap_or("");
        let fields = match &part.kind {
            PartKind::Test(program) => {
                let fields = program.fields();
                fields.map(|(name, slot)| (name, shown(slots.get(slot.index())))).collect()
            }
            _ => Vec::new(),
        };
        Decision { text, value, fields }
    }
}

fn shown(slot: Option<&Slot<'_>>) -> Option<String> {
    match slot {
        Some(Slot::Json(json)) if json.len() > SHOWN => {
            Some(format!("{}…", &json[..json.floor_char_boundary(SHOWN)]))
        }
        Some(Slot::Json(json)) => Some((*json).to_owned()),
        _ => None,
    }
}

struct Builder<'b> {
    text: &'b str,
    env: &'b Environment,
    plan: &'b mut SlotPlan,
}

impl Builder<'_> {
    fn part(&mut self, expr: &Expr) -> Option<Part> {
        let kind = match &expr.kind {
            Kind::And(items) => PartKind::All(self.parts(items)?),
            Kind::Or(items) => PartKind::Any(self.parts(items)?),
            Kind::Ternary(parts) => {
                let parts: [Part; 3] = self.parts(&parts[..])?.try_into().ok()?;
                PartKind::Choose(Box::new(parts))
            }
            Kind::Call { callee, arguments, .. } if callee.name == "!_" => {
                PartKind::Not(Box::new(self.part(arguments.first()?)?))
            }
            _ => return self.test(expr.span),
        };
        Some(Part { span: expr.span, kind })
    }

    fn parts(&mut self, items: &[Expr]) -> Option<Vec<Part>> {
        items.iter().map(|item| self.part(item)).collect()
    }

    fn test(&mut self, span: Span) -> Option<Part> {
        let expression = self.env.check(self.text.get(span.start..span.end)?).ok()?;
        let program = Program::new(&expression, self.plan);
        Some(Part { span, kind: PartKind::Test(program) })
    }
}

/// A part that decided, its own value, and the value of the part that was asked; none after an error.
struct Found<'p> {
    part: &'p Part,
    own: Result<bool, EvalError>,
    value: Option<bool>,
}

impl Part {
    /// The part inside this one that decided.
    fn decide(&self, slots: &[Slot<'_>]) -> Found<'_> {
        match &self.kind {
            PartKind::Test(program) => {
                let own = program.matches(slots);
                Found { part: self, value: own.as_ref().ok().copied(), own }
            }
            PartKind::Not(inner) => {
                let found = inner.decide(slots);
                Found { value: found.value.map(|bool| !bool), ..found }
            }
            PartKind::All(parts) => self.connect(parts, false, slots),
            PartKind::Any(parts) => self.connect(parts, true, slots),
            PartKind::Choose(parts) => {
                let [condition, then, otherwise] = &**parts;
                let found = condition.decide(slots);
                match found.value {
                    Some(true) => then.decide(slots),
                    Some(false) => otherwise.decide(slots),
                    None => found,
                }
            }
        }
    }

    fn connect<'p>(&'p self, parts: &'p [Part], deciding: bool, slots: &[Slot<'_>]) -> Found<'p> {
        let mut failed = None;
        for part in parts {
            let found = part.decide(slots);
            match found.value {
                Some(value) if value == deciding => return found,
                Some(_) => {}
                None => failed = failed.or(Some(found)),
            }
        }
        // All decided together.
        let all = Found { part: self, own: Ok(!deciding), value: Some(!deciding) };
        failed.unwrap_or(all)
    }
}

#[cfg(test)]
mod tests {
    use crate::event::{Event, Slots, Timestamp};

    use super::super::check;
    use super::super::tests::http;
    use super::*;

    fn decision(text: &str, object: &str) -> String {
        let filter = check(text, &http()).unwrap();
        let mut plan = SlotPlan::default();
        let explainer = filter.explainer(&mut plan);
        let event = format!(
            r#"{{"event_id":"e","event_type":"t.v0","event_timestamp":"2025-09-04T10:11:14Z","object":{object}}}"#
        );
        let event = Event::parse(&event, Timestamp::MIN, || 0).unwrap();
        let mut slots = Slots::new();
        plan.extract(&event, &mut slots);
        let decision = explainer.decide(&slots);
        let value = decision.value.map_or_else(|error| error.to_string(), |bool| bool.to_string());
        format!("{} is {value} {:?}", decision.text, decision.fields)
    }

    #[test]
    fn the_first_part_that_decides_is_told() {
        let object = r#"{"conn":{"server_port":443},"tls":{"version":"1.2"}}"#;
        for (text, told) in [
            (
                "ev.conn.server_port == 443 && ev.tls.version == '1.3' && false",
                r#"ev.tls.version == '1.3' is false [("ev.tls.version", Some("\"1.2\""))]"#,
            ),
            (
                "ev.conn.server_port == 80 || (has(ev.tls.version) && ev.conn.server_port > 1)",
                "(has(ev.tls.version) && ev.conn.server_port > 1) is true []",
            ),
            (
                "!(ev.conn.server_port == 443)",
                r#"(ev.conn.server_port == 443) is true [("ev.conn.server_port", Some("443"))]"#,
            ),
            (
                "1 / (ev.conn.server_port - 443) > 0 && ev.ja4_fingerprint == ''",
                r#"1 / (ev.conn.server_port - 443) > 0 is division by zero [("ev.conn.server_port", Some("443"))]"#,
            ),
            (
                "ev.conn.server_port == 443 ? has(ev.conn.client_ip) : true",
                r#"has(ev.conn.client_ip) is false [("ev.conn.client_ip", None)]"#,
            ),
        ] {
            assert_eq!(decision(text, object), told, "{text}");
        }
    }
}
