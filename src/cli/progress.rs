//! Progress of long work: a bar on standard error, on a terminal only, so that neither a log nor a
//! pipe ever holds a part of one; nothing with `--quiet`.
//!
//! It counts what it is told; what the work is, and whether it went well, is said elsewhere.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar is drawn though nothing has moved, so that it is seen that work goes on.
const TICK: Duration = Duration::from_millis(200);

/// Whether the person at the terminal wants to see how far things are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    shown: bool,
}

impl Progress {
    /// Shown if standard error is a terminal that can move its cursor, and nobody asks for quiet.
    pub(super) fn new(quiet: bool) -> Progress {
        let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        Progress { shown: !quiet && !dumb && io::stderr().is_terminal() }
    }

    /// The same, but nothing where data that goes to standard output would be on the same screen.
    pub(super) fn unless_output_is_a_terminal(self) -> Progress {
        Progress { shown: self.shown && !io::stdout().is_terminal() }
    }

    /// A bar for so much work, counted in a noun such as `events`.
    pub(super) fn of(self, total: u64, what: &'static str) -> Bar {
        self.bar(Some(total), "[{bar:30}] {human_pos} of {human_len} {prefix}, {eta} left", what)
    }

    /// The same in bytes.
    pub(super) fn of_bytes(self, total: u64, what: &'static str) -> Bar {
        self.bar(Some(total), "{prefix} [{bar:30}] {bytes} of {total_bytes}, {eta} left", what)
    }

    /// For work whose amount nobody knows: a count that grows.
    pub(super) fn without_end(self, what: &'static str) -> Bar {
        self.bar(None, "{spinner} {human_pos} {prefix}, {elapsed}", what)
    }

    fn bar(self, total: Option<u64>, template: &str, what: &'static str) -> Bar {
        if !self.shown {
            return Bar(ProgressBar::hidden());
        }
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::no_length(),
        };
        // The templates are ours, and a test reads them all.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(what);
        bar.enable_steady_tick(TICK);
        Bar(bar)
    }
}

/// Progress of one piece of work; the line is wiped when it is dropped.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// So much more is done.
    pub(super) fn add(&self, amount: u64) {
        self.0.inc(amount);
    }

    /// So much of so much is done.
    pub(super) fn set(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
