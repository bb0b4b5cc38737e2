//! `sluicegate convert`: access logs in, events out, one a line.
//!
//! Events get no ids here: whoever takes them in gives them. It follows no file; that is ingest's matter.

use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;

use clap::Args;

use super::{Failure, Outcome, events, load};
use crate::formats::Format;
use crate::report::{counted, escaped};

#[derive(Debug, Args)]
pub(super) struct Convert {
    /// How the lines are written: nginx, apache, haproxy, caddy, traefik, envoy, aws_alb, or a format that the
    /// settings map
    #[arg(long, value_name = "FORMAT", required_unless_present = "guess")]
    format: Option<String>,
    /// Take the format that most of each file's first lines fit, and say which; --format where none fits
    #[arg(long)]
    guess: bool,
    /// The settings file whose own formats are known too
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Log files; standard input if left out
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What became of the lines.
#[derive(Default)]
struct Counts {
    events: u64,
    bad: u64,
}

impl Convert {
    pub(super) fn run(self) -> Outcome {
        let format =
            events::format(self.format.as_deref(), &load(self.config.as_deref())?.formats)?;
        let format = format.as_ref();
        let mut out = BufWriter::new(io::stdout().lock());
        let mut counts = Counts::default();
        if self.files.is_empty() {
            self.convert("standard input", format, events::open(None)?, &mut out, &mut counts)?;
        }
        for path in &self.files {
            let input = events::open(Some(path))?;
            self.convert(&path.display().to_string(), format, input, &mut out, &mut counts)?;
        }
        out.flush()?;
        let (events, bad) = (counted(counts.events, "event"), counted(counts.bad, "bad line"));
        writeln!(io::stderr(), "{events}, {bad}")?;
        if counts.bad > 0 {
            return Err(Failure::work("some lines do not fit the format"));
        }
        Ok(())
    }

    fn convert(
        &self,
        name: &str,
        format: Option<&Format>,
        mut input: Box<dyn Read>,
        out: &mut impl Write,
        counts: &mut Counts,
    ) -> Outcome {
        let name = escaped(name);
        let mut format = format.cloned();
        if self.guess {
            let (guessed, read_again) = events::guess(input)?;
            input = read_again;
            match guessed {
                Some((guessed, fits, of)) => {
                    let lines = counted(of as u64, "line");
                    writeln!(
                        io::stderr(),
                        "{name}: {} ({fits} of the first {lines} fit)",
                        guessed.name()
                    )?;
                    format = Some(guessed);
                }
                None => writeln!(io::stderr(), "{name}: no line fits any format")?,
            }
        }
        let Some(format) = format else {
            return Err(Failure::work("give the format with --format"));
        };
        events::for_each_line(input, Some(&format), |number, event| {
            match event {
                Ok(event) => {
                    counts.events += 1;
                    out.write_all(event.as_bytes())?;
                    out.write_all(b"\n")?;
                }
                Err(error) => {
                    counts.bad += 1;
                    writeln!(io::stderr(), "{name}:{number}: {}", escaped(error))?;
                }
            }
            Ok(())
        })
    }
}
