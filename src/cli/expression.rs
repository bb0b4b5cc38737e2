//! An expression on the command line, with the event type that it is about: what `filter check`, `eval`
//! and `bench` have in common. It runs none of them.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::{Failure, catalog, load};
use crate::config::Config;
use crate::event::EventType;
use crate::resources::{ResourceError, Source};

/// An expression, and the type whose events it is about.
#[derive(Debug, Args)]
pub(super) struct Typed {
    /// The CEL expression, such as 'ev.http.response.status_code >= 500'
    #[arg(value_name = "EXPR")]
    pub(super) expression: String,
    /// The event type whose fields it may use
    #[arg(long = "type", value_name = "TYPE")]
    pub(super) event_type: String,
    /// The settings file whose own event types are known too
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Typed {
    /// The settings whose event types are known.
    pub(super) fn settings(&self) -> Result<Config, Failure> {
        load(self.config.as_deref())
    }

    pub(super) fn event_type<'c>(&self, config: &'c Config) -> Result<&'c Arc<EventType>, Failure> {
        catalog::find(&config.resources.catalog, &self.event_type)
    }

    /// The expression with a field choice.
    pub(super) fn source(
        &self,
        config: &Config,
        fields: Option<Vec<String>>,
    ) -> Result<Source, Failure> {
        self.event_type(config)?;
        let catalog = &config.resources.catalog;
        Source::new(catalog, &self.event_type, Some(&self.expression), fields)
            .map_err(|errors| refused(&describe(&errors)))
    }
}

/// That the filter is refused; the report goes to standard error.
pub(super) fn refused(report: &str) -> Failure {
    Failure::Report(report.to_owned())
}

/// All mistakes of a source, one a line.
pub(super) fn describe(errors: &[ResourceError]) -> String {
    let with_help = |error: &ResourceError| match error.help() {
        Some(help) => format!("{error}, {help}"),
        None => error.to_string(),
    };
    errors.iter().map(with_help).collect::<Vec<_>>().join("\n")
}
