//! Publishing: audit events of changes, which wait in the store until the journal has them, and events that
//! no resource stands behind, which are published at once or not at all.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracing::{debug, info, warn};

use super::audit;
use super::change::unavailable;
use super::life::Life;
use super::refusal::Refusal;
use super::{Asked, Control, Outbox};
use crate::journal::Settlement;
use crate::pipeline::{NotTaken, PublishError};

/// How often audit events that the journal had no room for are tried again.
const PUBLISH_AGAIN: Duration = Duration::from_secs(1);

/// Audit events published in one go.
const PUBLISH_BATCH: usize = 256;

/// Most audit events that may be on their way from a journal in memory; the others wait in the store.
const MAX_PUBLISHED: usize = 10_000;

impl Control {
    /// Publishes the audit events that wait, in order. What the journal has no room for waits on.
    pub(super) async fn publish(&self, outbox: &mut Outbox) {
        if let Err(error) = self.try_publish(outbox).await {
            warn!(%error, "audit events wait");
        }
    }

    async fn try_publish(&self, outbox: &mut Outbox) -> Result<(), Refusal> {
        loop {
            if outbox.ready.is_empty() {
                let room = MAX_PUBLISHED.saturating_sub(outbox.published.len()).min(PUBLISH_BATCH);
                let after = outbox.last;
                let waiting = self.in_store(move |store| store.waiting(after, room)).await?;
                outbox.ready.extend(waiting);
            }
            let is_done = outbox.ready.is_empty();
            let published = self.publish_ready(outbox).await;
            self.forget_published(outbox).await?;
            if is_done || !published? {
                return Ok(());
            }
        }
    }

    /// Publishes what this daemon has to; tells whether it could.
    async fn publish_ready(&self, outbox: &mut Outbox) -> Result<bool, Refusal> {
        while let Some(event) = outbox.ready.front() {
            let settlement = match self.pipeline.publish(&event.event).await {
                Ok(settlement) => settlement,
                Err(PublishError::NoEvent(error)) => {
                    // It will be no event the next time either, and would hold up all behind it.
                    warn!(%error, "an audit event is not valid and is left out");
                    Settlement::default()
                }
                // They are published at the next start.
                Err(PublishError::NotTaken(NotTaken::Closed)) => return Ok(false),
                Err(PublishError::NotTaken(cause)) => return Err(unavailable(cause.to_string())),
            };
            outbox.last = outbox.last.max(event.number);
            outbox.published.insert(event.number, settlement);
            outbox.ready.pop_front();
        }
        Ok(true)
    }

    /// Has the store forget what was published and cannot be lost any more.
    async fn forget_published(&self, outbox: &mut Outbox) -> Result<(), Refusal> {
        let done = outbox.published.iter().filter(|(_, settlement)| settlement.is_done());
        let done: Vec<i64> = done.map(|(number, _)| *number).collect();
        if !done.is_empty() {
            let numbers = done.clone();
            self.in_store(move |store| store.published(&numbers)).await?;
            outbox.published.retain(|number, _| !done.contains(number));
        }
        Ok(())
    }

    /// Keeps what another daemon would take over, since it is not published for good yet.
    async fn renew(&self, outbox: &Outbox) {
        let ready = outbox.ready.iter().map(|event| event.number);
        let numbers: Vec<i64> = ready.chain(outbox.published.keys().copied()).collect();
        if !numbers.is_empty() {
            // That the store cannot be reached is told elsewhere.
            let _renewed = self.in_store(move |store| store.renew(&numbers)).await;
        }
    }

    /// Publishes what an earlier run, a full journal or another process has left, and what happens to the
    /// daemon itself, and saves when keys were last used, as long as it runs.
    pub async fn keep_publishing(&self) -> Result<(), String> {
        let mut failing = false;
        let mut life = Life::default();
        let mut saved_uses = Instant::now();
        loop {
            let mut turn = self.changing.lock().await;
            self.resume().await;
            let published = self.try_publish(&mut turn).await;
            self.renew(&turn).await;
            drop(turn);
            match &published {
                Ok(()) if failing => info!("audit events are published again"),
                Err(error) if !failing => warn!(%error, "audit events wait"),
                _ => {}
            }
            failing = published.is_err();
            self.tell_refused().await;
            self.tell_life(&mut life).await;
            self.save_uses_if_due(&mut saved_uses).await;
            tokio::time::sleep(PUBLISH_AGAIN).await;
        }
    }

    /// Publishes an event that no resource stands behind, with whoever asked for what it tells of. What the
    /// journal does not take at once is not published.
    pub async fn tell(&self, event_type: &str, object: Value, asked: Option<&Asked>) {
        let principal = asked.map(|asked| asked.caller.principal(&asked.base));
        let event = audit::envelope(event_type, object, principal, &self.identity.account_id);
        if let Err(error) = self.pipeline.publish(&event).await {
            debug!(%error, event_type, "not published");
        }
    }

    /// Tells of requests that were refused for want of a key, a right or an address.
    async fn tell_refused(&self) {
        for it in self.refused.due(Instant::now()) {
            let address = it.address.map(|address| address.to_string());
            let (entrance, code, refused) = (it.scope.entrance(), it.code, it.count);
            let from = address.as_deref().unwrap_or("several addresses");
            info!(entrance, code, from, refused, "requests were not let in");
            let object = json!({
                "entrance": entrance,
                "error_code": code,
                "address": address,
                "refused": refused,
            });
            self.tell("access_refused.v0", object, None).await;
        }
    }
}
