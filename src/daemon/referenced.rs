//! The files that settings name as `${file:…}`, looked at now and then: a token or a key that somebody replaces
//! there takes effect without a signal.
//!
//! What changed in them is not looked at; the settings are read again. The settings file itself is not
//! watched: a person saves it half done.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

use crate::config::{Referenced, Stamp};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);

pub(super) struct Watch {
    files: BTreeMap<PathBuf, Option<Stamp>>,
    ticks: Interval,
}

impl Watch {
    /// Watches these files for other contents than were read.
    pub(super) fn new(files: &[Referenced]) -> Watch {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch = Watch { files: BTreeMap::new(), ticks };
        watch.follow(files);
        watch
    }

    /// Watches these files and no others. Those that were watched before are compared with what they were.
    pub(super) fn follow(&mut self, files: &[Referenced]) {
        let before = std::mem::take(&mut self.files);
        for Referenced { path, stamp } in files {
            let known = before.get(path).unwrap_or(stamp);
            self.files.insert(path.clone(), *known);
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
    Some(Stamp::from(&metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_changes_between_reading_and_the_first_look_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "first").unwrap();
        let stamp = stamp(path.clone()).await;
        let mut watch = Watch::new(&[Referenced { path: path.clone(), stamp }]);
        std::fs::write(folder.path().join("new"), "second").unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        tokio::time::timeout(Duration::from_secs(60), watch.changed()).await.unwrap();
    }
}
