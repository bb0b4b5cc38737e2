//! What can go wrong: mistakes found when a filter is saved, and errors of one evaluation.
//!
//! Mistakes carry places and help because a person fixes them; evaluation errors are counted by
//! the thousand, so making one allocates little or nothing.

use std::fmt;
use std::sync::Arc;

use crate::report::{Span, caret, escaped};

/// One mistake in a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where in the filter's text.
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// What would fix it, if that is known.
    pub help: Option<String>,
    /// Whether it is a field that the event type does not have, which has a code of its own.
    pub(super) unknown_field: bool,
}

impl Mistake {
    pub(super) fn new(span: Span, message: impl Into<String>) -> Mistake {
        Mistake { span, message: message.into(), help: None, unknown_field: false }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Mistake {
        Mistake { help: Some(help.into()), ..self }
    }
}

/// Why a filter is refused: its mistakes, in the order of its text. `Display` writes the report, in
/// which nothing of the filter's text can move a terminal; the mistakes themselves quote it as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    source: String,
    mistakes: Vec<Mistake>,
}

impl FilterError {
    pub(super) fn new(source: &str, mut mistakes: Vec<Mistake>) -> FilterError {
        mistakes.sort_by_key(|mistake| (mistake.span.start, mistake.span.end));
        FilterError { source: source.to_owned(), mistakes }
    }

    /// ngrok's code for it: `ERR_NGROK_5405` for an unknown field, `ERR_NGROK_5404` for the rest.
    /// Where both kinds of mistake were made, the unknown field counts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        if self.mistakes.iter().any(|mistake| mistake.unknown_field) {
            "ERR_NGROK_5405"
        } else {
            "ERR_NGROK_5404"
        }
    }

    /// The mistakes, at least one.
    #[must_use]
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.mistakes.iter().enumerate() {
            if at > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{}\n{}", escaped(&mistake.message), caret(&self.source, mistake.span))?;
            if let Some(help) = &mistake.help {
                write!(f, "\n  = help: {}", escaped(help))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for FilterError {}

/// Why one evaluation has no result. The event then does not match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// A map has no such key.
    #[error("no such key `{0}`")]
    NoSuchKey(Box<str>),
    /// A list has no such index.
    #[error("no such index {0}")]
    NoSuchIndex(i64),
    /// Integer division or remainder by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// A result outside its type's range: the operation's name.
    #[error("result of `{0}` is out of range")]
    Overflow(&'static str),
    /// An operation met values of types that it does not take: the operation and the types.
    #[error("`{0}` cannot take {1}")]
    NoOverload(&'static str, Box<str>),
    /// A field holds JSON of another type than declared: its path and its declared type.
    #[error("field `{0}` is not the {1} it is declared to be")]
    WrongJson(Arc<str>, Arc<str>),
    /// Text that cannot be converted to what was asked for.
    #[error("{0}")]
    Invalid(Box<str>),
    /// A name that is not known when the filter runs; checked filters never meet it.
    #[error("unknown name `{0}`")]
    UnknownName(Box<str>),
    /// A run-time limit was met: the limit, and of what.
    #[error("over the limit of {0} {1}")]
    Limit(usize, &'static str),
}

/// Text from events is cut in messages, to so many characters, and escaped: it may be long, and the
/// message is kept and shown on terminals and in logs.
const SHOWN: usize = 64;

impl EvalError {
    pub(super) fn no_such_key(key: &str) -> EvalError {
        EvalError::NoSuchKey(shown(key))
    }

    /// For example: `invalid("timestamp", "yesterday")`.
    pub(super) fn invalid(what: &str, text: &str) -> EvalError {
        EvalError::Invalid(format!("`{}` is no {what}", shown(text)).into())
    }
}

fn shown(text: &str) -> Box<str> {
    escaped(&text.chars().take(SHOWN).collect::<String>()).into()
}
