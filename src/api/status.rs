//! `/status`: the pipeline's reading as JSON.

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::control::{Access, AccessCounts, Control, Scope};
use crate::event::Timestamp;
use crate::ingest::{
    EnvoyReading, FilesReading, KafkaReading, Readings, RelayReading, SyslogReading,
};
use crate::pipeline::{DestinationStatus, SetAsideRecord, SlowPart, Status};
use crate::sinks::without_its_words;
use crate::telemetry::Entrance;

/// Totals of ingest, subscriptions, IP restrictions and `retried` count since `started_at`. What a
/// destination accepted and what became of it (`accepted`, `filtered_out`, `delivered`,
/// `dead_lettered`, `dropped`, `lost`) counts for as long as the journal knows the destination: with
/// `durability: disk` across restarts, in memory since `started_at`.
pub(super) fn to_json(
    status: &Status,
    control: &Control,
    started_at: Timestamp,
    entrances: &Readings,
) -> Value {
    let subscriptions: Vec<Value> = status
        .subscriptions
        .iter()
        .map(|(id, counts)| {
            json!({
                "id": id.as_str(),
                "seen": counts.seen,
                "matched": counts.matched,
                "filter_errors": counts.filter_errors,
                "last_filter_error": counts.last_filter_error,
            })
        })
        .collect();
    let destinations: Vec<Value> = status.destinations.iter().map(destination).collect();
    let by_code = |refused: &[(&str, u64)]| -> Map<String, Value> {
        refused.iter().map(|(code, count)| ((*code).to_owned(), json!(count))).collect()
    };
    let refused = by_code(&status.refused);
    let refused_by_api = by_code(&control.pipeline().refusals().counts(&[Entrance::Api]));
    let mut ingest = json!({
        "accepted": status.accepted,
        "rejected": status.rejected,
        "refused": refused,
    });
    if let Some(reading) = &entrances.kafka {
        ingest["kafka"] = of_kafka(reading);
    }
    if let Some(reading) = &entrances.files {
        ingest["files"] = of_files(reading);
    }
    if let Some(reading) = &entrances.syslog {
        ingest["syslog"] = of_syslog(reading);
    }
    if let Some(reading) = &entrances.relay {
        ingest["relay"] = of_relay(reading);
    }
    if let Some(reading) = &entrances.envoy {
        ingest["envoy"] = of_envoy(reading);
    }
    let rejected = control.rejected_reload();
    json!({
        "started_at": started_at.to_string(),
        "reload": rejected.map(|it| json!({"at": it.at.to_string(), "error": it.error})),
        "ingest": ingest,
        "api": {"refused": refused_by_api},
        "subscriptions": subscriptions,
        "destinations": destinations,
        "ip_restrictions": of_access(&control.access()),
        "store": of_store(control),
        "journal": {
            "durability": status.journal.durability.to_string(),
            "bytes": status.journal.bytes,
            "pending_bytes": status.journal.bytes,
            "kept_bytes": status.journal.kept_bytes,
            "max_bytes": status.journal.max_bytes,
            "usable_bytes": status.journal.usable_bytes,
            "free_bytes": status.journal.free_bytes,
            "compacted_bytes": status.journal.compacted_bytes,
            "segments": status.journal.segments,
            "damaged": status.journal.damaged,
            "error": status.journal.error,
            "refuses": status.journal.refusal,
        },
    })
}

fn of_store(control: &Control) -> Value {
    let mut store = json!({
        "engine": "sqlite",
        "error": control.cannot_write(),
        "changed_outside": control.changed_outside(),
    });
    if let Some(standing) = control.standing() {
        store["engine"] = json!("postgres");
        store["daemon"] = json!(standing.name);
        store["version"] = json!(standing.version);
        store["stale_seconds"] = json!(standing.reach.stale.as_secs_f64());
        let held = standing.on_hold.map(|it| json!({"error_code": it.code, "reason": it.reason}));
        store["on_hold"] = held.unwrap_or_default();
    }
    store
}

/// Requests that IP restrictions did not allow, by the restriction's type, and those of a type that
/// restricts nothing here.
fn of_access(access: &Access) -> Value {
    let of_scope = |scope: Scope| {
        let AccessCounts { refused, warned } = access.counts(scope);
        (scope.name().to_owned(), json!({"refused": refused, "warned": warned}))
    };
    let mut all: Map<String, Value> = Scope::ALL.map(of_scope).into_iter().collect();
    let idle = access.idle().iter().map(|it| json!({"id": it.id, "type": it.of}));
    all.insert("restrict_nothing".to_owned(), idle.collect());
    Value::Object(all)
}

fn of_files(reading: &FilesReading) -> Value {
    let files = reading
        .files
        .iter()
        .map(|it| json!({"path": it.path, "kept_offset": it.offset, "unread_bytes": it.unread}));
    json!({
        "waits": reading.waits,
        "lines": reading.lines,
        "refused_lines": reading.refused,
        "files": files.collect::<Vec<_>>(),
    })
}

fn of_syslog(reading: &SyslogReading) -> Value {
    json!({
        "connections": reading.connections,
        "waiting": reading.waiting,
        "messages": reading.messages,
        "refused_messages": reading.refused,
    })
}

fn of_envoy(reading: &EnvoyReading) -> Value {
    json!({
        "streams": reading.streams,
        "waiting_messages": reading.waiting,
        "messages": reading.messages,
        "entries": reading.entries,
        "passed_over": reading.passed_over,
    })
}

fn of_relay(reading: &RelayReading) -> Value {
    let facts = reading.facts.as_ref();
    json!({
        "topic": reading.topic,
        "error": reading.error,
        "written": reading.written,
        "failed": reading.failed,
        "waiting": reading.waiting,
        "partitions": facts.map(|it| it.partitions),
        "replicas": facts.map(|it| it.replicas),
        "min_in_sync_replicas": facts.and_then(|it| it.min_in_sync),
        "max_message_bytes": facts.map(|it| it.max_message),
    })
}

fn of_kafka(reading: &KafkaReading) -> Value {
    let partitions: Vec<Value> = reading
        .partitions
        .iter()
        .map(|it| {
            json!({
                "topic": it.topic,
                "partition": it.partition,
                "stored_offset": it.stored_offset,
                "high_watermark": it.high_watermark,
                "lag": it.lag,
            })
        })
        .collect();
    json!({
        "group_id": reading.group_id,
        "state": reading.state.as_str(),
        "error": reading.error,
        "messages": reading.messages,
        "skipped": reading.skipped,
        "partitions": partitions,
    })
}

pub(super) fn destination(status: &DestinationStatus) -> Value {
    let set_aside: Vec<Value> = status.condition.set_aside.iter().map(of_set_aside).collect();
    let held_back = status.condition.held_back;
    let slow_parts: Vec<Value> = status.condition.slow_parts.iter().map(of_slow_part).collect();
    let last_error = status.condition.last_error.as_ref();
    json!({
        "id": status.id.as_str(),
        "target": status.kind,
        "removed": status.removed,
        "state": status.condition.state.as_str(),
        "pending_records": status.account.pending_records,
        "pending_bytes": status.account.pending_bytes,
        "used_bytes": status.share.used,
        "max_pending_bytes": status.share.max,
        "oldest_pending_seconds": status.account.oldest_pending.as_secs_f64(),
        "accepted": status.account.accepted,
        "filtered_out": status.account.filtered_out,
        "delivered": status.account.delivered,
        "retried": status.condition.retried,
        "without_key": status.condition.without_key,
        "dead_lettered": status.account.dead_lettered,
        "dead_letters": {
            "listed": status.letters.listed,
            "purged": status.letters.purged,
            "redriven": status.letters.redriven,
            "lost": status.letters.lost,
            "bytes": status.letters.bytes,
        },
        "dropped": status.account.dropped,
        "lost": status.account.lost,
        "last_error": last_error.map(|it| without_its_words(&it.message)),
        "last_error_at": last_error.map(|it| it.at.to_string()),
        "credentials": status.credentials,
        "packing": status.packing.as_ref().map(|it| json!({"packs": it.packs, "reason": it.reason})),
        "log_streams": status.log_streams.map(|it| {
            json!({"open": it.open, "max": it.max, "other_events": it.other_events})
        }),
        "retry_at": status.condition.retry_at.map(time_of),
        "request_limit": status.condition.request_limit,
        "held_back": {"records": held_back.0, "bytes": held_back.1},
        "slow_parts": slow_parts,
        "set_aside": set_aside,
    })
}

fn of_slow_part(part: &SlowPart) -> Value {
    json!({
        "name": part.name,
        "records": part.records,
        "retry_at": time_of(part.retry_at),
    })
}

fn of_set_aside(record: &SetAsideRecord) -> Value {
    json!({
        "event_id": record.event_id,
        "last_answer": without_its_words(&record.last_answer),
        "attempts": record.attempts,
        "retry_at": record.retry_at.map(time_of),
    })
}

/// A coming instant as RFC 3339, in whole seconds; a past one as the present.
fn time_of(instant: Instant) -> String {
    let now = Timestamp::now();
    let ahead = instant.saturating_duration_since(Instant::now()).as_secs();
    let seconds = now.seconds.saturating_add(i64::try_from(ahead).unwrap_or(i64::MAX));
    Timestamp { seconds, ..now }.whole_seconds().to_string()
}
