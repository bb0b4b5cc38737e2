//! The store's own tests: what is written, sealed, opened and refused.

use std::os::unix::fs::PermissionsExt as _;

use std::fs;

use super::sqlite::Sqlite as Store;
use super::*;

fn row(kind: &str, id: &str, body: &str) -> Row {
    Row { kind: kind.to_owned(), id: id.to_owned(), created_at: 7, body: body.to_owned() }
}

fn key(byte: char) -> MasterKey {
    MasterKey::parse(&byte.to_string().repeat(64)).unwrap()
}

#[test]
fn what_was_written_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), None).unwrap();
    let (a, b) = (row("ip_policies", "ipp_1", r#"{"a":1}"#), row("api_keys", "ak_1", "{}"));
    let put = |row: &Row| Change::Put(row.clone());
    store.write(&[put(&a), put(&b)], &["{\"n\":1}".to_owned(), "{\"n\":2}".to_owned()]).unwrap();
    let identity = store.identity().unwrap();
    drop(store);
    let store = Store::open(dir.path(), None).unwrap();
    assert_eq!(store.load(None).unwrap(), [b.clone(), a]);
    assert_eq!(store.load(Some("api_keys")).unwrap(), [b]);
    assert_eq!(store.identity().unwrap(), identity);
    let waiting = store.waiting(0, 10).unwrap();
    assert_eq!(
        waiting.iter().map(|it| it.event.as_str()).collect::<Vec<_>>(),
        ["{\"n\":1}", "{\"n\":2}"]
    );
    store.published(&[waiting[0].number]).unwrap();
    assert_eq!(store.waiting(0, 10).unwrap().len(), 1);
    let delete = Change::Delete { kind: "api_keys".to_owned(), id: "ak_1".to_owned() };
    store.write(&[delete], &[]).unwrap();
    assert_eq!(store.load(Some("api_keys")).unwrap(), []);
}

#[test]
fn the_files_tell_no_secret_and_are_for_their_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), None).unwrap();
    store.write(&[Change::Put(row("k", "i", "wJalrXUtnFEMI"))], &[]).unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(13).any(|it| it == b"wJalrXUtnFEMI"), "{path:?}");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path:?}");
    }
}

#[test]
fn another_key_and_a_later_version_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path(), Some(key('a'))).unwrap());
    let refused = Store::open(dir.path(), Some(key('b'))).unwrap_err();
    assert!(refused.to_string().contains("sealed with another key"), "{refused}");
    let store = Store::open(dir.path(), Some(key('a'))).unwrap();
    store.lock().pragma_update(None, "user_version", 99).unwrap();
    let refused = Store::open(dir.path(), Some(key('a'))).unwrap_err();
    assert!(refused.to_string().contains("has version 99"), "{refused}");
}

#[test]
fn no_key_is_made_beside_what_it_could_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let key_file = dir.path().join(KEY_FILE);
    let store = Store::open(dir.path(), None).unwrap();
    store.write(&[Change::Put(row("k", "i", "{}"))], &[]).unwrap();
    let kept = fs::read_to_string(&key_file).unwrap();
    let refused = |store: Result<Store, StoreError>| store.unwrap_err().to_string();
    for proof_too in [false, true] {
        if proof_too {
            store.lock().execute("DELETE FROM meta WHERE name = 'proof'", []).unwrap();
        }
        fs::remove_file(&key_file).unwrap();
        let text = refused(Store::open(dir.path(), None));
        assert!(text.contains("put master.key back into") && text.contains("no new one"), "{text}");
        assert!(!key_file.exists());
        let text = refused(Store::open(dir.path(), Some(key('b'))));
        assert!(text.contains("sealed with another key"), "{text}");
        fs::write(&key_file, &kept).unwrap();
    }
    let proofs = "SELECT count(*) FROM meta WHERE name = 'proof'";
    let proofs: i64 = store.lock().query_row(proofs, [], |row| row.get(0)).unwrap();
    assert_eq!(proofs, 0, "a wrong key has proved nothing");
    let again = Store::open(dir.path(), None).unwrap();
    assert_eq!(again.load(None).unwrap(), [row("k", "i", "{}")]);
}

#[test]
fn opening_what_is_there_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let files = || fs::read_dir(dir.path()).unwrap().count();
    let existing = |key| Store::open_existing(dir.path(), key);
    assert!(existing(None).unwrap().is_none());
    fs::write(dir.path().join(FILE), "").unwrap();
    assert!(existing(None).unwrap().is_none(), "a store that is being made");
    assert_eq!(files(), 1);
    fs::remove_file(dir.path().join(FILE)).unwrap();
    let running = Store::open(dir.path(), Some(key('a'))).unwrap();
    running.write(&[Change::Put(row("k", "i", "{}"))], &[]).unwrap();
    let rows = existing(Some(key('a'))).unwrap().unwrap().load(None).unwrap();
    assert_eq!(rows, [row("k", "i", "{}")], "beside a running daemon");
    assert!(matches!(existing(Some(key('b'))), Err(StoreError::WrongKey)));
    assert!(matches!(existing(None), Err(StoreError::NoKey(_))));
    drop(running);
    assert!(existing(Some(key('a'))).unwrap().is_some());
    assert_eq!(files(), 1, "no key file, and nothing of SQLite's is left");
}

#[test]
fn a_row_that_was_moved_or_changed_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), None).unwrap();
    store.write(&[Change::Put(row("k", "one", "{}"))], &[]).unwrap();
    store.lock().execute("UPDATE objects SET id = 'two'", []).unwrap();
    assert_eq!(store.load(None).unwrap(), []);
}

#[test]
fn a_write_of_another_process_shows_in_the_version() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) =
        (Store::open(dir.path(), None).unwrap(), Store::open(dir.path(), None).unwrap());
    let before = ours.version().unwrap();
    ours.write(&[Change::Put(row("k", "i", "{}"))], &[]).unwrap();
    assert_eq!(ours.version().unwrap(), before);
    theirs.write(&[Change::Put(row("k", "j", "{}"))], &[]).unwrap();
    assert_ne!(ours.version().unwrap(), before);
}
