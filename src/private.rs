//! Files and folders that are their owner's alone: the one place that makes any.
//!
//! Events may hold personal data, and keys open everything, so what is made here is 0600 in folders of
//! 0700, whatever the process's umask allows. What is there already keeps its rights, for somebody may
//! have meant them; [`looser`] tells of them. What is written, and where, is for whoever writes.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Rights of a file: its owner reads and writes.
pub const FILE: u32 = 0o600;

/// Rights of a folder.
const FOLDER: u32 = 0o700;

/// Rights of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Rights of everybody but the owner and the group.
const ALL: u32 = 0o007;

/// Options that make a file if it is not there; the caller adds how it is opened.
#[must_use]
pub fn file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(FILE);
    options
}

/// Options that make a file which must not be there yet.
#[must_use]
pub fn new_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create_new(true).mode(FILE);
    options
}

/// Makes a folder, and those that it lies in, as far as they are not there.
///
/// # Errors
/// When the system refuses, or a file has the name.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER).create(path)
}

/// The rights of a file or folder that is there and that others than its owner may use, such as
/// `0644`.
#[must_use]
pub fn looser(path: &Path) -> Option<String> {
    rights_with(path, OTHERS)
}

/// The same of one that everybody may use; its group may.
#[must_use]
pub fn open_to_all(path: &Path) -> Option<String> {
    rights_with(path, ALL)
}

fn rights_with(path: &Path, any: u32) -> Option<String> {
    let mode = fs::metadata(path).ok()?.permissions().mode();
    (mode & any != 0).then(|| format!("{:04o}", mode & 0o777))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_its_owners_and_what_was_there_keeps_its_rights() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        make_folder(&inner).unwrap();
        let path = inner.join("file");
        new_file().write(true).open(&path).unwrap();
        assert_eq!(
            (mode(&inner), mode(&folder.path().join("a")), mode(&path)),
            (0o700, 0o700, 0o600)
        );
        assert!(new_file().write(true).open(&path).is_err(), "it is there");
        assert_eq!((looser(&inner), looser(&path)), (None, None));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        file().append(true).open(&path).unwrap().write_all(b"x").unwrap();
        assert_eq!((looser(&path).as_deref(), open_to_all(&path)), (Some("0640"), None));
        make_folder(&inner).unwrap();
        assert_eq!(looser(&inner.join("absent")), None);
    }
}
