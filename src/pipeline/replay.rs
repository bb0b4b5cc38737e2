//! Sending what the journal still holds for a destination again, beside its deliveries, in pieces that end
//! after a while and say how far they came. Outside of the ledger, as dead letters that are sent again.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Pipeline, Trial, redrive};
use crate::event::{Record, Timestamp};
use crate::journal::{LogReader, Retained};
use crate::resources::{Destination, ResourceId};
use crate::sinks::{Ack, Sink};

/// Records that are read in one go, and for how long at most: few may match.
const AT_ONCE: usize = 1_000;
const READ_FOR: Duration = Duration::from_secs(1);

/// Ids that are told of a replay that sends nothing.
const SHOWN: usize = 5;

/// Most different reasons that are told of one piece.
const MAX_REASONS: usize = 64;

/// What is to be sent again.
pub struct ReplayAsked {
    pub destination: ResourceId,
    /// When they were accepted.
    pub span: Range<Timestamp>,
    /// Chooses by type and filter; all if there is none.
    pub trial: Option<Trial>,
    /// Most records a second.
    pub rate: Option<u32>,
    /// Whether it is only told what would be sent.
    pub dry_run: bool,
    /// The position in the journal to go on from.
    pub from: u64,
}

/// What a piece of a replay has come to.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Records of the destination in the span.
    pub found: u64,
    /// Those that type and filter chose and that were dealt with.
    pub chosen: u64,
    pub delivered: u64,
    /// What the service will never take, by its words.
    pub rejected: BTreeMap<String, u64>,
    /// Why the service takes no more, if so.
    pub stopped: Option<String>,
    /// The first that would be sent: when they were accepted, and their ids.
    pub first: Vec<(Timestamp, String)>,
    /// The last error of the filter.
    pub filter_error: Option<String>,
    /// Where the next piece goes on; none at the end.
    pub next: Option<u64>,
}

/// Why nothing is replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("there is no such destination")]
    NotThere,
    /// Others have a replay made.
    #[error("records are being replayed for somebody else: ask again later")]
    Busy,
    #[error("the journal cannot be read: {0}")]
    Disk(#[from] io::Error),
}

/// A log that is read through.
struct Pass {
    log: LogReader,
    trial: Option<Trial>,
    found: u64,
}

impl Pass {
    /// The next records that are chosen, and whether it is the end.
    fn piece(&mut self, most: usize) -> io::Result<(Vec<Retained>, bool)> {
        let (began, mut piece) = (std::time::Instant::now(), Vec::new());
        while piece.len() < most && began.elapsed() < READ_FOR {
            let Some(retained) = self.log.next_record()? else { return Ok((piece, true)) };
            self.found += 1;
            if self.trial.as_ref().is_none_or(|trial| trial.chooses(&retained.record)) {
                piece.push(retained);
            }
        }
        Ok((piece, false))
    }
}

impl Pipeline {
    /// Sends what is asked for, for about a time, and says where to go on.
    ///
    /// # Errors
    /// When there is no such destination, or the journal cannot be read.
    pub async fn replay(
        &self,
        asked: ReplayAsked,
        limit: Duration,
    ) -> Result<Replayed, ReplayError> {
        let open = self.destination(&asked.destination).zip(self.sink_of(&asked.destination));
        let (destination, sink) = open.ok_or(ReplayError::NotThere)?;
        let _permit = self.replays.try_acquire().map_err(|_| ReplayError::Busy)?;
        let (journal, id) = (self.journal.clone(), asked.destination.clone());
        let (span, from) = (asked.span, asked.from);
        let log = self.workers.run_at_once(move || journal.retained(&id, span, from)).await?;
        let mut pass = Pass { log, trial: asked.trial, found: 0 };
        let (began, mut done) =
            (Instant::now(), Replayed { next: Some(from), ..Replayed::default() });
        let at_once = asked.rate.map_or(AT_ONCE, |rate| AT_ONCE.min(rate as usize));
        while done.next.is_some() && done.stopped.is_none() && began.elapsed() < limit {
            let read = move || pass.piece(at_once).map(|it| (pass, it));
            let (piece, is_end);
            (pass, (piece, is_end)) = self.workers.run_at_once(read).await?;
            done.chosen += piece.len() as u64;
            let to = (&*destination, &*sink, began + limit);
            let stopped_at = match asked.dry_run {
                true => done.show(&piece),
                false => done.send(piece, to).await,
            };
            done.next = stopped_at.or_else(|| (!is_end).then(|| pass.log.position()));
            if let Some(rate) = asked.rate {
                sleep_until(began + Duration::from_secs(done.delivered) / rate).await;
            }
        }
        done.found = pass.found;
        done.filter_error = pass.trial.and_then(|trial| trial.counts().last_filter_error);
        Ok(done)
    }
}

impl Replayed {
    /// Tells the first that would be sent.
    fn show(&mut self, piece: &[Retained]) -> Option<u64> {
        let room = SHOWN.saturating_sub(self.first.len());
        let told = piece.iter().take(room).map(|it| (it.accepted, it.record.event_id.to_string()));
        self.first.extend(told);
        None
    }

    /// Sends records request by request; gives the position of the first that was not sent, if any.
    async fn send(
        &mut self,
        mut left: Vec<Retained>,
        (destination, sink, deadline): (&Destination, &Sink, Instant),
    ) -> Option<u64> {
        let at_once = destination.batch.max_records.clamp(1, AT_ONCE);
        while !left.is_empty() {
            if Instant::now() >= deadline {
                self.chosen -= left.len() as u64;
                return left.first().map(|it| it.position);
            }
            let rest = left.split_off(at_once.min(left.len()));
            let chunk = std::mem::replace(&mut left, rest);
            let records: Vec<Arc<Record>> = chunk.iter().map(|it| Arc::clone(&it.record)).collect();
            let acks = redrive(destination, sink, &records).await;
            let (mut stopped_at, mut unsent) = (None, 0);
            for (retained, ack) in chunk.iter().zip(acks) {
                match ack {
                    Ack::Delivered => self.delivered += 1,
                    Ack::Rejected(reason) => self.reject(reason),
                    Ack::Retry(fault) => {
                        unsent += 1;
                        self.stopped.get_or_insert(fault.message);
                        stopped_at = stopped_at.or(Some(retained.position));
                    }
                }
            }
            if stopped_at.is_some() {
                self.chosen -= left.len() as u64 + unsent;
                return stopped_at;
            }
        }
        None
    }

    fn reject(&mut self, mut reason: String) {
        if self.rejected.len() >= MAX_REASONS && !self.rejected.contains_key(&reason) {
            reason = "other reasons".to_owned();
        }
        *self.rejected.entry(reason).or_default() += 1;
    }
}
