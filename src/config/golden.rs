//! The golden folder: for each rule a small file and, beside it, what comes out: `*.err` with the
//! exact text of the mistakes, or `*.ok` with the settings as read.
//!
//! `UPDATE_GOLDEN=1 cargo test golden` writes the texts anew; read them before you commit them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Document, Format, Section, load};

/// What no message may ever show: the environment of these tests is made of it.
const SECRET: &str = "s3cret";

fn env(name: &str) -> Option<String> {
    Some(match name {
        "TOKEN" => format!("{SECRET} with \"quotes\" and ${{env:TOKEN}}"),
        "COUNT" => "12".to_owned(),
        "SIZE" => "2MiB".to_owned(),
        "TIME" => "15s".to_owned(),
        "YES" => "true".to_owned(),
        "FILTER" => format!("{SECRET} =="),
        "WORD" => "memori".to_owned(),
        "EMPTY" => String::new(),
        _ => return None,
    })
}

// A sample schema that uses every accessor.

#[derive(Debug)]
#[expect(dead_code, reason = "read by `Debug`")]
struct Sample {
    data_dir: String,
    http: Http,
    durability: Durability,
    labels: Vec<(String, String)>,
    targets: Vec<Sink>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "read by `Debug`")]
struct Http {
    listen: Option<SocketAddr>,
    tokens: Vec<String>,
    compress: bool,
    max_body: u64,
}

#[derive(Clone, Copy, Debug)]
enum Durability {
    Disk,
    Memory,
}

#[derive(Debug)]
#[expect(dead_code, reason = "read by `Debug`")]
struct Sink {
    id: String,
    target: Target,
    filter: Option<String>,
    max_records: u64,
    linger: Duration,
}

#[derive(Debug)]
#[expect(dead_code, reason = "read by `Debug`")]
enum Target {
    File { path: String },
    Debug,
}

fn sample(root: &mut Section<'_>) -> Option<Sample> {
    let data_dir = root.optional("data_dir").string();
    let http = root.optional("http").section_or_empty(http);
    let words = [("disk", Durability::Disk), ("memory", Durability::Memory)];
    let durability = root.optional("durability").word(&words);
    let labels = root.optional("labels").string_map().unwrap_or_default();
    let targets = root.required("targets").list(sink);
    let labels = labels.iter().map(|(name, text)| (name.value.to_owned(), text.value.to_owned()));
    Some(Sample {
        data_dir: data_dir.map_or("./data", |text| text.value).to_owned(),
        http: http?,
        durability: durability.unwrap_or(Durability::Disk),
        labels: labels.collect(),
        targets: targets?,
    })
}

fn http(section: &mut Section<'_>) -> Option<Http> {
    let listen = section.optional("listen");
    let listen = listen.parsed("an address such as `127.0.0.1:4180`", |text| text.parse().ok());
    let tokens = section.optional("tokens").strings().unwrap_or_default();
    let compress = section.optional("compress").bool().unwrap_or(true);
    let max_body = section.optional("max_body").size(1..=64 << 20).unwrap_or(1 << 20);
    let tokens = tokens.iter().map(|text| text.value.to_owned()).collect();
    Some(Http { listen, tokens, compress, max_body })
}

fn sink(section: &mut Section<'_>) -> Option<Sink> {
    let id = section.required("id").string();
    let target = section.required("target").section(|target| {
        let file = target.variant("file", |file| {
            let path = file.required("path").string()?.value.to_owned();
            Some(Target::File { path })
        });
        let debug = target.variant("debug", |_| Some(Target::Debug));
        file.or(debug)
    });
    let filter = section.optional("filter").string();
    if let Some(filter) = filter.filter(|filter| filter.value.ends_with("==")) {
        let report = format!("expected a value\n  |\n1 | {}", filter.value);
        section.push(filter.mistake("the filter does not compile", report));
    }
    let max_records = section.optional("max_records").number(1..=500).unwrap_or(500);
    let range = Duration::ZERO..=Duration::from_secs(60);
    let linger = section.optional("linger").duration(range).unwrap_or_default();
    if max_records == 1 && !linger.is_zero() {
        let message = format!("nothing to wait for in `{}`", section.path());
        section.push(super::Mistake::at(section.place_of("linger"), message));
    }
    Some(Sink {
        id: id?.value.to_owned(),
        target: target?,
        filter: filter.map(|text| text.value.to_owned()),
        max_records,
        linger,
    })
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/golden")
}

/// The settings or the mistakes of one file, and the extension of the text that must equal them.
/// The file is called by its name alone, wherever the folder is.
fn outcome(file: &Path) -> (String, &'static str) {
    let name = file.file_name().unwrap().to_str().unwrap();
    let text = fs::read_to_string(file).unwrap();
    let format = Format::of(file).unwrap();
    let decoded = Document::parse(name, text, format, &env).and_then(|doc| doc.decode(sample));
    match decoded {
        Ok(sample) => (format!("{sample:#?}\n"), "ok"),
        Err(mistakes) => (format!("{mistakes}\n"), "err"),
    }
}

fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|file| Format::of(file).is_some()).collect();
    files.sort();
    files
}

#[test]
fn every_golden_file_gives_exactly_the_text_beside_it() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for file in files() {
        let (text, extension) = outcome(&file);
        let beside = |extension| PathBuf::from(format!("{}.{extension}", file.display()));
        if update {
            let _ = fs::remove_file(beside(if extension == "ok" { "err" } else { "ok" }));
            fs::write(beside(extension), &text).unwrap();
        }
        let expected = fs::read_to_string(beside(extension)).unwrap_or_default();
        if text != expected {
            wrong.push(format!("{}:\n{text}", beside(extension).display()));
        }
    }
    assert!(wrong.is_empty(), "not as expected:\n\n{}", wrong.join("\n"));
    assert!(files().len() > 20, "the folder is where the test looks for it");
}

#[test]
fn no_mistake_shows_what_was_filled_in() {
    let with_secrets: Vec<String> = files()
        .iter()
        .map(|file| outcome(file))
        .filter_map(|(text, extension)| (extension == "err").then_some(text))
        .filter(|text| text.contains("${env:"))
        .collect();
    assert!(with_secrets.len() >= 3, "some golden files refer to secrets");
    assert!(with_secrets.iter().all(|text| !text.contains(SECRET)));
}

#[test]
fn no_log_of_a_document_shows_what_was_filled_in() {
    let text = "a: x\nb: [\"${env:TOKEN}\"]".to_owned();
    let document = Document::parse("s.yaml", text, Format::Yaml, &env).unwrap();
    assert!(!format!("{document:?}").contains(SECRET));
}

#[test]
fn the_three_formats_say_the_same() {
    let [yaml, toml, json] = ["yaml", "toml", "json"]
        .map(|extension| outcome(&folder().join(format!("accepted.{extension}"))));
    assert_eq!(yaml.1, "ok");
    assert_eq!((&toml, &json), (&yaml, &yaml));
}

#[test]
fn a_file_is_loaded_by_its_extension() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    for (name, content) in [
        ("s.yaml", "targets: [{id: a, target: {debug: {}}}]"),
        ("s.yml", "\u{feff}targets: [{id: a, target: {debug: {}}}]"),
        ("s.toml", "[[targets]]\r\nid = 'a'\r\ntarget.debug = {}"),
        ("s.json", r#"{"targets": [{"id": "a", "target": {"debug": {}}}]}"#),
    ] {
        let document = load(&at(name, content.as_bytes()), &env).unwrap();
        assert_eq!(document.decode(sample).unwrap().targets[0].id, "a", "{name}");
    }
}

#[test]
fn a_file_that_cannot_be_settings_is_refused_before_parsing() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content, expected) in [
        (
            "s.ini",
            "a = 1".into(),
            ": the file's extension tells no format\n = help: call it `.yaml`, `.yml`, `.toml` or `.json`",
        ),
        (
            "s.yaml",
            b"a: 1\nb: \xff".to_vec(),
            ":2:4: the file is not UTF-8\n  |\n2 | b: \u{fffd}\n  |    ^",
        ),
        (
            "large.yaml",
            vec![b'#'; super::MAX_FILE + 1],
            ": larger than 16777216 bytes, the most that settings may have",
        ),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let shown = load(&path, &env).unwrap_err().to_string();
        let rest = shown.strip_prefix(&path.display().to_string()).unwrap();
        assert!(rest.starts_with(expected), "{shown}");
    }
    let missing = load(&folder.path().join("none.yaml"), &env).unwrap_err().to_string();
    assert!(missing.contains("none.yaml: cannot be read: No such file or directory"), "{missing}");
}

#[test]
fn a_file_with_twelve_thousand_subscriptions_is_read() {
    let mut text =
        "destinations: [{id: d, target: {debug: {log: true}}}]\nsubscriptions:\n".to_owned();
    for number in 0..12_000 {
        let fields = "[conn.client_ip, conn.server_ip, conn.server_port]";
        let source = format!("{{type: tcp_connection_closed.v0, fields: {fields}}}");
        text += &format!("  - {{id: s{number}, sources: [{source}], destinations: [d]}}\n");
    }
    let document = Document::parse("s.yaml", text, Format::Yaml, &env).unwrap();
    let config = super::Config::read(&document).unwrap();
    assert_eq!(config.resources.subscriptions().len(), 12_000);
}

#[test]
fn no_file_means_all_defaults_and_still_names_what_has_none() {
    let http = Document::empty().decode(|root| root.optional("http").section_or_empty(http));
    assert!(http.is_ok_and(|http| http.compress));
    let mistakes = Document::empty().decode(sample).unwrap_err().to_string();
    assert!(mistakes.starts_with("(no settings file): `targets` is missing"), "{mistakes}");
}

#[test]
fn a_range_without_an_upper_end_names_only_the_lower() {
    let text = "a: 0\nb: 1kB\nc: 1s".to_owned();
    let document = Document::parse("s.yaml", text, Format::Yaml, &env).unwrap();
    let mistakes = document.decode(|root| {
        let a = root.optional("a").number(1..=u64::MAX);
        let b = root.optional("b").size(2000..=u64::MAX);
        let c = root.optional("c").duration(Duration::from_secs(60)..=Duration::MAX);
        Some((a, b, c))
    });
    let shown = mistakes.unwrap_err().to_string();
    for message in ["`a` must be at least 1, not `0`", "at least 2kB, not", "at least 1m, not"] {
        assert!(shown.contains(message), "{shown}");
    }
}
