//! How the C library's allocator is to hold memory in a program that runs for months.
//!
//! glibc keeps what was freed once larger pieces were asked for, and a daemon that has seen many large bodies then takes half
//! as much again as `check` says. It takes settings from the environment only, as the program begins; so the
//! program begins anew, once, as the same process. What takes memory, and how much, is not known here.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use tracing::debug;

/// By name and value, in bytes. From 1 MiB on, which few bodies have, a piece is given back as soon as it is free; and of
/// what is free at the end of a heap, 4 MiB stay.
const SETTINGS: [(&str, &str); 2] =
    [("MALLOC_MMAP_THRESHOLD_", "1048576"), ("MALLOC_TRIM_THRESHOLD_", "4194304")];

/// What tells that somebody has decided.
const DECIDED: [&str; 3] = ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"];

/// Begins the program anew with the settings, unless the environment has some. Where that fails, it goes on
/// as it is.
pub(super) fn settle() {
    let is_decided = DECIDED.iter().any(|name| env::var_os(name).is_some());
    if !cfg!(target_env = "gnu") || is_decided {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    let mut arguments = env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let error = command.args(arguments).envs(SETTINGS).exec();
    debug!(%error, "the allocator is left as it is");
}
