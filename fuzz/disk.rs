//! What the fuzz target of the files on disk does with its bytes. A test runs the same on mutated files.
//!
//! A body fails by panicking, and where accounts that were read do not come out even; that a folder cannot be
//! opened is no failure.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use std::{fs, io};

use sluicegate::event::{Record, Timestamp};
use sluicegate::journal::{
    AT_STDIN, DeadLetter, Durability, Entry, Generation, Journal, JournalSettings, Offer, Outcome,
    Terms, read_dead_letters, read_ledger,
};
use sluicegate::resources::ResourceId;

/// The files of a journal with pending and settled records and with dead letters: their names, and what is in them.
static FILES: LazyLock<Vec<(PathBuf, Vec<u8>)>> = LazyLock::new(made);

/// A file of [`FILES`] by the first byte, in place of whose content the others stand.
pub fn disk(bytes: &[u8]) {
    let Some((which, content)) = bytes.split_first() else { return };
    let which = usize::from(*which) % FILES.len();
    let folder = tempfile::tempdir().unwrap();
    for (at, (name, original)) in FILES.iter().enumerate() {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, if at == which { content } else { original }).unwrap();
    }
    let told = |error: io::Error| assert!(!error.to_string().is_empty());
    let _ledger = read_ledger(folder.path()).map_err(told);
    let _letters = read_dead_letters(folder.path(), |_| Ok(())).map_err(told);
    match Journal::open(&settings(folder.path())) {
        Err(error) => told(error),
        Ok(journal) => {
            for (id, account) in journal.ledger().accounts {
                assert_eq!(account.imbalance(), 0, "{id} {account:?}");
            }
        }
    }
}

/// Each file as [`disk`] takes it.
pub fn corpus() -> Vec<Vec<u8>> {
    let numbered = FILES.iter().enumerate();
    numbered.map(|(at, (_, content))| [&[at as u8], &content[..]].concat()).collect()
}

fn settings(directory: &Path) -> JournalSettings {
    JournalSettings {
        durability: Durability::Disk,
        max_bytes: 1 << 20,
        retention: Duration::from_secs(3_600),
        max_dead_letter_bytes: 1 << 20,
        directory: directory.to_owned(),
    }
}

fn record(number: u64) -> Arc<Record> {
    let body = format!("{{\"event_id\":\"ev_{number}\",\"text\":\"{}\"}}", "x".repeat(90));
    Arc::new(Record {
        event_id: format!("ev_{number}").into(),
        time: Timestamp { seconds: 1_700_000_000, nanos: 0 },
        body: body.into(),
        hops: 1,
    })
}

fn made() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let destination = ResourceId::new("logs").unwrap();
    let journal = Journal::open(&settings(folder.path())).unwrap();
    runtime.block_on(async {
        let mut cursor = journal.cursor(&destination, Terms::default());
        for number in 0..20 {
            let offer = Offer { destination: destination.clone(), accepted: 2, filtered_out: 1 };
            let destinations = Arc::from([destination.clone()]);
            let entry = Entry { record: record(number), destinations };
            journal.append(Generation::default(), vec![entry], vec![offer]).await.unwrap();
        }
        let read = cursor.read(5, 1 << 20).await.unwrap();
        let settled: Vec<_> =
            read.iter().take(3).map(|it| (it.position, Outcome::Delivered)).collect();
        cursor.settle(&settled).await;
        let why = DeadLetter { reason: "too large".to_owned(), attempts: 3 };
        cursor.dead_letter(Arc::new([(read[3].clone(), why)])).await.unwrap();
        let letters =
            vec![(record(100), "no JSON".to_owned()), (record(101), "no event".to_owned())];
        journal.reject(AT_STDIN, letters).await.unwrap();
        journal.checkpoint().await;
    });
    drop(journal);
    let mut files = Vec::new();
    list(folder.path(), folder.path(), &mut files);
    assert!(files.len() > 2, "{files:?}");
    files
}

fn list(root: &Path, folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(root, &path, files);
        } else {
            files.push((path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
}
