//! `GET /daemons`: the daemons that share this one's control plane, and how each stands by its own word.
//!
//! Each says it once a second through the fleet's store. A daemon that says nothing more is shown for a day
//! with when it was last heard of.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;
use tracing::error;

use super::Api;
use super::request::encode;
use crate::control::{PageAsked, Refusal, Seen};
use crate::event::Timestamp;
use crate::lock::lock;

/// How often a daemon says how it stands.
const EVERY: Duration = Duration::from_secs(1);

/// A daemon that has said nothing for so long is dead, or cut off from the store.
pub(super) const SILENT: Duration = Duration::from_secs(5);

/// Rates are those of the last so many seconds.
const RATES_OVER: usize = 10;

/// So many reports in a row that another process of the same name has written over this one's are told.
const FOREIGN: u32 = 3;

/// Longest reason why a daemon takes no events that others are told, in bytes.
const MAX_REASON: usize = 1_024;

/// What was counted in the last seconds.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<VecDeque<(Instant, u64, u64)>>);

impl Meter {
    fn note(&self, accepted: u64, delivered: u64) {
        let mut samples = lock(&self.0);
        samples.push_back((Instant::now(), accepted, delivered));
        if samples.len() > RATES_OVER {
            samples.pop_front();
        }
    }

    /// Events accepted and records delivered a second.
    fn rates(&self) -> (f64, f64) {
        let samples = lock(&self.0);
        let (Some(first), Some(last)) = (samples.front(), samples.back()) else { return (0., 0.) };
        let seconds = last.0.saturating_duration_since(first.0).as_secs_f64();
        let rate = |from: u64, to: u64| {
            let tenths = to.saturating_sub(from) as f64 / seconds * 10.0;
            if seconds > 0.0 { tenths.round() / 10.0 } else { 0.0 }
        };
        (rate(first.1, last.1), rate(first.2, last.2))
    }
}

/// Says to the fleet how this daemon stands, as long as it runs.
pub async fn keep_reporting(api: Arc<Api>) -> Result<(), String> {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut foreign: u32 = 0;
    loop {
        ticks.tick().await;
        let load = api.pipeline.load();
        api.meter.note(load.accepted, load.delivered);
        if !api.control.is_in_fleet() {
            continue;
        }
        let before = api.control.report(report(&api).to_string()).await;
        let before: Option<Value> = before.and_then(|text| serde_json::from_str(&text).ok());
        // After a start that of the process before is there once.
        foreign = match before.is_some_and(|it| it["instance"] != *api.instance) {
            true => foreign + 1,
            false => foreign.saturating_sub(1),
        };
        if foreign == FOREIGN {
            let (code, name) = ("ERR_SLUICEGATE_1446", api.control.daemon());
            error!(
                code,
                name,
                "another daemon of the fleet has this one's name: give each its own (`control.name`)"
            );
        }
    }
}

/// What this daemon says of itself.
fn report(api: &Api) -> Value {
    let (load, (accepted, delivered)) = (api.pipeline.load(), api.meter.rates());
    let mut reason = api.not_ready();
    if let Some(reason) = reason.as_mut().filter(|it| it.len() > MAX_REASON) {
        reason.truncate(reason.floor_char_boundary(MAX_REASON));
    }
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "address": api.address,
        "instance": api.instance,
        "started_at": api.started_at.to_string(),
        "set_version": api.control.set_version(),
        "settings_hash": api.control.settings_hash(),
        "events_per_second": accepted,
        "delivered_per_second": delivered,
        "pending_records": load.pending_records,
        "pending_bytes": load.pending_bytes,
        "oldest_pending_seconds": load.oldest_pending.as_secs_f64(),
        "not_ready": reason,
    })
}

/// One page of the list.
pub(super) async fn list(api: &Api, asked: &PageAsked, base: &str) -> Result<Value, Refusal> {
    let own = api.control.daemon();
    let (newest, mut all) = api.control.daemons().await?;
    // Of itself it need not ask anybody.
    all.retain(|it| it.name != own);
    all.push(Seen { name: own, silent: Duration::ZERO, report: Some(report(api).to_string()) });
    all.sort_by(|one, other| one.name.cmp(&other.name));
    let newest = newest.max(api.control.set_version());
    let is_after = |it: &&Seen| asked.before_id.as_ref().is_none_or(|before| it.name > *before);
    let mut rest = all.iter().filter(is_after).peekable();
    let page: Vec<Value> = rest.by_ref().take(asked.limit).map(|it| item(it, newest)).collect();
    let last = page.last().and_then(|it| it["name"].as_str()).filter(|_| rest.peek().is_some());
    let next =
        last.map(|name| format!("{base}/daemons?before_id={}&limit={}", encode(name), asked.limit));
    Ok(json!({"daemons": page, "uri": format!("{base}/daemons"), "next_page_uri": next}))
}

fn item(seen: &Seen, newest: i64) -> Value {
    let said: Value =
        seen.report.as_deref().and_then(|it| serde_json::from_str(it).ok()).unwrap_or_default();
    let state = match &said["not_ready"] {
        _ if seen.silent > SILENT => "silent",
        Value::Null => "ready",
        _ => "not_ready",
    };
    let ago = i64::try_from(seen.silent.as_secs()).unwrap_or(i64::MAX);
    let now = Timestamp::now();
    let last_seen = Timestamp { seconds: now.seconds.saturating_sub(ago), ..now }.whole_seconds();
    let mut item = json!({
        "name": seen.name,
        "state": state,
        "last_seen_at": last_seen.to_string(),
        "silent_seconds": seen.silent.as_secs_f64(),
        "behind_by": said["set_version"].as_i64().map(|version| (newest - version).max(0)),
    });
    if let (Some(item), Value::Object(said)) = (item.as_object_mut(), said) {
        item.extend(said);
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_behind_by_what_it_has_not_seen_and_silent_after_a_while() {
        let seen = |seconds, report: &str| Seen {
            name: "a".to_owned(),
            silent: Duration::from_secs(seconds),
            report: Some(report.to_owned()),
        };
        let shown = item(&seen(0, r#"{"set_version": 5, "not_ready": null}"#), 7);
        assert_eq!((&shown["state"], &shown["behind_by"]), (&json!("ready"), &json!(2)));
        assert_eq!(item(&seen(0, r#"{"not_ready": "stopping"}"#), 7)["state"], "not_ready");
        assert_eq!(item(&seen(6, r#"{"not_ready": null}"#), 7)["state"], "silent");
        let unread = item(&Seen { report: None, ..seen(0, "") }, 7);
        assert_eq!((&unread["name"], &unread["behind_by"]), (&json!("a"), &Value::Null));
    }

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let meter = Meter::default();
        assert_eq!(meter.rates(), (0.0, 0.0));
        let now = Instant::now();
        let second = |n| now + Duration::from_secs(n);
        lock(&meter.0).extend([(second(0), 100, 10), (second(4), 300, 11)]);
        assert_eq!(meter.rates(), (50.0, 0.3));
        (0..20).for_each(|_| meter.note(300, 11));
        assert_eq!(lock(&meter.0).len(), RATES_OVER);
    }
}
