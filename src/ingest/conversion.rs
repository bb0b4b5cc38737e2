//! Lines of access logs made into events, within the bounds of the entrance that they came by.
//!
//! What a line says is its format's matter, and what becomes of the events is the pipeline's.

use std::sync::Arc;

use bytes::Bytes;

use crate::budget::{Held, OverBudget};
use crate::event::{Framed, Rejection, TooMany};
use crate::formats::{Format, MISFIT, Stamp};
use crate::pipeline::Pipeline;

/// Up to so many bytes lines are converted on the thread that took them in: some hundred lines.
const SHORT_LINES: usize = 64 << 10;

/// Why lines were not converted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotConverted {
    TooMany,
    OverBudget(OverBudget),
}

/// Makes events of a body's lines. What is made counts as held, and a line of more than `max_event` bytes is
/// rejected unread.
///
/// # Errors
/// When there are too many lines, or what is made of them takes more memory than it may.
pub(super) async fn convert(
    pipeline: &Pipeline,
    body: Bytes,
    format: Format,
    max_event: usize,
    held: Arc<Held>,
) -> Result<Framed, NotConverted> {
    let is_long = body.len() > SHORT_LINES;
    pipeline.workers().run(is_long, move || within(&body, &format, max_event, &held)).await
}

fn within(
    body: &Bytes,
    format: &Format,
    max_event: usize,
    held: &Held,
) -> Result<Framed, NotConverted> {
    let mut over = None;
    let mut counted = 0;
    let framed = Framed::converted(body, |_, line, out| {
        if over.is_some() {
            return Err((MISFIT, String::new()));
        }
        let made = match line.len() {
            length if length > max_event => {
                let message =
                    format!("the line has {length} bytes, at most {max_event} are allowed");
                Err(("ERR_SLUICEGATE_1007", message))
            }
            _ => format
                .convert(line, Stamp::default(), out)
                .map_err(|misfit| (MISFIT, misfit.to_string())),
        };
        let of_rejection =
            made.as_ref().map_or_else(|(_, it)| size_of::<Rejection>() + it.len(), |()| 0);
        let grown = out.capacity().saturating_sub(counted) + of_rejection;
        counted = counted.max(out.capacity());
        over = held.grow(grown).err();
        made
    });
    match over {
        Some(over) => Err(NotConverted::OverBudget(over)),
        None => framed.map_err(|TooMany| NotConverted::TooMany),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    const LINE: &str = "1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.1\" 200 1\n";

    fn converted(text: &str, max_event: usize, budget: usize) -> Result<Framed, NotConverted> {
        let format = Format::find("apache").unwrap();
        within(&Bytes::from(text.to_owned()), &format, max_event, &Budget::new(budget).hold())
    }

    #[test]
    fn bad_and_long_lines_are_rejected_by_their_place_and_spoil_no_other() {
        let text = format!("{LINE}\r\nbad\r\n{LINE}{}\n{LINE}", "x".repeat(101));
        let framed = converted(&text, 100, 1 << 20).unwrap();
        assert_eq!(framed.len(), 3);
        let rejected: Vec<_> = framed
            .rejected()
            .iter()
            .map(|it| (it.place.index, it.place.line, it.code, framed.event(it.place).len()))
            .collect();
        assert_eq!(
            rejected,
            [(1, 2, "ERR_SLUICEGATE_1150", 3), (3, 4, "ERR_SLUICEGATE_1007", 101)]
        );
    }

    #[test]
    fn what_is_made_of_lines_counts_as_held() {
        let text = LINE.repeat(1_000);
        assert!(converted(&text, 1_000, 1 << 20).is_ok());
        let over = converted(&text, 1_000, 100_000).unwrap_err();
        assert!(matches!(over, NotConverted::OverBudget(OverBudget::Never(_))), "{over:?}");
        let bad = "x\n".repeat(100_001);
        assert_eq!(converted(&bad, 10, 1 << 30).unwrap_err(), NotConverted::TooMany);
        let over = converted(&bad[..20_000], 10, 100_000).unwrap_err();
        assert!(matches!(over, NotConverted::OverBudget(_)), "rejections count too");
    }
}
