//! Values at run time: what they are, when they are equal, and how they are ordered.
//!
//! Text borrows from the event where it can. What operations do with values stands in
//! `functions/`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use crate::event::Timestamp;

use super::error::EvalError;
use super::limits::price;
use super::network::Cidr;

/// A value; `'a` is the life of the event it came from.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// CEL's `null`; an absent optional field is another thing.
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A double-precision number.
    Double(f64),
    /// Text.
    String(Text<'a>),
    /// Octets.
    Bytes(Arc<[u8]>),
    /// Values of any types, shared when it is passed on.
    List(Arc<[Value<'a>]>),
    /// Sorted by key, shared when it is passed on.
    Map(Arc<Map<'a>>),
    /// An instant.
    Timestamp(Timestamp),
    /// A span of time in nanoseconds: about 292 years either way.
    Duration(i64),
    /// A type, by its name.
    Type(&'static str),
    /// A value that may be missing.
    Optional(Option<Arc<Value<'a>>>),
    /// An IP address; a mapped one is held as IPv4.
    Ip(IpAddr),
    /// A network of IP addresses.
    Cidr(Cidr),
}

/// Text that is borrowed or cheaply shared.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// A slice of the event.
    Borrowed(&'a str),
    /// Text made by decoding or by an operation, or a constant.
    Shared(Arc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl<'a> From<Cow<'a, str>> for Text<'a> {
    fn from(text: Cow<'a, str>) -> Text<'a> {
        match text {
            Cow::Borrowed(text) => Text::Borrowed(text),
            Cow::Owned(text) => Text::Shared(text.into()),
        }
    }
}

impl<'a> Value<'a> {
    /// A string value of its own.
    #[must_use]
    pub fn string(text: &str) -> Value<'a> {
        Value::String(Text::Shared(text.into()))
    }

    /// An optional that holds a value.
    #[must_use]
    pub fn some(value: Value<'a>) -> Value<'a> {
        Value::Optional(Some(Arc::new(value)))
    }

    /// The name of the value's type, as `type(x)` gives it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::Type(_) => "type",
            Value::Optional(_) => "optional_type",
            Value::Ip(_) => "net.IP",
            Value::Cidr(_) => "net.CIDR",
        }
    }
}

/// CEL's `==`: values of different types are unequal, but numbers compare across types.
#[must_use]
pub fn equal(a: &Value<'_>, b: &Value<'_>) -> bool {
    equal_within((a, b), 0, &mut |_, _| true) == Some(true)
}

/// The same where the work must be bounded, since items may be shared and so be compared more often
/// than there is memory for them: `may` is asked before each text and container with the units of work
/// that it takes and its depth, and where it says no there is no answer.
pub(super) fn equal_within(
    (a, b): (&Value<'_>, &Value<'_>),
    depth: usize,
    may: &mut impl FnMut(u64, usize) -> bool,
) -> Option<bool> {
    Some(match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::String(a), Value::String(b)) => {
            return equal_bytes((a.as_bytes(), b.as_bytes()), depth, may);
        }
        (Value::Bytes(a), Value::Bytes(b)) => return equal_bytes((a, b), depth, may),
        (Value::List(a), Value::List(b)) => {
            if a.len() != b.len() {
                return Some(false);
            }
            // A container counts as one more item: many may be empty.
            if !may((a.len() as u64 + 1) * price::ITEM, depth) {
                return None;
            }
            for (a, b) in a.iter().zip(b.iter()) {
                if !equal_within((a, b), depth + 1, may)? {
                    return Some(false);
                }
            }
            true
        }
        (Value::Map(a), Value::Map(b)) => {
            if a.len() != b.len() {
                return Some(false);
            }
            if !may((a.len() as u64 + 1) * price::KEY, depth) {
                return None;
            }
            for (key, value) in a.iter() {
                if !may(key.work(), depth) {
                    return None;
                }
                match b.get(key) {
                    Some(other) if equal_within((value, other), depth + 1, may)? => {}
                    _ => return Some(false),
                }
            }
            true
        }
        (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Type(a), Value::Type(b)) => a == b,
        (Value::Optional(Some(a)), Value::Optional(Some(b))) => {
            return equal_within((a, b), depth + 1, may);
        }
        (Value::Optional(a), Value::Optional(b)) => a.is_none() && b.is_none(),
        (Value::Ip(a), Value::Ip(b)) => a == b,
        (Value::Cidr(a), Value::Cidr(b)) => a == b,
        _ => compare_numbers(a, b).flatten() == Some(Ordering::Equal),
    })
}

fn equal_bytes(
    (a, b): (&[u8], &[u8]),
    depth: usize,
    may: &mut impl FnMut(u64, usize) -> bool,
) -> Option<bool> {
    if a.len() != b.len() {
        return Some(false);
    }
    may(a.len() as u64 * price::COMPARE / 64, depth).then(|| a == b)
}

/// The order of two values; `None` if one is NaN.
///
/// # Errors
/// When their types have no order between them.
pub fn compare(
    operator: &'static str,
    a: &Value<'_>,
    b: &Value<'_>,
) -> Result<Option<Ordering>, EvalError> {
    Ok(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::String(a), Value::String(b)) => Some((**a).cmp(&**b)),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        _ => return compare_numbers(a, b).ok_or_else(|| no_overload(operator, &[a, b])),
    })
}

/// That an operation does not take values of these types.
pub(super) fn no_overload(operation: &'static str, values: &[&Value<'_>]) -> EvalError {
    let types: Vec<&str> = values.iter().map(|value| value.type_name()).collect();
    EvalError::NoOverload(operation, types.join(" and ").into())
}

/// `None` if one is no number; `Some(None)` if one is NaN.
fn compare_numbers(a: &Value<'_>, b: &Value<'_>) -> Option<Option<Ordering>> {
    let reverse = |order: Option<Ordering>| order.map(Ordering::reverse);
    Some(match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Int(a), Value::Double(b)) => compare_int(*a, *b),
        (Value::Double(a), Value::Int(b)) => reverse(compare_int(*b, *a)),
        (Value::Uint(a), Value::Double(b)) => compare_uint(*a, *b),
        (Value::Double(a), Value::Uint(b)) => reverse(compare_uint(*b, *a)),
        _ => return None,
    })
}

/// Inside the range of ints, CEL compares in double precision, not exactly; its conformance suite
/// pins this.
fn compare_int(int: i64, double: f64) -> Option<Ordering> {
    if double < i64::MIN as f64 {
        Some(Ordering::Greater)
    } else if double > i64::MAX as f64 {
        Some(Ordering::Less)
    } else {
        (int as f64).partial_cmp(&double)
    }
}

fn compare_uint(uint: u64, double: f64) -> Option<Ordering> {
    if double < 0.0 {
        Some(Ordering::Greater)
    } else if double > u64::MAX as f64 {
        Some(Ordering::Less)
    } else {
        (uint as f64).partial_cmp(&double)
    }
}

/// A key of a map. Equal numbers are equal keys whether int or uint.
#[derive(Clone, Debug)]
pub enum Key<'a> {
    /// `true` or `false`
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// Text.
    String(Text<'a>),
}

impl<'a> Key<'a> {
    /// The key that a map literal makes of a value, if its type can be one.
    #[must_use]
    pub fn new(value: &Value<'a>) -> Option<Key<'a>> {
        Some(match value {
            Value::Bool(bool) => Key::Bool(*bool),
            Value::Int(int) => Key::Int(*int),
            Value::Uint(uint) => Key::Uint(*uint),
            Value::String(text) => Key::String(text.clone()),
            _ => return None,
        })
    }

    /// The key that a value looks up: as `new`, and a whole double is its integer.
    #[must_use]
    pub fn looked_up(value: &Value<'a>) -> Option<Key<'a>> {
        match value {
            Value::Double(double) if double.fract() == 0.0 => {
                if (i64::MIN as f64..i64::MAX as f64).contains(double) {
                    Some(Key::Int(*double as i64))
                } else if (0.0..u64::MAX as f64).contains(double) {
                    Some(Key::Uint(*double as u64))
                } else {
                    None
                }
            }
            other => Key::new(other),
        }
    }

    /// The key as a value.
    #[must_use]
    pub fn value(&self) -> Value<'a> {
        match self {
            Key::Bool(bool) => Value::Bool(*bool),
            Key::Int(int) => Value::Int(*int),
            Key::Uint(uint) => Value::Uint(*uint),
            Key::String(text) => Value::String(text.clone()),
        }
    }

    /// Units of work that finding the key in a map takes, at most.
    pub(super) fn work(&self) -> u64 {
        match self {
            Key::String(text) => price::KEY + text.len() as u64,
            _ => price::KEY,
        }
    }

    fn rank(&self) -> (u8, i128, &str) {
        match self {
            Key::Bool(bool) => (0, i128::from(*bool), ""),
            Key::Int(int) => (1, i128::from(*int), ""),
            Key::Uint(uint) => (1, i128::from(*uint), ""),
            Key::String(text) => (2, 0, text),
        }
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Key<'_> {}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// A map that keeps the order in which its entries were written.
#[derive(Clone, Debug, Default)]
pub struct Map<'a> {
    entries: Vec<(Key<'a>, Value<'a>)>,
    /// Places in `entries` in the order of the keys, for looking up.
    sorted: Vec<usize>,
}

impl<'a> Map<'a> {
    /// A map of entries; gives back a key that is there twice.
    ///
    /// # Errors
    /// When a key is repeated.
    pub fn new(entries: Vec<(Key<'a>, Value<'a>)>) -> Result<Map<'a>, Key<'a>> {
        let mut sorted: Vec<usize> = (0..entries.len()).collect();
        sorted.sort_by(|a, b| entries[*a].0.cmp(&entries[*b].0));
        let repeated = sorted.windows(2).find(|pair| entries[pair[0]].0 == entries[pair[1]].0);
        match repeated {
            Some(pair) => Err(entries[pair[1]].0.clone()),
            None => Ok(Map { entries, sorted }),
        }
    }

    /// A map of entries in which the last of equal keys wins, as in JSON.
    #[must_use]
    pub fn last_wins(mut entries: Vec<(Key<'a>, Value<'a>)>) -> Map<'a> {
        let mut sorted: Vec<usize> = (0..entries.len()).collect();
        sorted.sort_by(|a, b| entries[*a].0.cmp(&entries[*b].0));
        let mut kept = vec![true; entries.len()];
        for pair in sorted.windows(2) {
            // The sort is stable: of equal keys the last one comes last.
            kept[pair[0]] = entries[pair[0]].0 != entries[pair[1]].0;
        }
        let mut kept = kept.into_iter();
        entries.retain(|_| kept.next().unwrap_or(true));
        Map::new(entries).unwrap_or_default()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key<'a>, &Value<'a>)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &Key<'_>) -> Option<&Value<'a>> {
        self.find(|other| other.rank().cmp(&key.rank()))
    }

    /// The value of a string key.
    #[must_use]
    pub fn get_text(&self, key: &str) -> Option<&Value<'a>> {
        self.find(|other| other.rank().cmp(&(2, 0, key)))
    }

    fn find(&self, order: impl Fn(&Key<'a>) -> Ordering) -> Option<&Value<'a>> {
        let at = self.sorted.binary_search_by(|at| order(&self.entries[*at].0)).ok()?;
        Some(&self.entries[self.sorted[at]].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn int_meets_double_in_double_precision_inside_the_range() {
        let order = |a, b| compare("<", &Value::Int(a), &Value::Double(b)).unwrap();
        assert_eq!(order(i64::MAX, 9_223_372_036_854_775_808.0), Some(Ordering::Equal));
        assert_eq!(order(i64::MIN, -9_223_372_036_854_777_857.0), Some(Ordering::Greater));
        assert_eq!(order(1, f64::NAN), None);
    }

    #[test]
    fn nan_is_unequal_to_itself_even_inside_lists() {
        let list = Value::List(vec![Value::Double(f64::NAN)].into());
        assert!(!equal(&list, &list));
        assert!(equal(&Value::Double(-0.0), &Value::Int(0)));
    }

    #[test]
    fn equal_numbers_are_one_key() {
        let entry = |key| (key, Value::Null);
        assert_eq!(
            Map::new(vec![entry(Key::Int(1)), entry(Key::Uint(1))]).unwrap_err(),
            Key::Int(1)
        );
        let map = Map::new(vec![entry(Key::Uint(1)), entry(Key::Bool(true))]).unwrap();
        assert!(map.get(&Key::Int(1)).is_some());
        assert!(map.get(&Key::looked_up(&Value::Double(1.0)).unwrap()).is_some());
        assert!(Key::looked_up(&Value::Double(1.5)).is_none());
    }

    #[test]
    fn the_last_of_duplicate_json_keys_wins() {
        let entry =
            |key: &'static str, value| (Key::String(Text::Borrowed(key)), Value::Int(value));
        let map = Map::last_wins(vec![entry("a", 1), entry("b", 2), entry("a", 3), entry("a", 4)]);
        assert_eq!(map.len(), 2);
        assert!(equal(map.get_text("a").unwrap(), &Value::Int(4)));
    }
}
