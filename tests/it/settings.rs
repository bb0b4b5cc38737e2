//! Mistakes in settings files as a user sees them: one file a rule in `settings/`, with the exact
//! words beside it. `UPDATE_GOLDEN=1` writes the words anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

use crate::support::{output_of, sluicegate};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/settings")
}

#[test]
fn every_mistake_is_told_with_its_place_and_exit_code_78() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut files: Vec<_> = fs::read_dir(folder()).unwrap().map(|it| it.unwrap().path()).collect();
    files.retain(|path| path.extension().is_none_or(|extension| extension != "err"));
    files.sort();
    assert!(files.len() > 5);
    let kinds = Regex::new("one of `kinesis`(, `[a-z_]+`)+ or `[a-z_]+`").unwrap();
    let mut wrong = Vec::new();
    for file in files {
        let output = sluicegate(&["check", "-c", file.to_str().unwrap()], "");
        let said = String::from_utf8(output.stderr).unwrap();
        let said = said.replace(&format!("{}/", folder().display()), "");
        // Another kind of target changes no message but this list.
        let said = kinds.replace_all(&said, "one of `kinesis`, …, or another kind");
        let golden = file.with_extension("err");
        if update {
            fs::write(&golden, said.as_bytes()).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if said != expected || output.status.code() != Some(78) {
            wrong.push(format!("{}: {}\n{said}", file.display(), output.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_settings_of_demo_and_deployment_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.yaml");
    fs::write(&path, output_of(&["demo", "--print-settings"], "")).unwrap();
    // The demo makes its folder, `run` does not.
    let check = ["check", "-c", path.to_str().unwrap()];
    let elsewhere = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(check)
        .env("DEMO_DIR", folder.path().join("no-such"))
        .output()
        .unwrap();
    assert_eq!(elsewhere.status.code(), Some(78), "{elsewhere:?}");
    let checked = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(check)
        .env("DEMO_DIR", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(said.contains("demo.yaml: ok, 3 destinations and 3 subscriptions\n"), "{said}");
    assert!(said.contains("\n  memory: at most "), "{said}");
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let output = sluicegate(&["run", "-c", "/no/such/file.yaml"], "");
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("/no/such/file.yaml: cannot be read"), "{said}");
}
