//! Codes of our own, for conditions that ngrok does not have. 10xx: one event; 11xx: a request to a
//! listener; 12xx: a destination or a subscription; 13xx: the control plane; 14xx: the daemon
//! as a whole.

use super::{ErrorCode, entry};

pub(super) const CODES: &[ErrorCode] = &[
    entry(
        "ERR_SLUICEGATE_1001",
        "the event, or the array around the events, is not valid JSON",
        "Correct it at the byte that the message names. In NDJSON each line is one whole JSON object.",
    ),
    entry(
        "ERR_SLUICEGATE_1002",
        "the event is JSON, but not an object",
        "Send objects with `event_type` and `object`; `sluicegate generate --count 1` prints one.",
    ),
    entry(
        "ERR_SLUICEGATE_1003",
        "a required key of the event is missing",
        "Add the key that the message names. `event_type` and `object` are always required.",
    ),
    entry(
        "ERR_SLUICEGATE_1004",
        "a key of the event's envelope has a value of the wrong JSON type",
        "Send the type that the message names: most are strings, `object` is an object.",
    ),
    entry(
        "ERR_SLUICEGATE_1005",
        "`event_timestamp` is no time",
        "Write it by RFC 3339, such as 2025-09-04T10:11:14Z, or leave it out to have the daemon's.",
    ),
    entry(
        "ERR_SLUICEGATE_1006",
        "`event_id` is empty or too long",
        "Give it 1 to 256 bytes, or leave it out to have one made.",
    ),
    entry(
        "ERR_SLUICEGATE_1007",
        "the event has more bytes than one may have",
        "Send less in it, or raise `max_event` of the entrance it comes in by.",
    ),
    entry(
        "ERR_SLUICEGATE_1008",
        "the event is not valid UTF-8",
        "Encode it as UTF-8; the message names the first wrong byte.",
    ),
    entry(
        "ERR_SLUICEGATE_1009",
        "a key that the rules of the credential decide by stands twice in the event",
        "Send the key that the message names once. Readers of JSON differ in which of two they take.",
    ),
    entry(
        "ERR_SLUICEGATE_1101",
        "the request's body is too large",
        "Send fewer events at a time, or raise `ingest.http.max_body`; the control API takes 1 MiB.",
    ),
    entry(
        "ERR_SLUICEGATE_1102",
        "the body is too large once it is decompressed",
        "Send fewer events at a time, or raise `ingest.http.max_decompressed`.",
    ),
    entry(
        "ERR_SLUICEGATE_1103",
        "the body's `Content-Encoding` is not known",
        "Send gzip, zstd, or a body that is not compressed.",
    ),
    entry(
        "ERR_SLUICEGATE_1104",
        "the body took too long to arrive",
        "Look at the network and at the sender, or send less at a time. Nothing of the body was kept.",
    ),
    entry(
        "ERR_SLUICEGATE_1105",
        "there are too many events in one body or one message",
        "Send them in several.",
    ),
    entry(
        "ERR_SLUICEGATE_1106",
        "the journal is full, or its disk cannot be written; nothing of the body was kept",
        "Send the body again after `Retry-After`. If it goes on, look in `/status` for the destination \
         whose records wait, and at the disk of `data_dir`.",
    ),
    entry(
        "ERR_SLUICEGATE_1107",
        "the daemon is stopping; nothing of the body was kept",
        "Send the body again once it runs.",
    ),
    entry(
        "ERR_SLUICEGATE_1108",
        "the body holds no event",
        "Send at least one; check that the client does not send its body empty.",
    ),
    entry(
        "ERR_SLUICEGATE_1109",
        "ingest has nothing at this path",
        "Post events to /v1/events. The API is on the address of `api.listen`.",
    ),
    entry("ERR_SLUICEGATE_1110", "events are not sent with this method", "Send them with POST."),
    entry(
        "ERR_SLUICEGATE_1111",
        "plain HTTP was spoken to a listener that speaks TLS",
        "Use https:// for this address.",
    ),
    entry(
        "ERR_SLUICEGATE_1112",
        "an IP restriction of the type `endpoints` does not allow the sender's address",
        "Add the address to one of the restriction's policies. Behind a proxy, name the proxy in \
         `ingest.http.trusted_proxies`.",
    ),
    entry(
        "ERR_SLUICEGATE_1113",
        "the subscriptions, or what let the sender in, are being changed all the time; nothing of the body was kept",
        "Send the body again after `Retry-After`. If it goes on, look for a program that changes them \
         without end.",
    ),
    entry(
        "ERR_SLUICEGATE_1114",
        "the body's zstd window is larger than 8 MiB, which is what every decoder must support",
        "Compress it without `--ultra` and `--long`, or with `--long=23`. Nothing of the body was kept.",
    ),
    entry(
        "ERR_SLUICEGATE_1115",
        "a destination's share of the journal is full; nothing of the body was kept",
        "The message names the destination: `/status` says why its service takes nothing (`last_error`). \
         Bodies without events for it are taken. Send the body again after `Retry-After`; give the \
         destination more room (`max_pending_bytes`), or `overflow: drop_oldest`.",
    ),
    entry(
        "ERR_SLUICEGATE_1116",
        "the request's `Transfer-Encoding` is not `chunked` alone",
        "Send the body in chunks or with its length. A body that is compressed says so in `Content-Encoding`. Nothing \
         of the body was kept.",
    ),
    entry(
        "ERR_SLUICEGATE_1117",
        "a request's head has more than 32 KiB or 100 lines; the answer is 431 without a body",
        "Send fewer or shorter headers, and what is long in a body.",
    ),
    entry(
        "ERR_SLUICEGATE_1118",
        "what came on a connection is no request of HTTP/1.1; the answer is 400 without a body",
        "Look who connects there: a client that speaks TLS to an address without it, or one that is no HTTP client.",
    ),
    entry(
        "ERR_SLUICEGATE_1120",
        "the bodies that are being taken in hold all the memory that they may",
        "Send it again after `Retry-After`; nothing of it was kept. If it comes often, raise \
         `ingest.http.max_memory`, or send smaller bodies.",
    ),
    entry(
        "ERR_SLUICEGATE_1121",
        "the body and the records made of it need more memory than all bodies together may hold",
        "Send fewer events in one body, or raise `ingest.http.max_memory`.",
    ),
    entry(
        "ERR_SLUICEGATE_1150",
        "a log line is none of its format",
        "The message says what was expected at which byte. Compare the line with the format's page in \
         `docs/entrances/`; `sluicegate convert --guess FILE` finds the format of a file.",
    ),
    entry(
        "ERR_SLUICEGATE_1151",
        "`?format=` names no format of log lines",
        "Use one of those in `docs/entrances/`, or leave it out and send events.",
    ),
    entry(
        "ERR_SLUICEGATE_1152",
        "a sender of syslog is in none of the networks of `ingest.syslog.allow`",
        "If it is one of yours, add its network and restart. What it sent was not read.",
    ),
    entry(
        "ERR_SLUICEGATE_1153",
        "syslog has as many connections as it takes",
        "Have senders share connections, or close those that they do not use. What the new one sends is not read; \
         it may connect again.",
    ),
    entry(
        "ERR_SLUICEGATE_1154",
        "what came on a stream of `ingest.envoy` is no message of Envoy's Access Log Service v3, or is compressed",
        "Point only the gRPC access logs of Envoy's API v3 there, without compression. The stream was ended; what was \
         read of it before is kept.",
    ),
    entry(
        "ERR_SLUICEGATE_1155",
        "a message on a stream of `ingest.envoy` has more than 4 MiB",
        "Lower `buffer_size_bytes` of the log in Envoy's settings; its default is 16 KiB.",
    ),
    entry(
        "ERR_SLUICEGATE_1156",
        "an entry on a stream of `ingest.envoy` has more than 256 KiB, and made no event",
        "Name fewer headers in `additional_request_headers_to_log` and the like, or lower `max_request_headers_kb`. The \
         other entries were kept.",
    ),
    entry(
        "ERR_SLUICEGATE_1157",
        "a gRPC method that `ingest.envoy` does not have was called",
        "Only `StreamAccessLogs` of `envoy.service.accesslog.v3` is there: set `transport_api_version: V3`, and let \
         nothing else go there.",
    ),
    entry(
        "ERR_SLUICEGATE_1158",
        "a message on a stream of `ingest.envoy` began and did not come to its end within 30 seconds",
        "Look at the network between Envoy and this machine. The stream was ended, and Envoy opens another.",
    ),
    entry(
        "ERR_SLUICEGATE_1201",
        "this cannot be an id",
        "Write 1 to 64 letters, digits, `-`, `_` and `.`.",
    ),
    entry(
        "ERR_SLUICEGATE_1202",
        "the id is taken",
        "Choose another one. What the API made and what the settings file has share their ids.",
    ),
    entry("ERR_SLUICEGATE_1203", "a list of ids names one of them twice", "Name it once."),
    entry("ERR_SLUICEGATE_1204", "a field is selected twice", "Select it once."),
    entry(
        "ERR_SLUICEGATE_1205",
        "a subscription has no source or no destination",
        "Give it at least one of each.",
    ),
    entry(
        "ERR_SLUICEGATE_1206",
        "a setting of `batch` is outside what the target's service takes",
        "Keep to the range that the message names.",
    ),
    entry(
        "ERR_SLUICEGATE_1207",
        "the compiled regular expressions of a subscription, or of all that the API made, take too much memory",
        "Shorten what grows: wide repetitions such as `{1,500}`, and Unicode classes such as `\\pL`. Equal \
         patterns are kept once.",
    ),
    entry(
        "ERR_SLUICEGATE_1301",
        "what is made through the API cannot be kept or read now",
        "Look at the disk of `data_dir` and at the master key; the message says which. Nothing has \
         changed.",
    ),
    entry(
        "ERR_SLUICEGATE_1302",
        "a target `file` was asked for through the API",
        "Name it in the settings file: it writes on the daemon's own machine.",
    ),
    entry(
        "ERR_SLUICEGATE_1303",
        "a row of `control.db` is no resource, or what the API made does not fit the settings file",
        "For a row: restore the file from a backup. For a reload: bring back what the message names, or \
         delete through the API what needs it.",
    ),
    entry(
        "ERR_SLUICEGATE_1304",
        "the settings file manages this resource",
        "Change it there and reload.",
    ),
    entry(
        "ERR_SLUICEGATE_1305",
        "the destination's target cannot be opened on this machine",
        "Do what the message says; nothing has changed.",
    ),
    entry(
        "ERR_SLUICEGATE_1306",
        "the test event was not delivered",
        "The message holds the service's own answer. Correct the target or its permissions, and try \
         again.",
    ),
    entry(
        "ERR_SLUICEGATE_1307",
        "the filter of a list takes too long on all of it",
        "Make it simpler: compare fields first, and leave out loops and long regular expressions.",
    ),
    entry(
        "ERR_SLUICEGATE_1311",
        "no record of the event is set aside at the destination, so none can be given up",
        "Look at `set_aside` in `/status`: the record may have been delivered meanwhile.",
    ),
    entry(
        "ERR_SLUICEGATE_1312",
        "a record was not given up yet",
        "If the message says that the dead letter cannot be written, look at the disk of `data_dir`; the \
         daemon tries again by itself. Else try again.",
    ),
    entry(
        "ERR_SLUICEGATE_1313",
        "a destination's dead letters fill their share of the disk, and it pauses",
        "Send them again (`sluicegate dead-letters redrive`) or throw them away (`purge`), or raise \
         `journal.max_dead_letter_bytes` and restart. Deliveries go on by themselves, and nothing is \
         lost meanwhile.",
    ),
    entry(
        "ERR_SLUICEGATE_1320",
        "a target made through the API has an address that is not public, or its host's name is one",
        "Give a public address, or have the operator name the host or its network in `outbound.allow` of \
         the settings file.",
    ),
    entry(
        "ERR_SLUICEGATE_1321",
        "a target made through the API leads to a listener of this daemon",
        "Give the address of a receiver: events that come back would come back for ever.",
    ),
    entry(
        "ERR_SLUICEGATE_1322",
        "a target made through the API names an endpoint in place of AWS's own",
        "Leave `endpoint_url` out, or have the operator set `control.api_targets.endpoint_url: true` in the \
         settings file.",
    ),
    entry(
        "ERR_SLUICEGATE_1323",
        "a target of AWS that was made through the API has neither a role nor keys",
        "Give `auth`, or have the operator set `control.api_targets.default_credentials: true` in the \
         settings file.",
    ),
    entry(
        "ERR_SLUICEGATE_1324",
        "a role was named through the API with an external id that is not this installation's",
        "Leave `external_id` out, and have the role's trust policy ask for the one that `GET /self` shows.",
    ),
    entry(
        "ERR_SLUICEGATE_1325",
        "the address of a target changes, and its stored secret would go there",
        "Give the secret again in the same request: the secret key, or the whole URL with its query.",
    ),
    entry(
        "ERR_SLUICEGATE_1326",
        "the event has come through more than 8 daemons, one of which most likely is this one",
        "Look for a callback that leads back to where its events come from, perhaps through another daemon: \
         the event's id is the same in every copy. A chain that is meant must be shorter. A header \
         `Sluicegate-Hops` that is no number counts as too many.",
    ),
    entry(
        "ERR_SLUICEGATE_1330",
        "the disk had no room for `control.db` when the daemon started, so what is made through the API can be read and not changed",
        "Make room on the disk of `data_dir`. The daemon tries each second and takes changes again by itself; \
         nothing has changed meanwhile.",
    ),
    entry(
        "ERR_SLUICEGATE_1340",
        "what the API made was changed outside of this program, or put back, before it started",
        "If you put a backup back, look whether what it lacks matters: keys that were deleted since are there \
         again. Else somebody else writes in `data_dir`. The daemon runs with what opens; it tells the \
         same again only of rows that do not.",
    ),
    entry(
        "ERR_SLUICEGATE_1350",
        "an update names another value for what cannot be changed, such as the id in its path",
        "Leave it out, or send it as it is. To have another, make a new resource.",
    ),
    entry(
        "ERR_SLUICEGATE_1351",
        "there is no resource with this id",
        "Look for it in the list of its kind. It may have been deleted, or be another daemon's.",
    ),
    entry(
        "ERR_SLUICEGATE_1352",
        "the API has nothing at this path, or not with this method",
        "Correct the path; `GET /` and `GET /openapi.json` say what there is. Events are posted to the address \
         of `ingest.http.listen`.",
    ),
    entry(
        "ERR_SLUICEGATE_1353",
        "a client began with HTTP/2 on an address that speaks HTTP/1.1",
        "Have the client speak HTTP/1.1, which all do; for curl, leave `--http2-prior-knowledge` out.",
    ),
    entry(
        "ERR_SLUICEGATE_1354",
        "the daemon is starting and does not answer yet",
        "Ask again when `/readyz` says 200. Recovery of a large journal takes seconds.",
    ),
    entry(
        "ERR_SLUICEGATE_1355",
        "the daemon failed over a request, which is a fault of its own",
        "Look in the log for `a request was not answered`, and report it.",
    ),
    entry(
        "ERR_SLUICEGATE_1356",
        "the API key or the credential is turned off",
        "Set its `enabled` to true with another key, or send another one.",
    ),
    entry(
        "ERR_SLUICEGATE_1357",
        "the API key or the credential has expired",
        "Change its `expires_at` with another key, or make a new one.",
    ),
    entry(
        "ERR_SLUICEGATE_1360",
        "all that was made through the API would take more memory than `control.max_memory` gives it",
        "Delete what is not needed, or shorten filters; or have the operator raise `control.max_memory`. \
         `sluicegate check` says what all parts take together.",
    ),
    entry(
        "ERR_SLUICEGATE_1361",
        "the filters of one subscription are too long together",
        "Make several subscriptions of it, or keep long lists of values elsewhere.",
    ),
    entry(
        "ERR_SLUICEGATE_1370",
        "all connections of the API, or of the client's address, are busy",
        "Ask again later. If they are those of your programs, raise `api.max_connections`; probes are answered all the same.",
    ),
    entry(
        "ERR_SLUICEGATE_1371",
        "answers of the API that clients have not taken yet hold all the memory that they may",
        "Ask again later, or for a smaller page (`limit`); look who asks and does not read.",
    ),
    entry(
        "ERR_SLUICEGATE_1372",
        "too many destinations were deleted and still have records that wait",
        "Look at `removed` in `/status`: have their services take the records; stop the daemon and `sluicegate journal forget` what nobody will take.",
    ),
    entry(
        "ERR_SLUICEGATE_1380",
        "a target's `partition_key` cannot be read, or is the same for every record",
        "Write `event_id`, the path of a field such as `ev.conn.client_ip` or `event.account_id`, or an expression \
         that reads some field.",
    ),
    entry(
        "ERR_SLUICEGATE_1381",
        "no record for a destination can have the `partition_key` of its target",
        "Name a field that the event types of its subscriptions have, and that their `fields` choose.",
    ),
    entry(
        "ERR_SLUICEGATE_1400",
        "the settings file that was read again would take most of what runs away, so it was not taken",
        "If the file was cut short, restore it. If it is meant: `sluicegate reload --confirm-removal`, the header \
         `sluicegate-confirm-removal: true` on `POST /reload`, or `allow_removal: true` in the file.",
    ),
    entry(
        "ERR_SLUICEGATE_1401",
        "a task of the daemon's own failed again and again, or cannot be begun again, and the daemon stops with exit code 70",
        "Start it again: nothing that was accepted is lost. It is a fault of Sluicegate: please report it with the \
         line of the log before it.",
    ),
    entry(
        "ERR_SLUICEGATE_1402",
        "the settings file that was read again has mistakes, so it was not taken",
        "`sluicegate check -c FILE` shows each with its place. Everything goes on as it was.",
    ),
    entry(
        "ERR_SLUICEGATE_1403",
        "the daemon runs without a settings file, so there is nothing to read again",
        "Start it with `-c FILE`.",
    ),
    entry(
        "ERR_SLUICEGATE_1404",
        "a reload was asked for while others wait for their turn, or while the daemon stops",
        "Ask again later.",
    ),
    entry(
        "ERR_SLUICEGATE_1410",
        "the event is larger than the relay's topic takes",
        "Make it smaller, or raise the topic's `max.message.bytes`; the relay leaves 1 KiB of it for what is around \
         the event.",
    ),
    entry(
        "ERR_SLUICEGATE_1411",
        "the relay cannot write to its topic now, and nothing of the body was written",
        "Send it again later. `ingest.relay.error` in `/status` says what is wrong with the brokers or the topic.",
    ),
    entry(
        "ERR_SLUICEGATE_1412",
        "the brokers did not confirm every event of the body; some may have been written",
        "Send the body again: events that were written come twice, and who gives each its `event_id` can tell.",
    ),
    entry(
        "ERR_SLUICEGATE_1413",
        "a target `kafka` was asked for through the API",
        "Name it in the settings file: its client connects to wherever the brokers say that they are, whatever \
         `outbound.allow` says.",
    ),
    entry(
        "ERR_SLUICEGATE_1430",
        "the database of `control.store.postgres` cannot be reached, so nothing can be changed through this daemon",
        "Ask again: the daemon tries twice a second, and goes on with the set in force meanwhile. The message and \
         `/status` say why.",
    ),
    entry(
        "ERR_SLUICEGATE_1431",
        "the database went away while a change was written, and whether it was made cannot be said",
        "Read the resource when `/readyz` names no fault of the store any more, and repeat the change if it is not there.",
    ),
    entry(
        "ERR_SLUICEGATE_1432",
        "nothing was heard of the fleet's database for longer than `control.max_staleness`, so no events are taken",
        "Make the database reachable, or raise `control.max_staleness`. Send the events again: a load balancer that \
         asks `/readyz` finds another daemon.",
    ),
    entry(
        "ERR_SLUICEGATE_1433",
        "this daemon cannot do all of what its fleet's set says, so it takes no events",
        "Give it the same settings file as the others: the message names what it lacks. It looks again after a \
         reload, and every 5 s.",
    ),
    entry(
        "ERR_SLUICEGATE_1434",
        "`control.store.postgres` is set, and the environment has no `SLUICEGATE_MASTER_KEY`",
        "Set it to the one key of the fleet; `openssl rand -hex 32` makes one for a new fleet.",
    ),
    entry(
        "ERR_SLUICEGATE_1435",
        "a later sluicegate has changed the tables of the fleet's database so that this one cannot use them",
        "Install that version here too. A daemon that runs goes on with the set in force.",
    ),
    entry(
        "ERR_SLUICEGATE_1436",
        "dead letters are to be sent again or thrown away, and nothing says which",
        "Give `ids`, `destination_id`, `reason`, `older_than` or `newer_than`, or `all: true` for every one.",
    ),
    entry(
        "ERR_SLUICEGATE_1437",
        "dead letters are being read or sent for somebody else, or their disk fails",
        "Ask again in a quarter of a minute; the message says which it is.",
    ),
    entry(
        "ERR_SLUICEGATE_1438",
        "records are being replayed for somebody else, or the journal cannot be read",
        "Ask again in a quarter of a minute; the message says which it is.",
    ),
    entry(
        "ERR_SLUICEGATE_1439",
        "what waits for a destination cannot be let go of while the destination is in force or still delivers",
        "Take it out of the settings, or delete it through the API, first.",
    ),
    entry(
        "ERR_SLUICEGATE_1440",
        "the journal holds nothing for a destination of this name that has gone",
        "`/ledger` lists those that it knows, with what is pending for each. In memory nothing outlives its destination.",
    ),
    entry(
        "ERR_SLUICEGATE_1441",
        "what waits for a destination was let go of, and the journal's disk could not save that",
        "Look at the disk: after a restart the records may be there again. `journal.error` in `/status` says more.",
    ),
    entry(
        "ERR_SLUICEGATE_1442",
        "another daemon of the fleet that was asked by `?daemon=` has not answered in time",
        "The message says whether it may have begun. `sluicegate fleet` shows whether it lives; ask it itself at its own address.",
    ),
    entry(
        "ERR_SLUICEGATE_1443",
        "`?daemon=` names a daemon that the fleet does not have",
        "The message lists those that there are; `all` asks each.",
    ),
    entry(
        "ERR_SLUICEGATE_1444",
        "a request for another daemon of the fleet, or its answer, is too large to go through the database",
        "Ask that daemon itself, at the address that `sluicegate fleet` shows, or for a smaller page.",
    ),
    entry(
        "ERR_SLUICEGATE_1445",
        "too many requests wait for that daemon of the fleet",
        "Ask again later; a daemon that works on eight requests takes no more until one is done.",
    ),
    entry(
        "ERR_SLUICEGATE_1446",
        "two daemons of a fleet have one name, so each is shown and asked in the other's place now and then",
        "Give each a `control.name` of its own, or leave it out of both; copies of a `data_dir` share a name too: delete \
         `control.copy.db` in one.",
    ),
];
