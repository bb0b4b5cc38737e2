//! The files that settings name as `${file:…}`, looked at now and then: a token or a key that somebody replaces
//! there takes effect without a signal.
//!
//! What changed in them is not looked at; the settings are read again. The settings file itself is not
//! watched: a person saves it half done.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::time::{Interval, MissedTickBehavior};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// What tells one content of a file from another: where links lead (secrets are mounted as such), when it was
/// written, and its length.
type Stamp = (u64, Option<SystemTime>, u64);

pub(super) struct Watch {
    files: BTreeMap<PathBuf, Option<Stamp>>,
    ticks: Interval,
}

impl Watch {
    /// Watches these files from now on.
    pub(super) async fn new(paths: &[PathBuf]) -> Watch {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch = Watch { files: BTreeMap::new(), ticks };
        watch.follow(paths).await;
        watch
    }

    /// Watches these files and no others. Those that were watched before are compared with what they were.
    pub(super) async fn follow(&mut self, paths: &[PathBuf]) {
        let before = std::mem::take(&mut self.files);
        for path in paths {
            let stamp = match before.get(path) {
                Some(known) => *known,
                None => stamp(path.clone()).await,
            };
            self.files.insert(path.clone(), stamp);
        }
    }

    /// Returns when one of them is another than when it was last looked at. One that is not there is looked
    /// for again: it may be about to be replaced.
    pub(super) async fn changed(&mut self) {
        loop {
            self.ticks.tick().await;
            let mut changed = false;
            for (path, known) in &mut self.files {
                let now = stamp(path.clone()).await;
                if now.is_some() && now != *known {
                    *known = now;
                    changed = true;
                }
            }
            if changed {
                return;
            }
        }
    }
}

async fn stamp(path: PathBuf) -> Option<Stamp> {
    let metadata = tokio::fs::metadata(path).await.ok()?;
    Some((metadata.ino(), metadata.modified().ok(), metadata.len()))
}
