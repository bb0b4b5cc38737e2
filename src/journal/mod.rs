//! The one log of records between senders and destinations.
//!
//! Records go in with [`Journal::append`], all of a body or none; each destination takes them out
//! through its [`Cursor`] and settles each one for good. Nobody outside this room knows where
//! records are held. Now they are held in memory (`durability: memory`): bounded by bytes, and gone
//! with the process, which `/status` says; a journal on disk will stand behind the same interface.
//!
//! Promises:
//! - one append serves all destinations of its records, and either all of it is taken or none;
//! - a record is held until every destination has settled it, and counted all that time;
//! - what is held never passes `max_bytes` by more than one body that found the journal empty;
//! - for each destination, at every moment: appended = delivered + dead-lettered + dropped + pending.

mod dead_letters;
mod memory;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Record;
use crate::resources::{Overflow, ResourceId};

use dead_letters::DeadLetters;
pub use dead_letters::{DeadLetter, StoredLetter, forget_dead_letters, read_dead_letters};
use memory::Memory;

/// What a record costs beside its bytes: its ids, its places in queues, the allocator's share.
const RECORD_OVERHEAD: usize = 192;

/// Where accepted records are kept until they are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In this process's memory: gone when it dies.
    Memory,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Durability::Memory => f.write_str("memory"),
        }
    }
}

/// The journal's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where records are kept.
    pub durability: Durability,
    /// Most bytes of records held for all destinations together.
    pub max_bytes: usize,
    /// The folder for what must outlive the process (dead letters).
    pub directory: PathBuf,
}

/// A record and the destinations it is for.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What is to be delivered.
    pub record: Arc<Record>,
    /// Where to; never empty.
    pub destinations: Arc<[ResourceId]>,
}

/// The journal has no room; nothing of the append was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// When trying again may help.
    pub retry_after: Duration,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the journal is full")
    }
}

impl std::error::Error for Full {}

/// A record read from the journal and not settled yet.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its place in its destination's order; what [`Cursor::settle`] wants to know.
    pub position: u64,
    /// The record.
    pub record: Arc<Record>,
}

/// How a record's way to one destination ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service has it.
    Delivered,
    /// It can never be delivered and was put among the dead letters.
    DeadLettered,
}

/// One destination's account: what came, what became of it, what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Account {
    /// Records appended for this destination.
    pub appended: u64,
    /// Records that the service has taken.
    pub delivered: u64,
    /// Records that no service will ever take.
    pub dead_lettered: u64,
    /// Records given up to make room (`overflow: drop_oldest`).
    pub dropped: u64,
    /// Records that wait or are on their way.
    pub pending_records: u64,
    /// The bytes of these.
    pub pending_bytes: u64,
    /// How long the oldest of these has been pending.
    pub oldest_pending: Duration,
}

/// What the journal as a whole holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where records are kept.
    pub durability: Durability,
    /// Bytes held now, as counted against `max_bytes`.
    pub bytes: u64,
    /// Files of the log; none in memory.
    pub segments: u64,
}

/// The log. Cheap to clone; all clones are one journal.
#[derive(Clone, Debug)]
pub struct Journal {
    memory: Arc<Memory>,
    dead_letters: Arc<DeadLetters>,
}

impl Journal {
    /// Opens the journal, making its folder if need be.
    ///
    /// # Errors
    /// When the folder cannot be made or written to.
    pub fn open(settings: &Settings) -> io::Result<Journal> {
        let Durability::Memory = settings.durability;
        let dead_letters = DeadLetters::open(&settings.directory)?;
        Ok(Journal {
            memory: Arc::new(Memory::new(settings.max_bytes)),
            dead_letters: Arc::new(dead_letters),
        })
    }

    /// Keeps the entries for all their destinations, in order.
    ///
    /// # Errors
    /// [`Full`] when there is no room; then nothing was kept.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<(), Full> {
        self.memory.append(entries)
    }

    /// The cursor of a destination. There must be at most one at a time; what was read through an
    /// earlier one and not settled is read again.
    #[must_use]
    pub fn cursor(&self, destination: &ResourceId, overflow: Overflow) -> Cursor {
        self.memory.attach(destination, overflow);
        Cursor { journal: self.clone(), destination: destination.clone() }
    }

    /// Sets what gives way for a destination when the journal is full.
    pub fn set_overflow(&self, destination: &ResourceId, overflow: Overflow) {
        self.memory.set_overflow(destination, overflow);
    }

    /// A destination's account, if it has ever had a cursor or a record.
    #[must_use]
    pub fn account(&self, destination: &ResourceId) -> Option<Account> {
        self.memory.account(destination)
    }

    /// Waits until nothing is pending for any destination.
    pub async fn drained(&self) {
        self.memory.drained().await;
    }

    /// Records pending for all destinations together.
    #[must_use]
    pub fn pending_records(&self) -> u64 {
        self.memory.pending_records()
    }

    /// What the journal holds.
    #[must_use]
    pub fn status(&self) -> Status {
        Status { durability: Durability::Memory, bytes: self.memory.bytes(), segments: 0 }
    }
}

/// One destination's place in the journal.
#[derive(Debug)]
pub struct Cursor {
    journal: Journal,
    destination: ResourceId,
}

impl Cursor {
    /// Waits for records and takes the oldest: at least one, at most `max_records`, and no more
    /// bytes than `max_bytes` unless the first alone has more. Safe to cancel: nothing is taken
    /// before it returns.
    pub async fn read(&mut self, max_records: usize, max_bytes: usize) -> Vec<Pending> {
        self.journal.memory.read(&self.destination, max_records, max_bytes).await
    }

    /// Ends a record's way to this destination.
    pub fn settle(&mut self, position: u64, outcome: Outcome) {
        self.journal.memory.settle(&self.destination, position, outcome);
    }

    /// Puts records that this destination's service will never take among the dead letters, safely
    /// on disk, and settles them.
    ///
    /// # Errors
    /// When they could not be written; then nothing is settled.
    pub async fn dead_letter(&mut self, letters: Vec<(Pending, DeadLetter)>) -> io::Result<()> {
        let dead_letters = Arc::clone(&self.journal.dead_letters);
        let destination = self.destination.clone();
        let positions: Vec<u64> = letters.iter().map(|(pending, _)| pending.position).collect();
        let written =
            tokio::task::spawn_blocking(move || dead_letters.append(&destination, &letters));
        written.await.map_err(io::Error::other)??;
        for position in positions {
            self.settle(position, Outcome::DeadLettered);
        }
        Ok(())
    }
}
