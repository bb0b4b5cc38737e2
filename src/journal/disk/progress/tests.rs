//! What is noted, torn, flipped and left by checkpoints, on files alone.

use super::super::faults::Fault;
use super::*;

fn id(name: &str) -> ResourceId {
    ResourceId::new(name).unwrap()
}

fn note(progress: &Progress, name: &str, positions: &[u64]) {
    let settled: Vec<_> = positions.iter().map(|it| (*it, Outcome::Delivered)).collect();
    let _settled = progress.queue(&id(name), &settled);
    progress.write().unwrap();
}

/// What is settled for a destination after the checkpoint of a number.
fn settled(folder: &Path, checkpoint: u64, name: &str) -> Vec<u64> {
    let mut settled = read(folder, checkpoint).unwrap();
    settled.remove(&id(name)).unwrap_or_default().into_keys().collect()
}

fn begin(folder: &Path, checkpoint: u64) -> Progress {
    Progress::new(folder, checkpoint, Faults::default())
}

#[test]
fn what_is_noted_is_read_with_its_outcome_and_its_destination() {
    let folder = tempfile::tempdir().unwrap();
    let progress = begin(folder.path(), 0);
    let both = [(7, Outcome::DeadLettered), (u64::MAX, Outcome::Delivered)];
    let _a = progress.queue(&id("a"), &both);
    let _b = progress.queue(&id("b"), &[(7, Outcome::Delivered)]);
    progress.write().unwrap();
    let read = read(folder.path(), 0).unwrap();
    assert_eq!(read[&id("a")], BTreeMap::from(both));
    assert_eq!(read[&id("b")], BTreeMap::from([(7, Outcome::Delivered)]));
}

#[test]
fn a_file_goes_with_the_second_checkpoint_after_it_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let progress = begin(folder.path(), 0);
    for checkpoint in 1..5 {
        note(&progress, "a", &[checkpoint]);
        assert_eq!(progress.snapshot(), checkpoint);
        let before: Vec<u64> = ((checkpoint - 1).max(1)..=checkpoint).collect();
        assert_eq!(settled(folder.path(), checkpoint - 1, "a"), before, "it was not saved");
        progress.saved(checkpoint);
        assert_eq!(list(folder.path()).unwrap(), [checkpoint - 1]);
        assert_eq!(settled(folder.path(), checkpoint, "a"), [checkpoint]);
    }
    assert_eq!(progress.snapshot(), 4, "nothing was settled since");
}

#[test]
fn a_note_stays_until_its_records_are_settled_however_many_checkpoints_are_made_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let progress = begin(folder.path(), 0);
    let checkpoint = |position| {
        note(&progress, "b", &[position]);
        let number = progress.snapshot();
        progress.saved(number);
        number
    };
    checkpoint(1);
    let (open, ..) = progress.queue(&id("a"), &[(7, Outcome::Delivered)]);
    progress.write().unwrap();
    for position in 2..6 {
        let number = checkpoint(position);
        assert_eq!(settled(folder.path(), number, "a"), [7], "as the next start reads it");
    }
    // It is settled after a snapshot, which so does not know of it.
    note(&progress, "b", &[6]);
    let number = progress.snapshot();
    drop(open);
    progress.saved(number);
    assert_eq!(settled(folder.path(), number, "a"), [7]);
    let number = checkpoint(8);
    assert_eq!(settled(folder.path(), number, "a"), [0; 0], "the checkpoint knows it");
    assert_eq!(list(folder.path()).unwrap(), [number - 1]);
}

#[test]
fn checkpoints_that_cannot_be_saved_do_not_make_a_file_each() {
    let folder = tempfile::tempdir().unwrap();
    let progress = begin(folder.path(), 0);
    for position in 0..5 {
        note(&progress, "a", &[position]);
        progress.snapshot();
    }
    assert_eq!(list(folder.path()).unwrap().len(), 2);
    assert_eq!(settled(folder.path(), 0, "a"), [0, 1, 2, 3, 4]);
}

#[test]
fn a_process_goes_on_behind_the_last_whole_frame_of_another() {
    let folder = tempfile::tempdir().unwrap();
    note(&begin(folder.path(), 0), "a", &[1, 2]);
    let whole = fs::read(path(folder.path(), 0)).unwrap();
    for cut in 0..whole.len() {
        let torn = [&whole[..], &whole[..cut]].concat();
        fs::write(path(folder.path(), 0), torn).unwrap();
        fs::write(path(folder.path(), 9), "of another checkpoint").unwrap();
        assert_eq!(settled(folder.path(), 0, "a"), [1, 2], "cut at {cut}");
        note(&begin(folder.path(), 0), "a", &[3]);
        assert_eq!(settled(folder.path(), 0, "a"), [1, 2, 3], "cut at {cut}");
        assert_eq!(list(folder.path()).unwrap(), [0]);
    }
}

#[test]
fn no_flipped_bit_makes_something_settled_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let progress = begin(folder.path(), 0);
    note(&progress, "a", &[1]);
    note(&progress, "a", &[2]);
    let whole = fs::read(path(folder.path(), 0)).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(path(folder.path(), 0), &flipped).unwrap();
        let expected: &[u64] = if bit < whole.len() * 4 { &[] } else { &[1] };
        assert_eq!(settled(folder.path(), 0, "a"), expected, "bit {bit}");
    }
}

#[test]
fn a_write_that_fails_is_cut_back_and_the_next_frames_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::switchable();
    let progress = Progress::new(folder.path(), 0, faults.clone());
    note(&progress, "a", &[1]);
    faults.set(Fault::FullAfter(9));
    let _note = progress.queue(&id("a"), &[(2, Outcome::Delivered)]);
    assert_eq!(progress.write().unwrap_err().kind(), io::ErrorKind::StorageFull);
    faults.set(Fault::None);
    note(&progress, "a", &[3]);
    assert_eq!(settled(folder.path(), 0, "a"), [1, 3]);
}

#[test]
fn what_is_settled_while_the_disk_hangs_takes_bounded_room() {
    let folder = tempfile::tempdir().unwrap();
    let progress = begin(folder.path(), 0);
    let settled: Vec<_> = (0..10_000).map(|it| (it, Outcome::Delivered)).collect();
    for _ in 0..100 {
        let _note = progress.queue(&id("a"), &settled);
    }
    assert!(lock(&progress.queue).frames.len() <= MOST_QUEUED + 100_000);
    assert!(progress.write().is_err(), "something is missing, which is told");
    note(&progress, "a", &[10_000]);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_waited_for_once_and_then_not_until_it_works_again() {
    let folder = tempfile::tempdir().unwrap();
    let progress = begin(folder.path(), 0);
    let wait = async || {
        let (_note, notes, _) = progress.queue(&id("a"), &[(1, Outcome::Delivered)]);
        let began = tokio::time::Instant::now();
        progress.written(notes).await;
        began.elapsed()
    };
    assert!(wait().await >= PATIENCE);
    assert_eq!(wait().await, Duration::ZERO);
    progress.write().unwrap();
    assert!(wait().await >= PATIENCE);
}
