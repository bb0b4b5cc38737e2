//! Programs: a filter made ready for events whose slots are known.
//!
//! The common shapes, a field against a constant joined by `&&`, `||`, `!` and `? :`, become tests
//! on slots that allocate nothing and look up no name. Everything else runs in the general
//! evaluator. Both use the same readers and comparisons, so they mean the same; a property test
//! holds them together.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::event::{FieldType, Slot, SlotId, SlotPlan};

use super::error::EvalError;
use super::eval::{Data, Evaluation};
use super::expression::Expression;
use super::fields::Field;
use super::functions::Budget;
use super::functions::network::read_ip;
use super::functions::pattern::Pattern;
use super::limits::price;
use super::network::Cidr;
use super::node::{Call, Node};
use super::value::{Text, Value, compare, equal, no_overload};

/// A filter compiled for one plan of slots.
#[derive(Debug)]
pub struct Program {
    pub(super) test: Test,
    /// The fields that the general evaluator reads, by their number.
    fields: Vec<(Field, SlotId)>,
}

/// A condition on an event.
#[derive(Debug)]
pub(super) enum Test {
    Constant(bool),
    /// A bool field.
    Holds(Box<Place>),
    Present(Box<Place>),
    Compare(Box<Place>, Comparison, Value<'static>),
    AmongTexts(Box<Place>, HashSet<Box<str>>),
    AmongInts(Box<Place>, HashSet<i64>),
    Contains(Box<Place>, Box<memchr::memmem::Finder<'static>>),
    StartsWith(Box<Place>, Box<str>),
    EndsWith(Box<Place>, Box<str>),
    Matches(Box<Place>, Arc<Pattern>),
    /// An address inside a network.
    Within(Box<Place>, Cidr),
    Not(Box<Test>),
    All(Box<[Test]>),
    Any(Box<[Test]>),
    Choose(Box<[Test; 3]>),
    General(Box<Node>),
}

/// A field and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub field: Field,
    pub slot: SlotId,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl Comparison {
    fn of(function: &str) -> Option<Comparison> {
        Some(match function {
            "==" => Comparison::Equal,
            "!=" => Comparison::Unequal,
            "<" => Comparison::Less,
            "<=" => Comparison::AtMost,
            ">" => Comparison::Greater,
            ">=" => Comparison::AtLeast,
            _ => return None,
        })
    }

    /// The comparison with its sides exchanged.
    fn mirrored(self) -> Comparison {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::AtMost => Comparison::AtLeast,
            Comparison::Greater => Comparison::Less,
            Comparison::AtLeast => Comparison::AtMost,
            symmetric => symmetric,
        }
    }

    fn holds(self, a: &Value<'_>, b: &Value<'_>) -> Result<bool, EvalError> {
        let ordered = |name| compare(name, a, b);
        Ok(match self {
            Comparison::Equal => equal(a, b),
            Comparison::Unequal => !equal(a, b),
            Comparison::Less => ordered("<")?.is_some_and(Ordering::is_lt),
            Comparison::AtMost => ordered("<=")?.is_some_and(Ordering::is_le),
            Comparison::Greater => ordered(">")?.is_some_and(Ordering::is_gt),
            Comparison::AtLeast => ordered(">=")?.is_some_and(Ordering::is_ge),
        })
    }
}

impl Program {
    /// Compiles an expression; the fields it reads become slots of `plan`.
    pub(super) fn new(expression: &Expression, plan: &mut SlotPlan) -> Program {
        let fields: Vec<_> = expression
            .fields
            .iter()
            .map(|field| (field.clone(), plan.slot(field.root, &field.path)))
            .collect();
        Program { test: Test::new(&expression.node, &fields), fields }
    }

    /// Whether the event in `slots` matches.
    ///
    /// # Errors
    /// When the filter has no result for this event; the event then counts as not matching.
    pub fn matches(&self, slots: &[Slot<'_>]) -> Result<bool, EvalError> {
        self.begin(slots, Budget::new()).test(&self.test)
    }

    /// The same, and the units of work that it took, each about a nanosecond.
    ///
    /// # Errors
    /// As [`Program::matches`].
    pub fn counted(&self, slots: &[Slot<'_>]) -> (Result<bool, EvalError>, u64) {
        let mut run = self.begin(slots, Budget::new());
        (run.test(&self.test), run.evaluation.budget.spent())
    }

    /// The same with what is left of a budget; gives back what is left then.
    pub(super) fn run(
        &self,
        slots: &[Slot<'_>],
        budget: Budget,
    ) -> (Result<bool, EvalError>, Budget) {
        let mut run = self.begin(slots, budget);
        let result = run.test(&self.test);
        (result, run.evaluation.budget)
    }

    fn begin<'n, 'e>(&'n self, slots: &'n [Slot<'e>], budget: Budget) -> Run<'n, 'e> {
        Run { slots, evaluation: self.evaluation(slots, budget), address: None }
    }

    /// The fields that the filter reads, as it writes them, and their slots.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, SlotId)> {
        self.fields.iter().map(|(field, slot)| (&*field.shown, *slot))
    }

    fn evaluation<'n, 'e>(&'n self, slots: &'n [Slot<'e>], budget: Budget) -> Evaluation<'n, 'e> {
        Evaluation::new(Data::Event { fields: &self.fields, slots }, budget)
    }

    /// The same by the general evaluator alone.
    #[cfg(test)]
    pub(super) fn matches_generally<'n>(
        &'n self,
        expression: &'n Expression,
        slots: &'n [Slot<'_>],
    ) -> Result<bool, EvalError> {
        self.evaluation(slots, Budget::new()).truth(&expression.node)
    }

    /// Whether no part needs the general evaluator.
    #[cfg(test)]
    pub(super) fn is_fast(&self) -> bool {
        self.test.is_fast()
    }
}

impl Test {
    fn new(node: &Node, fields: &[(Field, SlotId)]) -> Test {
        let place = |number: usize| {
            let (field, slot) = fields.get(number)?;
            Some(Box::new(Place { field: field.clone(), slot: *slot }))
        };
        let all = |nodes: &[Node]| nodes.iter().map(|node| Test::new(node, fields)).collect();
        let fast = match node {
            Node::Constant(Value::Bool(bool)) => Some(Test::Constant(*bool)),
            Node::Field(number) => place(*number).map(Test::Holds),
            Node::Presence(number) => place(*number).map(Test::Present),
            Node::And(items) => Some(Test::All(cheapest_first(all(items)))),
            Node::Or(items) => Some(Test::Any(cheapest_first(all(items)))),
            Node::Ternary(parts) => Some(Test::Choose(Box::new(std::array::from_fn(|at| {
                Test::new(&parts[at], fields)
            })))),
            Node::Matches(text, pattern) => match &**text {
                Node::Field(number) => {
                    place(*number).map(|place| Test::Matches(place, pattern.clone()))
                }
                _ => None,
            },
            Node::Call(call) => Test::call(call, fields),
            _ => None,
        };
        fast.unwrap_or_else(|| Test::General(Box::new(node.clone())))
    }

    fn call(call: &Call, fields: &[(Field, SlotId)]) -> Option<Test> {
        let (number, constant, mirrored) = match call.arguments.as_slice() {
            [operand] if call.function == "!_" => {
                return Some(Test::Not(Box::new(Test::new(operand, fields))));
            }
            [Node::Field(number), Node::Constant(constant)] => (*number, constant, false),
            [Node::Constant(constant), Node::Field(number)] => (*number, constant, true),
            _ => return None,
        };
        let (field, slot) = fields.get(number)?;
        let place = Box::new(Place { field: field.clone(), slot: *slot });
        if let Some(comparison) = Comparison::of(call.function) {
            let comparison = if mirrored { comparison.mirrored() } else { comparison };
            return Some(Test::Compare(place, comparison, constant.clone()));
        }
        match (call.function, constant, mirrored) {
            ("in", Value::List(items), false) => Test::among(place, items),
            ("containsIP", Value::Cidr(network), true) => Some(Test::Within(place, *network)),
            ("contains", Value::String(text), false) => {
                let finder = memchr::memmem::Finder::new(text.as_bytes()).into_owned();
                Some(Test::Contains(place, Box::new(finder)))
            }
            ("startsWith", Value::String(text), false) => {
                Some(Test::StartsWith(place, (&**text).into()))
            }
            ("endsWith", Value::String(text), false) => {
                Some(Test::EndsWith(place, (&**text).into()))
            }
            _ => None,
        }
    }

    /// Membership in a list of one kind. Ints only for int fields: a dyn field may hold an equal
    /// double.
    fn among(place: Box<Place>, items: &[Value<'static>]) -> Option<Test> {
        let texts = items.iter().map(|item| match item {
            Value::String(text) => Some((&**text).into()),
            _ => None,
        });
        if let Some(texts) = texts.collect() {
            return Some(Test::AmongTexts(place, texts));
        }
        let ints = items.iter().map(|item| match item {
            Value::Int(int) => Some(*int),
            _ => None,
        });
        let is_int = place.field.declared == Some(FieldType::Int);
        let ints = ints.collect::<Option<HashSet<i64>>>().filter(|_| is_int)?;
        Some(Test::AmongInts(place, ints))
    }

    /// How much a test costs beside others: what looks at one number, at a text, through a text, or
    /// needs the general evaluator.
    fn effort(&self) -> u32 {
        match self {
            Test::Constant(_) => 0,
            Test::Holds(_) | Test::Present(_) => 1,
            Test::Compare(_, _, Value::String(_)) => 3,
            Test::Compare(..) | Test::AmongInts(..) => 2,
            Test::StartsWith(..) | Test::EndsWith(..) => 3,
            Test::AmongTexts(..) => 5,
            Test::Contains(..) | Test::Within(..) => 8,
            Test::Matches(..) => 30,
            Test::Not(test) => test.effort(),
            Test::All(tests) | Test::Any(tests) => tests.iter().map(Test::effort).sum(),
            Test::Choose(tests) => tests.iter().map(Test::effort).sum(),
            Test::General(_) => 100,
        }
    }

    #[cfg(test)]
    fn is_fast(&self) -> bool {
        match self {
            Test::General(_) => false,
            Test::Not(test) => test.is_fast(),
            Test::All(tests) | Test::Any(tests) => tests.iter().all(Test::is_fast),
            Test::Choose(tests) => tests.iter().all(Test::is_fast),
            _ => true,
        }
    }
}

/// The operands of `&&` or `||` in the order of their effort. That changes no result, since one that
/// decides wins over errors of the others wherever it stands.
fn cheapest_first(mut tests: Box<[Test]>) -> Box<[Test]> {
    tests.sort_by_key(Test::effort);
    tests
}

impl Place {
    pub fn slot<'e>(&self, slots: &[Slot<'e>]) -> Slot<'e> {
        slots.get(self.slot.index()).copied().unwrap_or_default()
    }

    fn value<'e>(&self, slots: &[Slot<'e>], budget: &mut Budget) -> Result<Value<'e>, EvalError> {
        self.field.value(self.slot(slots), budget)
    }

    fn text<'e>(
        &self,
        of: &'static str,
        slots: &[Slot<'e>],
        budget: &mut Budget,
    ) -> Result<Text<'e>, EvalError> {
        match self.value(slots, budget)? {
            Value::String(text) => Ok(text),
            other => Err(no_overload(of, &[&other])),
        }
    }
}

/// One run over an event. All parts of a filter share one budget.
struct Run<'n, 'e> {
    slots: &'n [Slot<'e>],
    evaluation: Evaluation<'n, 'e>,
    /// The address that was read last, and from where: a filter with many networks tests one address
    /// against all of them.
    address: Option<(SlotId, IpAddr)>,
}

impl<'n> Run<'n, '_> {
    fn test(&mut self, test: &'n Test) -> Result<bool, EvalError> {
        let (slots, budget) = (self.slots, &mut self.evaluation.budget);
        Ok(match test {
            Test::Constant(bool) => *bool,
            Test::Holds(place) => match place.value(slots, budget)? {
                Value::Bool(bool) => bool,
                other => return Err(no_overload("a condition", &[&other])),
            },
            Test::Present(place) => place.field.is_present(place.slot(slots))?,
            Test::Compare(place, comparison, constant) => {
                let value = place.value(slots, budget)?;
                if let (Value::String(_), Value::String(constant)) = (&value, constant) {
                    budget.compare(constant.len())?;
                }
                comparison.holds(&value, constant)?
            }
            Test::AmongTexts(place, texts) => match place.value(slots, budget)? {
                Value::String(text) => {
                    // All of it is hashed.
                    budget.search(text.len())?;
                    texts.contains(&*text)
                }
                _ => false,
            },
            Test::AmongInts(place, ints) => match place.value(slots, budget)? {
                Value::Int(int) => ints.contains(&int),
                _ => false,
            },
            Test::Contains(place, finder) => {
                let text = place.text("contains", slots, budget)?;
                budget.search(text.len())?;
                finder.find(text.as_bytes()).is_some()
            }
            Test::StartsWith(place, start) => {
                let text = place.text("startsWith", slots, budget)?;
                budget.compare(start.len())?;
                text.starts_with(&**start)
            }
            Test::EndsWith(place, end) => {
                let text = place.text("endsWith", slots, budget)?;
                budget.compare(end.len())?;
                text.ends_with(&**end)
            }
            Test::Within(place, network) => network.contains(self.address(place)?),
            Test::Matches(place, pattern) => {
                let text = place.text("matches", slots, budget)?;
                pattern.is_match(&text, budget)?
            }
            Test::Not(test) => !self.test(test)?,
            Test::All(tests) => return self.connect(tests, false),
            Test::Any(tests) => return self.connect(tests, true),
            Test::Choose(tests) => {
                let [condition, then, otherwise] = &**tests;
                let chosen = if self.test(condition)? { then } else { otherwise };
                return self.test(chosen);
            }
            Test::General(node) => return self.evaluation.truth(node),
        })
    }

    fn address(&mut self, place: &Place) -> Result<IpAddr, EvalError> {
        match self.address {
            Some((slot, address)) if slot == place.slot => Ok(address),
            _ => {
                let budget = &mut self.evaluation.budget;
                let address = read_ip(&place.text("containsIP", self.slots, budget)?)?;
                self.address = Some((place.slot, address));
                Ok(address)
            }
        }
    }

    fn connect(&mut self, tests: &'n [Test], deciding: bool) -> Result<bool, EvalError> {
        let mut error = None;
        for test in tests {
            match self.test(test) {
                Ok(bool) if bool == deciding => return Ok(deciding),
                Ok(_) => {}
                Err(found) => {
                    self.evaluation.budget.work(price::ERROR)?;
                    error = error.or(Some(found));
                }
            }
        }
        error.map_or(Ok(!deciding), Err)
    }
}
