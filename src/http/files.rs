//! Open files: each connection needs one, and a process may have so many.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use super::limits::ConnectionLimits;

/// Files beside connections: the journal's, the store's, those of file destinations, and connections
/// to services.
const OTHERS: usize = 256;

/// Raises the process's limit of open files as far as the system lets it, and lowers what listeners
/// promise to what is left, so that no connection is accepted for which there is no file.
pub fn fit_to_files(listeners: &mut [&mut ConnectionLimits]) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    // Without the raise the lower limit holds, which is then what counts.
    let most = if setrlimit(Resource::Nofile, raised).is_ok() { maximum } else { current };
    // None is no limit.
    let Some(most) = most else { return };
    fit(usize::try_from(most).unwrap_or(usize::MAX), listeners);
}

fn fit(files: usize, listeners: &mut [&mut ConnectionLimits]) {
    let promised: usize = listeners.iter().map(|it| it.max_connections).sum();
    let left = files.saturating_sub(OTHERS).max(files / 2);
    if promised <= left {
        return;
    }
    for listener in listeners {
        // Each its part; a fraction of a place is none.
        let part = listener.max_connections * left / promised;
        listener.max_connections = part.max(1);
    }
    warn!(
        files,
        places = left,
        wanted = promised,
        "the process may not open enough files for `max_connections`: fewer connections are taken; raise `ulimit -n`"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(files: usize, places: [usize; 2]) -> [usize; 2] {
        let mut limits = places.map(|max_connections| ConnectionLimits {
            max_connections,
            ..ConnectionLimits::default()
        });
        let [one, other] = &mut limits;
        fit(files, &mut [one, other]);
        limits.map(|it| it.max_connections)
    }

    #[test]
    fn listeners_share_what_files_are_left() {
        assert_eq!(fitted(4_096, [1_024, 1_024]), [1_024, 1_024]);
        assert_eq!(fitted(1_024, [1_024, 512]), [512, 256]);
        assert_eq!(fitted(64, [1_024, 1]), [31, 1]);
    }
}
