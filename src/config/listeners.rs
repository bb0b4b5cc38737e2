//! What the settings of every listener share: TLS, trusted proxies, and limits of connections.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::decode::Section;
use super::mistakes::Mistake;
use super::text::Text;
use crate::http::{
    ClientCa, ConnectionLimits, TlsError, TlsSettings, TrustedProxies, check_tls_file,
};

/// Reads `tls`. On its machine the files are tried, so that every mistake in them is reported before
/// anything starts.
pub(super) fn read_tls(listener: &mut Section<'_>) -> Option<TlsSettings> {
    listener.optional("tls").section(|section| {
        let certificate = section.required("certificate").string();
        let key = section.required("key").string();
        let client_ca = section.optional("client_ca").string();
        let required = section
            .optional("client_certificates")
            .word(&[("required", true), ("optional", false)]);
        if required.is_some() && client_ca.is_none() {
            let message = format!("`{}.client_ca` is missing", section.path());
            section.push(
                Mistake::at(section.place_of("client_certificates"), message)
                    .help("it says whose certificates are good"),
            );
        }
        let client_ca = client_ca.map(|file| ClientCa {
            file: PathBuf::from(file.value),
            required: required.unwrap_or(true),
        });
        let given = |text: &Option<Text<'_>>| text.as_ref().map(|it| PathBuf::from(it.value));
        let files = [
            ("certificate", given(&certificate)),
            ("key", given(&key)),
            ("client_ca", client_ca.as_ref().map(|it| it.file.clone())),
        ];
        let here = section.is_on_its_machine();
        let refuse = |section: &Section<'_>, error: TlsError| {
            let message = format!("`{}.{}` {}", section.path(), error.setting, error.problem);
            section.push(Mistake::at(section.place_of(error.setting), message));
        };
        let mut all_readable = true;
        for (setting, file) in files.iter().filter_map(|(name, file)| Some((*name, file.as_ref()?)))
        {
            if let (true, Err(error)) = (here, check_tls_file(setting, file)) {
                all_readable = false;
                refuse(section, error);
            }
        }
        let tls = TlsSettings {
            certificate: PathBuf::from(certificate?.value),
            key: PathBuf::from(key?.value),
            client_ca,
        };
        if let (true, true, Err(error)) = (here, all_readable, tls.check()) {
            refuse(section, error);
        }
        Some(tls)
    })
}

/// Longest time that a client may be allowed: past it a limit is none.
const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Reads how many connections there may be, and how long they may take.
pub(super) fn read_connections(
    listener: &mut Section<'_>,
    defaults: ConnectionLimits,
) -> ConnectionLimits {
    let given = listener.optional("max_connections").number(1..=100_000);
    let mut timeout = |name, default| {
        let given = listener.optional(name).duration(Duration::from_secs(1)..=MAX_TIMEOUT);
        given.unwrap_or(default)
    };
    ConnectionLimits {
        head_timeout: timeout("head_timeout", defaults.head_timeout),
        idle_timeout: timeout("idle_timeout", defaults.idle_timeout),
        write_timeout: timeout("write_timeout", defaults.write_timeout),
        max_connections: given
            .and_then(|it| usize::try_from(it).ok())
            .unwrap_or(defaults.max_connections),
    }
}

pub(super) fn read_proxies(listener: &mut Section<'_>) -> TrustedProxies {
    TrustedProxies::new(read_networks(listener, "trusted_proxies"))
}

/// Reads a list of networks and addresses, of bounded length.
pub(super) fn read_networks(listener: &mut Section<'_>, name: &'static str) -> Vec<IpNet> {
    let texts = listener.optional(name).strings().unwrap_or_default();
    if texts.len() > TrustedProxies::MAX {
        let most = TrustedProxies::MAX;
        let message = format!("`{}.{name}` has more than {most}", listener.path());
        listener.push(Mistake::at(listener.place_of(name), message));
    }
    let mut networks = Vec::new();
    for text in &texts {
        match TrustedProxies::network(text.value) {
            Some(network) => networks.push(network),
            None => {
                let message = "must be a network such as `10.0.0.0/8`, or an address";
                listener.push(text.wrong(format!("`{}` {message}", text.shown())));
            }
        }
    }
    networks
}
