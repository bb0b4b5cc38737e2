//! Plausible values for any declared field, from its type and its name: what users' own event types
//! are made of, and whatever else has no better source.

use std::fmt::Write as _;

use super::earlier;
use super::object::{ObjectWriter, push_comma, push_number, push_time};
use super::population::{Population, client_ip};
use super::random::Random;
use crate::event::{Field, FieldType, Timestamp, push_string};

/// One day in nanoseconds: how far back instants in objects may lie.
const DAY: u64 = 86_400_000_000_000;

const PHRASES: [(u32, &str); 8] = [
    (20, "blue-##"),
    (20, "standard"),
    (20, "warehouse ####"),
    (14, "lot @@@@@@@@"),
    (10, ""),
    (6, "Größe ##, naïve"),
    (6, "said \"hello\" to C:\\temp\\##"),
    (4, "第##便 🚚"),
];

/// Where values come from, and when.
pub(super) struct Source<'g> {
    pub(super) random: &'g mut Random,
    pub(super) population: &'g Population,
    pub(super) now: Timestamp,
}

impl Source<'_> {
    /// Writes the fields; one in eight is left out, as optional ones are.
    pub(super) fn write<'f>(&mut self, object: &mut ObjectWriter<'_, 'f>, fields: &'f [Field]) {
        for field in fields {
            if !self.random.chance(12) {
                self.push(object.value(&field.name), &field.name, &field.field_type);
            }
        }
    }

    /// Writes a value of a type for a field of that name.
    pub(super) fn push(&mut self, out: &mut String, name: &str, field_type: &FieldType) {
        match field_type {
            FieldType::Bool => out.push_str(self.random.pick(&["true", "false"])),
            FieldType::Int => push_number(out, self.random.size(20)),
            FieldType::Double => {
                let (whole, hundredths) = (self.random.size(12), self.random.below(100));
                // Writing to a String cannot fail.
                let _ = write!(out, "{whole}.{hundredths:02}");
            }
            FieldType::String => push_string(out, &self.text(name)),
            FieldType::Timestamp => {
                let age = self.random.bits() % DAY;
                push_time(out, earlier(self.now, age));
            }
            FieldType::Duration => {
                let (seconds, millis) = (self.random.size(12), self.random.below(1_000));
                let _ = write!(out, "\"{seconds}.{millis:03}s\"");
            }
            FieldType::List(item) => {
                out.push('[');
                for _ in 0..self.random.below(3) {
                    push_comma(out);
                    self.push(out, name, item);
                }
                out.push(']');
            }
            FieldType::Map(value) => {
                out.push('{');
                for key in ["alpha", "beta"].iter().take(self.random.below(3) as usize) {
                    push_comma(out);
                    push_string(out, key);
                    out.push(':');
                    self.push(out, key, value);
                }
                out.push('}');
            }
            FieldType::Dyn => {
                let scalars = [&FieldType::Bool, &FieldType::Int, &FieldType::String];
                let scalar = self.random.pick(&scalars);
                self.push(out, name, scalar);
            }
        }
    }

    fn text(&mut self, name: &str) -> String {
        let leaf = name.rsplit_once('.').map_or(name, |(_, leaf)| leaf);
        let is = |word: &str| leaf.split('_').any(|part| part.eq_ignore_ascii_case(word));
        if is("id") {
            self.random.fill("@@@@@@@@@@@@@@@@")
        } else if is("email") {
            format!("user{}@example.net", self.random.below(10_000))
        } else if is("ip") {
            client_ip(self.random)
        } else if is("host") || is("hostname") || is("domain") {
            self.population.site(self.random).host
        } else if is("url") || is("uri") {
            let host = self.population.site(self.random).host;
            format!("https://{host}{}", self.random.fill("/items/######"))
        } else {
            let phrase = *self.random.weighted(&PHRASES);
            self.random.fill(phrase)
        }
    }
}
