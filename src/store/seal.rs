//! The master key, and sealing: AES-256-GCM with a fresh random nonce, bound to the row's place.
//!
//! It protects what lies on disk against readers of the disk, not against readers of the process.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::StoreError;
use crate::private;

/// The environment variable that holds the key, so that it need not lie beside the data.
pub const MASTER_KEY_VARIABLE: &str = "SLUICEGATE_MASTER_KEY";

/// The key file's name inside the data folder.
pub(super) const KEY_FILE: &str = "master.key";

/// What is sealed beside the data, to tell a wrong key from damage: its kind, its id and its text.
pub(super) const PROOF: (&str, &str) = ("meta", "proof");
pub(super) const PROOF_TEXT: &str = "sluicegate";

/// Octets of a key; its text has two hexadecimal digits for each.
const KEY_BYTES: usize = 32;

/// Characters of its text.
pub(super) const KEY_DIGITS: usize = 2 * KEY_BYTES;

/// A text that is not a master key. It does not say which text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the master key ({MASTER_KEY_VARIABLE}, or {KEY_FILE} in the data folder) must be {} hexadecimal digits; `openssl rand -hex {KEY_BYTES}` makes one",
    KEY_DIGITS
)]
pub struct BadMasterKey;

/// The key that seals what is kept.
#[derive(Clone)]
pub struct MasterKey(LessSafeKey);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

impl MasterKey {
    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(text: &str) -> Result<MasterKey, BadMasterKey> {
        let bytes = hex::decode(text.trim()).map_err(|_| BadMasterKey)?;
        // An AES-256 key of another length is refused here.
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| BadMasterKey)?;
        Ok(MasterKey(LessSafeKey::new(key)))
    }

    /// A random key.
    pub(super) fn fresh() -> MasterKey {
        let key = UnboundKey::new(&AES_256_GCM, &rand::random::<[u8; KEY_BYTES]>());
        #[expect(clippy::expect_used, reason = "a key of this length is taken")]
        MasterKey(LessSafeKey::new(key.expect("an AES-256 key")))
    }

    /// The key of the environment, if there is one.
    ///
    /// # Errors
    /// When the variable is set to something that is no key.
    pub fn of_environment() -> Result<Option<MasterKey>, BadMasterKey> {
        match std::env::var(MASTER_KEY_VARIABLE) {
            Ok(text) => MasterKey::parse(&text).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The key of a folder's key file, which is made if it is not there, readable by its owner only.
    pub(super) fn of_folder(folder: &Path) -> Result<MasterKey, StoreError> {
        // First, so that a disk that takes nothing more still lets a daemon start that has its key.
        if let Some(key) = MasterKey::of_existing_file(folder)? {
            return Ok(key);
        }
        let path = folder.join(KEY_FILE);
        let failed = |error| StoreError::File(path.clone(), error);
        // Written beside and linked into place, so that nobody ever reads a half-written key. A link
        // does not replace the key that another process has made meanwhile, as a renaming would.
        let draft = folder.join(format!("{KEY_FILE}.{}", std::process::id()));
        let linked = write_key(&draft).and_then(|()| match fs::hard_link(&draft, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
        // What failed first is what the operator has to know; a draft that was not even made cannot
        // be removed.
        let removed = fs::remove_file(&draft);
        linked.and(removed).map_err(failed)?;
        MasterKey::of_existing_file(folder)?
            .ok_or_else(|| failed(io::Error::from(io::ErrorKind::NotFound)))
    }

    /// The key of a folder's key file, if there is one.
    pub(super) fn of_existing_file(folder: &Path) -> Result<Option<MasterKey>, StoreError> {
        let path = folder.join(KEY_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => MasterKey::parse(&text).map(Some).map_err(StoreError::Key),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::File(path, error)),
        }
    }

    /// Seals a text for a place; only there does it open again.
    pub(super) fn seal(&self, kind: &str, id: &str, text: &str) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut body = text.as_bytes().to_vec();
        let place = Aad::from(format!("{kind}/{id}"));
        let sealed =
            self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), place, &mut body);
        // Refused only for more than 64 GiB; an empty text never opens.
        match sealed {
            Ok(()) => [&nonce[..], &body].concat(),
            Err(_) => Vec::new(),
        }
    }

    /// Opens what was sealed for a place.
    pub(super) fn open(&self, kind: &str, id: &str, sealed: &[u8]) -> Option<String> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut body = body.to_vec();
        let place = Aad::from(format!("{kind}/{id}"));
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let open = self.0.open_in_place(nonce, place, &mut body).ok()?;
        String::from_utf8(open.to_vec()).ok()
    }
}

/// Writes a fresh key to a file of its owner's own.
fn write_key(draft: &Path) -> io::Result<()> {
    let fresh: [u8; KEY_BYTES] = rand::random();
    let mut file = private::file().write(true).truncate(true).open(draft)?;
    writeln!(file, "{}", hex::encode(fresh))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_64_hexadecimal_digits() {
        assert!(MasterKey::parse(&format!("{}\n", "0aF9".repeat(16))).is_ok());
        for text in ["", "00", &"0".repeat(63), &"0".repeat(66), &"g".repeat(64), &"é".repeat(32)]
        {
            assert_eq!(MasterKey::parse(text).err(), Some(BadMasterKey), "{text}");
        }
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_only() {
        let key = MasterKey::parse(&"5a".repeat(32)).unwrap();
        let sealed = key.seal("k", "i", "text");
        assert_eq!(key.open("k", "i", &sealed).as_deref(), Some("text"));
        assert_eq!(key.open("k", "j", &sealed), None);
        let other = MasterKey::parse(&"5b".repeat(32)).unwrap();
        assert_eq!(other.open("k", "i", &sealed), None);
        assert_ne!(key.seal("k", "i", "text"), sealed, "each time with another nonce");
        for at in 0..sealed.len() {
            let mut wrong = sealed.clone();
            wrong[at] ^= 1;
            assert_eq!(key.open("k", "i", &wrong), None, "byte {at}");
        }
    }

    #[test]
    fn a_folder_keeps_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let sealed = MasterKey::of_folder(dir.path()).unwrap().seal("k", "i", "text");
        let again = MasterKey::of_folder(dir.path()).unwrap();
        assert_eq!(again.open("k", "i", &sealed).as_deref(), Some("text"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_folder_that_takes_no_new_file_still_gives_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let draft = dir.path().join(format!("{KEY_FILE}.{}", std::process::id()));
        // No draft can be written where a folder has its name.
        fs::create_dir(&draft).unwrap();
        assert!(matches!(MasterKey::of_folder(dir.path()), Err(StoreError::File(..))));
        assert!(!dir.path().join(KEY_FILE).exists());
        fs::write(dir.path().join(KEY_FILE), "5a".repeat(32)).unwrap();
        assert!(MasterKey::of_folder(dir.path()).is_ok());
    }

    #[test]
    fn a_key_that_cannot_be_put_in_place_leaves_no_draft() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join(KEY_FILE)).unwrap();
        assert!(matches!(MasterKey::of_folder(dir.path()), Err(StoreError::File(..))));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
