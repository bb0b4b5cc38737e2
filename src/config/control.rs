//! The settings of the control plane's store: `control.store` and what goes with it.
//!
//! What targets of the API may do stands in the same section and is `targets`' matter.

use std::time::Duration;

use super::decode::Section;
use super::mistakes::Mistake;
use crate::control::{ControlSettings, PostgresUrl, StoreSettings};

/// Longest name of a daemon, in bytes.
const MAX_NAME: usize = 64;

/// Least time that a fleet's store may be away: it is asked twice a second, and answers may take seconds.
const MIN_STALENESS: Duration = Duration::from_secs(5);

pub(super) fn read_control(section: &mut Section<'_>) -> ControlSettings {
    let staleness = MIN_STALENESS..=Duration::MAX;
    let max_staleness = section.optional("max_staleness").duration(staleness);
    let expected = "1 to 64 letters, digits, dots, hyphens and underscores, such as `edge-1`";
    let name = section.optional("name").parsed(expected, |text| {
        let fits = |it: char| it.is_ascii_alphanumeric() || ".-_".contains(it);
        let is_name = !text.is_empty() && text.len() <= MAX_NAME && text != "all";
        (is_name && text.chars().all(fits)).then(|| text.to_owned())
    });
    let url = section.optional("store").section(|store| {
        store.optional("postgres").section(|postgres| {
            let text = postgres.required("url").string()?;
            let url = PostgresUrl::parse(text.value);
            let path = format!("{}.url", postgres.path());
            // It names parts of the URL, and never what stands in them.
            let mistake =
                |error| Mistake::at(postgres.place_of("url"), format!("`{path}` {error}"));
            url.map_err(|error| postgres.push(mistake(error))).ok()
        })
    });
    let store = url.map_or(StoreSettings::Sqlite, |url| StoreSettings::Postgres { url, name });
    ControlSettings { store, max_staleness }
}
