//! One append from its sender to the writer and back: a place in the queue, room, the hand-over, the
//! answer. What it costs to write is the writer's, where room comes from is the keeper's.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::room::{Claim, Room};
use super::state::{JournalProblem, State};
use super::writer::Job;
use super::{Disk, QUEUE_UNIT, QUEUED_BYTES, frame, now_ms};
use crate::journal::{AppendError, Entry, Full, Generation, Offer, Refusal};

/// Longest time an append waits for the disk before its sender is told to come back. A disk that
/// takes longer hangs; what it takes in the end is delivered, perhaps twice.
const APPEND_PATIENCE: Duration = Duration::from_secs(20);

/// Longest time an append waits for the keeper to make room. A pass reads at most 128 MiB.
const ROOM_PATIENCE: Duration = Duration::from_secs(2);

impl Disk {
    pub(in crate::journal) async fn append(
        &self,
        generation: Generation,
        entries: Vec<Entry>,
        offers: Vec<Offer>,
    ) -> Result<(), AppendError> {
        if entries.is_empty() {
            // Nothing to deliver, only to count: a write for it would cost every filtered body a sync. The
            // next checkpoint saves it, within a second.
            let mut state = self.shared.state();
            state.admit(generation)?;
            state.offer(&offers);
            return Ok(());
        }
        let appending = self.try_append(generation, entries, offers);
        let appended = tokio::time::timeout(APPEND_PATIENCE, appending).await;
        appended.unwrap_or_else(|_| {
            let slow = Refusal::Slow(APPEND_PATIENCE);
            let mut state = self.shared.state();
            state.set_problem(JournalProblem::Appending, Some(slow.to_string()));
            Err(Full::new(slow).into())
        })
    }

    async fn try_append(
        &self,
        generation: Generation,
        entries: Vec<Entry>,
        offers: Vec<Offer>,
    ) -> Result<(), AppendError> {
        let tally = frame::tally(&offers);
        let needed: usize = entries.iter().chain(&tally).map(frame::length).sum();
        // One that is larger than the queue takes all of it; else it would wait for room that never comes.
        let units = needed.min(QUEUED_BYTES).div_ceil(QUEUE_UNIT).max(1);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let claim = self.shared.state().claim(generation, &entries, needed as u64);
        let permit = self.find_room(&claim, units).await?;
        let (answer, answered) = oneshot::channel();
        let appended = now_ms();
        // Nothing waits from here to the hand-over, so that what is reserved always becomes a job.
        let mut bytes = Vec::with_capacity(needed);
        for entry in entries.iter().chain(&tally) {
            frame::encode(entry, appended, &mut bytes);
        }
        let entries = entries.into_iter().map(|it| (frame::length(&it) as u64, it)).collect();
        let job = Job { claim, bytes, entries, offers, appended, answer, _permit: permit };
        // The queue has a place for each unit and a job holds at least one, so it is never full.
        if let Err(job) = self.handover.send(job) {
            let mut state = self.shared.state();
            state.release(&job.claim);
            state.set_problem(
                JournalProblem::Appending,
                Some(format!("the journal's {WRITER_ENDED}")),
            );
            return Err(writer_has_ended().into());
        }
        let kept = answered.await.map_err(|_| writer_has_ended())?;
        kept.map_err(|reason| Full::new(Refusal::CannotWrite(reason)).into())
    }

    /// Waits for a place in the queue and takes room for an append; for room that the keeper can make it
    /// waits a little.
    async fn find_room(
        &self,
        claim: &Claim,
        units: u32,
    ) -> Result<OwnedSemaphorePermit, AppendError> {
        let deadline = tokio::time::Instant::now() + ROOM_PATIENCE;
        let mut may_wait = true;
        loop {
            // The place in the queue before the room in the journal, which is kept from nobody while
            // waiting; and given back before waiting for the keeper, since others may have room.
            let permit = Arc::clone(&self.queue).acquire_many_owned(units).await;
            let permit = permit.map_err(|_| writer_has_ended())?;
            let freed_before = match self.take_room(claim, may_wait)? {
                Room::Taken => return Ok(permit),
                Room::NotYet(freed) => freed,
            };
            drop(permit);
            let passed = tokio::time::timeout_at(deadline, self.pass()).await;
            may_wait = passed.is_ok() && self.shared.state().freed > freed_before;
        }
    }

    fn take_room(&self, claim: &Claim, may_wait: bool) -> Result<Room, AppendError> {
        let mut state = self.shared.state();
        let dropped =
            |state: &State| -> u64 { state.queues.iter().map(|queue| queue.account.dropped).sum() };
        let before = dropped(&state);
        let room = state.admit_claim(claim, may_wait);
        let has_dropped = dropped(&state) != before;
        if has_dropped {
            self.shared.settled.notify_waiters();
        }
        // What was given up leaves the disk when the keeper deletes it; better now than in a second.
        if let Some(keeper) =
            self.keeper.as_ref().filter(|_| has_dropped || state.should_delete_soon())
        {
            keeper.thread().unpark();
        }
        room
    }

    /// Waits for a pass of the keeper that begins from now on.
    async fn pass(&self) {
        let Some(keeper) = &self.keeper else {
            let shared = Arc::clone(&self.shared);
            // The only error is a panic over there, which was logged.
            let _panicked = self.jobs.run(move || shared.pass()).await;
            return;
        };
        let number = self.shared.state().passes_begun + 1;
        keeper.thread().unpark();
        loop {
            let passed = self.shared.passed.notified();
            tokio::pin!(passed);
            // Enabled before the state is read, so that no end in between goes unnoticed.
            passed.as_mut().enable();
            if self.shared.state().passes_done >= number {
                return;
            }
            passed.await;
        }
    }

    /// Refuses appends of earlier generations from now on, and waits for those that are under way.
    pub(in crate::journal) async fn begin(&self, generation: Generation) {
        self.shared.state().generation = generation;
        let earlier_have_ended = async {
            loop {
                let ended = self.shared.ended.notified();
                tokio::pin!(ended);
                // Enabled before the state is read, so that no end in between goes unnoticed.
                ended.as_mut().enable();
                if !self.shared.state().is_under_way_before(generation) {
                    return;
                }
                ended.await;
            }
        };
        // A disk that hangs must not hold up whoever changes the subscriptions for ever.
        let _hangs = tokio::time::timeout(APPEND_PATIENCE, earlier_have_ended).await;
    }
}

const WRITER_ENDED: &str = "writer has ended, which is a bug: restart the daemon";

fn writer_has_ended() -> Full {
    Full::new(Refusal::CannotWrite(format!("its {WRITER_ENDED}")))
}
