//! Bytes that flip in what was synced, in segments as they were appended and in compacted ones.

use std::collections::BTreeSet;
use std::fs;

use proptest::prelude::*;
use proptest::sample::Index;

use super::tests::{append, entry, folder, id, options};
use super::*;

/// The event of all records that are not looked at.
const OTHER: u64 = 1_000_000;

/// Every frame of a folder's log: its segment, where it lies there, and its event.
fn frames(folder: &Path) -> Vec<(PathBuf, std::ops::Range<u64>, u64)> {
    let mut frames = Vec::new();
    for base in segment::list(folder).unwrap() {
        let path = segment::path(folder, base);
        let mut scanner = segment::open(folder, base).unwrap().unwrap().scan();
        let mut start = scanner.offset();
        while let Some(scanner::Step::Frame(_, frame)) = scanner.next().unwrap() {
            let event = frame.record().event_id.parse().unwrap();
            frames.push((path.clone(), start..scanner.offset(), event));
            start = scanner.offset();
        }
    }
    frames
}

/// Reads and settles all that is pending for a destination; gives the events.
async fn drain(disk: &Disk, name: &str) -> Vec<u64> {
    let name = id(name);
    let mut reader = disk.attach(&name, Terms::default());
    let mut events = Vec::new();
    while disk.account(&name).unwrap().pending_records > 0 {
        let read = disk.read(&name, &mut reader, (7, 3_000));
        // Nothing comes if all that is left turns out to be damaged.
        let Ok(read) = tokio::time::timeout(Duration::from_millis(300), read).await else { break };
        for pending in read.unwrap() {
            events.push(pending.record.event_id.parse().unwrap());
            disk.settle(&name, &[(pending.position, Outcome::Delivered)]);
        }
    }
    events
}

proptest! {
    #[test]
    fn flipped_bytes_cost_the_records_that_they_hit_and_these_are_counted(
        sizes in proptest::collection::vec(0..2_000usize, 1..40),
        flips in proptest::collection::vec((any::<Index>(), any::<Index>(), 0..8u8), 1..4),
        while_running in any::<bool>(),
        compacted in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let folder = folder();
        let disk = Disk::open(folder.path(), &options()).unwrap();
        for (event, size) in sizes.iter().enumerate() {
            let entries = vec![entry(event as u64, *size, &["a"])];
            prop_assert!(runtime.block_on(append(&disk, entries)).is_ok());
            if compacted {
                let other = vec![entry(OTHER, 2_000, &["b"])];
                prop_assert!(runtime.block_on(append(&disk, other)).is_ok());
            }
        }
        if compacted {
            runtime.block_on(drain(&disk, "b"));
            disk.compact();
        }
        let running = while_running.then_some(disk);
        let mut frames = frames(folder.path());
        frames.retain(|(_, _, event)| *event != OTHER);
        prop_assert_eq!(frames.len(), sizes.len());
        let mut expected: BTreeSet<u64> = frames.iter().map(|(_, _, event)| *event).collect();
        let mut flipped = BTreeSet::new();
        for (frame, byte, bit) in flips {
            let (path, range, event) = &frames[frame.index(frames.len())];
            let at = usize::try_from(range.start).unwrap()
                + byte.index(usize::try_from(range.end - range.start).unwrap());
            if flipped.insert((path.clone(), at, bit)) {
                let mut bytes = fs::read(path).unwrap();
                bytes[at] ^= 1 << bit;
                fs::write(path, bytes).unwrap();
                expected.remove(event);
            }
        }
        let disk = running.unwrap_or_else(|| Disk::open(folder.path(), &options()).unwrap());
        let came = runtime.block_on(drain(&disk, "a"));
        prop_assert_eq!(came, expected.iter().copied().collect::<Vec<_>>());
        let account = disk.account(&id("a")).unwrap();
        prop_assert_eq!(account.appended, sizes.len() as u64);
        prop_assert_eq!(account.delivered, expected.len() as u64);
        prop_assert_eq!(account.lost, account.appended - account.delivered);
        prop_assert_eq!(account.pending_records, 0);
    }
}
