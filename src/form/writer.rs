//! The doors that write: an answer, which shows no secret, and the store, which keeps all.

use serde_json::{Map, Value as Json};

use super::{Door, Field, Form, Names, Nature, Rule, Value, Written};

/// A thing as answers show it, with null for what is not set. Without `it`: one of which nothing is known.
#[must_use]
pub fn shown<F: Form>(it: Option<&F>) -> Json {
    written(it, Written::into_shown).0
}

/// A thing as the store keeps it, secrets included.
#[must_use]
pub fn whole<F: Form>(it: &F) -> Json {
    written(Some(it), Written::into_whole).0
}

/// A value that is more to doors than what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    pub nature: Nature,
    /// The names that lead to it, such as `kinesis.endpoint_url`.
    pub path: String,
    /// What it is; it may be a secret.
    pub text: String,
}

impl Noted {
    /// The name of the field alone.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }
}

/// All texts of a thing that are addresses, files, ARNs, identities or secrets, wherever they stand in it:
/// none has to be remembered.
#[must_use]
pub fn noted<F: Form>(it: &F) -> Vec<Noted> {
    written(Some(it), Written::into_whole).1
}

fn written<F: Form>(it: Option<&F>, choose: fn(Written) -> Json) -> (Json, Vec<Noted>) {
    let mut writer = Writer { choose, path: String::new(), members: Map::new(), noted: Vec::new() };
    let _nothing = F::form(&mut writer, it);
    (Json::Object(writer.members), writer.noted)
}

struct Writer {
    choose: fn(Written) -> Json,
    /// Where its fields stand: empty, or names with a dot behind each.
    path: String,
    members: Map<String, Json>,
    noted: Vec<Noted>,
}

impl Writer {
    fn value<V: Value>(&mut self, field: Field, it: Option<&V>) {
        let value = it.map(|it| self.one(|| field.name.to_owned(), it));
        self.put(field, value);
    }

    /// Writes a value, and notes it under its name in this section.
    fn one<V: Value>(&mut self, name: impl FnOnce() -> String, it: &V) -> Json {
        let written = it.written();
        if V::NATURE != Nature::Plain
            && let Json::String(text) = written.clone().into_whole()
        {
            let path = format!("{}{}", self.path, name());
            self.noted.push(Noted { nature: V::NATURE, path, text });
        }
        (self.choose)(written)
    }

    fn put(&mut self, field: Field, value: Option<Json>) {
        if value.is_some() || !field.ours {
            self.members.insert(field.name.to_owned(), value.unwrap_or_default());
        }
    }

    fn inner<F: Form>(&mut self, field: Field, it: Option<&F>) {
        let section = it.map(|it| {
            let path = format!("{}{}.", self.path, field.name);
            let mut inner =
                Writer { choose: self.choose, path, members: Map::new(), noted: Vec::new() };
            let _nothing = F::form(&mut inner, Some(it));
            self.noted.append(&mut inner.noted);
            Json::Object(inner.members)
        });
        self.put(field, section);
    }
}

impl Door for Writer {
    fn required<V: Value>(&mut self, field: Field, it: Option<&V>) -> Option<V> {
        self.value(field, it);
        None
    }

    fn optional<V: Value>(&mut self, field: Field, it: Option<&V>) -> Option<V> {
        self.value(field, it);
        None
    }

    fn or<V: Value>(&mut self, field: Field, _: V, it: Option<&V>) -> Option<V> {
        self.value(field, it);
        None
    }

    fn list<V: Value>(&mut self, field: Field, _: usize, it: Option<&[V]>) -> Option<Vec<V>> {
        let all = it.unwrap_or_default().iter().enumerate();
        let all: Vec<Json> =
            all.map(|(at, it)| self.one(|| format!("{}[{at}]", field.name), it)).collect();
        self.put(field, (!all.is_empty()).then_some(Json::Array(all)));
        None
    }

    fn named<R: Rule, V: Value>(
        &mut self,
        field: Field,
        _: usize,
        it: Option<&Names<R, V>>,
    ) -> Option<Names<R, V>> {
        let all: Map<String, Json> = it
            .into_iter()
            .flatten()
            .map(|(name, it)| {
                let path = || format!("{}.{name}", field.name);
                (name.as_str().to_owned(), self.one(path, it))
            })
            .collect();
        self.put(field, (!all.is_empty()).then_some(Json::Object(all)));
        None
    }

    fn always<F: Form>(&mut self, field: Field, it: Option<&F>) -> Option<F> {
        self.inner(field, it);
        None
    }

    fn group<F: Form>(&mut self, field: Field, it: Option<&F>) -> Option<F> {
        self.inner(field, it);
        None
    }

    fn variant<F: Form>(&mut self, field: Field, it: Option<&F>) -> Option<F> {
        self.inner(field, it);
        None
    }
}
