//! Dead letters of a delivery task: writing them, and waiting for room or for a disk that works.
//!
//! Which records become dead letters is decided elsewhere.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, warn};

use super::Delivery;
use crate::journal::{DeadLetter, NotBuried, Pending};
use crate::pipeline::batcher::Attempt;
use crate::pipeline::burial::{Burial, BuryError};
use crate::pipeline::set_aside::Found;
use crate::pipeline::verdicts::Refused;

/// How soon a destination whose dead letters find no room, or a disk that fails, tries to write them
/// again.
pub(super) const LOOK_FOR_ROOM: Duration = Duration::from_secs(2);

impl Delivery {
    pub(super) async fn write_letters_if_due(&mut self) {
        if !self.letters.is_empty() && self.write_at <= Instant::now() {
            // If that fails it is said and tried again.
            let _written = self.write_letters().await;
        }
    }

    /// Puts records among the dead letters; what cannot be written is kept and tried again.
    async fn write_letters(&mut self) -> Result<(), BuryError> {
        while let Some(first) = self.letters.first() {
            if first.attempt.parked.is_some() {
                self.write_parked_letter().await?;
                continue;
            }
            let here = self.letters.iter().take_while(|it| it.attempt.parked.is_none());
            let letters = here.map(|Refused { attempt, reason }| {
                let letter = DeadLetter { reason: reason.clone(), attempts: attempt.tries };
                (attempt.pending.clone(), letter)
            });
            let letters = letters.collect();
            match self.cursor.dead_letter(letters).await {
                Ok(written) => self.note_written(written),
                Err(cause) => return Err(self.note_unwritten(&cause)),
            }
        }
        Ok(())
    }

    /// Writes the first letter, whose body was let go of.
    async fn write_parked_letter(&mut self) -> Result<(), BuryError> {
        let Some(Refused { attempt, reason }) = self.letters.first() else { return Ok(()) };
        let letter = DeadLetter { reason: reason.clone(), attempts: attempt.tries };
        let position = attempt.pending.position;
        let pool = Arc::clone(&self.room.pool);
        let beyond = pool.beyond().await;
        let written = match self.cursor.again(position).await {
            Ok(Some(record)) => {
                let letter = (Pending { position, record }, letter);
                self.cursor.dead_letter(Arc::new([letter])).await
            }
            Ok(None) => {
                drop(beyond);
                let lost = self.letters.remove(0);
                self.forget_lost(&lost.attempt);
                return Ok(());
            }
            Err(cause) => Err(cause.into()),
        };
        drop(beyond);
        match written {
            Ok(written) => self.note_written(written),
            Err(cause) => return Err(self.note_unwritten(&cause)),
        }
        Ok(())
    }

    fn note_written(&mut self, written: usize) {
        let id = &self.current.destination.id;
        let written = written.min(self.letters.len());
        self.unwritten = None;
        for Refused { attempt, reason } in self.letters.drain(..written) {
            self.in_order.leave(&attempt);
            warn!(destination = %id, event_id = %attempt.pending.record.event_id, %reason, "dead letter");
        }
        let free = self.in_order.release(self.current.destination.batch.max_records);
        self.put_in_front(free);
        if std::mem::take(&mut self.letters_are_full) {
            self.tell();
        }
    }

    fn note_unwritten(&mut self, cause: &NotBuried) -> BuryError {
        let id = &self.current.destination.id;
        self.health.set_last_error(&cause.to_string());
        let is_full = matches!(cause, NotBuried::NoRoom { .. });
        self.write_at = Instant::now() + LOOK_FOR_ROOM;
        let text = cause.to_string();
        if !is_full && self.unwritten.as_ref() != Some(&text) {
            error!(destination = %id, %cause, "dead letters cannot be written; the records are kept");
        }
        self.unwritten = Some(text);
        if std::mem::replace(&mut self.letters_are_full, is_full) != is_full {
            self.tell();
        }
        if is_full {
            BuryError::NoRoom(cause.to_string())
        } else {
            BuryError::CannotWrite(cause.to_string())
        }
    }

    /// What is still to be read before it goes out again waits after all: a burial need not wait for it.
    fn keep_parked_from_going_out(&mut self, event_id: &str) {
        let is_of = |it: &Attempt| it.lone && *it.pending.record.event_id == *event_id;
        let parked = self.room.parked.extract_if(.., |_, it| is_of(it));
        for (position, _) in parked {
            self.set_aside.wait_again(position, Instant::now());
        }
    }

    /// Gives a record up that a person does not want to wait for any more.
    pub(super) async fn give_up(&mut self, burial: Burial) {
        self.keep_parked_from_going_out(&burial.event_id);
        let mut found = self.verdicts.take(&burial.event_id);
        match self.set_aside.take(&burial.event_id) {
            Found::OnItsWay => return self.waiting_burials.push(burial),
            Found::Nothing => {}
            Found::Records(records) => found.extend(records),
        }
        let count = found.len();
        self.letters.extend(found);
        let outcome = match count {
            0 => Err(BuryError::NotThere),
            _ => self.write_letters().await.map(|()| count),
        };
        burial.answer(outcome);
        self.tell();
    }
}
