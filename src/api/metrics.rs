//! `/metrics`: the same reading as `/status`, put into the recorder just before it is rendered.

use metrics::{counter, gauge};

use crate::control::{Access, AccessCounts, Scope, Standing};
use crate::filter::compiled_bytes;
use crate::ingest::{
    EnvoyReading, FilesReading, KafkaReading, Readings, RelayReading, SyslogReading,
};
use crate::journal::Ledger;
use crate::pipeline::{State, Status};
use crate::telemetry::{self, Entrance, Refusals};

pub(super) fn set(status: &Status, entrances: &Readings) {
    if let Some(reading) = &entrances.kafka {
        set_kafka(reading);
    }
    if let Some(reading) = &entrances.files {
        set_files(reading);
    }
    if let Some(reading) = &entrances.syslog {
        set_syslog(reading);
    }
    if let Some(reading) = &entrances.relay {
        set_relay(reading);
    }
    if let Some(reading) = &entrances.envoy {
        set_envoy(reading);
    }
    counter!(telemetry::INGEST_ACCEPTED).absolute(status.accepted);
    counter!(telemetry::INGEST_REJECTED).absolute(status.rejected);
    for (code, count) in &status.refused {
        counter!(telemetry::INGEST_REFUSED, "code" => *code).absolute(*count);
    }
    gauge!(telemetry::COMPILED_BYTES).set(compiled_bytes() as f64);
    gauge!(telemetry::JOURNAL_BYTES).set(status.journal.bytes as f64);
    gauge!(telemetry::JOURNAL_KEPT_BYTES).set(status.journal.kept_bytes as f64);
    gauge!(telemetry::JOURNAL_MAX_BYTES).set(status.journal.max_bytes as f64);
    gauge!(telemetry::JOURNAL_USABLE_BYTES).set(status.journal.usable_bytes as f64);
    if let Some(free) = status.journal.free_bytes {
        gauge!(telemetry::JOURNAL_FREE_BYTES).set(free as f64);
    }
    counter!(telemetry::JOURNAL_COMPACTED_BYTES).absolute(status.journal.compacted_bytes);
    counter!(telemetry::JOURNAL_DAMAGED).absolute(status.journal.damaged);
    gauge!(telemetry::JOURNAL_ERROR).set(f64::from(u8::from(status.journal.error.is_some())));
    for (id, counts) in &status.subscriptions {
        let label = [("subscription", id.to_string())];
        counter!(telemetry::SUBSCRIPTION_SEEN, &label).absolute(counts.seen);
        counter!(telemetry::SUBSCRIPTION_MATCHED, &label).absolute(counts.matched);
        counter!(telemetry::SUBSCRIPTION_ERRORS, &label).absolute(counts.filter_errors);
        counter!(telemetry::SUBSCRIPTION_WORK, &label).absolute(counts.filter_work);
    }
    for destination in &status.destinations {
        let id = destination.id.to_string();
        let label = [("destination", id.clone())];
        let account = &destination.account;
        counter!(telemetry::DELIVERED, &label).absolute(account.delivered);
        counter!(telemetry::RETRIED, &label).absolute(destination.condition.retried);
        counter!(telemetry::WITHOUT_KEY, &label).absolute(destination.condition.without_key);
        counter!(telemetry::DEAD_LETTERED, &label).absolute(account.dead_lettered);
        counter!(telemetry::DROPPED, &label).absolute(account.dropped);
        counter!(telemetry::LOST, &label).absolute(account.lost);
        gauge!(telemetry::USED_BYTES, &label).set(destination.share.used as f64);
        gauge!(telemetry::MAX_PENDING_BYTES, &label).set(destination.share.max as f64);
        gauge!(telemetry::PENDING_RECORDS, &label).set(account.pending_records as f64);
        gauge!(telemetry::PENDING_BYTES, &label).set(account.pending_bytes as f64);
        let (held_back, _) = destination.condition.held_back;
        gauge!(telemetry::HELD_BACK, &label).set(held_back as f64);
        let slow_parts = destination.condition.slow_parts.len();
        gauge!(telemetry::SLOW_PARTS, &label).set(slow_parts as f64);
        let set_aside = destination.condition.set_aside.len();
        gauge!(telemetry::SET_ASIDE, &label).set(set_aside as f64);
        let request_limit = destination.condition.request_limit;
        gauge!(telemetry::REQUEST_LIMIT, &label).set(request_limit as f64);
        gauge!(telemetry::OLDEST_PENDING, &label).set(account.oldest_pending.as_secs_f64());
        for state in [State::Healthy, State::Retrying, State::Paused, State::Off] {
            let is_in = f64::from(u8::from(state == destination.condition.state));
            let labels = [("destination", id.clone()), ("state", state.as_str().to_owned())];
            gauge!(telemetry::DESTINATION_STATE, &labels).set(is_in);
        }
    }
}

/// Requests that IP restrictions did not allow.
pub(super) fn set_access(access: &Access) {
    for scope in Scope::ALL {
        let AccessCounts { refused, warned } = access.counts(scope);
        let label =
            |outcome: &str| [("type", scope.name().to_owned()), ("outcome", outcome.to_owned())];
        counter!(telemetry::ACCESS_DENIED, &label("refused")).absolute(refused);
        counter!(telemetry::ACCESS_DENIED, &label("warned")).absolute(warned);
    }
}

/// Whether the next body would be kept.
pub(super) fn set_ready(ready: bool) {
    gauge!(telemetry::READY).set(f64::from(u8::from(ready)));
}

/// Whether the settings in force are those of the last reload.
pub(super) fn set_reload(successful: bool) {
    gauge!(telemetry::RELOAD_SUCCESSFUL).set(f64::from(u8::from(successful)));
}

/// What the API has refused, by code.
pub(super) fn set_refused(refusals: &Refusals) {
    for (code, count) in refusals.counts(&[Entrance::Api]) {
        counter!(telemetry::API_REFUSED, "code" => code).absolute(count);
    }
}

/// Whether what is made through the API can only be read, and what others did to it.
pub(super) fn set_store(failing: bool, changed_outside: usize) {
    gauge!(telemetry::STORE_ERROR).set(f64::from(u8::from(failing)));
    gauge!(telemetry::STORE_CHANGED).set(changed_outside as f64);
}

/// How this daemon stands in its fleet, if there is one.
pub(super) fn set_fleet(standing: Option<&Standing>) {
    if let Some(standing) = standing {
        gauge!(telemetry::STORE_STALE).set(standing.reach.stale.as_secs_f64());
        gauge!(telemetry::STORE_VERSION).set(standing.version as f64);
    }
}

/// Both sides of the ledger and their difference, from one reading of all accounts.
pub(super) fn set_ledger(ledger: &Ledger) {
    for (name, letters) in &ledger.letters {
        let label = [("destination", name.clone())];
        gauge!(telemetry::DEAD_LETTERS, &label).set(letters.listed as f64);
        gauge!(telemetry::DEAD_LETTER_BYTES, &label).set(letters.bytes as f64);
        for (fate, count) in [
            ("purged", letters.purged),
            ("redriven", letters.redriven),
            ("given_way", letters.given_way),
            ("lost", letters.lost),
        ] {
            let labels = [("destination", name.clone()), ("fate", fate.to_owned())];
            counter!(telemetry::DEAD_LETTERS_GONE, &labels).absolute(count);
        }
    }
    for (id, account) in &ledger.accounts {
        let letters = ledger.letters.get(id.as_str()).copied().unwrap_or_default();
        let label = [("destination", id.to_string())];
        counter!(telemetry::ACCEPTED, &label).absolute(account.accepted);
        counter!(telemetry::FILTERED_OUT, &label).absolute(account.filtered_out);
        gauge!(telemetry::LEDGER_IMBALANCE, &label).set(account.imbalance() as f64);
        gauge!(telemetry::DEAD_LETTERS_IMBALANCE, &label)
            .set(letters.imbalance(Some(account)) as f64);
    }
    for (name, letters) in ledger.letters_without_account() {
        let label = [("destination", name.clone())];
        gauge!(telemetry::DEAD_LETTERS_IMBALANCE, &label).set(letters.imbalance(None) as f64);
    }
}

fn set_files(reading: &FilesReading) {
    gauge!(telemetry::FILES_FOLLOWED).set(reading.files.len() as f64);
    let unread: u64 = reading.files.iter().map(|it| it.unread).sum();
    gauge!(telemetry::FILES_UNREAD).set(unread as f64);
    gauge!(telemetry::FILES_WAITING).set(f64::from(u8::from(reading.waits.is_some())));
    counter!(telemetry::FILES_LINES).absolute(reading.lines);
}

fn set_syslog(reading: &SyslogReading) {
    counter!(telemetry::SYSLOG_MESSAGES).absolute(reading.messages);
    gauge!(telemetry::SYSLOG_CONNECTIONS).set(reading.connections as f64);
}

fn set_envoy(reading: &EnvoyReading) {
    counter!(telemetry::ENVOY_ENTRIES).absolute(reading.entries);
    counter!(telemetry::ENVOY_PASSED_OVER).absolute(reading.passed_over);
    gauge!(telemetry::ENVOY_STREAMS).set(reading.streams as f64);
    gauge!(telemetry::ENVOY_WAITING).set(reading.waiting as f64);
}

fn set_relay(reading: &RelayReading) {
    counter!(telemetry::RELAY_WRITTEN).absolute(reading.written);
    counter!(telemetry::RELAY_FAILED).absolute(reading.failed);
    gauge!(telemetry::RELAY_WAITING).set(reading.waiting as f64);
    gauge!(telemetry::RELAY_FAILING).set(f64::from(u8::from(reading.error.is_some())));
}

fn set_kafka(reading: &KafkaReading) {
    counter!(telemetry::KAFKA_MESSAGES).absolute(reading.messages);
    counter!(telemetry::KAFKA_SKIPPED).absolute(reading.skipped);
    gauge!(telemetry::KAFKA_FAILING).set(f64::from(u8::from(reading.error.is_some())));
    for partition in &reading.partitions {
        let Some(lag) = partition.lag else { continue };
        let number = partition.partition.to_string();
        let labels = [("topic", partition.topic.clone()), ("partition", number)];
        gauge!(telemetry::KAFKA_LAG, &labels).set(lag as f64);
    }
}
