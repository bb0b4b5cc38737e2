//! A person's request to give up a record that keeps failing, on its way to the task that holds it.
//!
//! Only the delivery task decides and answers; here is how the request gets there and what may come of
//! it.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};

/// Most requests that wait for one task; more wait with their senders.
const WAITING: usize = 8;

/// Why a record was not given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuryError {
    /// The destination does not exist, or no record of the event is set aside or refused there.
    #[error(
        "no record of this event is set aside at this destination; `/status` lists those that are"
    )]
    NotThere,
    /// The dead letter could not be written, for this reason; that is tried again.
    #[error("the dead letter cannot be written, the record is kept until it can: {0}")]
    CannotWrite(String),
    /// There is no room for the dead letter; the text says what makes some.
    #[error("{0}")]
    NoRoom(String),
    /// The delivery task is just being started again.
    #[error("the delivery task is being started again")]
    Busy,
}

/// The request to give up all records of one event at one destination.
#[derive(Debug)]
pub(super) struct Burial {
    pub event_id: Box<str>,
    answer: oneshot::Sender<Result<usize, BuryError>>,
}

impl Burial {
    /// Tells how many records became dead letters.
    pub(super) fn answer(self, outcome: Result<usize, BuryError>) {
        // Whoever asked may have gone.
        let _ = self.answer.send(outcome);
    }
}

/// Where requests are sent.
#[derive(Clone, Debug)]
pub(super) struct BurialSender(mpsc::Sender<Burial>);

impl BurialSender {
    /// Has all records of an event given up; tells how many there were.
    pub(super) async fn bury(&self, event_id: &str) -> Result<usize, BuryError> {
        let (answer, answered) = oneshot::channel();
        let burial = Burial { event_id: event_id.into(), answer };
        self.0.send(burial).await.map_err(|_| BuryError::Busy)?;
        answered.await.unwrap_or(Err(BuryError::Busy))
    }
}

/// Where the delivery task of the moment takes requests from. A clone is for the task after it.
#[derive(Clone, Debug)]
pub(super) struct Burials(Arc<Mutex<mpsc::Receiver<Burial>>>);

impl Burials {
    /// Waits for the next request; none if there will be no more. Safe to cancel.
    pub(super) async fn next(&self) -> Option<Burial> {
        self.0.lock().await.recv().await
    }
}

/// Both ends.
pub(super) fn burials() -> (BurialSender, Burials) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (BurialSender(sender), Burials(Arc::new(Mutex::new(receiver))))
}
