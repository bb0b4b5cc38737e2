//! The door of the API's requests: a form's questions as questions to JSON, with ngrok's codes.
//!
//! Null, and an empty text, are what clients send for what nobody gave. A secret that is left out, or sent
//! back as it was shown, stays what it was; but where the address that it goes to has changed, or the
//! identity that it belongs to, it must be given by somebody who knows it.

use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::refusal::Refusal;
use crate::form::{Checked, Door, Field, Form, HIDDEN, Names, Nature, Rule, Shape, Value, Written};
use crate::resources::{duration, show_duration, size};

/// Where the body comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// A request.
    Request,
    /// The store, or the settings file: it was accepted before.
    Store,
}

/// Reads the section `name` of a request, in place of `it`.
///
/// # Errors
/// The first mistake found in it.
pub(super) fn read<F: Form>(
    name: &str,
    value: &Json,
    it: Option<&F>,
    from: From,
) -> Result<F, Refusal> {
    let Some(members) = value.as_object() else {
        return Err(Refusal::wrong_type(name, "an object"));
    };
    let mut body = Body::new(members, name.to_owned(), from);
    let made = F::form(&mut body, it);
    body.close();
    if let (None, true, Some(path)) = (&body.refusal, body.has_moved, &body.kept) {
        return Err(secret_again(path));
    }
    match (body.refusal, made) {
        (None, Some(made)) => Ok(made),
        (None, None) => Err(Refusal::invalid("ERR_NGROK_236", format!("`{name}` is incomplete"))),
        (Some(refusal), _) => Err(refusal),
    }
}

fn secret_again(path: &str) -> Refusal {
    Refusal::invalid(
        "ERR_SLUICEGATE_1325",
        format!("`{path}` must be given again, since the target's address changes"),
    )
}

/// One object of a request while its members are read.
struct Body<'v> {
    members: &'v Map<String, Json>,
    path: String,
    from: From,
    asked: Vec<&'static str>,
    variants: Vec<&'static str>,
    /// The variant that it was.
    before: Option<&'static str>,
    /// The first mistake.
    refusal: Option<Refusal>,
    /// Whether an address is another than it was.
    has_moved: bool,
    /// Whether whose the secrets of this object are is another than it was.
    is_another: bool,
    /// The first secret that stayed because it was not given.
    kept: Option<String>,
}

impl<'v> Body<'v> {
    fn new(members: &'v Map<String, Json>, path: String, from: From) -> Body<'v> {
        Body {
            members,
            path,
            from,
            asked: Vec::new(),
            variants: Vec::new(),
            before: None,
            refusal: None,
            has_moved: false,
            is_another: false,
            kept: None,
        }
    }

    /// Refuses what nobody asked for, and another number of variants than one: that says more than what is
    /// wrong within.
    fn close(&mut self) {
        if let Some(name) = self.members.keys().find(|name| !self.asked.contains(&&***name)) {
            let known: Vec<String> = self.asked.iter().map(|it| self.path_of(it)).collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            self.refusal = Some(Refusal::unknown(&self.path_of(name), &known));
            return;
        }
        if self.variants.is_empty() {
            return;
        }
        let given: Vec<&str> =
            self.variants.iter().copied().filter(|name| self.get(name).is_some()).collect();
        // ngrok has codes of their own for the two that it knows.
        let (none, several) = match self.path.rsplit('.').next() {
            Some("target") => ("ERR_NGROK_5100", "ERR_NGROK_5115"),
            _ => ("ERR_NGROK_5107", "ERR_NGROK_5116"),
        };
        let path = &self.path;
        if given.is_empty() {
            let names = self.variants.join("`, `");
            let message = format!("`{path}` names none of `{names}`");
            self.refusal = Some(Refusal::invalid(none, message));
        } else if given.len() > 1 {
            let message = format!("`{path}` names more than one: `{}`", given.join("`, `"));
            self.refusal = Some(Refusal::invalid(several, message));
        } else if let Some(before) = self.before.filter(|it| path == "target" && given != [*it]) {
            let message = format!(
                "the kind of a target cannot be changed from `{before}` to `{}`: make a new destination",
                given.concat()
            );
            self.refusal = Some(Refusal::invalid("ERR_NGROK_5108", message));
        }
    }

    fn path_of(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    fn get(&self, name: &str) -> Option<&'v Json> {
        let value = self.members.get(name)?;
        Some(value).filter(|value| !value.is_null() && value.as_str() != Some(""))
    }

    fn refuse<T>(&mut self, refusal: Refusal) -> Option<T> {
        self.refusal.get_or_insert(refusal);
        None
    }

    /// Reads a value that is given.
    fn given<V: Value>(&mut self, field: Field, value: &Json) -> Option<V> {
        let path = self.path_of(field.name);
        let expected = match (V::SHAPE, value) {
            (Shape::Text(make), Json::String(text)) => match make(text) {
                Ok(value) => return Some(value),
                Err(wrong) => {
                    return self.refuse(Refusal::invalid(wrong.code(), wrong.of(field.name)));
                }
            },
            (Shape::Flag(make), Json::Bool(flag)) => return Some(make(*flag)),
            (Shape::Number(range, make), value) => match value.as_u64() {
                Some(number) if range.contains(&number) => return Some(make(number)),
                _ => "a whole number".to_owned() + &limits(range.start(), range.end()),
            },
            (Shape::Size(range, make), value) => {
                match value.as_u64().or_else(|| size(value.as_str()?)) {
                    Some(bytes) if range.contains(&bytes) => {
                        return Some(make(bytes, value.clone()));
                    }
                    _ => "a number of bytes, or a size such as `64MiB`".to_owned(),
                }
            }
            (Shape::Time(range, make), value) => {
                let text = value.as_str().unwrap_or_default();
                match duration(text) {
                    Some(time) if range.contains(&time) => return Some(make(time, text)),
                    _ => a_time(range.start(), range.end()),
                }
            }
            (Shape::Words(words), value) => {
                let given = value.as_str().unwrap_or_default();
                let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(given));
                match found {
                    Some((_, value)) => return Some(value.clone()),
                    None => {
                        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                        let instead = value.as_str().map(|it| format!(", not `{it}`"));
                        format!("one of `{}`{}", words.join("`, `"), instead.unwrap_or_default())
                    }
                }
            }
            (Shape::Text(_), _) => "a string".to_owned(),
            (Shape::Flag(_), _) => "true or false".to_owned(),
        };
        self.refuse(Refusal::wrong_type(&path, &expected))
    }

    /// Reads a value, or keeps what is hidden of it and not given anew.
    fn value<V: Value>(&mut self, field: Field, it: Option<&V>) -> Option<V> {
        self.asked.push(field.name);
        let given = self.get(field.name);
        self.one(field, given, it)
    }

    /// Reads what is given of a value, be it one of several.
    fn one<V: Value>(&mut self, field: Field, given: Option<&Json>, it: Option<&V>) -> Option<V> {
        let hidden = it.map(V::written).filter(Written::hides);
        let (code, reason) = match V::NATURE {
            Nature::OutputFile => ("ERR_SLUICEGATE_1302", "writes on the daemon's own machine"),
            Nature::Brokers => ("ERR_SLUICEGATE_1413", "connects to wherever its brokers say"),
            _ => ("", ""),
        };
        if !code.is_empty() && self.from == From::Request {
            let kind = self.path.rsplit('.').next().unwrap_or_default();
            let message = format!("a target `{kind}` {reason}: only the settings file may name it");
            return self.refuse(Refusal::invalid(code, message));
        }
        if let (Some(it), Some(hidden)) = (it, hidden) {
            let shown = hidden.into_shown();
            if given.unwrap_or(&Json::Null) == &shown && !self.is_another {
                if V::NATURE == Nature::Secret {
                    self.kept.get_or_insert(self.path_of(field.name));
                }
                return Some(it.clone());
            }
            let is_mask = given.and_then(Json::as_str).is_some_and(|it| it.ends_with(HIDDEN));
            if is_mask && V::NATURE == Nature::Address {
                return self.refuse(secret_again(&self.path_of(field.name)));
            }
        }
        let value = given.and_then(|given| self.given::<V>(field, given));
        let is_same = value.as_ref().map(V::written) == it.map(V::written);
        match V::NATURE {
            Nature::Address => self.has_moved |= !is_same,
            Nature::Identity => self.is_another |= !is_same,
            _ => {}
        }
        value
    }

    /// Reads one of several values: null is a secret that stays.
    fn one_of_several<V: Value>(
        &mut self,
        field: Field,
        given: &Json,
        it: Option<&V>,
    ) -> Option<V> {
        let value =
            self.one(field, Some(given).filter(|it| !it.is_null() && it.as_str() != Some("")), it);
        if value.is_none() {
            let message = format!("`{}` has an item without a value", self.path_of(field.name));
            self.refuse::<V>(Refusal::invalid("ERR_NGROK_236", message));
        }
        value
    }

    /// What is given of several values, unless there are too many.
    fn several(&mut self, field: Field, most: usize) -> Option<&'v Json> {
        self.asked.push(field.name);
        let given = self.get(field.name)?;
        let count = given.as_array().map(Vec::len).or(given.as_object().map(Map::len));
        if count > Some(most) {
            let message = format!("`{}` has more than {most} items", self.path_of(field.name));
            return self.refuse(Refusal::invalid("ERR_NGROK_236", message));
        }
        Some(given)
    }

    /// Reads a section that is given.
    fn inner<F: Form>(&mut self, field: Field, value: &Json, it: Option<&F>) -> Option<F> {
        let path = self.path_of(field.name);
        let Some(members) = value.as_object() else {
            return self.refuse(Refusal::wrong_type(&path, "an object"));
        };
        let mut inner = Body::new(members, path, self.from);
        let made = F::form(&mut inner, it);
        inner.close();
        self.has_moved |= inner.has_moved;
        self.refusal = self.refusal.take().or(inner.refusal);
        self.kept = self.kept.take().or(inner.kept);
        made
    }
}

fn limits(least: &u64, most: &u64) -> String {
    match most {
        &u64::MAX => format!(", at least {least}"),
        most => format!(" from {least} to {most}"),
    }
}

fn a_time(least: &Duration, most: &Duration) -> String {
    let (least, most) = (show_duration(*least), show_duration(*most));
    format!("a time such as `500ms` or `30s`, from {least} to {most}")
}

impl Door for Body<'_> {
    fn required<V: Value>(&mut self, field: Field, it: Option<&V>) -> Option<V> {
        let value = self.value(field, it);
        if value.is_none() {
            let code = match V::NATURE {
                Nature::Secret => "ERR_NGROK_240",
                _ => "ERR_NGROK_236",
            };
            let message = format!("`{}` is missing", self.path_of(field.name));
            // Unless something else is wrong with it.
            self.refuse::<V>(Refusal::invalid(code, message));
        }
        value
    }

    fn optional<V: Value>(&mut self, field: Field, it: Option<&V>) -> Option<V> {
        self.value(field, it)
    }

    fn or<V: Value>(&mut self, field: Field, default: V, it: Option<&V>) -> Option<V> {
        Some(self.value(field, it).unwrap_or(default))
    }

    fn list<V: Value>(&mut self, field: Field, most: usize, it: Option<&[V]>) -> Option<Vec<V>> {
        let before = it.unwrap_or_default();
        let null = Json::Null;
        let items = match self.several(field, most) {
            Some(Json::Array(items)) => items.iter().collect(),
            Some(_) => {
                return self.refuse(Refusal::wrong_type(&self.path_of(field.name), "a list"));
            }
            None if V::NATURE == Nature::Secret => vec![&null; before.len()],
            None => Vec::new(),
        };
        let each = items.into_iter().enumerate();
        each.map(|(at, given)| self.one_of_several(field, given, before.get(at))).collect()
    }

    fn named<R: Rule, V: Value>(
        &mut self,
        field: Field,
        most: usize,
        it: Option<&Names<R, V>>,
    ) -> Option<Names<R, V>> {
        let before = it.map_or(&[][..], Vec::as_slice);
        let null = Json::Null;
        let items: Vec<(&str, &Json)> = match self.several(field, most) {
            Some(Json::Object(items)) => items.iter().map(|(name, it)| (&**name, it)).collect(),
            Some(_) => {
                return self.refuse(Refusal::wrong_type(&self.path_of(field.name), "an object"));
            }
            None if V::NATURE == Nature::Secret => {
                before.iter().map(|(name, _)| (name.as_str(), &null)).collect()
            }
            None => Vec::new(),
        };
        let read = |(name, given): (&str, &Json)| {
            let name = match Checked::<R>::new(name) {
                Ok(name) => name,
                Err(wrong) => {
                    return self.refuse(Refusal::invalid(wrong.code(), wrong.of(name)));
                }
            };
            let was = before.iter().find(|(known, _)| *known == name).map(|(_, was)| was);
            Some((name, self.one_of_several(field, given, was)?))
        };
        items.into_iter().map(read).collect()
    }

    fn always<F: Form>(&mut self, field: Field, it: Option<&F>) -> Option<F> {
        let empty = Json::Object(Map::new());
        self.asked.push(field.name);
        self.inner(field, self.get(field.name).unwrap_or(&empty), it)
    }

    fn group<F: Form>(&mut self, field: Field, it: Option<&F>) -> Option<F> {
        self.asked.push(field.name);
        self.inner(field, self.get(field.name)?, it)
    }

    fn variant<F: Form>(&mut self, field: Field, it: Option<&F>) -> Option<F> {
        self.variants.push(field.name);
        self.before = self.before.or(it.map(|_| field.name));
        self.group(field, it)
    }
}
