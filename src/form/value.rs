//! Values of fields: each type says how it is written, once for all doors.
//!
//! It reads nothing itself: doors do, each with its own words for what is not of the shape.

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value as Json;

use super::Secret;

/// What stands in answers for the part of a text that they hide.
pub const HIDDEN: &str = "***";

/// What a field may hold.
pub trait Value: Clone + 'static {
    /// How it is written.
    const SHAPE: Shape<Self>;
    /// What else doors must know of it.
    const NATURE: Nature = Nature::Plain;

    /// The value as it is written.
    fn written(&self) -> Written;
}

/// How a value is written, and how one is made of it.
pub enum Shape<V: 'static> {
    /// Text that is not empty.
    Text(fn(&str) -> Result<V, Wrong>),
    /// `true` or `false`.
    Flag(fn(bool) -> V),
    /// A whole number in a range; an upper end of `u64::MAX` means none.
    Number(RangeInclusive<u64>, fn(u64) -> V),
    /// Bytes, or text with a unit such as `64MiB`; made of the bytes and of what was written. An upper end
    /// of `u64::MAX` means none.
    Size(RangeInclusive<u64>, fn(u64, Json) -> V),
    /// A number with a unit of time, such as `30s`; made of the time and of what was written.
    Time(RangeInclusive<Duration>, fn(Duration, &str) -> V),
    /// One of some words, with the value for which each stands.
    Words(&'static [(&'static str, V)]),
}

/// What doors do with a value besides reading and writing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Nothing.
    Plain,
    /// It is shown by no answer, and stays where a request leaves it out.
    Secret,
    /// It says whose the secrets beside it are: with another one they must be given again.
    Identity,
    /// A URL that is connected to: outbound rules hold for it, and where it changes all secrets must be
    /// given again.
    Address,
    /// The ARN of something in a region of AWS.
    Arn,
    /// A file of this machine that is written to: only the settings file may name one.
    OutputFile,
    /// A file of this machine that is read.
    InputFile,
    /// Brokers of Kafka, which say themselves what is connected to, so that no outbound rule holds: only the
    /// settings file may name some.
    Brokers,
}

/// A value as it is written: whole for the store, and as answers show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    whole: Json,
    shown: Json,
}

impl Written {
    /// What anybody may see.
    #[must_use]
    pub fn open(value: impl Into<Json>) -> Written {
        let whole = value.into();
        Written { shown: whole.clone(), whole }
    }

    /// Text of which answers show another.
    #[must_use]
    pub fn showing(whole: &str, shown: String) -> Written {
        Written { whole: whole.into(), shown: shown.into() }
    }

    /// As the store keeps it, secrets included.
    pub(super) fn into_whole(self) -> Json {
        self.whole
    }

    /// As answers show it.
    #[must_use]
    pub fn into_shown(self) -> Json {
        self.shown
    }

    /// Whether answers hide some of it.
    #[must_use]
    pub fn hides(&self) -> bool {
        self.whole != self.shown
    }
}

/// Why a text is no value, with the code that the API gives for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    code: &'static str,
    problem: String,
    /// Whether the problem is a sentence of its own, which quotes the text.
    quotes: bool,
}

impl Wrong {
    /// `problem` goes on from the field's name: `must have at most 10 bytes`.
    #[must_use]
    pub fn must(code: &'static str, problem: impl Into<String>) -> Wrong {
        Wrong { code, problem: problem.into(), quotes: false }
    }

    /// `problem` is a sentence that quotes the text.
    #[must_use]
    pub fn quoting(code: &'static str, problem: impl Into<String>) -> Wrong {
        Wrong { code, problem: problem.into(), quotes: true }
    }

    /// The stable code of the condition.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Whether [`Wrong::of`] repeats the text, which may have been a secret's.
    #[must_use]
    pub fn quotes(&self) -> bool {
        self.quotes
    }

    /// What is wrong with the value of a field of this name.
    #[must_use]
    pub fn of(&self, name: &str) -> String {
        match self.quotes {
            true => self.problem.clone(),
            false => format!("`{name}` {}", self.problem),
        }
    }
}

impl Value for bool {
    const SHAPE: Shape<bool> = Shape::Flag(|it| it);

    fn written(&self) -> Written {
        Written::open(*self)
    }
}

impl Value for String {
    const SHAPE: Shape<String> = Shape::Text(|text| Ok(text.to_owned()));

    fn written(&self) -> Written {
        Written::open(self.as_str())
    }
}

/// The only way from a secret to JSON.
impl Value for Secret {
    const SHAPE: Shape<Secret> = Shape::Text(|text| Ok(Secret::new(text)));
    const NATURE: Nature = Nature::Secret;

    fn written(&self) -> Written {
        Written { whole: self.expose().into(), shown: Json::Null }
    }
}

/// What a text must keep to.
pub trait Rule: Clone + fmt::Debug + Eq + 'static {
    /// What a text that does is to doors.
    const NATURE: Nature = Nature::Plain;

    /// Checks a text.
    ///
    /// # Errors
    /// When it does not.
    fn check(text: &str) -> Result<(), Wrong>;
}

/// A text that keeps to a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked<R>(Box<str>, PhantomData<R>);

impl<R: Rule> Checked<R> {
    /// Checks a text.
    ///
    /// # Errors
    /// When it does not keep to the rule.
    pub fn new(text: &str) -> Result<Checked<R>, Wrong> {
        R::check(text)?;
        Ok(Checked(text.into(), PhantomData))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<R: Rule> Value for Checked<R> {
    const SHAPE: Shape<Checked<R>> = Shape::Text(Checked::new);
    const NATURE: Nature = R::NATURE;

    fn written(&self) -> Written {
        Written::open(self.as_str())
    }
}

impl<R> fmt::Display for Checked<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret that keeps to a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretOf<R>(Secret, PhantomData<R>);

impl<R: Rule> SecretOf<R> {
    /// Checks a text.
    ///
    /// # Errors
    /// When it does not keep to the rule.
    pub fn new(text: &str) -> Result<SecretOf<R>, Wrong> {
        R::check(text)?;
        Ok(SecretOf(Secret::new(text), PhantomData))
    }

    /// The text itself, for the one place that signs with it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl<R: Rule> Value for SecretOf<R> {
    const SHAPE: Shape<SecretOf<R>> = Shape::Text(SecretOf::new);
    const NATURE: Nature = Nature::Secret;

    fn written(&self) -> Written {
        self.0.written()
    }
}
