//! The house rules that a program can check: import order, size of files, a header in each, one build of
//! the dependencies.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Most lines of a file, tests included.
const MAX_LINES: usize = 600;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Rust files of a folder, however deep.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The rooms in the order in which `lib.rs` lists them.
fn rooms() -> Vec<String> {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let room =
        |line: &str| line.strip_suffix(';')?.split_once("mod ").map(|(_, name)| name.to_owned());
    map.lines().filter(|line| !line.starts_with("//")).filter_map(room).collect()
}

/// The room a source file belongs to.
fn room_of(file: &Path) -> String {
    let inside = file.strip_prefix(root().join("src")).unwrap();
    let first = inside.iter().next().unwrap().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// Every `crate::a::b` path of a source text, as its segments after `crate`; groups are opened.
fn crate_paths(source: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for (at, _) in source.match_indices("crate::") {
        let rest = &source[at + "crate::".len()..];
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
            .unwrap_or(rest.len());
        let segments = || rest[..end].split("::").filter(|it| !it.is_empty()).map(str::to_owned);
        if rest[end..].starts_with('{') && segments().next().is_none() {
            let group = rest[end + 1..].split('}').next().unwrap();
            for item in group.split(',').map(str::trim).filter(|it| !it.is_empty()) {
                paths.push(item.split("::").map(str::to_owned).collect());
            }
        } else {
            paths.push(segments().collect());
        }
    }
    paths
}

#[test]
fn a_room_imports_only_from_rooms_before_it_and_only_through_their_front() {
    let rooms = rooms();
    assert!(rooms.len() > 10, "the map in lib.rs was not found: {rooms:?}");
    let place = |room: &str| rooms.iter().position(|it| it == room);
    let mut wrong = Vec::new();
    for file in rust_files(&root().join("src")) {
        let room = room_of(&file);
        let Some(own) = place(&room) else { continue };
        for path in crate_paths(&fs::read_to_string(&file).unwrap()) {
            let [other, rest @ ..] = path.as_slice() else { continue };
            let shown = || format!("{}: crate::{}", file.display(), path.join("::"));
            match place(other) {
                None => wrong.push(format!("{} is no room of the map", shown())),
                Some(at) if at > own => wrong.push(format!("{} points backwards", shown())),
                // A lower-case name followed by another is a file inside the room.
                Some(at) if at < own && rest.len() > 1 && is_module(other, &rest[0]) => {
                    wrong.push(format!("{} reaches into the room", shown()));
                }
                Some(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The filter language is to be fit for a crate of its own, which would bring what it imports along.
const ROOMS_OF_FILTER: [&str; 4] = ["report", "lock", "event", "filter"];

#[test]
fn the_filter_language_imports_events_reports_and_locks_only() {
    let mut others = Vec::new();
    for room in ROOMS_OF_FILTER {
        let folder = root().join("src").join(room);
        let files =
            if folder.is_dir() { rust_files(&folder) } else { vec![folder.with_extension("rs")] };
        for file in files {
            let paths = crate_paths(&fs::read_to_string(&file).unwrap());
            let other = |path: &&Vec<String>| !ROOMS_OF_FILTER.contains(&path[0].as_str());
            others.extend(
                paths
                    .iter()
                    .filter(other)
                    .map(|path| format!("{}: crate::{}", file.display(), path.join("::"))),
            );
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
}

fn is_module(room: &str, name: &str) -> bool {
    let folder = root().join("src").join(room);
    folder.join(format!("{name}.rs")).exists() || folder.join(name).is_dir()
}

#[test]
fn the_import_test_sees_every_form_of_path() {
    let source = "use crate::{a::B, c};\nlet x = crate::d::e::f();\nuse crate::g::{h, i};";
    let paths: Vec<String> = crate_paths(source).iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["a::B", "c", "d::e::f", "g"]);
}

/// Files that name a kind of target beside its own and `sinks/mod.rs`, tests left out: a new kind is in none.
const NAMING_KINDS: [(&str, &[&str]); 4] = [
    // What AWS calls its services, and what it bills.
    ("kinesis", &["src/sinks/arn.rs", "src/cli/api/fields.rs", "src/cli/cost/prices.rs"]),
    ("firehose", &["src/sinks/arn.rs", "src/sinks/diagnosis.rs", "src/cli/cost/prices.rs"]),
    ("cloudwatch_logs", &["src/cli/cost/prices.rs"]),
    // The client itself: `ingest.kafka`, the relay, and who is told of them.
    (
        "kafka",
        &[
            "src/api/status.rs",
            "src/config/kafka.rs",
            "src/config/settings.rs",
            "src/ingest/kafka/member.rs",
            "src/telemetry/refusals.rs",
        ],
    ),
];

/// Kinds whose names are words with another meaning too (`${file:…}`, the scheme of a URL): only their types count.
const WORDS: [&str; 2] = ["file", "http"];

/// The kinds, as the form of `Target` asks for them.
fn kinds() -> Vec<String> {
    let text = fs::read_to_string(root().join("src/sinks/mod.rs")).unwrap();
    let names = text.split("section(").skip(1).filter_map(|it| it.split('"').nth(1));
    names.map(str::to_owned).collect()
}

#[test]
fn a_kind_of_target_is_named_in_its_own_file_and_in_the_list_of_kinds() {
    let kinds = kinds();
    assert!(kinds.len() > 4, "the form of `Target` was not found: {kinds:?}");
    // Shapes of ngrok's own events, which name targets too.
    let exempt = ["src/sinks/mod.rs", "src/generate/audit.rs"];
    let mut wrong = Vec::new();
    for file in rust_files(&root().join("src")) {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        let is_test =
            name.contains("tests") || name.contains("simulation/") || name.contains("golden");
        if is_test || exempt.contains(&&*name) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for kind in &kinds {
            let own = format!("src/sinks/{kind}");
            let variant: String = kind.split('_').map(capitalized).collect();
            let quoted = format!("\"{kind}\"");
            let types = [format!("Target::{variant}"), format!("{variant}Target")];
            let names = types.iter().chain((!WORDS.contains(&&**kind)).then_some(&quoted));
            let known = NAMING_KINDS.iter().find(|(it, _)| it == kind).map_or(&[][..], |it| it.1);
            // What is built only with a feature of that name does not know the kind.
            let code = code.replace(&format!("feature = \"{kind}\""), "");
            let is_named = names.into_iter().any(|it| code.contains(it.as_str()));
            if is_named && !name.starts_with(&own) && !known.contains(&&*name) {
                wrong.push(format!("{name} names `{kind}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn capitalized(word: &str) -> String {
    word[..1].to_uppercase() + &word[1..]
}

/// What makes a file or a folder.
const MAKES: [&str; 6] = [
    "File::create",
    "fs::write(",
    "create_dir",
    ".create(true)",
    ".create_new(true)",
    "DirBuilder",
];

#[test]
fn files_and_folders_are_made_in_the_room_for_it_alone() {
    let mut wrong = Vec::new();
    for file in rust_files(&root().join("src")) {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        let is_test = ["tests.rs", "model.rs", "golden.rs", "flips.rs", "world.rs"];
        let is_exempt = name == "src/private.rs" || is_test.iter().any(|it| name.ends_with(it));
        if is_exempt || ["/tests/", "/model/"].iter().any(|it| name.contains(it)) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        wrong.extend(
            MAKES.iter().filter(|it| code.contains(**it)).map(|it| format!("{name}: {it}")),
        );
    }
    assert!(wrong.is_empty(), "`private` makes them for their owner alone: {wrong:?}");
}

/// Where something is begun that nobody need supervise.
const UNSUPERVISED: [(&str, &str); 12] = [
    ("src/supervision.rs", "it is what supervises"),
    ("src/daemon.rs", "the API's thread holds a supervised task; the other waits for that thread"),
    ("src/http/mod.rs", "one connection, which ends alone"),
    ("src/http/unread.rs", "the rest of one body"),
    ("src/control/change.rs", "one change, which is waited for"),
    ("src/api/routes.rs", "one piece of work, which is waited for"),
    ("src/pipeline/deliveries.rs", "its own supervisor, which never gives up"),
    ("src/ingest/kafka/member.rs", "the same"),
    ("src/ingest/envoy/service.rs", "one message, which is waited for"),
    ("src/store/postgres/link.rs", "one connection, which ends alone"),
    ("src/journal/jobs.rs", "one piece of work, which is waited for"),
    ("src/journal/disk/writer.rs", "of simulations"),
];

#[test]
fn what_goes_on_as_long_as_the_daemon_is_supervised() {
    let mut wrong = Vec::new();
    for file in rust_files(&root().join("src")) {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        let is_known = UNSUPERVISED.iter().any(|(known, _)| *known == name);
        if is_known || name.contains("/tests/") || name.contains("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let begins = ["tokio::spawn(", "task::spawn(", "thread::spawn(", "thread::Builder"];
        let lines = code.lines().filter(|line| begins.iter().any(|it| line.contains(it)));
        let alone = lines.filter(|line| !line.contains("supervision::"));
        wrong.extend(alone.map(|line| format!("{name}: {}", line.trim())));
    }
    assert!(wrong.is_empty(), "`supervision` begins it again or stops the daemon: {wrong:#?}");
}

#[test]
fn every_file_says_what_it_is_and_none_is_too_long() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches"] {
        let folder = root().join(folder);
        if !folder.exists() {
            continue;
        }
        for file in rust_files(&folder) {
            let text = fs::read_to_string(&file).unwrap();
            if !text.starts_with("//! ") {
                wrong.push(format!("{}: does not open with `//!`", file.display()));
            }
            let lines = text.lines().count();
            if lines > MAX_LINES {
                wrong.push(format!("{}: {lines} lines", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_stands_in_one_file_and_in_an_allocator_of_tests() {
    let mut with_unsafe = Vec::new();
    for file in rust_files(&root().join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        // The lint lets nothing pass that is not expected by name.
        if text.contains("unsafe_code") {
            with_unsafe.push(file.strip_prefix(root()).unwrap().display().to_string());
            let proofs = text.matches("// SAFETY: ").count();
            let unsafes = text.matches("unsafe {").count() + text.matches("unsafe impl").count();
            assert_eq!(unsafes, proofs, "{with_unsafe:?}");
        }
    }
    with_unsafe.sort();
    assert_eq!(with_unsafe, ["src/event/bitmaps.rs", "src/pipeline/allocations.rs"]);
}

/// The packages of a build with their features, as `cargo tree` tells them.
fn features_of(edges: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--prefix", "none", "--edges", edges])
        .args(["--format", "{p} {f}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

#[test]
fn the_tests_build_nothing_anew_that_the_daemon_is_built_from() {
    let (daemon, tests) = (features_of("normal,build"), features_of("normal,build,dev"));
    assert!(daemon.len() > 100, "not the whole tree: {daemon:?}");
    let anew: Vec<_> = daemon.difference(&tests).collect();
    assert!(
        anew.is_empty(),
        "dev-dependencies add features to these: name them in [dependencies] too: {anew:#?}"
    );
}

#[test]
fn one_compiler_is_named_wherever_one_is() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let toolchain = read("rust-toolchain.toml");
    let pinned = toolchain.split("channel = \"").nth(1).unwrap().split('"').next().unwrap();
    let dockerfile = read("deploy/container/Dockerfile");
    assert!(dockerfile.contains(&format!("FROM rust:{pinned}-")), "{pinned}: {dockerfile}");
    assert!(dockerfile.contains(&format!("RUSTUP_TOOLCHAIN={pinned}\n")), "{pinned}: {dockerfile}");
    let number =
        |text: &str| -> Vec<u32> { text.split('.').map(|it| it.parse().unwrap()).collect() };
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    assert!(number(oldest) <= number(pinned), "{oldest} is said to work, {pinned} is pinned");
}

#[test]
fn the_lock_files_beside_ours_name_the_same_versions() {
    let versions = |path: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let packages = text.split("[[package]]").skip(1);
        packages.map(|it| it.trim().lines().take(2).collect::<Vec<_>>().join(" ")).collect()
    };
    // What takes the place of each other: up to the first part of the version that is not 0.
    let series = |package: &String| {
        let (name, version) = package.split_once(" version = \"").unwrap();
        let zeros = version.split('.').take_while(|part| *part == "0").count();
        (name.to_owned(), version.split('.').take(zeros + 1).collect::<Vec<_>>().join("."))
    };
    let ours = versions("Cargo.lock");
    for path in [
        "fuzz/Cargo.lock",
        "fuzz/events/Cargo.lock",
        "benches/peer/Cargo.lock",
        "benches/instructions/Cargo.lock",
    ] {
        let theirs = versions(path);
        let is_ours = |package: &&String| ours.iter().any(|it| series(it) == series(package));
        let others: Vec<&String> = theirs.difference(&ours).filter(is_ours).collect();
        assert!(others.is_empty(), "`make lockfiles` makes {path} anew: {others:?}");
    }
}
