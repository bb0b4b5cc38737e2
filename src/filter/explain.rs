//! Why a filter says yes or no: the first of its parts that decided, and the terms in it with what
//! they found.
//!
//! A filter is taken apart at `&&`, `||`, `!` and `? :`, and each term is compiled as a filter of its
//! own. That is slower than the filter itself and for people only; results are the same.

use std::fmt;
use std::sync::Arc;

use crate::event::{Slot, SlotPlan};
use crate::report::{Span, escaped};

use super::environment::Environment;
use super::error::EvalError;
use super::functions::Budget;
use super::parse::parse;
use super::program::Program;
use super::tree::{Expr, Kind};
use super::unparse::unparse;

/// A filter taken apart, compiled for one plan of slots.
#[derive(Debug)]
pub struct Explainer {
    whole: Part,
}

/// The part of a filter that decided an event, and why. `Display` says it in one line for people:
/// `` `ev.http.response.status_code >= 500` is false: it is 200 ``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'x> {
    /// The part's text, as it was written; in one spelling if it was written over several lines.
    pub text: &'x str,
    /// True, false, or the error of its evaluation.
    pub value: Result<bool, EvalError>,
    /// What the part found: the terms that it comes from, in their order, at least one. Of a false `&&`
    /// or a true `||` that is the first term that decided, of a true `&&` or a false `||` all of them,
    /// and the condition stands before what it chose. A term alone is the part itself.
    pub terms: Vec<Term<'x>>,
}

/// A part of a filter without `&&`, `||`, `!` and `? :` around its tests, and what it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term<'x> {
    /// The term's text, as [`Decision::text`].
    pub text: &'x str,
    /// As [`Decision::value`].
    pub value: Result<bool, EvalError>,
    /// The fields that it reads, with their JSON as it was sent, cut at 120 bytes; none for those the
    /// event has not got.
    pub fields: Vec<(&'x str, Option<String>)>,
}

/// Most bytes of a field's JSON that a term shows.
const SHOWN: usize = 120;

/// Most terms that are shown to people; a filter may have a thousand.
const SHOWN_TERMS: usize = 16;

#[derive(Debug)]
struct Part {
    text: String,
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
        let parsed = parse(text, true).ok();
        let taken_apart = parsed.as_ref().and_then(|tree| builder.part(tree));
        let whole = taken_apart.or_else(|| builder.test(all, text.to_string()));
        // The text was checked, so that it parses; a part that cannot stand alone would be met in
        // `part`, which then gives up for the whole.
        let whole =
            whole.unwrap_or(Part { text: text.to_string(), kind: PartKind::Any(Vec::new()) });
        Explainer { whole }
    }

    /// The filter's value, by its parts; none after an error.
    #[cfg(test)]
    pub(super) fn value(&self, slots: &[Slot<'_>]) -> Option<bool> {
        self.whole.decide(slots, &mut Budget::new()).value
    }

    /// What decided the event in `slots`.
    #[must_use]
    pub fn decide(&self, slots: &[Slot<'_>]) -> Decision<'_> {
        self.counted(slots).0
    }

    /// The same, and the units of work that it took, each about a nanosecond. All terms share the
    /// budget of one evaluation.
    #[must_use]
    pub fn counted(&self, slots: &[Slot<'_>]) -> (Decision<'_>, u64) {
        let mut budget = Budget::new();
        let Found { part, own, terms, .. } = self.whole.decide(slots, &mut budget);
        (Decision { text: &part.text, value: own, terms }, budget.spent())
    }
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, term) in self.terms.iter().take(SHOWN_TERMS).enumerate() {
            write!(f, "{}{term}", if at == 0 { "" } else { "; " })?;
        }
        match self.terms.len().saturating_sub(SHOWN_TERMS) {
            0 => Ok(()),
            1 => write!(f, "; and 1 more term"),
            more => write!(f, "; and {more} more terms"),
        }
    }
}

/// Escaped, as texts of events are shown on terminals.
impl fmt::Display for Term<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = escaped(self.text);
        match &self.value {
            Ok(value) => write!(f, "`{text}` is {value}")?,
            Err(error) => write!(f, "`{text}` has no value: {error}")?,
        }
        // Of `ev.x + 1 > 2`, "it" might be the sum.
        let compares = |field: &str| {
            let rest = self.text.strip_prefix(field).unwrap_or("").trim_start();
            ["==", "!=", "<", ">", "in ", "in["].iter().any(|operator| rest.starts_with(operator))
        };
        for (at, (field, json)) in self.fields.iter().enumerate() {
            let name = match &*self.fields {
                [(only, _)] if compares(only) => "it",
                _ => field,
            };
            let found = json.as_ref().map_or("absent".into(), |json| escaped(json));
            write!(f, "{}{name} is {found}", if at == 0 { ": " } else { ", " })?;
        }
        Ok(())
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
            _ => return self.test(expr.span, self.written(expr)),
        };
        Some(Part { text: self.written(expr), kind })
    }

    /// A part's text in one line, without brackets around all of it. Only text over several lines has
    /// comments in it.
    fn written(&self, expr: &Expr) -> String {
        let mut text = self.text.get(expr.span.start..expr.span.end).unwrap_or("");
        if text.contains(['\n', '\r']) {
            return unparse(expr);
        }
        // The brackets of `(a) == (b)` are not around all of it: `a) == (b` is no expression.
        while let Some(inside) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'))
            && parse(inside, true).is_ok()
        {
            text = inside.trim();
        }
        text.to_owned()
    }

    fn parts(&mut self, items: &[Expr]) -> Option<Vec<Part>> {
        items.iter().map(|item| self.part(item)).collect()
    }

    fn test(&mut self, span: Span, text: String) -> Option<Part> {
        let expression = self.env.check(self.text.get(span.start..span.end)?).ok()?;
        let program = Program::new(&expression, self.plan);
        Some(Part { text, kind: PartKind::Test(program) })
    }
}

/// A part that decided, its own value and terms, and the value of the part that was asked; none after
/// an error.
struct Found<'p> {
    part: &'p Part,
    own: Result<bool, EvalError>,
    terms: Vec<Term<'p>>,
    value: Option<bool>,
}

impl Part {
    /// The part inside this one that decided.
    fn decide(&self, slots: &[Slot<'_>], budget: &mut Budget) -> Found<'_> {
        match &self.kind {
            PartKind::Test(program) => {
                let (own, left) = program.run(slots, std::mem::replace(budget, Budget::new()));
                *budget = left;
                let fields = program.fields();
                let fields = fields.map(|(name, slot)| (name, shown(slots.get(slot.index()))));
                let term = Term { text: &self.text, value: own.clone(), fields: fields.collect() };
                Found { part: self, value: own.as_ref().ok().copied(), own, terms: vec![term] }
            }
            PartKind::Not(inner) => {
                let found = inner.decide(slots, budget);
                Found { value: found.value.map(|bool| !bool), ..found }
            }
            PartKind::All(parts) => self.connect(parts, false, (slots, budget)),
            PartKind::Any(parts) => self.connect(parts, true, (slots, budget)),
            PartKind::Choose(parts) => {
                let [condition, then, otherwise] = &**parts;
                let condition = condition.decide(slots, budget);
                let chosen = match condition.value {
                    Some(true) => then.decide(slots, budget),
                    Some(false) => otherwise.decide(slots, budget),
                    None => return condition,
                };
                let own = chosen.value.map_or(chosen.own, Ok);
                let terms = condition.terms.into_iter().chain(chosen.terms).collect();
                Found { part: self, own, terms, value: chosen.value }
            }
        }
    }

    /// The first part that has the deciding value; without one, all parts together.
    fn connect<'p>(
        &'p self,
        parts: &'p [Part],
        deciding: bool,
        (slots, budget): (&[Slot<'_>], &mut Budget),
    ) -> Found<'p> {
        let (mut failed, mut terms) = (None, Vec::new());
        for part in parts {
            let found = part.decide(slots, budget);
            if found.value == Some(deciding) {
                return found;
            }
            if let (None, Err(error)) = (found.value, &found.own) {
                failed.get_or_insert(error.clone());
            }
            terms.extend(found.terms);
        }
        let own = failed.map_or(Ok(!deciding), Err);
        Found { part: self, value: own.as_ref().ok().copied(), own, terms }
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
        let program = filter.compile(&mut plan);
        let event = format!(
            r#"{{"event_id":"e","event_type":"t.v0","event_timestamp":"2025-09-04T10:11:14Z","object":{object}}}"#
        );
        let event = Event::parse(&event, Timestamp::MIN, || 0).unwrap();
        let mut slots = Slots::new();
        plan.extract(&event, &mut slots);
        assert_eq!(explainer.value(&slots), program.matches(&slots).ok(), "{text}");
        explainer.decide(&slots).to_string()
    }

    const OBJECT: &str = r#"{"conn":{"server_port":443},"tls":{"version":"1.2"}}"#;

    #[test]
    fn a_part_that_decides_alone_is_said_with_what_it_found() {
        for (text, said) in [
            (
                "ev.conn.server_port == 443 && ev.tls.version == '1.3' && false",
                r#"`ev.tls.version == '1.3'` is false: it is "1.2""#,
            ),
            ("!(ev.conn.server_port == 443)", "`ev.conn.server_port == 443` is true: it is 443"),
            (
                "has(ev.conn.client_ip) || size(ev.tls.version) + ev.conn.server_port > 9",
                "`size(ev.tls.version) + ev.conn.server_port > 9` is true: \
                 ev.tls.version is \"1.2\", ev.conn.server_port is 443",
            ),
            (
                "ev.tls.version in ['\u{202e}']",
                r#"`ev.tls.version in ['\u{202e}']` is false: it is "1.2""#,
            ),
            (
                "((ev.conn.server_port) == (80))",
                "`(ev.conn.server_port) == (80)` is false: ev.conn.server_port is 443",
            ),
            (
                "ev.conn.server_port + 1 == 80",
                "`ev.conn.server_port + 1 == 80` is false: ev.conn.server_port is 443",
            ),
            ("false", "`false` is false"),
        ] {
            assert_eq!(decision(text, OBJECT), said, "{text}");
        }
    }

    #[test]
    fn where_several_terms_decide_each_is_said_with_what_it_found() {
        for (text, said) in [
            (
                "ev.conn.server_port == 80 || (has(ev.tls.version) && ev.conn.server_port > 500)",
                "`ev.conn.server_port == 80` is false: it is 443; \
                 `ev.conn.server_port > 500` is false: it is 443",
            ),
            (
                "ev.conn.server_port > 1 && !(ev.tls.version == '1.3' || has(ev.conn.client_ip))",
                "`ev.conn.server_port > 1` is true: it is 443; \
                 `ev.tls.version == '1.3'` is false: it is \"1.2\"; \
                 `has(ev.conn.client_ip)` is false: ev.conn.client_ip is absent",
            ),
            (
                "ev.conn.server_port == 443 ? has(ev.conn.client_ip) : true",
                "`ev.conn.server_port == 443` is true: it is 443; \
                 `has(ev.conn.client_ip)` is false: ev.conn.client_ip is absent",
            ),
            (
                "1 / (ev.conn.server_port - 443) > 0 || ev.ja4_fingerprint == 'x'",
                "`1 / (ev.conn.server_port - 443) > 0` has no value: division by zero: \
                 ev.conn.server_port is 443; `ev.ja4_fingerprint == 'x'` is false: it is absent",
            ),
            (
                "ev.conn.server_port == // https\n  80 || false",
                "`ev.conn.server_port == 80` is false: it is 443; `false` is false",
            ),
        ] {
            assert_eq!(decision(text, OBJECT), said, "{text}");
        }
        let many = vec!["ev.conn.server_port == 1"; 20].join(" || ");
        assert!(decision(&many, OBJECT).ends_with("is false: it is 443; and 4 more terms"));
    }

    #[test]
    fn nothing_in_an_event_moves_the_terminal_when_it_is_explained() {
        let object = "{\"tls\":{\"version\":\"\u{202e}\u{9b}31m\"}}";
        let said = decision("ev.tls.version == ''", object);
        assert_eq!(said, r#"`ev.tls.version == ''` is false: it is "\u{202e}\u{9b}31m""#);
    }
}
