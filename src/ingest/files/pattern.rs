//! Which files a path with `*` and `?` in it names now.
//!
//! The two stand for anything but `/`, and a leading `*` for no hidden file, as in a shell. It opens no file.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Whether a path has `*` or `?` in it.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// The paths that a pattern names, in order, at most `max` of them. A path without `*` and `?` names itself,
/// whether or not it is there; folders that cannot be read hold nothing.
pub(super) fn expand(pattern: &Path, max: usize) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    let mut is_found = false;
    for component in pattern.components() {
        let name = component.as_os_str().to_string_lossy();
        if !matches!(component, Component::Normal(_)) || !is_pattern(&name) {
            found.iter_mut().for_each(|it| it.push(component));
            // What stands below a folder that a pattern found need not be there.
            found.retain(|it| !is_found || it.exists());
            continue;
        }
        is_found = true;
        let mut next: Vec<PathBuf> =
            found.iter().flat_map(|folder| matching(folder, &name)).collect();
        next.sort();
        next.truncate(max);
        found = next;
    }
    found.truncate(max);
    found
}

fn matching(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = fs::read_dir(here).into_iter().flatten().flatten();
    let names = entries.map(|it| it.file_name()).filter(|name| {
        let name = name.as_encoded_bytes();
        let is_hidden = name.starts_with(b".") && !pattern.starts_with('.');
        !is_hidden && fits(pattern.as_bytes(), name)
    });
    names.map(|name| folder.join(name)).collect()
}

/// Whether a name fits a pattern. After a mismatch only the last `*` takes one byte more, so the time is at
/// most the product of both lengths.
pub(super) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star = None;
    while from < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((place, taken)) = star else { return false };
                star = Some((place, taken + 1));
                at = place + 1;
                from = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|it| *it == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_what_they_do_in_a_shell() {
        for (pattern, name, expected) in [
            ("access.log", "access.log", true),
            ("access.log", "access.log.1", false),
            ("*.log", "access.log", true),
            ("*.log", "access.log.1", false),
            ("a*c*e", "abcdce", true),
            ("a*c*e", "abcdcf", false),
            ("access-?.log", "access-1.log", true),
            ("access-?.log", "access-12.log", false),
            ("**", "", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
        let long = ["*a".repeat(30), "b".to_owned()].concat();
        assert!(!fits(long.as_bytes(), "a".repeat(2_000).as_bytes()));
    }

    #[test]
    fn a_pattern_names_what_is_there_and_a_path_itself() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a/access.log", "b/access.log", "b/error.log", "b/.hidden.log", "c.log"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let named = |pattern: &str, max| {
            let paths = expand(&folder.path().join(pattern), max);
            let name = |it: PathBuf| it.strip_prefix(folder.path()).unwrap().display().to_string();
            paths.into_iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(named("*/access.log", 9), ["a/access.log", "b/access.log"]);
        assert_eq!(named("b/*.log", 9), ["b/access.log", "b/error.log"]);
        assert_eq!(named("?/*", 2), ["a/access.log", "b/access.log"]);
        assert_eq!(named("none/x.log", 9), ["none/x.log"]);
        assert!(named("none/*.log", 9).is_empty());
    }
}
