//! Dead letters beside running deliveries: listed, sent again, thrown away.
//!
//! Work on them is done in pieces that end after a while and say how far they came, one at a time, and
//! never on the runtime's threads: there may be a gigabyte of letters. Where they lie is the journal's matter.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::{Pipeline, redrive};
use crate::event::{Record, Timestamp};
use crate::journal::{ENTRANCES, Fate, LetterReader, StoredLetter};
use crate::resources::ResourceId;
use crate::sinks::{Ack, without_its_words};

/// Longest wait for the work on letters that somebody else has asked for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Letters that are read in one go, and their bytes: one more may pass that.
const AT_ONCE: (usize, usize) = (1_000, 8 << 20);

/// Letters that are marked in one go.
const MARKED_AT_ONCE: usize = 10_000;

/// Most different reasons that are told of one piece of work.
const MAX_REASONS: usize = 64;

/// Which letters are meant: all that is said must fit.
#[derive(Clone, Debug, Default)]
pub struct LetterChoice {
    /// Only these; all if there are none.
    pub ids: BTreeSet<String>,
    /// Only those of this destination or entrance.
    pub owner: Option<String>,
    /// Only those with this text in their reason.
    pub reason: Option<String>,
    /// Whether only that of a reason is looked at which answers of the API show.
    pub as_shown: bool,
    pub older_than: Option<Duration>,
    pub newer_than: Option<Duration>,
    /// By owner, the number of the last letter that an earlier piece of the same work has dealt with.
    pub after: BTreeMap<String, u64>,
}

impl LetterChoice {
    /// Whether anything is said that leaves letters out.
    #[must_use]
    pub fn is_any(&self) -> bool {
        let by_text = self.owner.is_some() || self.reason.is_some() || !self.ids.is_empty();
        by_text || self.older_than.is_some() || self.newer_than.is_some()
    }

    fn seen<'r>(&self, reason: &'r str) -> &'r str {
        if self.as_shown { without_its_words(reason) } else { reason }
    }

    /// Whether a letter is meant, at a time.
    #[must_use]
    pub fn takes(&self, letter: &StoredLetter, now: Timestamp) -> bool {
        let age = now.seconds.saturating_sub(letter.time.seconds);
        let age = Duration::from_secs(u64::try_from(age).unwrap_or(0));
        self.owner.as_ref().is_none_or(|id| *id == letter.destination)
            && self.reason.as_ref().is_none_or(|text| self.seen(&letter.reason).contains(text))
            && self.older_than.is_none_or(|limit| age > limit)
            && self.newer_than.is_none_or(|limit| age < limit)
            && (self.ids.is_empty() || self.ids.contains(&letter.id))
            && self.after.get(&letter.destination).is_none_or(|last| letter.number > *last)
    }
}

/// Which page of the list is asked for.
#[derive(Clone, Debug)]
pub struct LettersAsked {
    pub choice: LetterChoice,
    /// Only those whose id is less than this one: that are older, by the second.
    pub before_id: Option<String>,
    /// Most letters of the page.
    pub limit: usize,
    /// Most bytes of a record that are kept.
    pub shown: usize,
}

/// A letter of a page.
#[derive(Clone, Debug)]
pub struct ListedLetter {
    /// Its record may be cut.
    pub letter: StoredLetter,
    /// Bytes of the whole record.
    pub bytes: usize,
}

/// What became of letters: by owner, what happened, and the reason.
pub type Fates = BTreeMap<(String, &'static str, String), u64>;

/// What a piece of work has come to.
#[derive(Debug, Default)]
pub struct LettersDone {
    /// Letters that are gone now.
    pub gone: u64,
    /// Letters that are kept.
    pub kept: u64,
    pub fates: Fates,
    /// Ids that there is no letter of; known at the end only.
    pub missing: BTreeSet<String>,
    /// Where the next piece goes on; none where everything is done.
    pub after: Option<BTreeMap<String, u64>>,
}

/// Why nothing was done with letters.
#[derive(Debug, thiserror::Error)]
pub enum LettersError {
    /// Others ask for work on them.
    #[error("dead letters are being read or sent for somebody else: ask again later")]
    Busy,
    #[error("the dead letters cannot be read or marked: {0}")]
    Disk(#[from] io::Error),
}

/// Letters that are read through, one piece after the other.
struct Pass {
    reader: LetterReader,
    choice: LetterChoice,
    missing: BTreeSet<String>,
    now: Timestamp,
    _permit: OwnedSemaphorePermit,
}

impl Pass {
    /// The next letters that are meant; none at the end.
    fn piece(&mut self, (letters, bytes): (usize, usize)) -> io::Result<Vec<StoredLetter>> {
        let (mut piece, mut held) = (Vec::new(), 0);
        let takes_all = self.choice.ids.is_empty();
        while piece.len() < letters && held < bytes && (takes_all || !self.missing.is_empty()) {
            let Some(letter) = self.reader.next_letter()? else { break };
            if self.choice.takes(&letter, self.now) {
                self.missing.remove(&letter.id);
                held += letter.record.body.len();
                piece.push(letter);
            }
        }
        Ok(piece)
    }
}

impl Pipeline {
    async fn pass(&self, choice: LetterChoice) -> Result<Pass, LettersError> {
        let permit = Arc::clone(&self.letters).acquire_owned();
        let permit = tokio::time::timeout(PATIENCE, permit).await;
        let permit = permit.ok().and_then(Result::ok).ok_or(LettersError::Busy)?;
        let (journal, owner) = (self.journal.clone(), choice.owner.clone());
        let open = move || journal.letters(owner.as_deref());
        let reader = self.workers.run_at_once(open).await?;
        let missing = choice.ids.clone();
        Ok(Pass { reader, choice, missing, now: Timestamp::now(), _permit: permit })
    }

    /// Works on a pass where it may block, and gives it back.
    async fn with<T: Send + 'static>(
        &self,
        mut pass: Pass,
        work: impl FnOnce(&mut Pass) -> io::Result<T> + Send + 'static,
    ) -> io::Result<(Pass, T)> {
        let done = move || work(&mut pass).map(|it| (pass, it));
        self.workers.run_at_once(done).await
    }

    /// One page of the letters, the newest first; and whether there are more.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn list_letters(
        &self,
        asked: LettersAsked,
    ) -> Result<(Vec<ListedLetter>, bool), LettersError> {
        let pass = self.pass(asked.choice).await?;
        let (before, limit, shown) = (asked.before_id, asked.limit, asked.shown);
        let (_, found) = self
            .with(pass, move |pass| {
                let mut newest: BTreeMap<String, ListedLetter> = BTreeMap::new();
                while let Some(letter) = pass.reader.next_letter()? {
                    let is_older = before.as_ref().is_none_or(|before| letter.id < *before);
                    if is_older && pass.choice.takes(&letter, pass.now) {
                        newest.insert(letter.id.clone(), cut(letter, shown));
                    }
                    if newest.len() > limit + 1 {
                        newest.pop_first();
                    }
                }
                Ok(newest)
            })
            .await?;
        let is_more = found.len() > limit;
        Ok((found.into_values().rev().take(limit).collect(), is_more))
    }

    /// One letter, whole.
    ///
    /// # Errors
    /// When letters cannot be read.
    pub async fn letter(&self, id: &str) -> Result<Option<StoredLetter>, LettersError> {
        let ids = BTreeSet::from([id.to_owned()]);
        let pass = self.pass(LetterChoice { ids, ..LetterChoice::default() }).await?;
        let (_, mut found) = self.with(pass, |pass| pass.piece((1, usize::MAX))).await?;
        Ok(found.pop())
    }

    /// Throws letters away for at most a time, and says where to go on.
    ///
    /// # Errors
    /// When they cannot be read or marked; those before are gone.
    pub async fn purge_letters(
        &self,
        choice: LetterChoice,
        limit: Duration,
    ) -> Result<LettersDone, LettersError> {
        let began = Instant::now();
        let (mut done, mut after) = (LettersDone::default(), choice.after.clone());
        let mut pass = self.pass(choice).await?;
        loop {
            let journal = self.journal.clone();
            let piece;
            (pass, piece) = self
                .with(pass, move |pass| {
                    let mut letters = Vec::new();
                    while letters.len() < MARKED_AT_ONCE {
                        let piece = pass.piece(AT_ONCE)?;
                        if piece.is_empty() {
                            break;
                        }
                        letters.extend(piece.into_iter().map(without_record));
                    }
                    journal.forget_letters(Fate::Purged, &letters)?;
                    Ok(letters)
                })
                .await?;
            if piece.is_empty() {
                return Ok(LettersDone { missing: pass.missing, ..done });
            }
            done.gone += piece.len() as u64;
            piece.iter().for_each(|letter| note(&mut after, letter));
            if began.elapsed() >= limit {
                return Ok(LettersDone { after: Some(after), ..done });
            }
        }
    }

    /// Sends letters to their destinations again, for about a time, and says where to go on. Those that
    /// are taken are gone; after a failure nothing more is sent to that destination.
    ///
    /// # Errors
    /// When letters cannot be read or marked; those before are gone.
    pub async fn redrive_letters(
        &self,
        choice: LetterChoice,
        limit: Duration,
    ) -> Result<LettersDone, LettersError> {
        let deadline = Instant::now() + limit;
        let (mut done, mut after) = (LettersDone::default(), choice.after.clone());
        let mut failing = BTreeMap::new();
        let mut pass = self.pass(choice).await?;
        loop {
            let piece;
            (pass, piece) = self.with(pass, |pass| pass.piece(AT_ONCE)).await?;
            if piece.is_empty() {
                return Ok(LettersDone { missing: pass.missing, ..done });
            }
            let mut by_owner: BTreeMap<String, Vec<StoredLetter>> = BTreeMap::new();
            for letter in piece {
                by_owner.entry(letter.destination.clone()).or_default().push(letter);
            }
            for (owner, letters) in by_owner {
                let sent = self.redrive_of(&owner, letters, deadline, &mut failing);
                for letter in sent.await?.into_iter().map(|it| it.noted(&mut done, &owner)) {
                    note(&mut after, &letter);
                }
            }
            if Instant::now() >= deadline {
                return Ok(LettersDone { after: Some(after), ..done });
            }
        }
    }

    /// Sends letters of one owner, request by request, until a deadline or a failure.
    async fn redrive_of(
        &self,
        owner: &str,
        letters: Vec<StoredLetter>,
        deadline: Instant,
        failing: &mut BTreeMap<String, String>,
    ) -> Result<Vec<Sent>, LettersError> {
        let id = ResourceId::new(owner).ok();
        let open = id.and_then(|id| self.destination(&id).zip(self.sink_of(&id)));
        let Some((destination, sink)) = open else {
            let what =
                if ENTRANCES.contains(&owner) { "rejected_on_arrival" } else { "no_destination" };
            return Ok(letters.into_iter().map(|it| Sent::kept(it, what, String::new())).collect());
        };
        let at_once = destination.batch.max_records.clamp(1, AT_ONCE.0);
        let (mut sent, mut left) = (Vec::new(), letters);
        while !left.is_empty() && Instant::now() < deadline {
            if let Some(fault) = failing.get(owner) {
                sent.extend(left.drain(..).map(|it| Sent::kept(it, "not_sent", fault.clone())));
                break;
            }
            let rest = left.split_off(at_once.min(left.len()));
            let chunk = std::mem::replace(&mut left, rest);
            let records: Vec<Arc<Record>> = chunk.iter().map(|it| Arc::clone(&it.record)).collect();
            let acks = redrive(&destination, &sink, &records).await;
            let of_chunk: Vec<Sent> =
                chunk.into_iter().zip(acks).map(|(letter, ack)| Sent::of(letter, ack)).collect();
            let delivered = of_chunk.iter().filter(|it| it.is_gone());
            let delivered: Vec<StoredLetter> = delivered.map(|it| it.letter.clone()).collect();
            let journal = self.journal.clone();
            let mark = move || journal.forget_letters(Fate::Redriven, &delivered);
            self.workers.run_at_once(mark).await?;
            if let Some(it) = of_chunk.iter().find(|it| it.what == "failed") {
                failing.insert(owner.to_owned(), it.reason.clone());
            }
            sent.extend(of_chunk);
        }
        Ok(sent)
    }
}

/// A letter and what became of it.
struct Sent {
    letter: StoredLetter,
    what: &'static str,
    reason: String,
}

impl Sent {
    fn kept(letter: StoredLetter, what: &'static str, reason: String) -> Sent {
        Sent { letter: without_record(letter), what, reason }
    }

    fn of(letter: StoredLetter, ack: Ack) -> Sent {
        match ack {
            Ack::Delivered => Sent::kept(letter, "delivered", String::new()),
            Ack::Retry(fault) => Sent::kept(letter, "failed", fault.message),
            Ack::Rejected(reason) => Sent::kept(letter, "rejected", reason),
        }
    }

    fn is_gone(&self) -> bool {
        self.what == "delivered"
    }

    /// Counts it.
    fn noted(self, done: &mut LettersDone, owner: &str) -> StoredLetter {
        if self.is_gone() {
            done.gone += 1;
        } else {
            done.kept += 1;
        }
        let mut key = (owner.to_owned(), self.what, self.reason);
        if done.fates.len() >= MAX_REASONS && !done.fates.contains_key(&key) {
            key = (String::new(), "other", String::new());
        }
        *done.fates.entry(key).or_default() += 1;
        self.letter
    }
}

fn note(after: &mut BTreeMap<String, u64>, letter: &StoredLetter) {
    let last = after.entry(letter.destination.clone()).or_default();
    *last = letter.number.max(*last);
}

/// Marks need no record, and many are gathered.
pub fn without_record(letter: StoredLetter) -> StoredLetter {
    let (event_id, time) = (letter.record.event_id.clone(), letter.record.time);
    let record = Record { event_id, time, body: Bytes::new(), hops: 0 };
    StoredLetter { record: Arc::new(record), ..letter }
}

/// A letter with so much of its record; the rest is not held.
fn cut(letter: StoredLetter, shown: usize) -> ListedLetter {
    let bytes = letter.record.body.len();
    let body = Bytes::copy_from_slice(&letter.record.body[..bytes.min(shown)]);
    let record = Record { body, ..(*letter.record).clone() };
    ListedLetter { letter: StoredLetter { record: Arc::new(record), ..letter }, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_meant_when_all_that_is_said_fits() {
        let record = Record {
            event_id: "ev_1".into(),
            time: Timestamp { seconds: 1, nanos: 0 },
            body: Bytes::from_static(b"{}"),
            hops: 0,
        };
        let now = Timestamp { seconds: 10_000, nanos: 0 };
        let letter = StoredLetter {
            id: "dl_1".to_owned(),
            time: Timestamp { seconds: 9_000, nanos: 0 },
            destination: "d".to_owned(),
            number: 7,
            position: None,
            reason: "too large".to_owned(),
            attempts: 1,
            record: Arc::new(record),
        };
        let all = LetterChoice::default();
        assert!(!all.is_any() && all.takes(&letter, now));
        let ids = |id: &str| BTreeSet::from([id.to_owned()]);
        let seconds = |it| Some(Duration::from_secs(it));
        for (choice, fits) in [
            (LetterChoice { owner: Some("d".to_owned()), ..all.clone() }, true),
            (LetterChoice { owner: Some("e".to_owned()), ..all.clone() }, false),
            (LetterChoice { reason: Some("large".to_owned()), ..all.clone() }, true),
            (LetterChoice { older_than: seconds(999), ..all.clone() }, true),
            (LetterChoice { older_than: seconds(1_000), ..all.clone() }, false),
            (LetterChoice { newer_than: seconds(1_000), ..all.clone() }, false),
            (LetterChoice { ids: ids("dl_1"), ..all.clone() }, true),
            (LetterChoice { ids: ids("dl_2"), ..all.clone() }, false),
        ] {
            assert!(choice.is_any(), "{choice:?}");
            assert_eq!(choice.takes(&letter, now), fits, "{choice:?}");
        }
        let words = "its words";
        let quoting =
            StoredLetter { reason: format!("answered 422; it said: {words}"), ..letter.clone() };
        for (as_shown, fits) in [(false, true), (true, false)] {
            let choice = LetterChoice { reason: Some(words.to_owned()), as_shown, ..all.clone() };
            assert_eq!(choice.takes(&quoting, now), fits);
        }
        let after = |number| BTreeMap::from([("d".to_owned(), number)]);
        assert!(LetterChoice { after: after(6), ..all.clone() }.takes(&letter, now));
        assert!(!LetterChoice { after: after(7), ..all }.takes(&letter, now));
    }
}
