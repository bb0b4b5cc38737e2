//! TLS to the database: the certificate's CA and its name are looked at as `sslmode` says, and what is wrong is
//! said in words.

use std::path::Path;
use std::process::{Command, Output};

use super::{KEY, make_key, settings, start};
use crate::support::postgres::Postgres;
use crate::support::tls::Certificates;

/// The URL of a server by a name, which nobody is asked about, with how its certificate is looked at.
fn url(server: &Postgres, name: &str, query: &str) -> String {
    let port = server.port;
    format!("postgres://sluicegate@{name}:{port}/postgres?hostaddr=127.0.0.1&{query}")
}

fn make(folder: &Path, url: &str) -> Output {
    let file = folder.join("settings.yaml");
    let data = format!("data_dir: {}\n", folder.join("data").display());
    std::fs::write(&file, settings(url, "") + &data).unwrap();
    Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(["api-key", "create", "-c", file.to_str().unwrap()])
        .envs([KEY])
        .output()
        .unwrap()
}

#[test]
fn the_certificate_of_the_database_is_looked_at_as_the_url_says() {
    let Some(certificates) = Certificates::make() else { return };
    let (certificate, key) = (certificates.path("server.pem"), certificates.path("server.key"));
    let Some(server) = Postgres::start_with(Some((&certificate, &key))) else { return };
    let ca = |name: &str| format!("sslrootcert={}", certificates.path(name).display());
    let (ours, strangers) = (ca("ca.pem"), ca("stranger.pem"));
    let full = format!("sslmode=verify-full&{ours}");
    let daemon = start(&settings(&url(&server, "localhost", &full), ""));
    make_key(&daemon.path("sluicegate.yaml"));
    let spoken = server.sql(
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
         WHERE application_name = 'sluicegate'",
    );
    assert_eq!(spoken.as_deref(), Some("t"));
    let folder = tempfile::tempdir().unwrap();
    let said = |name: &str, query: &str| {
        let output = make(folder.path(), &url(&server, name, query));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{name} {query}");
        said
    };
    let wrong = said("db.example", &full);
    assert!(wrong.contains("db.example") && wrong.contains("localhost"), "{wrong}");
    assert!(wrong.contains("`sslmode=verify-ca`"), "what would help is said: {wrong}");
    let unknown = said("localhost", &format!("sslmode=verify-full&{strangers}"));
    assert!(unknown.contains("`sslrootcert`"), "{unknown}");
    let unknown = said("localhost", &format!("sslmode=verify-ca&{strangers}"));
    assert!(unknown.contains("`sslrootcert`"), "{unknown}");
    let missing = said("localhost", "sslmode=verify-full&sslrootcert=/nowhere.pem");
    assert!(missing.contains("/nowhere.pem"), "{missing}");
    // Each looks at less.
    for (name, query) in [
        ("db.example", format!("sslmode=verify-ca&{ours}")),
        ("db.example", "sslmode=require".to_owned()),
        ("localhost", "sslmode=prefer".to_owned()),
    ] {
        let output = make(folder.path(), &url(&server, name, &query));
        assert!(output.status.success(), "{name} {query}: {output:?}");
    }
    let Some(plain) = Postgres::start() else { return };
    let output = make(folder.path(), &url(&plain, "localhost", &full));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("TLS"), "{said}");
}
