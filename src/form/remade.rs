//! The door that gives each field what it holds, but for the texts of one nature: a thing like another one
//! in a different region, say.

use super::{Door, Field, Form, Names, Nature, Rule, Shape, Value};

/// A thing like `it`, in which `change` has its way with each text of the nature. `None` where one of them
/// cannot be so.
pub fn remade<F: Form>(it: &F, nature: Nature, change: impl Fn(&str) -> String) -> Option<F> {
    let mut remaking = Remaking { nature, change: &change, has_failed: false };
    let made = F::form(&mut remaking, Some(it));
    made.filter(|_| !remaking.has_failed)
}

struct Remaking<'c> {
    nature: Nature,
    change: &'c dyn Fn(&str) -> String,
    has_failed: bool,
}

impl Remaking<'_> {
    fn value<V: Value>(&mut self, it: Option<&V>) -> Option<V> {
        let it = it?;
        let whole = it.written().into_whole();
        let (Shape::Text(make), Some(text), true) =
            (V::SHAPE, whole.as_str(), V::NATURE == self.nature)
        else {
            return Some(it.clone());
        };
        let made = make(&(self.change)(text)).ok();
        self.has_failed |= made.is_none();
        made
    }
}

impl Door for Remaking<'_> {
    fn required<V: Value>(&mut self, _: Field, it: Option<&V>) -> Option<V> {
        self.value(it)
    }

    fn optional<V: Value>(&mut self, _: Field, it: Option<&V>) -> Option<V> {
        self.value(it)
    }

    fn or<V: Value>(&mut self, _: Field, default: V, it: Option<&V>) -> Option<V> {
        self.value(it).or(Some(default))
    }

    fn list<V: Value>(&mut self, _: Field, _: usize, it: Option<&[V]>) -> Option<Vec<V>> {
        it.unwrap_or_default().iter().map(|it| self.value(Some(it))).collect()
    }

    fn named<R: Rule, V: Value>(
        &mut self,
        _: Field,
        _: usize,
        it: Option<&Names<R, V>>,
    ) -> Option<Names<R, V>> {
        let all = it.into_iter().flatten();
        all.map(|(name, it)| Some((name.clone(), self.value(Some(it))?))).collect()
    }

    fn always<F: Form>(&mut self, _: Field, it: Option<&F>) -> Option<F> {
        F::form(self, it)
    }

    fn group<F: Form>(&mut self, _: Field, it: Option<&F>) -> Option<F> {
        F::form(self, Some(it?))
    }

    fn variant<F: Form>(&mut self, _: Field, it: Option<&F>) -> Option<F> {
        F::form(self, Some(it?))
    }
}
