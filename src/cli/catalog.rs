//! `sluicegate catalog`: the event types, or one type's fields.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::table::table;
use super::{Failure, Outcome, OutputFormat, load};
use crate::event::{self, EventType, Field};

#[derive(Debug, Args)]
pub(super) struct Catalog {
    /// The event type whose fields are to be printed
    event_type: Option<String>,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
    /// The settings file whose own event types are known too
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Catalog {
    pub(super) fn run(self) -> Outcome {
        let config = load(self.config.as_deref())?;
        let catalog = &config.resources.catalog;
        match &self.event_type {
            Some(name) => print_fields(find(catalog, name)?, self.output),
            None => print_types(catalog, self.output),
        }
    }
}

/// The type of a name, or words that help to find it.
pub(super) fn find<'c>(
    catalog: &'c event::Catalog,
    name: &str,
) -> Result<&'c Arc<EventType>, Failure> {
    catalog.get(name).ok_or_else(|| match catalog.nearest_type(name) {
        Some(nearest) => {
            Failure::Work(format!("unknown event type `{name}`, did you mean `{nearest}`?"))
        }
        None => Failure::Work(format!(
            "unknown event type `{name}`; `sluicegate catalog` lists them all"
        )),
    })
}

fn print_types(catalog: &event::Catalog, output: OutputFormat) -> Outcome {
    let mut out = io::stdout().lock();
    match output {
        OutputFormat::Table => {
            let row = |it: &EventType| {
                vec![it.name.clone(), it.class.to_string(), it.description.clone()]
            };
            let rows: Vec<_> = catalog.iter().map(|it| row(it)).collect();
            out.write_all(table(&rows, 0).as_bytes())?;
        }
        OutputFormat::Json => {
            let types: Vec<_> = catalog.iter().map(|it| type_json(it)).collect();
            writeln!(out, "{:#}", json!(types))?;
        }
    }
    Ok(())
}

fn print_fields(event_type: &EventType, output: OutputFormat) -> Outcome {
    let mut out = io::stdout().lock();
    match output {
        OutputFormat::Table => {
            writeln!(
                out,
                "{} ({}): {}\n",
                event_type.name, event_type.class, event_type.description
            )?;
            let row = |it: &Field| {
                vec![it.name.clone(), it.field_type.to_string(), it.description.clone()]
            };
            let rows: Vec<_> = event_type.fields.iter().map(row).collect();
            out.write_all(table(&rows, 0).as_bytes())?;
        }
        OutputFormat::Json => writeln!(out, "{:#}", type_json(event_type))?,
    }
    Ok(())
}

fn type_json(event_type: &EventType) -> serde_json::Value {
    let fields: Vec<_> = event_type
        .fields
        .iter()
        .map(|it| {
            json!({
                "name": it.name,
                "type": it.field_type.to_string(),
                "description": it.description,
            })
        })
        .collect();
    json!({
        "name": event_type.name,
        "class": event_type.class.to_string(),
        "description": event_type.description,
        "fields": fields,
    })
}
