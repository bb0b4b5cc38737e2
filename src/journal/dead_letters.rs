//! Dead letters: records that their destination's service will never take, kept for a person.
//!
//! One NDJSON file in the journal's folder, appended and synced before a record is settled. Nothing
//! here reads it back; it is plain text, one letter a line.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::Pending;
use crate::event::Timestamp;
use crate::resources::ResourceId;

/// Why a record could not be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The service's words.
    pub reason: String,
    /// How often it was sent.
    pub attempts: u32,
}

#[derive(Debug)]
pub(super) struct DeadLetters {
    file: Mutex<File>,
}

impl DeadLetters {
    /// Opens the file; events may hold personal data, so it is readable by its owner only.
    pub(super) fn open(directory: &Path) -> io::Result<DeadLetters> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let path = directory.join("dead-letters.ndjson");
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(DeadLetters { file: Mutex::new(file) })
    }

    pub(super) fn append(
        &self,
        destination: &ResourceId,
        letters: &[(Pending, DeadLetter)],
    ) -> io::Result<()> {
        let time = Timestamp::now().to_string();
        let mut lines = Vec::new();
        for (pending, letter) in letters {
            let head = json!({
                "time": time,
                "destination": destination.as_str(),
                "event_id": &*pending.record.event_id,
                "reason": letter.reason,
                "attempts": letter.attempts,
            });
            // The record's bytes go in as they are: they are JSON already, and stay byte for byte.
            let head = head.to_string();
            lines.extend_from_slice(head.strip_suffix('}').unwrap_or(&head).as_bytes());
            lines.extend_from_slice(b",\"record\":");
            lines.extend_from_slice(&pending.record.body);
            lines.extend_from_slice(b"}\n");
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&lines)?;
        file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::event::Record;

    #[test]
    fn a_letter_is_one_line_with_the_record_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("made/when/missing");
        let record = Record {
            event_id: "ev_1".into(),
            time: Timestamp::MIN,
            body: Bytes::from_static(b"{\"n\":1.50}"),
        };
        let pending = Pending { position: 0, record: Arc::new(record) };
        let letter = DeadLetter { reason: "too \"old\" {}".to_owned(), attempts: 2 };
        let destination = ResourceId::new("logs").unwrap();
        let letters = DeadLetters::open(&directory).unwrap();
        letters.append(&destination, &[(pending.clone(), letter.clone())]).unwrap();
        letters.append(&destination, &[(pending, letter)]).unwrap();
        let text = std::fs::read_to_string(directory.join("dead-letters.ndjson")).unwrap();
        assert_eq!(text.lines().count(), 2);
        for line in text.lines() {
            assert!(line.ends_with(",\"record\":{\"n\":1.50}}"), "{line}");
            let parsed: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(parsed["reason"], "too \"old\" {}");
            assert_eq!(parsed["destination"], "logs");
        }
    }
}
