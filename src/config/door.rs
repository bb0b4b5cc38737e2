//! The settings file's door: a form's questions as questions to a section.

use super::decode::{Section, Setting};
use super::mistakes::Mistake;
use super::text::Text;
use crate::form::{Checked, Door, Field, Form, Names, Rule, Shape, Value, Wrong};
use crate::resources::show_duration;

impl Section<'_> {
    /// Reads a value by its shape.
    fn value<V: Value>(&self, field: Field, setting: Setting<'_>) -> Option<V> {
        match V::SHAPE {
            Shape::Flag(make) => setting.bool().map(make),
            Shape::Number(range, make) => setting.number(range).map(make),
            Shape::Size(range, make) => setting.size(range).map(|it| make(it, it.into())),
            Shape::Time(range, make) => {
                setting.duration(range).map(|it| make(it, &show_duration(it)))
            }
            Shape::Words(words) => setting.word(words),
            Shape::Text(make) => {
                let text = setting.string()?;
                let wrong = match make(text.value) {
                    Ok(value) => return Some(value),
                    Err(wrong) => wrong,
                };
                self.refuse(field.name, &text, &wrong);
                None
            }
        }
    }

    fn refuse(&self, name: &str, text: &Text<'_>, wrong: &Wrong) {
        let message = format!("{} ({})", wrong.of(name), wrong.code());
        self.push(match wrong.quotes() {
            true => text.wrong(message),
            false => Mistake::at(text.span, message),
        });
    }

    /// That a list or a section of chosen names has no more than it may.
    fn check_count(&self, field: Field, count: usize, most: usize) {
        if count > most {
            let message = format!("`{}.{}` has more than {most} items", self.path(), field.name);
            self.push(Mistake::at(self.place_of(field.name), message));
        }
    }
}

impl Door for Section<'_> {
    fn required<V: Value>(&mut self, field: Field, _: Option<&V>) -> Option<V> {
        let setting = Section::required(self, field.name);
        self.value(field, setting)
    }

    fn optional<V: Value>(&mut self, field: Field, _: Option<&V>) -> Option<V> {
        let setting = Section::optional(self, field.name);
        self.value(field, setting)
    }

    fn or<V: Value>(&mut self, field: Field, default: V, _: Option<&V>) -> Option<V> {
        let setting = Section::optional(self, field.name);
        match self.has(field.name) {
            true => self.value(field, setting),
            false => Some(default),
        }
    }

    fn list<V: Value>(&mut self, field: Field, most: usize, _: Option<&[V]>) -> Option<Vec<V>> {
        let items = Section::optional(self, field.name).values();
        if !self.has(field.name) {
            return Some(Vec::new());
        }
        let items = items?;
        self.check_count(field, items.len(), most);
        items.into_iter().map(|item| self.value(field, item)).collect()
    }

    fn named<R: Rule, V: Value>(
        &mut self,
        field: Field,
        most: usize,
        _: Option<&Names<R, V>>,
    ) -> Option<Names<R, V>> {
        let entries = Section::optional(self, field.name).named("a section of names and texts");
        if !self.has(field.name) {
            return Some(Vec::new());
        }
        let entries = entries?;
        self.check_count(field, entries.len(), most);
        let read = |(name, setting): (Text<'_>, Setting<'_>)| {
            let value = self.value(field, setting);
            let name = Checked::new(name.value)
                .map_err(|wrong| self.refuse(name.value, &name, &wrong))
                .ok();
            Some((name?, value?))
        };
        entries.into_iter().map(read).collect()
    }

    fn always<F: Form>(&mut self, field: Field, _: Option<&F>) -> Option<F> {
        Section::optional(self, field.name).section_or_empty(|section| F::form(section, None))
    }

    fn group<F: Form>(&mut self, field: Field, _: Option<&F>) -> Option<F> {
        Section::optional(self, field.name).section(|section| F::form(section, None))
    }

    fn variant<F: Form>(&mut self, field: Field, _: Option<&F>) -> Option<F> {
        Section::variant(self, field.name, |section| F::form(section, None))
    }
}
