//! A file system of some megabytes, where the system lets us mount one, so that it can be filled.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

pub(crate) struct SmallDisk {
    pub(crate) folder: PathBuf,
    _inside: TempDir,
}

impl SmallDisk {
    /// Mounts one of 8 MiB; `None`, with a line that says so, where it cannot be.
    pub(crate) fn mount() -> Option<SmallDisk> {
        SmallDisk::mount_of("8m")
    }

    /// The same of a size as `mount` takes it.
    pub(crate) fn mount_of(size: &str) -> Option<SmallDisk> {
        let inside = tempfile::tempdir().unwrap();
        let folder = inside.path().join("small");
        fs::create_dir(&folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&folder);
        if !mount.output().is_ok_and(|output| output.status.success()) {
            println!("skipped: no small file system can be mounted here");
            return None;
        }
        Some(SmallDisk { folder, _inside: inside })
    }

    /// Takes all room that is left.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        let full = loop {
            if let Err(error) = file.write_all(&[0; 512]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }

    /// Gives back what [`SmallDisk::fill`] took.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
