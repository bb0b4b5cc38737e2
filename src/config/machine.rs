//! What only the machine can tell on which the daemon is to run: whether folders are there, files can
//! be read, addresses can be listened on. Asked by `run` and `check`, not by commands that only want
//! to know where the data is.
//!
//! It changes nothing: no folder is made, and a port is given back at once.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::decode::Section;
use super::mistakes::Mistake;
use super::text::Text;

// Paths may have been filled in from the environment, so messages show what the file says.

/// A file that records are appended to, which is made if its folder is there.
pub(super) fn check_output_file(section: &Section<'_>, path: &Text<'_>) {
    if !section.is_on_its_machine() {
        return;
    }
    let file = Path::new(path.value);
    let shown = path.shown();
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let may = |path: &Path, access_to| access(path, access_to).map_err(io::Error::from);
    let (found, of_folder) = (fs::metadata(file), fs::metadata(folder));
    let mistake = match (found, of_folder) {
        (Ok(found), _) if found.is_dir() => path.wrong(format!("`{shown}` is a folder")),
        (Ok(_), _) => match may(file, Access::WRITE_OK) {
            Ok(()) => return,
            Err(error) => path.wrong(format!("`{shown}` cannot be written to: {error}")),
        },
        (_, Ok(folder)) if !folder.is_dir() => {
            path.wrong(format!("what should be the folder of `{shown}` is none"))
        }
        (_, Ok(_)) => match may(folder, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => return,
            Err(error) => path.wrong(format!("`{shown}` cannot be made in its folder: {error}")),
        },
        (_, Err(error)) => path
            .wrong(format!("the folder of `{shown}` cannot be used: {error}"))
            .help("create it first"),
    };
    section.push(mistake);
}

/// A file or folder that must be there, such as one that a property of Kafka's client names.
pub(super) fn check_input_file(section: &Section<'_>, path: &Text<'_>) {
    if !section.is_on_its_machine() {
        return;
    }
    if let Err(error) = File::open(path.value) {
        section.push(path.wrong(format!("`{}` cannot be read: {error}", path.shown())));
    }
}

/// The folder of the data, which is made at the first start.
pub(super) fn check_data_dir(root: &Section<'_>, folder: &Path) {
    if !root.is_on_its_machine() {
        return;
    }
    // What is not there yet is made inside of the first folder above that is.
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| PathBuf::from(folder));
    let existing =
        absolute.ancestors().find_map(|it| fs::metadata(it).ok().map(|found| (it, found)));
    let Some((at, found)) = existing else { return };
    let problem = if !found.is_dir() {
        "something on the way to it is no folder".to_owned()
    } else if let Err(error) = access(at, Access::WRITE_OK | Access::EXEC_OK) {
        io::Error::from(error).to_string()
    } else {
        return;
    };
    let message = format!("`data_dir` cannot be used: {problem}");
    root.push(Mistake::at(root.place_of("data_dir"), message));
}

/// An address to listen on. One in use is no mistake here: most likely the daemon runs.
pub(super) fn check_listen(section: &Section<'_>, address: SocketAddr) {
    if !section.is_on_its_machine() {
        return;
    }
    let help = match TcpListener::bind(address).map_err(|error| error.kind()) {
        Err(ErrorKind::AddrNotAvailable) => "it is no address of this machine",
        Err(ErrorKind::PermissionDenied) => "ports below 1024 need a privilege: take a higher one",
        _ => return,
    };
    let message = format!("`{}.listen`: {address} cannot be listened on", section.path());
    section.push(Mistake::at(section.place_of("listen"), message).help(help));
}
