//! The settings file's door: a form's questions as questions to a section.

use super::decode::{Section, Setting};
use super::mistakes::Mistake;
use crate::form::{Door, Field, Form, Shape, Value};
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
                let message = format!("{} ({})", wrong.of(field.name), wrong.code());
                self.push(match wrong.quotes() {
                    true => text.wrong(message),
                    false => Mistake::at(text.span, message),
                });
                None
            }
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
