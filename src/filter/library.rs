//! Ready-made filters, built into the program: `filters/library/` has one file each.
//!
//! A file starts with two lines of comment, its event type and what it takes; the rest is the
//! expression. All of it is valid CEL. Each has an event that matches and one that does not in
//! `filters/library/tests.json`.

use std::sync::LazyLock;

/// A filter of `filters/`, which settings name by `library`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LibraryFilter {
    /// Its name, that of its file.
    pub name: &'static str,
    /// The event type that it is written for.
    pub event_type: &'static str,
    /// What it takes, in a sentence.
    pub description: &'static str,
    /// The expression, comments included.
    pub text: &'static str,
}

/// All ready-made filters, in the order of their names.
pub fn library() -> impl Iterator<Item = &'static LibraryFilter> {
    LIBRARY.iter()
}

/// The ready-made filter of a name.
#[must_use]
pub fn library_filter(name: &str) -> Option<&'static LibraryFilter> {
    library().find(|filter| filter.name == name)
}

static LIBRARY: LazyLock<Vec<LibraryFilter>> =
    LazyLock::new(|| FILES.iter().map(|(name, text)| read(name, text)).collect());

/// A file without its two lines has empty ones; the tests see to it that there is none.
fn read(name: &'static str, text: &'static str) -> LibraryFilter {
    let mut lines = text.lines().map(|line| line.strip_prefix("// ").unwrap_or(""));
    let event_type = lines.next().and_then(|line| line.strip_prefix("type: ")).unwrap_or("");
    LibraryFilter { name, event_type, description: lines.next().unwrap_or(""), text }
}

const FILES: &[(&str, &str)] = &[
    ("agent-failures", include_str!("../../filters/library/agent-failures.cel")),
    ("api-requests", include_str!("../../filters/library/api-requests.cel")),
    ("bad-webhooks", include_str!("../../filters/library/bad-webhooks.cel")),
    ("blocked-by-policy", include_str!("../../filters/library/blocked-by-policy.cel")),
    ("bots", include_str!("../../filters/library/bots.cel")),
    ("changes", include_str!("../../filters/library/changes.cel")),
    ("circuit-open", include_str!("../../filters/library/circuit-open.cel")),
    ("client-certificates", include_str!("../../filters/library/client-certificates.cel")),
    ("client-errors", include_str!("../../filters/library/client-errors.cel")),
    ("customer-host", include_str!("../../filters/library/customer-host.cel")),
    ("failed-logins", include_str!("../../filters/library/failed-logins.cel")),
    ("forwarded-requests", include_str!("../../filters/library/forwarded-requests.cel")),
    ("ipv6-clients", include_str!("../../filters/library/ipv6-clients.cel")),
    ("large-downloads", include_str!("../../filters/library/large-downloads.cel")),
    ("large-uploads", include_str!("../../filters/library/large-uploads.cel")),
    ("long-connections", include_str!("../../filters/library/long-connections.cel")),
    ("not-found", include_str!("../../filters/library/not-found.cel")),
    ("old-tls", include_str!("../../filters/library/old-tls.cel")),
    ("outdated-agents", include_str!("../../filters/library/outdated-agents.cel")),
    ("outside-office", include_str!("../../filters/library/outside-office.cel")),
    ("plain-http", include_str!("../../filters/library/plain-http.cel")),
    ("policy-alerts", include_str!("../../filters/library/policy-alerts.cel")),
    ("private-clients", include_str!("../../filters/library/private-clients.cel")),
    ("probing", include_str!("../../filters/library/probing.cel")),
    ("redirects", include_str!("../../filters/library/redirects.cel")),
    ("remote-shells", include_str!("../../filters/library/remote-shells.cel")),
    ("server-errors", include_str!("../../filters/library/server-errors.cel")),
    ("signed-in-users", include_str!("../../filters/library/signed-in-users.cel")),
    ("slow-requests", include_str!("../../filters/library/slow-requests.cel")),
    ("uploading-connections", include_str!("../../filters/library/uploading-connections.cel")),
];

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::super::check;
    use super::super::tests::run;
    use super::*;
    use crate::event::Catalog;

    const EVENTS: &str = include_str!("../../filters/library/tests.json");

    #[test]
    fn each_filter_takes_its_one_event_and_not_its_other() {
        let events: Json = serde_json::from_str(EVENTS).unwrap();
        let catalog = Catalog::builtin();
        assert!(library().count() >= 20);
        assert_eq!(events.as_object().unwrap().len(), library().count());
        for filter in library() {
            assert!(filter.description.ends_with('.'), "{}: {filter:?}", filter.name);
            let event_type = catalog.get(filter.event_type).unwrap();
            let checked = check(filter.text, event_type)
                .unwrap_or_else(|error| panic!("{}: {error}", filter.name));
            let events = &events[filter.name];
            assert_eq!(run(&checked, &events["matches"].to_string()), Ok(true), "{}", filter.name);
            assert_eq!(run(&checked, &events["misses"].to_string()), Ok(false), "{}", filter.name);
        }
    }

    #[test]
    fn every_file_of_the_directory_is_built_in() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/filters/library");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| name.strip_suffix(".cel").map(str::to_owned))
            .collect();
        files.sort();
        assert_eq!(files, library().map(|filter| filter.name).collect::<Vec<_>>());
    }
}
