//! One form for each thing that people write: a function that asks for its fields, and five doors that
//! answer: the settings file, a request of the API, an answer, the store, and a description that only
//! listens.
//!
//! A form asks for **everything** first, each answer an `Option`, and only then puts the thing together
//! with `?`; it has no `if` before its last question. So it is the description of the thing: what it asks
//! is read, written, hidden, described and held to be known, in one place each. What needs other things
//! (the catalog, a service's limits, whom one may reach) is checked by functions after it.
//!
//! The doors that write, the one that listens and one that makes a thing like another are here. Those that read have words and codes of their
//! own: the settings file's is in `config`, the API's in `control`.

mod description;
mod remade;
mod secret;
mod value;
mod writer;

pub use description::{describe, fields};
pub use remade::remade;
pub use secret::Secret;
pub use value::{Checked, HIDDEN, Nature, Rule, SecretOf, Shape, Value, Written, Wrong};
pub use writer::{Noted, noted, shown, whole};

/// A thing with fields that people write.
pub trait Form: Sized {
    /// Asks for its fields. `it` is the thing as it was or is, for the doors that keep or write it.
    ///
    /// `None` where a field is missing or mistaken, which the door has noted, and from doors that only
    /// listen.
    fn form<D: Door>(d: &mut D, it: Option<&Self>) -> Option<Self>;
}

/// Who asks a form, or listens to it. `it` is what the field holds now.
///
/// `None` stands for absent and for mistaken alike: a mistake anywhere fails the whole, so a default in
/// place of a mistaken value is never used.
pub trait Door: Sized {
    /// A value that must be there.
    fn required<V: Value>(&mut self, field: Field, it: Option<&V>) -> Option<V>;

    /// A value that may be left out.
    fn optional<V: Value>(&mut self, field: Field, it: Option<&V>) -> Option<V>;

    /// A value that is `default` where it is left out.
    fn or<V: Value>(&mut self, field: Field, default: V, it: Option<&V>) -> Option<V>;

    /// Values in a list, at most so many; empty where it is left out.
    fn list<V: Value>(&mut self, field: Field, most: usize, it: Option<&[V]>) -> Option<Vec<V>>;

    /// Values under names that the writer chooses, at most so many; empty where it is left out.
    fn named<R: Rule, V: Value>(
        &mut self,
        field: Field,
        most: usize,
        it: Option<&Names<R, V>>,
    ) -> Option<Names<R, V>>;

    /// A section that is read as if it were empty where it is left out.
    fn always<F: Form>(&mut self, field: Field, it: Option<&F>) -> Option<F>;

    /// A section that may be left out.
    fn group<F: Form>(&mut self, field: Field, it: Option<&F>) -> Option<F>;

    /// A section that is there instead of the other variants beside it: exactly one must be. Ask for a
    /// thing's other fields before.
    fn variant<F: Form>(&mut self, field: Field, it: Option<&F>) -> Option<F>;
}

/// Values under names that keep to a rule, in the order in which they were written.
pub type Names<R, V> = Vec<(Checked<R>, V)>;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    /// What it is, in a sentence or two for whoever writes it.
    pub about: &'static str,
    /// What it may look like: text, or JSON; empty for sections, and where the default says enough.
    pub example: &'static str,
    /// What holds where it is left out, as it would be written; empty where nothing can be said.
    pub default: &'static str,
    /// Whether answers leave it out where it is not set: ngrok's clients do not know it.
    pub ours: bool,
}

/// A field that holds a value.
#[must_use]
pub const fn field(name: &'static str, about: &'static str, example: &'static str) -> Field {
    Field { name, about, example, default: "", ours: false }
}

/// A field that holds a section.
#[must_use]
pub const fn section(name: &'static str, about: &'static str) -> Field {
    field(name, about, "")
}

impl Field {
    /// The same, left out of answers where it is not set.
    #[must_use]
    pub const fn ours(self) -> Field {
        Field { ours: true, ..self }
    }

    /// The same with what holds where it is left out.
    #[must_use]
    pub const fn by_default(self, default: &'static str) -> Field {
        Field { default, ..self }
    }
}
