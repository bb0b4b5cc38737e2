//! Whether the next append would be kept: asked by whoever sends traffic here, also while nobody
//! appends. After an append failed, the keeper finds out by trying when the disk works again.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use super::faults::Faults;
use super::state::JournalProblem;
use super::{Disk, Shared};
use crate::journal::SMALL_APPEND;
use crate::private;

/// The file that is written to try the disk, and deleted again.
const NAME: &str = "probe";

impl Disk {
    /// Why one small record would be refused now, even for a destination that holds nothing.
    pub(in crate::journal) fn refusal(&self) -> Option<String> {
        let state = self.shared.state();
        let broken = state.problem_of(JournalProblem::Appending);
        let full = || (!state.would_fit(SMALL_APPEND as u64)).then(|| state.no_room().to_string());
        broken.map(str::to_owned).or_else(full)
    }
}

impl Shared {
    /// Tries the disk before the first append, so that nobody is sent here for events that a full disk
    /// would refuse.
    pub(super) fn try_disk_first(&self) {
        if let Err(cause) = probe(&self.directory, &self.faults) {
            let mut state = self.state();
            state.disk_full = cause.kind() == io::ErrorKind::StorageFull;
            state.set_problem(JournalProblem::Appending, Some(self.cannot_append(&cause)));
        }
    }

    /// That nothing can be appended, and why, for people.
    pub(super) fn cannot_append(&self, cause: &io::Error) -> String {
        let folder = self.directory.display();
        format!(
            "the journal in {folder} cannot be written, senders are told to come back later: {cause}"
        )
    }

    /// Tries the disk if the last append failed. Until another fails, appends are taken to work once a
    /// file can be written and there is room for what was refused.
    pub(super) fn try_disk(&self) {
        let needed = {
            let state = self.state();
            if state.problem_of(JournalProblem::Appending).is_none() {
                return;
            }
            let has_room = state
                .free_bytes
                .is_none_or(|free| free > state.refused_bytes + SMALL_APPEND as u64);
            if !has_room {
                return;
            }
            state.refused_bytes
        };
        if probe(&self.directory, &self.faults).is_err() {
            return;
        }
        let mut state = self.state();
        // Another that failed meanwhile is tried at the next pass.
        if state.refused_bytes == needed {
            state.disk_full = false;
            state.set_problem(JournalProblem::Appending, None);
        }
    }
}

fn probe(directory: &Path, faults: &Faults) -> io::Result<()> {
    let path = directory.join(NAME);
    let bytes = [0; SMALL_APPEND];
    let written = private::file().write(true).truncate(true).open(&path).and_then(|mut file| {
        if let Some((_, kind)) = faults.write_limit(0, bytes.len()) {
            return Err(kind.into());
        }
        file.write_all(&bytes)?;
        faults.before_sync()?;
        file.sync_data()
    });
    // It is written anew the next time.
    let _left = fs::remove_file(&path);
    written
}
