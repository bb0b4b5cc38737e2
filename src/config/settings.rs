//! The settings of the whole daemon, read from a document: one reader a section, each giving the
//! settings that its room defines. All defaults stand with the rooms or here, once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;

use super::decode::Section;
use super::document::{Document, load};
use super::formats::{Named, read_formats};
use super::interpolate::Referenced;
use super::kafka::{read_kafka, read_relay};
use super::listeners::{read_connections, read_networks, read_proxies, read_tls};
use super::machine::{check_data_dir, check_listen};
use super::mistakes::{Mistake, Mistakes};
use super::resources::{read_catalog, read_resources};
use super::targets::read_api_targets;
use super::text::Text;
use crate::api::{ApiSettings, RateLimit};
use crate::control::ControlSettings;
use crate::form::describe;
use crate::formats::Formats;
use crate::http::{BearerTokens, ConnectionLimits};
use crate::https::has_possible_port;
use crate::ingest::{
    EnvoySettings, FileSettings, HttpSettings, KafkaSettings, StdinSettings, SyslogSettings,
};
use crate::journal::{Durability, JournalSettings};
use crate::resources::{Resources, Terms};
use crate::sinks::{Secret, Target};

/// The JSON Schema of the settings file, for editors. What it cannot say (that a filter compiles,
/// that a destination exists) shows in [`Config::load`] only.
///
/// What has a form is described by it; the rest stands in a file.
pub static SCHEMA: LazyLock<String> = LazyLock::new(|| {
    let mut schema: Value = serde_json::from_str(include_str!("schema.json")).unwrap_or_default();
    let destination = &mut schema["properties"]["destinations"]["items"]["properties"];
    destination["target"] = describe::<Target>(false);
    if let (Value::Object(own), Value::Object(terms)) =
        (destination, describe::<Terms>(false)["properties"].take())
    {
        own.extend(terms);
    }
    format!("{schema:#}\n")
});

/// Where the daemon keeps its data unless told otherwise.
const DEFAULT_DATA_DIR: &str = "./sluicegate-data";

/// How much the journal holds on disk unless told otherwise: an hour of an outage at a few thousand
/// records a second, and less than any disk of today.
const DEFAULT_DISK_BYTES: u64 = 10 << 30;

/// Dead letters that nobody looks at for long, while a disk of the usual size stays usable.
const DEFAULT_LETTER_BYTES: u64 = 1 << 30;

/// Enough for some letters of each owner.
const MIN_LETTER_BYTES: u64 = 1 << 20;

/// How much the journal holds in memory unless told otherwise: minutes of an outage at a few
/// thousand records a second, and a small part of any machine's memory.
const DEFAULT_MEMORY_BYTES: u64 = 256 << 20;

/// Least room for records: that of the largest body's worth of small ones would never fit otherwise.
const MIN_JOURNAL_BYTES: u64 = 1 << 20;

/// How long a stop may go on delivering: what container runtimes allow by default before they kill
/// (Kubernetes: 30 s).
const DEFAULT_DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// Most requests of a window of the API's rate limit: each is remembered for as long as the window.
const MAX_REQUESTS: u64 = 1_000_000;

/// Longest window of it.
const MAX_WINDOW: Duration = Duration::from_secs(86_400);

/// Largest value for sizes of bodies and events.
const MAX_BODY: u64 = 1 << 30;

/// Everything the daemon is reported before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Event types, destinations, subscriptions.
    pub resources: Resources,
    /// HTTP ingest; `None` where the settings name standard input as the only entrance.
    pub ingest: Option<HttpSettings>,
    /// Kafka ingest, if there is to be any.
    pub kafka: Option<KafkaSettings>,
    /// Standard input as an entrance, if there is any.
    pub stdin: Option<StdinSettings>,
    /// Log files that are followed.
    pub files: Vec<FileSettings>,
    /// Syslog as an entrance, if there is any.
    pub syslog: Option<SyslogSettings>,
    /// Envoy's streams as an entrance, if there is any.
    pub envoy: Option<EnvoySettings>,
    /// The formats of log lines that these settings map.
    pub formats: Formats,
    /// Operations routes and control API.
    pub api: ApiSettings,
    /// Where what is made through the API is kept.
    pub control: ControlSettings,
    /// Where accepted records are kept until they are delivered.
    pub journal: JournalSettings,
    /// How long a stop may go on delivering.
    pub drain_limit: Duration,
    /// Whether a reload to these settings may take most of what runs away.
    pub allow_removal: bool,
    /// Where the daemon keeps its data.
    pub data_dir: PathBuf,
    /// The files that references of the settings file name: what they hold may change by itself.
    pub referenced: Vec<Referenced>,
    /// The first digits of the SHA-256 of the settings file's text, by which two are told apart; none where
    /// there is no file.
    pub hash: Option<String>,
}

impl Config {
    /// The addresses that are listened on beside those of HTTP.
    pub fn other_listeners(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        let of_syslog = self.syslog.as_ref().map(|it| it.listen);
        of_syslog.into_iter().chain(self.envoy.as_ref().map(|it| it.listen))
    }

    /// Reads a settings file and checks everything in it. References are filled in from the
    /// process's environment.
    ///
    /// # Errors
    /// All mistakes of the file.
    pub fn load(path: &Path) -> Result<Config, Mistakes> {
        Config::read(&load(path, &|name| std::env::var(name).ok())?)
    }

    /// The same for a daemon that is to run here: also what this machine cannot give is a mistake, such
    /// as a folder that is not there or a certificate that cannot be read.
    ///
    /// # Errors
    /// All mistakes of the file.
    pub fn load_to_run(path: &Path) -> Result<Config, Mistakes> {
        Config::read(&load(path, &|name| std::env::var(name).ok())?.on_its_machine())
    }

    /// What holds where no file is given: everything by default, no destinations, no subscriptions.
    ///
    /// # Errors
    /// None that can be fixed: all defaults fit together.
    pub fn defaults() -> Result<Config, Mistakes> {
        Config::read(&Document::empty())
    }

    /// Checks everything in a document.
    ///
    /// # Errors
    /// All its mistakes.
    pub fn read(document: &Document) -> Result<Config, Mistakes> {
        document.decode(|root| {
            let data_dir = root.optional("data_dir").string();
            let data_dir = data_dir.map_or(DEFAULT_DATA_DIR, |text| text.value);
            check_data_dir(root, Path::new(data_dir));
            let catalog = read_catalog(root);
            let formats = read_formats(root, &catalog);
            let ingest = root.optional("ingest").section_or_empty(|ingest| {
                let others = ["http", "kafka", "files", "syslog", "envoy"];
                let only_stdin = ingest.has("stdin") && !others.iter().any(|it| ingest.has(it));
                let http = ingest
                    .optional("http")
                    .section_or_empty(|section| read_ingest(section, &formats));
                let kafka = ingest.optional("kafka").section(|section| {
                    let max_event = max_event(section);
                    read_kafka(section, max_event)
                });
                let stdin =
                    ingest.optional("stdin").section(|section| read_stdin(section, &formats));
                let files = ingest.optional("files").list(|section| read_file(section, &formats));
                let files = files.unwrap_or_default();
                let syslog =
                    ingest.optional("syslog").section(|section| read_syslog(section, &formats));
                let envoy = ingest.optional("envoy").section(read_envoy);
                Some(((!only_stdin).then_some(http?), kafka, stdin, files, syslog, envoy))
            });
            let api = root.optional("api").section_or_empty(read_api);
            let journal = root
                .optional("journal")
                .section_or_empty(|journal| read_journal(journal, Path::new(data_dir)));
            let drain_limit = root.optional("stop").section_or_empty(|stop| {
                let limit = Duration::ZERO..=Duration::from_secs(3_600);
                let drain_limit = stop.optional("drain_limit").duration(limit);
                Some(drain_limit.unwrap_or(DEFAULT_DRAIN_LIMIT))
            });
            let allow_removal = root.optional("allow_removal").bool().unwrap_or(false);
            let local = api.as_ref().is_none_or(|api| api.listen.ip().is_loopback());
            let ((api_targets, api_memory), control) =
                read_api_targets(root, local).unwrap_or_default();
            let mut resources = read_resources(root, catalog, api_targets);
            resources.api_memory = api_memory;
            let ((ingest, kafka, stdin, files, syslog, envoy), api) = (ingest?, api?);
            if let Some(http) = ingest.as_ref().filter(|http| overlap(http.listen, api.listen)) {
                let message = "`ingest.http.listen` and `api.listen` are the same address";
                root.push(Mistake::of_file(format!("{message}, {}", http.listen)));
            }
            let mut config = Config {
                resources,
                ingest,
                kafka,
                stdin,
                files,
                syslog,
                envoy,
                formats: formats.formats(),
                api,
                control,
                journal: journal?,
                drain_limit: drain_limit?,
                allow_removal,
                data_dir: PathBuf::from(data_dir),
                referenced: document.files().to_vec(),
                hash: document.hash(),
            };
            let listeners = config.ingest.iter().map(|http| http.listen).chain([config.api.listen]);
            let listeners = listeners.chain(config.other_listeners());
            config.resources.api_targets.outbound.set_own(listeners.collect());
            Some(config)
        })
    }
}

/// Where `max_memory` is not given, so many of the largest bodies fit at a time.
const LARGEST_BODIES: usize = 4;

fn read_ingest(section: &mut Section<'_>, formats: &Named) -> Option<HttpSettings> {
    let defaults = HttpSettings::default();
    let listen = address(section, defaults.listen);
    let bearer_tokens = bearer_tokens(section);
    let mut size = |key, default: usize| {
        let given = section.optional(key).size(1..=MAX_BODY);
        given.map_or(default, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    };
    let max_body = size("max_body", defaults.max_body);
    let max_decompressed = size("max_decompressed", defaults.max_decompressed.max(max_body));
    let max_event = size("max_event", defaults.max_event);
    let max_memory = size("max_memory", defaults.max_memory.max(LARGEST_BODIES * max_body));
    if max_memory < max_body {
        let message = format!("`{}` is less than `max_body`", join(section, "max_memory"));
        section.push(
            Mistake::at(section.place_of("max_memory"), message)
                .help("a body of that size could never be taken in"),
        );
    }
    let connections = read_connections(section, defaults.connections);
    let tls = read_tls(section);
    let trusted_proxies = read_proxies(section);
    if !listen.ip().is_loopback() && bearer_tokens.is_empty() {
        let message = format!(
            "`{}` must be set where `listen` is not loopback",
            join(section, "bearer_tokens")
        );
        section.push(
            Mistake::at(section.place_of("listen"), message)
                .help("without a token anyone who reaches the address could send events"),
        );
    }
    Some(HttpSettings {
        listen,
        bearer_tokens,
        max_body,
        max_decompressed,
        max_event,
        max_memory,
        connections,
        tls,
        trusted_proxies,
        relay: section.optional("relay").section(read_relay),
        formats: formats.formats(),
    })
}

fn max_event(section: &mut Section<'_>) -> usize {
    let given = section.optional("max_event").size(1..=MAX_BODY);
    given.map_or(HttpSettings::default().max_event, |bytes| {
        usize::try_from(bytes).unwrap_or(usize::MAX)
    })
}

/// Largest message of syslog unless told otherwise: what most programs cut theirs to is less.
const SYSLOG_MESSAGE: u64 = 64 << 10;

fn read_syslog(section: &mut Section<'_>, formats: &Named) -> Option<SyslogSettings> {
    let listen = section
        .required("listen")
        .parsed("an address such as `127.0.0.1:5140`", |it| it.parse().ok());
    let format = formats.read(section.required("format"));
    let allow = read_networks(section, "allow");
    let tls = read_tls(section);
    let max_event = section.optional("max_event").size(1..=1 << 20).unwrap_or(SYSLOG_MESSAGE);
    let listen: SocketAddr = listen?;
    if !listen.ip().is_loopback() && allow.is_empty() {
        let message =
            format!("`{}` must be set where `listen` is not loopback", join(section, "allow"));
        section.push(
            Mistake::at(section.place_of("listen"), message)
                .help("the networks whose programs may send, such as `10.0.0.0/8`"),
        );
    }
    let max_event = usize::try_from(max_event).unwrap_or(usize::MAX);
    Some(SyslogSettings { listen, format: format?, allow, tls, max_event })
}

fn read_envoy(section: &mut Section<'_>) -> Option<EnvoySettings> {
    let listen = section
        .required("listen")
        .parsed("an address such as `127.0.0.1:4182`", |it| it.parse::<SocketAddr>().ok());
    let bearer_tokens = bearer_tokens(section);
    let tls = read_tls(section);
    let account_id = section.optional("account_id").string();
    let max_connections = section.optional("max_connections").number(1..=100_000);
    if !cfg!(feature = "envoy") {
        let message = format!("`{}` needs a build with the feature `envoy`", section.path());
        section.push(Mistake::at(section.place_of("listen"), message));
    }
    if let Some(listen) = listen {
        check_listen(section, listen);
    }
    let knows_clients =
        tls.as_ref().and_then(|it| it.client_ca.as_ref()).is_some_and(|it| it.required);
    let listen = listen?;
    if !listen.ip().is_loopback() && bearer_tokens.is_empty() && !knows_clients {
        let message = format!(
            "`{}` must be set where `listen` is not loopback, or `tls.client_ca`",
            join(section, "bearer_tokens")
        );
        section.push(
            Mistake::at(section.place_of("listen"), message)
                .help("without either anyone who reaches the address could send events"),
        );
    }
    let mut connections = ConnectionLimits::default();
    if let Some(most) = max_connections.and_then(|it| usize::try_from(it).ok()) {
        connections.max_connections = most;
    }
    let account_id = account_id.map(|it| it.value.to_owned());
    Some(EnvoySettings { listen, bearer_tokens, tls, connections, account_id })
}

fn read_file(section: &mut Section<'_>, formats: &Named) -> Option<FileSettings> {
    let path = section.required("path").string();
    let format = formats.read(section.required("format"));
    let account_id = section.optional("account_id").string();
    let max_event = max_event(section);
    Some(FileSettings {
        path: PathBuf::from(path?.value),
        format: format?,
        account_id: account_id.map(|it| it.value.to_owned()),
        max_event,
    })
}

fn read_stdin(section: &mut Section<'_>, formats: &Named) -> Option<StdinSettings> {
    Some(StdinSettings {
        max_event: max_event(section),
        format: formats.read(section.optional("format")),
    })
}

fn read_api(section: &mut Section<'_>) -> Option<ApiSettings> {
    let defaults = ApiSettings::default();
    Some(ApiSettings {
        listen: address(section, defaults.listen),
        bearer_tokens: bearer_tokens(section),
        connections: read_connections(section, ApiSettings::default().connections),
        rate_limit: section.optional("rate_limit").section_or_empty(read_rate_limit)?,
        public_url: section.optional("public_url").parsed(PUBLIC_URL, public_url),
        enforce_ip_restrictions: section
            .optional("enforce_ip_restrictions")
            .bool()
            .unwrap_or(defaults.enforce_ip_restrictions),
        tls: read_tls(section),
        trusted_proxies: read_proxies(section),
    })
}

fn read_rate_limit(section: &mut Section<'_>) -> Option<RateLimit> {
    let defaults = RateLimit::default();
    let requests = section.optional("requests").number(1..=MAX_REQUESTS);
    let per = section.optional("per").duration(Duration::from_secs(1)..=MAX_WINDOW);
    let requests = requests.and_then(|number| usize::try_from(number).ok());
    Some(RateLimit {
        requests: requests.unwrap_or(defaults.requests),
        per: per.unwrap_or(defaults.per),
    })
}

/// What a public address looks like.
const PUBLIC_URL: &str = "the address of this API, such as `https://sluicegate.example.net`";

fn public_url(text: &str) -> Option<String> {
    let uri: axum::http::Uri = text.parse().ok()?;
    let usable = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.host().is_some_and(|host| !host.is_empty())
        && uri.query().is_none()
        && has_possible_port(&uri);
    usable.then(|| text.trim_end_matches('/').to_owned())
}

fn read_journal(section: &mut Section<'_>, data_dir: &Path) -> Option<JournalSettings> {
    let words = [("disk", Durability::Disk), ("memory", Durability::Memory)];
    let durability = section.optional("durability").word(&words).unwrap_or(Durability::Disk);
    let max_bytes = section.optional("max_bytes").size(MIN_JOURNAL_BYTES..=u64::MAX);
    let letters = section.optional("max_dead_letter_bytes").size(MIN_LETTER_BYTES..=u64::MAX);
    let retention = section.optional("retention").duration(Duration::ZERO..=Duration::MAX);
    let retention = retention.unwrap_or(Duration::ZERO);
    let default_bytes = match durability {
        Durability::Disk => DEFAULT_DISK_BYTES,
        Durability::Memory => DEFAULT_MEMORY_BYTES,
    };
    if durability == Durability::Memory && retention > Duration::ZERO {
        section.push(
            Mistake::at(section.place_of("retention"), "delivered records are not kept in memory")
                .help("write `durability: disk`, or leave `retention` out"),
        );
    }
    Some(JournalSettings {
        durability,
        max_bytes: usize::try_from(max_bytes.unwrap_or(default_bytes)).unwrap_or(usize::MAX),
        retention,
        max_dead_letter_bytes: letters.unwrap_or(DEFAULT_LETTER_BYTES),
        directory: PathBuf::from(data_dir).join("journal"),
    })
}

fn address(section: &mut Section<'_>, default: SocketAddr) -> SocketAddr {
    let expected = "an IP address with a port, such as `127.0.0.1:4180`";
    let listen = section.optional("listen").parsed(expected, |text| text.parse().ok());
    if let Some(listen) = listen {
        check_listen(section, listen);
    }
    listen.unwrap_or(default)
}

/// Whether two listeners would take each other's port.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && same_ip && one.is_ipv4() == other.is_ipv4()
}

fn bearer_tokens(section: &mut Section<'_>) -> BearerTokens {
    let texts = section.optional("bearer_tokens").strings().unwrap_or_default();
    for text in &texts {
        if !text.value.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = "a token must be made of printable ASCII characters without blanks";
            section.push(Mistake::at(text.span, message));
        }
    }
    let secret = |text: &Text<'_>| Secret::new(text.value);
    BearerTokens::new(texts.iter().map(secret).collect())
}

fn join(section: &Section<'_>, key: &str) -> String {
    format!("{}.{key}", section.path())
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Format;
    use crate::config::decode::tests::asked;

    /// Documents that together have every setting the schema names, each with some value.
    fn samples(schema: &Value, whole: &Value) -> Vec<Value> {
        if let Some(name) = schema["$ref"].as_str().and_then(|it| it.strip_prefix("#/$defs/")) {
            return samples(&whole["$defs"][name], whole);
        }
        if let Some(choices) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
            return choices.iter().flat_map(|choice| samples(choice, whole)).collect();
        }
        match schema["type"].as_str() {
            Some("array") => {
                samples(&schema["items"], whole).into_iter().map(|item| json!([item])).collect()
            }
            Some("object") => object_samples(schema, whole),
            _ => vec![schema["enum"].get(0).cloned().unwrap_or_else(|| json!("x"))],
        }
    }

    fn object_samples(schema: &Value, whole: &Value) -> Vec<Value> {
        let Some(properties) = schema["properties"].as_object() else {
            return vec![json!({"x.y": "string"})];
        };
        let members = properties.iter().map(|(name, inner)| (name, samples(inner, whole)));
        if schema["maxProperties"] == 1 {
            let each = |(name, values): (&String, Vec<Value>)| {
                values.into_iter().map(|value| json!({ name: value })).collect::<Vec<_>>()
            };
            return members.flat_map(each).collect();
        }
        let members: Vec<_> = members.collect();
        let rounds = members.iter().map(|(_, values)| values.len()).max().unwrap_or(1);
        let round = |at: usize| {
            let pick = |(name, values): &(&String, Vec<Value>)| {
                ((*name).clone(), values[at % values.len()].clone())
            };
            Value::Object(members.iter().map(pick).collect::<Map<_, _>>())
        };
        (0..rounds).map(round).collect()
    }

    /// Every setting that the schema names, and whether it must be there. Of a section that has one
    /// of its members, none must.
    fn named(schema: &Value, whole: &Value, path: &str, into: &mut BTreeMap<String, bool>) {
        if let Some(name) = schema["$ref"].as_str().and_then(|it| it.strip_prefix("#/$defs/")) {
            return named(&whole["$defs"][name], whole, path, into);
        }
        for choice in schema["oneOf"].as_array().into_iter().flatten() {
            named(choice, whole, path, into);
        }
        if schema["type"] == "array" {
            named(&schema["items"], whole, &format!("{path}[]"), into);
        }
        let required = schema["required"].as_array();
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            named(inner, whole, &path, into);
            let must = required.is_some_and(|names| names.iter().any(|it| it == name));
            into.insert(path, must || schema["maxProperties"] == 1);
        }
    }

    #[test]
    fn the_schema_names_what_the_decoder_asks_for_and_nothing_else() {
        let schema: Value = serde_json::from_str(&SCHEMA).unwrap();
        let documents = samples(&schema, &schema);
        assert!(documents.len() >= 5, "each kind of target needs one of its own");
        for document in documents {
            let text = document.to_string();
            let parsed = Document::parse("s.json", text.clone(), Format::Json, &|_| None).unwrap();
            // The values are nonsense; only names are looked at.
            let said = Config::read(&parsed).map_or_else(|it| it.to_string(), |_| String::new());
            assert!(!said.contains("unknown setting"), "{said}");
            assert!(text.contains("\"drain_limit\"") && text.contains("\"linger\""), "{text}");
        }
        let mut in_schema = BTreeMap::new();
        named(&schema, &schema, "", &mut in_schema);
        assert_eq!(in_schema, asked());
    }
}
