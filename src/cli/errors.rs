//! `sluicegate errors`: what an error code means, and what to do about it.

use std::io::{self, Write as _};

use clap::Args;
use serde_json::{Value, json};

use super::table::table;
use super::{Failure, Outcome, OutputFormat};
use crate::errors::{self, ErrorCode};
use crate::report::nearest;

#[derive(Debug, Args)]
pub(super) struct Errors {
    /// The code, such as ERR_SLUICEGATE_1106, or its number; all codes if left out
    #[arg(value_name = "CODE")]
    code: Option<String>,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

impl Errors {
    pub(super) fn run(self) -> Outcome {
        let Some(asked) = &self.code else {
            let all: Vec<_> = errors::all().collect();
            let rows = all.iter().map(|it| vec![it.code.to_owned(), it.cause.to_owned()]);
            return self.print(&all, &table(&rows.collect::<Vec<_>>(), 0));
        };
        let found: Vec<_> = errors::find(asked).collect();
        if found.is_empty() {
            return Err(unknown(asked));
        }
        let text = found.iter().map(|it| explain(it)).collect::<Vec<_>>().join("\n");
        self.print(&found, &text)
    }

    fn print(&self, codes: &[&ErrorCode], text: &str) -> Outcome {
        let mut out = io::stdout().lock();
        match self.output {
            OutputFormat::Table => out.write_all(text.as_bytes())?,
            OutputFormat::Json => {
                let codes: Vec<Value> = codes
                    .iter()
                    .map(|it| json!({"code": it.code, "cause": it.cause, "remedy": it.remedy}))
                    .collect();
                writeln!(out, "{:#}", json!(codes))?;
            }
        }
        Ok(())
    }
}

fn explain(code: &ErrorCode) -> String {
    let row = |name: &str, text: &str| vec![name.to_owned(), text.to_owned()];
    table(&[row("code", code.code), row("cause", code.cause), row("what to do", code.remedy)], 0)
}

fn unknown(asked: &str) -> Failure {
    let upper = asked.to_ascii_uppercase();
    match nearest(&upper, errors::all().map(|it| it.code)) {
        Some(nearest) => {
            Failure::Work(format!("there is no error code `{asked}`, did you mean `{nearest}`?"))
        }
        None => Failure::Work(format!(
            "there is no error code `{asked}`; `sluicegate errors` lists them all"
        )),
    }
}
