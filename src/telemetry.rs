//! What the daemon tells of itself: the log, and the one list of metrics.
//!
//! Counters that `/status` shows too are set from the same reading when metrics are scraped, so the
//! two never disagree and the path of an event pays nothing; only what has no such reading (how long
//! requests take) is recorded as it happens. It opens no port.

mod rare;
mod refusals;
mod text;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tracing_subscriber::EnvFilter;

pub use refusals::{Entrance, Refusals};

pub const INGEST_ACCEPTED: &str = "sluicegate_ingest_accepted_events_total";
pub const INGEST_REJECTED: &str = "sluicegate_ingest_rejected_events_total";
/// Bodies and events refused at any entrance; label `code`.
pub const INGEST_REFUSED: &str = "sluicegate_ingest_refused_total";
/// Requests refused at the API listener; label `code`.
pub const API_REFUSED: &str = "sluicegate_api_refused_total";
/// Messages of Kafka kept.
pub const KAFKA_MESSAGES: &str = "sluicegate_kafka_messages_total";
/// Messages between the stored offset and the end of a partition; labels `topic`, `partition`.
pub const KAFKA_LAG: &str = "sluicegate_kafka_lag_messages";
/// Messages of Kafka that its retention threw away before they were read.
pub const KAFKA_SKIPPED: &str = "sluicegate_kafka_skipped_messages_total";
/// Events of the relay that all in-sync replicas have.
pub const RELAY_WRITTEN: &str = "sluicegate_relay_written_events_total";
/// Events of the relay whose writing was not confirmed.
pub const RELAY_FAILED: &str = "sluicegate_relay_failed_events_total";
/// Events of the relay whose confirmation is waited for.
pub const RELAY_WAITING: &str = "sluicegate_relay_waiting_events";
/// 1 while something keeps the relay from working as it should.
pub const RELAY_FAILING: &str = "sluicegate_relay_failing";
/// 1 while something keeps Kafka ingest from working as it should.
pub const KAFKA_FAILING: &str = "sluicegate_kafka_failing";
/// Messages of syslog kept.
pub const SYSLOG_MESSAGES: &str = "sluicegate_syslog_messages_total";
/// Connections for syslog that are open.
pub const SYSLOG_CONNECTIONS: &str = "sluicegate_syslog_connections";
/// Lines of log files kept, bad ones among them.
pub const FILES_LINES: &str = "sluicegate_files_lines_total";
/// 1 while lines of log files wait since they cannot be kept.
pub const FILES_WAITING: &str = "sluicegate_files_waiting";
/// Entries of Envoy's streams whose events were kept.
pub const ENVOY_ENTRIES: &str = "sluicegate_envoy_entries_total";
/// Those that told of no end, and made no event.
pub const ENVOY_PASSED_OVER: &str = "sluicegate_envoy_passed_over_entries_total";
/// Streams that Envoys have open.
pub const ENVOY_STREAMS: &str = "sluicegate_envoy_streams";
/// Messages of theirs that were read and are not kept yet.
pub const ENVOY_WAITING: &str = "sluicegate_envoy_waiting_messages";
/// Log files that are followed.
pub const FILES_FOLLOWED: &str = "sluicegate_files_followed";
/// Bytes of them that were seen and not read yet.
pub const FILES_UNREAD: &str = "sluicegate_files_unread_bytes";
/// Bytes that were seen in a log file and gone before they were read.
const FILES_CUT: &str = "sluicegate_files_cut_bytes_total";
/// Events of a subscription's types; label `subscription`.
pub const SUBSCRIPTION_SEEN: &str = "sluicegate_subscription_seen_events_total";
/// Events that matched; label `subscription`.
pub const SUBSCRIPTION_MATCHED: &str = "sluicegate_subscription_matched_events_total";
/// Events whose filter ended in an error; label `subscription`.
pub const SUBSCRIPTION_ERRORS: &str = "sluicegate_subscription_filter_errors_total";
/// Units of work that the filters of a subscription took, each about a nanosecond; label
/// `subscription`.
pub const SUBSCRIPTION_WORK: &str = "sluicegate_subscription_filter_work_total";
/// Bytes of the compiled regular expressions of all filters.
pub const COMPILED_BYTES: &str = "sluicegate_filter_compiled_bytes";
/// Events accepted for a destination; label `destination`.
pub const ACCEPTED: &str = "sluicegate_destination_accepted_events_total";
/// Those that filters turned down; label `destination`.
pub const FILTERED_OUT: &str = "sluicegate_destination_filtered_out_events_total";
/// Accepted events less all that is known of them, 0 if all is right; label `destination`.
pub const LEDGER_IMBALANCE: &str = "sluicegate_ledger_imbalance";
/// Records delivered; label `destination`.
pub const DELIVERED: &str = "sluicegate_destination_delivered_records_total";
/// Records sent again; label `destination`.
pub const RETRIED: &str = "sluicegate_destination_retried_records_total";
/// Records that had not got the key that their target places records by; label `destination`.
pub const WITHOUT_KEY: &str = "sluicegate_destination_records_without_key_total";
/// Records put among the dead letters; label `destination`.
pub const DEAD_LETTERED: &str = "sluicegate_destination_dead_lettered_records_total";
/// Dead letters on disk now; label `destination`, which may be an entrance.
pub const DEAD_LETTERS: &str = "sluicegate_dead_letters";
/// Bytes of the files that hold them; label `destination`.
pub const DEAD_LETTER_BYTES: &str = "sluicegate_dead_letter_bytes";
/// Dead letters that are there no more; labels `destination`, `fate` (`purged`, `redriven`,
/// `given_way`, `lost`).
pub const DEAD_LETTERS_GONE: &str = "sluicegate_dead_letters_gone_total";
/// Dead letters less all that is known of them, 0 if all is right; label `destination`, which may be an
/// entrance.
pub const DEAD_LETTERS_IMBALANCE: &str = "sluicegate_dead_letters_imbalance";
/// Records given up to make room; label `destination`.
pub const DROPPED: &str = "sluicegate_destination_dropped_records_total";
/// Records that were on disk and are there no more; label `destination`.
pub const LOST: &str = "sluicegate_destination_lost_records_total";
/// Bytes that a destination takes of the journal; label `destination`.
pub const USED_BYTES: &str = "sluicegate_destination_used_bytes";
/// Bytes that it may take; label `destination`.
pub const MAX_PENDING_BYTES: &str = "sluicegate_destination_max_pending_bytes";
/// Records that wait or are on their way; label `destination`.
pub const PENDING_RECORDS: &str = "sluicegate_destination_pending_records";
/// Bytes of these; label `destination`.
pub const PENDING_BYTES: &str = "sluicegate_destination_pending_bytes";
/// Age of the oldest of these; label `destination`.
pub const OLDEST_PENDING: &str = "sluicegate_destination_oldest_pending_seconds";
/// Records that wait for a slow part of the service, or for earlier ones of their key; label `destination`.
pub const HELD_BACK: &str = "sluicegate_destination_held_back_records";
/// Parts of the service, such as shards, that are slow; label `destination`.
pub const SLOW_PARTS: &str = "sluicegate_destination_slow_parts";
/// Records that fail by themselves while others are delivered; label `destination`.
pub const SET_ASIDE: &str = "sluicegate_destination_set_aside_records";
/// Requests that may be under way at a time, as learnt from the service; label `destination`.
pub const REQUEST_LIMIT: &str = "sluicegate_destination_request_limit";
/// 1 for the state a destination is in, 0 for the others; labels `destination`, `state`.
pub const DESTINATION_STATE: &str = "sluicegate_destination_state";
/// How long requests to a service take; label `destination`.
pub const REQUEST_SECONDS: &str = "sluicegate_destination_request_seconds";
/// Requests from addresses that an IP restriction does not allow; labels `type`, `outcome`
/// (`refused`, or `warned` where it is not enforced).
pub const ACCESS_DENIED: &str = "sluicegate_ip_restriction_denied_requests_total";
/// Connections ended by this side before their request was answered; label `reason`: `handshake`,
/// `head`, `idle`, `body`, `write`, `reserve` (the client took too long), `place` (another needed it), `address`
/// (its address has its share of the places).
const CONNECTIONS_CUT: &str = "sluicegate_connections_cut_total";
/// Requests of targets made through the API that were not sent, since they may not go there or not as
/// that; label `code`.
const OUTBOUND_BARRED: &str = "sluicegate_outbound_barred_total";
/// Events that went to a log stream for all others, since too many were open.
const LOG_STREAMS_OTHER: &str = "sluicegate_log_streams_other_events_total";
/// 1 if the last reload of the settings file was taken, or there was none; 0 if it was rejected.
pub const RELOAD_SUCCESSFUL: &str = "sluicegate_config_last_reload_successful";
/// 1 while the disk has no room for what is made through the API, which can only be read then.
pub const STORE_ERROR: &str = "sluicegate_store_error";
/// For how long nothing was heard of a fleet's store; 0 while it answers.
pub const STORE_STALE: &str = "sluicegate_store_stale_seconds";
/// The version of a fleet's set that is in force.
pub const STORE_VERSION: &str = "sluicegate_store_version";
/// What was not as this program had written it last when it looked at the store, at its start.
pub const STORE_CHANGED: &str = "sluicegate_store_changed_outside";
/// Reloads of the settings file; label `outcome`: `taken`, `mistaken` (the file has mistakes), `removal` (it
/// would take most of what runs away), `failed`.
const RELOADS: &str = "sluicegate_config_reloads_total";
/// Failures of what goes on as long as the daemon; label `task`.
const TASK_FAILURES: &str = "sluicegate_task_failures_total";
/// Bytes of records that the journal holds.
pub const JOURNAL_BYTES: &str = "sluicegate_journal_bytes";

/// Bytes of files in which nothing is pending any more.
pub const JOURNAL_KEPT_BYTES: &str = "sluicegate_journal_kept_bytes";

/// Bytes that the journal may have in all.
pub const JOURNAL_MAX_BYTES: &str = "sluicegate_journal_max_bytes";

/// Of these, what its file system can give; the shares are taken of it.
pub const JOURNAL_USABLE_BYTES: &str = "sluicegate_journal_usable_bytes";

/// Bytes that the journal's file system has free.
pub const JOURNAL_FREE_BYTES: &str = "sluicegate_journal_free_bytes";

/// Bytes written to leave settled records out of copies of the journal's files.
pub const JOURNAL_COMPACTED_BYTES: &str = "sluicegate_journal_compacted_bytes_total";

/// Damaged places found in the journal since the process began.
pub const JOURNAL_DAMAGED: &str = "sluicegate_journal_damaged_total";
/// 1 while something keeps the journal from working, which `/status` tells, and 0 otherwise.
pub const JOURNAL_ERROR: &str = "sluicegate_journal_error";
/// 1 while the next body would be kept, which `/readyz` tells, and 0 otherwise.
pub const READY: &str = "sluicegate_ready";

/// Upper bounds of the request histogram's buckets, in seconds: from a local emulator's answer to
/// past the sinks' own timeout.
const REQUEST_BUCKETS: [f64; 12] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0];

/// A gauge or a counter that no scrape has set for so long, such as the lag of a partition that another daemon has
/// now, or one of a subscription that is deleted, is not shown any more. All others are set at each scrape.
const GONE_AFTER: Duration = Duration::from_secs(60);

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error; the level is `SLUICEGATE_LOG` (env-filter syntax), `info` if
/// unset. A second call changes nothing.
///
/// # Errors
/// When `SLUICEGATE_LOG` cannot be parsed; the text says where.
pub fn start_logging(format: LogFormat) -> Result<(), String> {
    let filter = match std::env::var("SLUICEGATE_LOG") {
        Ok(text) => EnvFilter::try_new(&text)
            .map_err(|error| format!("SLUICEGATE_LOG=`{text}` is no log filter: {error}"))?,
        Err(_) => EnvFilter::new("info"),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal());
    let _already_started = match format {
        LogFormat::Text => {
            let terminal = io::stderr().is_terminal();
            let writer = move || text::Line { terminal };
            builder.fmt_fields(text::TextFields).with_writer(writer).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// Installs the process's metrics recorder and describes every metric.
///
/// # Errors
/// When the process has a recorder already.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(REQUEST_SECONDS.to_owned()), &REQUEST_BUCKETS)?
        .idle_timeout(MetricKindMask::GAUGE | MetricKindMask::COUNTER, Some(GONE_AFTER))
        .install_recorder()?;
    describe_of_process();
    describe_of_journal();
    Ok(handle)
}

/// What counts since the process began.
fn describe_of_process() {
    describe_counter!(INGEST_ACCEPTED, "events accepted since the start");
    describe_counter!(INGEST_REJECTED, "events rejected since the start");
    describe_counter!(INGEST_REFUSED, "bodies and events refused since the start, by code");
    describe_counter!(API_REFUSED, "requests to the API refused since the start, by code");
    describe_counter!(
        CONNECTIONS_CUT,
        "connections ended by this side, by reason, since the start"
    );
    describe_counter!(
        OUTBOUND_BARRED,
        "requests of targets made through the API that were not sent, by code, since the start"
    );
    describe_counter!(LOG_STREAMS_OTHER, "events that went to the log stream for all others");
    describe_counter!(RELAY_WRITTEN, "events that all in-sync replicas of the relay's topic have");
    describe_counter!(RELAY_FAILED, "events of the relay whose writing was not confirmed");
    describe_gauge!(RELAY_WAITING, "events of the relay whose confirmation is waited for");
    describe_gauge!(RELAY_FAILING, "1 while something keeps the relay from working");
    describe_counter!(
        KAFKA_SKIPPED,
        "messages that a topic's retention threw away before they were read since the start"
    );
    describe_counter!(KAFKA_MESSAGES, "messages of Kafka kept since the start");
    describe_gauge!(KAFKA_LAG, "messages between the stored offset and the partition's end");
    describe_gauge!(KAFKA_FAILING, "1 while something keeps Kafka ingest from working");
    describe_counter!(SYSLOG_MESSAGES, "messages of syslog kept since the start");
    describe_gauge!(SYSLOG_CONNECTIONS, "connections for syslog that are open");
    describe_counter!(FILES_LINES, "lines of log files kept since the start");
    describe_gauge!(FILES_WAITING, "1 while lines of log files wait since they cannot be kept");
    describe_counter!(ENVOY_ENTRIES, "entries of Envoy's streams kept since the start");
    describe_counter!(ENVOY_PASSED_OVER, "entries of Envoy's that told of no end since the start");
    describe_gauge!(ENVOY_STREAMS, "streams that Envoys have open");
    describe_gauge!(ENVOY_WAITING, "messages of Envoy's that were read and are not kept yet");
    describe_gauge!(FILES_FOLLOWED, "log files that are followed");
    describe_gauge!(FILES_UNREAD, Unit::Bytes, "bytes of log files that are not read yet");
    describe_counter!(
        FILES_CUT,
        Unit::Bytes,
        "bytes of log files that were cut off unread, since the start"
    );
    describe_counter!(SUBSCRIPTION_SEEN, "events of the subscription's types since the start");
    describe_counter!(SUBSCRIPTION_MATCHED, "events that became a record since the start");
    describe_counter!(SUBSCRIPTION_ERRORS, "events whose filter ended in an error since the start");
    describe_counter!(SUBSCRIPTION_WORK, "work of the subscription's filters, about nanoseconds");
    describe_gauge!(COMPILED_BYTES, Unit::Bytes, "compiled regular expressions of all filters");
    describe_counter!(RETRIED, "records sent again since the start");
    describe_counter!(WITHOUT_KEY, "records that had not got the key they are placed by");
    describe_gauge!(HELD_BACK, "records that wait for a slow part of the service or for their key");
    describe_gauge!(SLOW_PARTS, "parts of the service, such as shards, that are slow");
    describe_gauge!(SET_ASIDE, "records that fail by themselves while others are delivered");
    describe_gauge!(REQUEST_LIMIT, "requests that may be under way at a time, as was learnt");
    describe_gauge!(DESTINATION_STATE, "1 for the state the destination is in");
    describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "how long requests to the service take");
    describe_counter!(
        ACCESS_DENIED,
        "requests from addresses that an IP restriction does not allow, since the start"
    );
    describe_gauge!(STORE_CHANGED, "what others had done to the store before the start");
    describe_counter!(RELOADS, "reloads of the settings file since the start, by outcome");
    describe_counter!(TASK_FAILURES, "failures of the daemon's own tasks since the start");
    describe_gauge!(STORE_ERROR, "1 while what is made through the API can only be read");
    describe_gauge!(
        STORE_STALE,
        Unit::Seconds,
        "for how long nothing was heard of a fleet's store, 0 while it answers"
    );
    describe_gauge!(STORE_VERSION, "the version of a fleet's set that is in force");
    describe_gauge!(
        RELOAD_SUCCESSFUL,
        "1 if the last reload of the settings file was taken, or there was none; 0 if it was rejected"
    );
}

/// What the journal counts. On disk these totals go on across restarts; a rate over a restart is right
/// all the same, since they never fall.
fn describe_of_journal() {
    describe_counter!(ACCEPTED, "events accepted for the destination, since its journal began");
    describe_counter!(FILTERED_OUT, "events that filters turned down, since its journal began");
    describe_gauge!(LEDGER_IMBALANCE, "accepted events less all that is known of them");
    describe_counter!(DELIVERED, "records that the service has taken, since its journal began");
    describe_counter!(DEAD_LETTERED, "records put among the dead letters, since its journal began");
    describe_gauge!(DEAD_LETTERS, "dead letters on disk");
    describe_gauge!(DEAD_LETTERS_IMBALANCE, "dead letters less all that is known of them");
    describe_gauge!(DEAD_LETTER_BYTES, Unit::Bytes, "bytes of the files with dead letters");
    describe_counter!(
        DEAD_LETTERS_GONE,
        "dead letters that are there no more, by what became of them"
    );
    describe_counter!(DROPPED, "records given up to make room, since its journal began");
    describe_counter!(
        LOST,
        "records that were on disk and are there no more, since its journal began"
    );
    describe_gauge!(USED_BYTES, Unit::Bytes, "bytes that a destination takes of the journal");
    describe_gauge!(
        MAX_PENDING_BYTES,
        Unit::Bytes,
        "bytes that a destination may take of the journal"
    );
    describe_gauge!(PENDING_RECORDS, "records that wait or are on their way");
    describe_gauge!(PENDING_BYTES, Unit::Bytes, "bytes that wait or are on their way");
    describe_gauge!(OLDEST_PENDING, Unit::Seconds, "age of the oldest pending record");
    describe_gauge!(JOURNAL_BYTES, Unit::Bytes, "bytes of records that the journal holds");
    describe_gauge!(JOURNAL_KEPT_BYTES, Unit::Bytes, "bytes of files in which nothing is pending");
    describe_gauge!(JOURNAL_MAX_BYTES, Unit::Bytes, "bytes that the journal may have in all");
    describe_gauge!(JOURNAL_USABLE_BYTES, Unit::Bytes, "of these, what its file system can give");
    describe_gauge!(JOURNAL_FREE_BYTES, Unit::Bytes, "bytes that its file system has free");
    describe_counter!(
        JOURNAL_COMPACTED_BYTES,
        Unit::Bytes,
        "bytes copied to leave settled records out"
    );
    describe_counter!(JOURNAL_DAMAGED, "damaged places found in the journal since the start");
    describe_gauge!(READY, "1 while the next body would be kept");
    describe_gauge!(JOURNAL_ERROR, "1 while something keeps the journal from working");
}

/// Records how long one request to a destination's service took.
pub fn request_finished(destination: &str, took: Duration) {
    let label = rare::timed(destination);
    histogram!(REQUEST_SECONDS, "destination" => label).record(took.as_secs_f64());
}

/// Counts a connection that was ended for this reason (see [`CONNECTIONS_CUT`]).
pub fn connection_cut(reason: &'static str) {
    rare::count(CONNECTIONS_CUT, "reason", reason, 1);
}

/// Counts a request that a target made through the API may not make (see [`OUTBOUND_BARRED`]).
pub fn outbound_barred(code: &'static str) {
    rare::count(OUTBOUND_BARRED, "code", code, 1);
}

/// Counts an event whose log stream was one too many (see [`LOG_STREAMS_OTHER`]).
pub fn log_stream_was_one_too_many() {
    rare::count(LOG_STREAMS_OTHER, "", "", 1);
}

/// Counts a reload of the settings file that ended in this way (see [`RELOADS`]).
pub fn reload_ended(outcome: &'static str) {
    rare::count(RELOADS, "outcome", outcome, 1);
}

/// Counts a failure of a task of the daemon's own (see [`TASK_FAILURES`]).
pub fn task_failed(task: &'static str) {
    rare::count(TASK_FAILURES, "task", task, 1);
}

/// Counts bytes of log files that were cut off unread (see [`FILES_CUT`]).
pub fn files_cut(bytes: u64) {
    rare::count(FILES_CUT, "", "", bytes);
}

/// Puts what was counted where it happened into the recorder, just before that is read.
pub fn show_counts() {
    rare::show();
}
