//! ngrok's own clients, unchanged, against a daemon: TypeScript, the oldest and the latest Go, Terraform.
//!
//! `make interop` puts them into `.interop`, or into the folder that `SLUICEGATE_INTEROP` names; one that is
//! not there is skipped with a line. Python's is among the tests' own tools (`control`).

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::control::{Client, UNLIMITED};
use crate::support::daemon::Daemon;

const INTEROP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop");

/// Something of the folder of clients, if it is there.
fn client(name: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/.interop");
    let folder = std::env::var_os("SLUICEGATE_INTEROP").map_or(default.into(), PathBuf::from);
    let path = folder.join(name);
    if !path.exists() {
        println!("skipped: ngrok's client {name} is not there; `make interop` installs it");
        return None;
    }
    Some(path)
}

/// Runs a command that must succeed, and gives what it says.
fn run(command: &mut Command, daemon: &Daemon) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{said}{errors}\n{}", daemon.log());
    said
}

#[test]
fn the_typescript_client_works_unchanged() {
    let Some(modules) = client("node/node_modules") else { return };
    let daemon = Daemon::start(UNLIMITED);
    let key = Client::new(&daemon).key().to_owned();
    let mut command = Command::new("node");
    command.env("NODE_PATH", modules).arg(Path::new(INTEROP).join("client.cjs"));
    let said = run(command.args([format!("http://{}", daemon.api), key]), &daemon);
    assert!(said.ends_with("all well\n"), "{said}");
}

#[test]
fn the_oldest_and_the_latest_go_client_work_unchanged() {
    for version in ["bin/go-v4", "bin/go-v8"] {
        let Some(program) = client(version) else { continue };
        let daemon = Daemon::start(UNLIMITED);
        let key = Client::new(&daemon).key().to_owned();
        let mut command = Command::new(program);
        let said = run(command.args([format!("http://{}", daemon.api), key]), &daemon);
        assert!(said.ends_with("all well\n"), "{version}: {said}");
    }
}

/// Terraform or OpenTofu in a folder with the provider and a configuration.
struct Terraform<'d> {
    program: &'static str,
    folder: tempfile::TempDir,
    daemon: &'d Daemon,
    key: String,
}

impl<'d> Terraform<'d> {
    fn new(provider: &Path, daemon: &'d Daemon) -> Option<Terraform<'d>> {
        let is_there = |name: &&str| Command::new(name).arg("version").output().is_ok();
        let Some(program) = ["tofu", "terraform"].into_iter().find(is_there) else {
            println!("skipped: neither tofu nor terraform is installed");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let providers = provider.parent().unwrap().display();
        let rc = format!(
            "provider_installation {{\n  dev_overrides {{ \"ngrok/ngrok\" = \"{providers}\" }}\n  direct {{}}\n}}\n"
        );
        std::fs::write(folder.path().join("rc"), rc).unwrap();
        std::fs::copy(Path::new(INTEROP).join("main.tf"), folder.path().join("main.tf")).unwrap();
        let key = Client::new(daemon).key().to_owned();
        Some(Terraform { program, folder, daemon, key })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("TF_CLI_CONFIG_FILE", self.folder.path().join("rc"))
            .env("NGROK_API_KEY", &self.key)
            .env("NGROK_API_BASE_URL", format!("http://{}", self.daemon.api))
            .env("CHECKPOINT_DISABLE", "1");
        command
    }

    fn must(&self, arguments: &[&str]) -> String {
        run(&mut self.command(arguments), self.daemon)
    }

    /// Demands that a plan has nothing to do.
    fn has_nothing_to_do(&self, arguments: &[&str]) {
        self.must(&[&["plan", "-no-color", "-detailed-exitcode"], arguments].concat());
    }
}

#[test]
fn terraform_applies_plans_nothing_imports_replaces_and_destroys() {
    const APPLY: [&str; 3] = ["apply", "-no-color", "-auto-approve"];
    let Some(provider) = client("bin/terraform-provider-ngrok") else { return };
    let daemon = Daemon::start(UNLIMITED);
    let Some(terraform) = Terraform::new(&provider, &daemon) else { return };
    assert!(terraform.must(&APPLY).contains("12 added"));
    terraform.has_nothing_to_do(&[]);
    let changed = ["-var", "note=changed", "-var", "domain=c.example.net"];
    let said = terraform.must(&[&APPLY[..], &changed].concat());
    assert!(said.contains("1 added, 3 changed, 1 destroyed"), "{said}");
    terraform.has_nothing_to_do(&changed);
    let replace = [&changed[..], &["-replace=ngrok_event_subscription.s"]].concat();
    assert!(terraform.must(&[&APPLY[..], &replace].concat()).contains("1 added, 0 changed"));
    // All but the destination, whose secret no answer has.
    let state = terraform.must(&["show", "-json"]);
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    for resource in state["values"]["root_module"]["resources"].as_array().unwrap() {
        let (address, id) = (resource["address"].as_str().unwrap(), &resource["values"]["id"]);
        if resource["type"] != json!("ngrok_event_destination") {
            terraform.must(&["state", "rm", address]);
            let import = [&["import", "-no-color"], &changed[..], &[address, id.as_str().unwrap()]];
            terraform.must(&import.concat());
        }
    }
    terraform.has_nothing_to_do(&changed);
    let said = terraform.must(&["destroy", "-no-color", "-auto-approve"]);
    assert!(said.contains("12 destroyed"), "{said}");
}
