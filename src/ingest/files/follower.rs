//! All files that are followed: which there are, which are the same as before under another name, and what of
//! them is stored.
//!
//! A file is followed from its beginning when it is first seen. One that was renamed is read to its end, also
//! when that happened while nobody looked, if it is still in its folder. Synchronous, and it knows neither
//! pipeline nor thread, so that a test can drive it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::board::FileReading;
use super::followed::{Chunk, Followed, Found};
use super::pattern::{expand, is_pattern};
use super::position::{Identity, Position, Stored, load, store};
use super::rotated::{Looked, Place, is_rotated};
use crate::journal::Settlement;

/// Most files at a time; each is held open.
pub(super) const MAX_FILES: usize = 256;

/// How long a file that was renamed is read on after its last line: whoever writes to it opens the new one
/// within seconds.
const GRACE: Duration = Duration::from_secs(60);

/// What has to be told of a look at the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A file is followed from now on, from this offset.
    Begun(PathBuf, u64),
    /// A file that was renamed or removed is read to its end; so many bytes of a last line without an end were
    /// left.
    Ended(PathBuf, u64),
    /// A file was cut, with so many bytes unread.
    Cut(PathBuf, u64),
    /// A file that was being read has gone, read up to this offset.
    Gone(PathBuf, u64),
    /// There are more files than are followed.
    TooMany,
    /// A file cannot be read.
    Unreadable(PathBuf, String),
}

/// The files that are followed.
#[derive(Debug)]
pub(super) struct Follower {
    patterns: Vec<PathBuf>,
    store: PathBuf,
    files: Vec<Followed>,
    /// What was stored before the start of files that were not found yet.
    stored: Vec<Position>,
    looked: Looked,
    is_first_look: bool,
    is_changed: bool,
}

impl Follower {
    /// Reads the stored positions.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn open(patterns: Vec<PathBuf>, path: &Path) -> io::Result<Follower> {
        let Stored { positions, youngest } = load(path)?;
        Ok(Follower {
            patterns,
            store: path.to_owned(),
            files: Vec::new(),
            stored: positions,
            looked: Looked::new(youngest),
            is_first_look: true,
            is_changed: false,
        })
    }

    /// How many files are followed.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// How far each file is.
    pub(super) fn readings(&self) -> Vec<FileReading> {
        let reading = |it: &Followed| FileReading {
            path: it.position.path.display().to_string(),
            offset: it.position.offset,
            unread: it.unread(),
        };
        self.files.iter().map(reading).collect()
    }

    /// Where a file was last found, which setting names it, and what its ids are made of.
    pub(super) fn about(&self, at: usize) -> (&Path, usize, u64) {
        let file = &self.files[at];
        (&file.position.path, file.setting, file.position.key)
    }

    /// Looks which files there are now.
    pub(super) fn look(&mut self, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        let positions = self.files.iter().map(|it| &it.position).chain(&self.stored);
        let known: HashSet<Place> = positions.map(|it| it.identity.place()).collect();
        let youngest = self.looked.youngest.clone();
        self.files.iter_mut().for_each(|it| it.is_current = false);
        for setting in 0..self.patterns.len() {
            let paths = expand(&self.patterns[setting], MAX_FILES + 1);
            for path in paths {
                match self.see(&path, setting, now, &mut events) {
                    Ok(()) => {}
                    // It may come.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => events.push(Event::Unreadable(path, error.to_string())),
                }
            }
        }
        if std::mem::take(&mut self.is_first_look) {
            self.find_renamed(now, &mut events);
        }
        self.find_passed(&known, now, &mut events);
        let ended = |it: &mut Followed| {
            !it.is_current && now.duration_since(it.idle_since) >= GRACE && it.is_done()
        };
        for file in self.files.extract_if(.., ended) {
            self.is_changed = true;
            events.push(Event::Ended(file.position.path.clone(), file.unread()));
        }
        let is_due = self.files.iter().any(|it| !it.is_stored) || youngest != self.looked.youngest;
        if is_due && let Err(error) = self.save() {
            events.push(Event::Unreadable(self.store.clone(), error.to_string()));
        }
        events
    }

    /// Takes notice of a file at a path.
    fn see(
        &mut self,
        path: &Path,
        setting: usize,
        now: Instant,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Ok(());
        }
        let (device, inode) = (metadata.dev(), metadata.ino());
        if let Some(known) =
            self.files.iter_mut().find(|it| it.position.identity.is_at(device, inode))
        {
            known.is_current = true;
            if known.position.path != path {
                path.clone_into(&mut known.position.path);
                self.is_changed = true;
            }
            return Ok(());
        }
        if self.files.len() >= MAX_FILES {
            if !events.contains(&Event::TooMany) {
                events.push(Event::TooMany);
            }
            return Ok(());
        }
        let file = open(path)?;
        let followed = self.begin(file, path, setting, now)?;
        events.push(Event::Begun(path.to_owned(), followed.position.offset));
        self.files.push(followed);
        self.is_changed = true;
        Ok(())
    }

    /// A file that was not followed: where it was left, if it is one of those that are stored, else from its
    /// beginning.
    fn begin(
        &mut self,
        file: File,
        path: &Path,
        setting: usize,
        now: Instant,
    ) -> io::Result<Followed> {
        let metadata = file.metadata()?;
        let at = |it: &Position| it.identity.is_at(metadata.dev(), metadata.ino());
        if let Some(at) = self.stored.iter().position(at) {
            let mut position = self.stored.swap_remove(at);
            let known = position.identity.clone();
            if metadata.len() >= position.offset && position.identity.is_still(&file)? {
                path.clone_into(&mut position.path);
                let is_stored = known == position.identity;
                return Ok(Followed::new(file, position, setting, is_stored, now));
            }
        }
        let identity = Identity::of(&file)?;
        let position = Position { identity, key: rand::random(), offset: 0, path: path.to_owned() };
        Ok(Followed::new(file, position, setting, false, now))
    }

    /// Looks in their folders for files that were renamed before this start.
    fn find_renamed(&mut self, now: Instant, events: &mut Vec<Event>) {
        let stored = std::mem::take(&mut self.stored);
        for position in stored {
            let path = position.path.clone();
            let (key, offset) = (position.key, position.offset);
            let Some(setting) = self.patterns.iter().position(|it| may_name(it, &path)) else {
                continue;
            };
            let folder = path.parent().unwrap_or(Path::new("."));
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let mut named = entries.filter(|it| {
                it.metadata()
                    .is_ok_and(|it| it.is_file() && position.identity.is_at(it.dev(), it.ino()))
            });
            let found = named.next().map(|it| it.path());
            let name = |it: &Path| it.file_name().map(|it| it.to_string_lossy().into_owned());
            let is_log = found.as_deref().and_then(name).zip(name(&path));
            let is_log = is_log.is_some_and(|(now, log)| now == log || is_rotated(&now, &log));
            let Some(file) = found.and_then(|it| open(&it).ok()) else {
                events.push(Event::Gone(path, offset));
                continue;
            };
            self.stored.push(position);
            match self.begin(file, &path, setting, now) {
                // What has its inode now begins otherwise: the log, cut and written anew, or another file,
                // which no setting names.
                Ok(followed) if followed.position.key != key && !is_log => {
                    events.push(Event::Gone(path, offset));
                }
                Ok(mut followed) => {
                    followed.is_current = false;
                    events.push(Event::Begun(path, followed.position.offset));
                    self.files.push(followed);
                }
                Err(error) => events.push(Event::Unreadable(path, error.to_string())),
            }
            self.stored.clear();
        }
        self.is_changed = true;
    }

    /// Looks for files that were logs only between this look and the last one. While a log is still the file that it
    /// was, what is new beside it are copies of it.
    fn find_passed(&mut self, known: &HashSet<Place>, now: Instant, events: &mut Vec<Event>) {
        for rotated in self.looked.new_ones(&self.patterns) {
            let is_known = |it: &Followed| {
                let place = it.position.identity.place();
                let is_log = it.is_current && it.position.path == rotated.log;
                place == rotated.place || is_log && known.contains(&place)
            };
            if self.files.iter().any(is_known) || self.files.len() >= MAX_FILES {
                continue;
            }
            let followed = open(&rotated.file)
                .and_then(|file| self.begin(file, &rotated.log, rotated.setting, now));
            match followed {
                Ok(mut followed) => {
                    followed.is_current = false;
                    events.push(Event::Begun(rotated.file, followed.position.offset));
                    self.files.push(followed);
                    self.is_changed = true;
                }
                // It was renamed once more.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => events.push(Event::Unreadable(rotated.file, error.to_string())),
            }
        }
    }

    /// Reads on in a file.
    ///
    /// # Errors
    /// What has to be told: that it was cut, or cannot be read, or that its key cannot be stored.
    pub(super) fn read(
        &mut self,
        at: usize,
        max_line: usize,
        now: Instant,
    ) -> Result<Option<Chunk>, Event> {
        let path = self.files[at].position.path.clone();
        let unreadable = |error: io::Error| Event::Unreadable(path.clone(), error.to_string());
        match self.files[at].read(max_line, now).map_err(unreadable)? {
            Found::Nothing => Ok(None),
            Found::Lines(chunk) => {
                if !self.files[at].is_stored {
                    self.save().map_err(unreadable)?;
                }
                Ok(Some(chunk))
            }
            Found::Cut(unread) => {
                self.is_changed = true;
                Err(Event::Cut(path, unread))
            }
        }
    }

    /// Notes that lines of a file were handed on up to an offset.
    pub(super) fn handed_on(&mut self, at: usize, end: u64, settlement: Settlement) {
        self.files[at].handed_on(end, settlement);
    }

    /// Moves the positions behind what is kept, and stores them if any moved. Tells whether all that was read is
    /// kept.
    ///
    /// # Errors
    /// When they cannot be stored; then they are stored the next time.
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        for file in &mut self.files {
            self.is_changed |= file.advance();
        }
        if self.is_changed {
            self.save()?;
        }
        Ok(self.files.iter().all(Followed::is_settled))
    }

    fn save(&mut self) -> io::Result<()> {
        let positions: Vec<Position> = self.files.iter().map(|it| it.position.clone()).collect();
        // Those that were not looked for yet are still to be found.
        let all = [positions, self.stored.clone()].concat();
        store(&self.store, &Stored { positions: all, youngest: self.looked.youngest.clone() })?;
        self.is_changed = false;
        self.files.iter_mut().for_each(|it| it.is_stored = true);
        Ok(())
    }
}

/// Opens a file. A pipe that was put in its place would keep whoever opens it waiting, and is as good as none.
fn open(path: &Path) -> io::Result<File> {
    let at_once = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(at_once).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Whether a pattern is one that may have named a path: by its folder, if it has no `*` and `?` there.
fn may_name(pattern: &Path, path: &Path) -> bool {
    let folder = pattern.parent().unwrap_or(Path::new(""));
    is_pattern(&folder.to_string_lossy()) || path.parent() == Some(folder)
}
