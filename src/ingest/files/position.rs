//! Where reading stands in each file, in one small file of JSON that is replaced as a whole.
//!
//! It decides nothing: what a position means is the follower's matter.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::rotated::Youngest;
use crate::private;

/// So many bytes of a file's beginning tell it from another one with its inode.
const HASHED: usize = 256;

/// What makes a file the same one under another name, and another one under the same inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// How many bytes of its beginning are hashed: 256, or as many as there were.
    hashed: usize,
    hash: String,
}

/// Where reading stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) identity: Identity,
    /// What its events' ids are made of, beside their offsets; chosen by chance when it was first seen.
    pub(super) key: u64,
    /// The end of the last line that is kept, in bytes.
    pub(super) offset: u64,
    /// Where it was last found.
    pub(super) path: PathBuf,
}

/// What is stored.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) positions: Vec<Position>,
    /// The youngest rotated files that were ever seen, if the folders were ever looked at.
    pub(super) youngest: Option<Youngest>,
}

impl Identity {
    /// Of an open file as it is now.
    pub(super) fn of(file: &File) -> io::Result<Identity> {
        let metadata = file.metadata()?;
        let mut identity = Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            hashed: HASHED,
            hash: String::new(),
        };
        (identity.hashed, identity.hash) = beginning(file, HASHED)?;
        Ok(identity)
    }

    /// Whether an open file, whose device and inode are known to be these, begins as it did; then takes more
    /// of its beginning in, if there is more now.
    pub(super) fn is_still(&mut self, file: &File) -> io::Result<bool> {
        let now = beginning(file, self.hashed)?;
        if now != (self.hashed, self.hash.clone()) {
            return Ok(false);
        }
        if self.hashed < HASHED {
            (self.hashed, self.hash) = beginning(file, HASHED)?;
        }
        Ok(true)
    }

    /// Device and inode.
    pub(super) fn place(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Whether this is another state of the same file, by device and inode alone.
    pub(super) fn is_at(&self, device: u64, inode: u64) -> bool {
        (self.device, self.inode) == (device, inode)
    }
}

/// How many bytes there are at a file's beginning, of so many, and their hash.
fn beginning(file: &File, wanted: usize) -> io::Result<(usize, String)> {
    let mut bytes = [0; HASHED];
    let mut read = 0;
    while read < wanted.min(HASHED) {
        match file.read_at(&mut bytes[read..wanted.min(HASHED)], read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    Ok((read, hex::encode(digest(&SHA256, &bytes[..read]))))
}

/// Reads what was stored; nothing where nothing was.
///
/// # Errors
/// When the file cannot be read, or holds something else.
pub(super) fn load(path: &Path) -> io::Result<Stored> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stored::default()),
        Err(error) => return Err(error),
    };
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "it holds no positions");
    let stored: Value = serde_json::from_str(&text).map_err(|_| bad())?;
    let list = stored["files"].as_array().ok_or_else(bad)?;
    let positions =
        list.iter().map(|it| read_position(it).ok_or_else(bad)).collect::<Result<_, _>>()?;
    Ok(Stored { positions, youngest: read_youngest(&stored["youngest"]) })
}

fn read_youngest(stored: &Value) -> Option<Youngest> {
    let place = |it: &Value| Some((it[0].as_u64()?, it[1].as_u64()?));
    let files = stored["files"].as_array()?.iter().filter_map(place).collect();
    Some(Youngest { created: stored["created"].as_u64()?, files })
}

fn read_position(stored: &Value) -> Option<Position> {
    let identity = Identity {
        device: stored["device"].as_u64()?,
        inode: stored["inode"].as_u64()?,
        hashed: usize::try_from(stored["hashed"].as_u64()?).ok().filter(|it| *it <= HASHED)?,
        hash: stored["hash"].as_str()?.to_owned(),
    };
    Some(Position {
        identity,
        key: stored["key"].as_u64()?,
        offset: stored["offset"].as_u64()?,
        path: PathBuf::from(stored["path"].as_str()?),
    })
}

/// Replaces what was stored: after a crash there is either all of the old or all of the new.
///
/// # Errors
/// When the disk does not take it; then the old is there still.
pub(super) fn store(path: &Path, stored: &Stored) -> io::Result<()> {
    let files: Vec<Value> = stored
        .positions
        .iter()
        .map(|it| {
            json!({
                "path": it.path.to_string_lossy(),
                "device": it.identity.device,
                "inode": it.identity.inode,
                "hashed": it.identity.hashed,
                "hash": it.identity.hash,
                "key": it.key,
                "offset": it.offset,
            })
        })
        .collect();
    let beside = path.with_extension("json.new");
    let mut file = private::file().write(true).truncate(true).open(&beside)?;
    let youngest = stored.youngest.as_ref();
    let youngest = youngest.map(|it| json!({ "created": it.created, "files": it.files }));
    let all = json!({ "files": files, "youngest": youngest });
    file.write_all(all.to_string().as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    // The name is on disk too, so that it does not go back to an older one.
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
