//! Types as the checker knows them, and when a value of one may stand for another.
//!
//! Unification is CEL's: type variables are bound as they are met, and a binding may become more
//! general (`dyn`) but never less. Values at run time carry their own types; see `value.rs`.

use std::fmt;

use crate::event::{FieldType, Root};

/// The name of the type of optional values.
pub(super) const OPTIONAL: &str = "optional_type";

/// A static type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Anything; checked when the filter runs.
    Dyn,
    /// The type of `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A signed 64-bit integer.
    Int,
    /// An unsigned 64-bit integer.
    Uint,
    /// A double-precision number.
    Double,
    /// Text.
    String,
    /// Octets.
    Bytes,
    /// An instant.
    Timestamp,
    /// A span of time.
    Duration,
    /// A type as a value.
    Type,
    /// A list of one type.
    List(Box<Type>),
    /// A map from one type to another.
    Map(Box<Type>, Box<Type>),
    /// A scalar that may also be null.
    Nullable(Box<Type>),
    /// A type known by its name only, such as `net.IP` or `optional_type(int)`.
    Abstract(String, Vec<Type>),
    /// The event or a group of its fields; no value, only a way to fields.
    Group(Root, String),
    /// A type variable of a signature, such as `A` in `list(A)`; fresh ones have higher numbers.
    Variable(usize),
}

impl Type {
    /// The type of a declared field. Instants and spans have no harmless zero, so they may be null.
    #[must_use]
    pub fn of_field(field: &FieldType) -> Type {
        match field {
            FieldType::Timestamp | FieldType::Duration => {
                Type::Nullable(Box::new(Type::of_item(field)))
            }
            other => Type::of_item(other),
        }
    }

    fn of_item(field: &FieldType) -> Type {
        match field {
            FieldType::Bool => Type::Bool,
            FieldType::Int => Type::Int,
            FieldType::Double => Type::Double,
            FieldType::String => Type::String,
            FieldType::Timestamp => Type::Timestamp,
            FieldType::Duration => Type::Duration,
            FieldType::List(item) => Type::list(Type::of_item(item)),
            FieldType::Map(value) => Type::map(Type::String, Type::of_item(value)),
            FieldType::Dyn => Type::Dyn,
        }
    }

    /// `list(item)`
    #[must_use]
    pub fn list(item: Type) -> Type {
        Type::List(Box::new(item))
    }

    /// `map(key, value)`
    #[must_use]
    pub fn map(key: Type, value: Type) -> Type {
        Type::Map(Box::new(key), Box::new(value))
    }

    /// `optional_type(inner)`: a value that may be missing.
    #[must_use]
    pub fn optional(inner: Type) -> Type {
        Type::Abstract(OPTIONAL.to_owned(), vec![inner])
    }

    /// What an optional value holds; none for other types.
    #[must_use]
    pub fn held(&self) -> Option<&Type> {
        match self {
            Type::Abstract(name, parameters) if name == OPTIONAL => parameters.first(),
            _ => None,
        }
    }

    /// Reads a type as signatures write it: `int`, `list(A)`, `map(string, dyn)`, `nullable(int)`;
    /// a single capital letter is a type variable.
    #[must_use]
    pub fn parse(text: &str) -> Option<Type> {
        let text = text.trim();
        if let Some((head, inside)) =
            text.split_once('(').and_then(|(head, rest)| Some((head, rest.strip_suffix(')')?)))
        {
            return match (head, split_types(inside).as_slice()) {
                ("list", [item]) => Some(Type::list(Type::parse(item)?)),
                ("map", [key, value]) => Some(Type::map(Type::parse(key)?, Type::parse(value)?)),
                ("nullable", [inner]) => Some(Type::Nullable(Box::new(Type::parse(inner)?))),
                ("optional", [inner]) => Some(Type::optional(Type::parse(inner)?)),
                _ => None,
            };
        }
        Some(match text {
            "dyn" => Type::Dyn,
            "null" => Type::Null,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "timestamp" => Type::Timestamp,
            "duration" => Type::Duration,
            "type" => Type::Type,
            "net.IP" | "net.CIDR" => Type::Abstract(text.to_owned(), Vec::new()),
            _ => match text.as_bytes() {
                [letter @ b'A'..=b'Z'] => Type::Variable(usize::from(letter - b'A')),
                _ => return None,
            },
        })
    }

    /// Whether null may stand for a value of this type. Of types that are not declared nullable those
    /// may be null that are messages in CEL's first home.
    fn takes_null(&self) -> bool {
        matches!(
            self,
            Type::Null | Type::Nullable(_) | Type::Timestamp | Type::Duration | Type::Abstract(..)
        )
    }

    /// How many variables a signature with this type needs: one more than its highest.
    pub(super) fn variables(&self) -> usize {
        match self {
            Type::Variable(number) => number + 1,
            Type::List(inner) | Type::Nullable(inner) => inner.variables(),
            Type::Map(key, value) => key.variables().max(value.variables()),
            Type::Abstract(_, parameters) => {
                parameters.iter().map(Type::variables).max().unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// This type with each variable raised by `by`, so that two uses of a signature do not mix.
    pub(super) fn raised(&self, by: usize) -> Type {
        match self {
            Type::Variable(number) => Type::Variable(number + by),
            Type::List(item) => Type::list(item.raised(by)),
            Type::Map(key, value) => Type::map(key.raised(by), value.raised(by)),
            Type::Nullable(inner) => Type::Nullable(Box::new(inner.raised(by))),
            Type::Abstract(name, parameters) => {
                Type::Abstract(name.clone(), parameters.iter().map(|it| it.raised(by)).collect())
            }
            other => other.clone(),
        }
    }
}

/// Splits `int, map(A, B)` at the commas outside parentheses; nothing gives no types.
pub(super) fn split_types(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, char) in text.char_indices() {
        match char {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text.trim().is_empty() {
        parts.push(text[start..].trim());
    }
    parts
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Dyn | Type::Variable(_) => f.write_str("dyn"),
            Type::Null => f.write_str("null"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Uint => f.write_str("uint"),
            Type::Double => f.write_str("double"),
            Type::String => f.write_str("string"),
            Type::Bytes => f.write_str("bytes"),
            Type::Timestamp => f.write_str("timestamp"),
            Type::Duration => f.write_str("duration"),
            Type::Type => f.write_str("type"),
            Type::List(item) => write!(f, "list({item})"),
            Type::Map(key, value) => write!(f, "map({key}, {value})"),
            Type::Nullable(inner) => inner.fmt(f),
            Type::Abstract(name, parameters) if parameters.is_empty() => f.write_str(name),
            Type::Abstract(name, parameters) => {
                let parameters: Vec<String> = parameters.iter().map(Type::to_string).collect();
                write!(f, "{name}({})", parameters.join(", "))
            }
            Type::Group(..) => f.write_str("group of fields"),
        }
    }
}

/// What type variables stand for.
///
/// Every change is written down, so that a trial that fails can be taken back.
#[derive(Debug, Default)]
pub(super) struct Substitution {
    bound: Vec<Option<Type>>,
    /// The variables that were bound, and to what they were bound before.
    changes: Vec<(usize, Option<Type>)>,
}

/// A moment to which a [`Substitution`] can go back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    variables: usize,
    changes: usize,
}

impl Substitution {
    /// The first of `count` new variables.
    pub fn fresh(&mut self, count: usize) -> usize {
        let first = self.bound.len();
        self.bound.resize(first + count, None);
        first
    }

    /// The present moment.
    pub fn mark(&self) -> Mark {
        Mark { variables: self.bound.len(), changes: self.changes.len() }
    }

    /// Takes back everything since a mark.
    pub fn undo(&mut self, to: Mark) {
        while self.changes.len() > to.changes {
            if let Some((number, before)) = self.changes.pop() {
                self.bound[number] = before;
            }
        }
        self.bound.truncate(to.variables);
    }

    /// What a type stands for at its top: a type, or a variable that is not bound. A loop, because
    /// a chain of variables may be as long as a filter.
    fn top<'t>(&'t self, mut of: &'t Type) -> &'t Type {
        while let Type::Variable(number) = of {
            match self.bound.get(*number) {
                Some(Some(bound)) => of = bound,
                _ => break,
            }
        }
        of
    }

    /// A type with its bound variables replaced.
    pub fn resolve(&self, of: &Type) -> Type {
        match self.top(of) {
            Type::List(item) => Type::list(self.resolve(item)),
            Type::Map(key, value) => Type::map(self.resolve(key), self.resolve(value)),
            Type::Nullable(inner) => Type::Nullable(Box::new(self.resolve(inner))),
            Type::Abstract(name, parameters) => {
                Type::Abstract(name.clone(), parameters.iter().map(|it| self.resolve(it)).collect())
            }
            other => other.clone(),
        }
    }

    /// The last variable of a chain: unbound, or bound to what is no variable.
    fn last(&self, mut number: usize) -> usize {
        while let Some(Some(Type::Variable(next))) = self.bound.get(number) {
            number = *next;
        }
        number
    }

    /// Whether values of the two types may meet; binds variables to make it so.
    pub fn unify(&mut self, a: &Type, b: &Type) -> bool {
        match (a, b) {
            (Type::Variable(number), other) | (other, Type::Variable(number)) => {
                self.bind(self.last(*number), other)
            }
            (Type::Dyn, _) | (_, Type::Dyn) => true,
            (Type::Null, other) | (other, Type::Null) => other.takes_null(),
            (Type::Nullable(a), Type::Nullable(b)) => self.unify(a, b),
            (Type::Nullable(inner), other) | (other, Type::Nullable(inner)) => {
                self.unify(inner, other)
            }
            (Type::List(a), Type::List(b)) => self.unify(a, b),
            (Type::Map(a_key, a_value), Type::Map(b_key, b_value)) => {
                self.unify(a_key, b_key) && self.unify(a_value, b_value)
            }
            (Type::Abstract(a, a_of), Type::Abstract(b, b_of)) => {
                a == b
                    && a_of.len() == b_of.len()
                    && a_of.iter().zip(b_of).all(|(a, b)| self.unify(a, b))
            }
            (a, b) => a == b,
        }
    }

    fn bind(&mut self, number: usize, to: &Type) -> bool {
        let to = self.resolve(to);
        if to == Type::Variable(number) {
            return true;
        }
        let bound = self.bound.get(number).cloned().flatten();
        if let Some(bound) = bound {
            let fits = self.unify(&bound, &to);
            if fits && self.is_more_general(&to, &bound) && !mentions(&self.resolve(&to), number) {
                self.set(number, to);
            }
            return fits;
        }
        let occurs = mentions(&to, number);
        if !occurs {
            self.set(number, to);
        }
        !occurs
    }

    fn set(&mut self, number: usize, to: Type) {
        if let Some(place) = self.bound.get_mut(number) {
            self.changes.push((number, place.replace(to)));
        }
    }

    fn is_more_general(&self, a: &Type, b: &Type) -> bool {
        match (self.top(a), self.top(b)) {
            (Type::Dyn, b) => *b != Type::Dyn,
            (a, Type::Null) => *a != Type::Null,
            (Type::Nullable(_), Type::Nullable(_)) => false,
            (Type::Nullable(_), _) => true,
            (Type::List(a), Type::List(b)) => self.is_more_general(a, b),
            (Type::Map(a_key, a_value), Type::Map(b_key, b_value)) => {
                self.is_more_general(a_key, b_key) || self.is_more_general(a_value, b_value)
            }
            (Type::Abstract(_, a), Type::Abstract(_, b)) => {
                a.iter().zip(b).any(|(a, b)| self.is_more_general(a, b))
            }
            _ => false,
        }
    }

    /// The type of a place where values of both types may stand: `dyn` if they do not fit.
    pub fn join(&mut self, a: &Type, b: &Type) -> Type {
        let before = self.mark();
        if !self.unify(a, b) {
            self.undo(before);
            return Type::Dyn;
        }
        self.resolve(if self.is_more_general(b, a) { b } else { a })
    }
}

fn mentions(of: &Type, number: usize) -> bool {
    match of {
        Type::Variable(other) => *other == number,
        Type::List(inner) | Type::Nullable(inner) => mentions(inner, number),
        Type::Map(key, value) => mentions(key, number) || mentions(value, number),
        Type::Abstract(_, parameters) => parameters.iter().any(|it| mentions(it, number)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_they_are_written() {
        for text in ["int", "list(string)", "map(string, list(dyn))", "map(bool, map(int, uint))"] {
            assert_eq!(Type::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Type::parse("list(A)"), Some(Type::list(Type::Variable(0))));
        assert_eq!(Type::parse("lst(int)"), None);
    }

    #[test]
    fn a_variable_takes_the_most_general_of_its_types() {
        let mut types = Substitution::default();
        let a = Type::Variable(types.fresh(1));
        assert!(types.unify(&a, &Type::Int));
        assert!(!types.unify(&a, &Type::String));
        assert!(types.unify(&a, &Type::Dyn));
        assert_eq!(types.resolve(&a), Type::Dyn);
    }

    #[test]
    fn a_trial_can_be_taken_back() {
        let mut types = Substitution::default();
        let a = Type::Variable(types.fresh(1));
        let before = types.mark();
        let b = Type::Variable(types.fresh(1));
        assert!(types.unify(&a, &b) && types.unify(&b, &Type::Int));
        types.undo(before);
        assert_eq!(types.resolve(&a), a);
    }

    #[test]
    fn a_long_chain_of_variables_needs_no_deep_stack() {
        let mut types = Substitution::default();
        let first = types.fresh(100_000);
        for number in first..first + 99_999 {
            assert!(types.unify(&Type::Variable(number), &Type::Variable(number + 1)));
        }
        assert!(types.unify(&Type::Variable(first), &Type::Int));
        assert_eq!(types.resolve(&Type::Variable(first)), Type::Int);
    }

    #[test]
    fn joining_what_does_not_fit_gives_dyn() {
        let mut types = Substitution::default();
        assert_eq!(types.join(&Type::Int, &Type::String), Type::Dyn);
        let empty = Type::list(Type::Variable(types.fresh(1)));
        assert_eq!(types.join(&empty, &Type::list(Type::Int)), Type::list(Type::Int));
    }

    #[test]
    fn a_variable_is_never_a_part_of_itself() {
        let mut types = Substitution::default();
        let a = Type::Variable(types.fresh(1));
        assert!(!types.unify(&a, &Type::list(a.clone())));
    }
}
