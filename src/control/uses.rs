//! When keys and credentials were last used: noted at each use, saved once a minute.
//!
//! A note costs a request nothing but a look into a map. A process that is killed forgets the last minute.

use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tracing::debug;

use super::Control;
use super::kind::Kind;
use super::object::Object;
use super::refusal::Refusal;
use super::world::row_of;
use crate::event::Timestamp;
use crate::lock::{read, write};
use crate::store::Change;

/// How often it is saved.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// How far the clocks of daemons may be apart, in seconds, with the time between two saves.
const ALLOWED_SKEW: i64 = 180;

/// The field that shows it.
pub(super) const FIELD: &str = "last_used_at";

/// The kinds that are used.
const KINDS: [Kind; 2] = [Kind::ApiKey, Kind::Credential];

/// The last uses by id, in seconds since 1970, of what is there or was until the last save.
#[derive(Debug, Default)]
pub(super) struct Uses(
    RwLock<HashMap<String, AtomicI64>>,
    /// Up to when those of a fleet's other daemons were read.
    AtomicI64,
);

impl Uses {
    pub(super) fn note(&self, id: &str) {
        let now = Timestamp::now().seconds;
        if let Some(last) = read(&self.0).get(id) {
            last.fetch_max(now, Ordering::Relaxed);
            return;
        }
        write(&self.0).insert(id.to_owned(), AtomicI64::new(now));
    }

    /// Puts the last use into an answer, if there was one since the last save.
    pub(super) fn show(&self, id: &str, answer: &mut Map<String, Value>) {
        if let Some(last) = read(&self.0).get(id) {
            answer.insert(FIELD.to_owned(), json!(shown(last.load(Ordering::Relaxed))));
        }
    }

    fn keep_only(&self, is_there: impl Fn(&str) -> bool) {
        write(&self.0).retain(|id, _| is_there(id));
    }
}

pub(super) fn shown(seconds: i64) -> String {
    Timestamp { seconds, nanos: 0 }.to_string()
}

impl Control {
    /// Saves the last uses if the last save is long enough ago. What could not be saved is in the next.
    pub(super) async fn save_uses_if_due(&self, last: &mut Instant) {
        if last.elapsed() < SAVE_EVERY {
            return;
        }
        *last = Instant::now();
        if let Err(error) = self.save_uses().await {
            debug!(%error, "when keys were last used is not saved");
        }
    }

    /// Saves the last uses, and reads those that a fleet's other daemons noted.
    async fn share_uses(&self) -> Result<(), Refusal> {
        let world = self.world();
        let is_there = |id: &str| KINDS.iter().any(|kind| world.get(*kind, id).is_some());
        self.uses.keep_only(is_there);
        let since = self.uses.1.load(Ordering::Relaxed);
        let own: Vec<(String, i64)> = read(&self.uses.0)
            .iter()
            .map(|(id, last)| (id.clone(), last.load(Ordering::Relaxed)))
            .filter(|(_, last)| *last >= since)
            .collect();
        let read_at = Timestamp::now().seconds - ALLOWED_SKEW;
        for (id, last) in self.in_store(move |store| store.uses(&own, since)).await? {
            if is_there(&id) {
                let mut all = write(&self.uses.0);
                all.entry(id).or_default().fetch_max(last, Ordering::Relaxed);
            }
        }
        self.uses.1.store(read_at, Ordering::Relaxed);
        Ok(())
    }

    /// Saves the last uses.
    ///
    /// # Errors
    /// When the store cannot be written; the next save has them.
    pub async fn save_uses(&self) -> Result<(), Refusal> {
        if self.store().is_shared() {
            return self.share_uses().await;
        }
        let _turn = self.changing.lock().await;
        let mut world = (*self.world()).clone();
        self.uses.keep_only(|id| KINDS.iter().any(|kind| world.get(*kind, id).is_some()));
        let mut changed: Vec<Object> = Vec::new();
        for (id, last) in &*read(&self.uses.0) {
            let object = KINDS.iter().find_map(|kind| world.get(*kind, id));
            let last = shown(last.load(Ordering::Relaxed));
            if let Some(object) = object.filter(|it| it.text(FIELD) != last) {
                let mut object = (**object).clone();
                object.body.insert(FIELD.to_owned(), json!(last));
                changed.push(object);
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let rows = changed.iter().map(|object| Change::Put(row_of(object))).collect::<Vec<_>>();
        for object in changed {
            world.put(object)?;
        }
        self.in_store(move |store| store.write(&rows, &[])).await?;
        self.set_world(world);
        Ok(())
    }
}
