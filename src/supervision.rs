//! What becomes of work that goes on as long as the daemon does when it fails: a line of the log, a count,
//! and another beginning where it can be begun again. What keeps failing, or cannot be begun again, ends the
//! process in order, with a code: a daemon that looks alive and does half its work is worse than none.
//!
//! It starts no process and knows of no work. Deliveries and Kafka's client are begun again for ever by
//! those who know them, since one of many must not end the others; they only count here.

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::error;

use crate::telemetry;

/// So many failures within [`WINDOW`] are more than chance.
const MAX_FAILURES: usize = 5;

/// The time in which failures are counted together.
const WINDOW: Duration = Duration::from_secs(60);

/// How long to wait before another beginning.
const PAUSE: Duration = Duration::from_millis(500);

/// What keeps failing, for the whole process.
static GIVEN_UP: LazyLock<watch::Sender<Option<&'static str>>> =
    LazyLock::new(|| watch::Sender::new(None));

/// The failures of one task in the last minute.
#[derive(Debug, Default)]
struct Failures(VecDeque<Instant>);

impl Failures {
    /// Notes one; tells whether there were too many.
    fn note(&mut self, now: Instant) -> bool {
        while self.0.front().is_some_and(|it| now.saturating_duration_since(*it) >= WINDOW) {
            self.0.pop_front();
        }
        self.0.push_back(now);
        self.0.len() >= MAX_FAILURES
    }

    /// Tells of a failure; whether the task may begin again.
    fn tell(&mut self, task: &'static str, failure: &str) -> bool {
        telemetry::task_failed(task);
        if self.note(Instant::now()) {
            give_up(task, failure);
            return false;
        }
        error!(task, failure, "a task of the daemon failed and is begun again");
        true
    }
}

fn give_up(task: &'static str, failure: &str) {
    let code = "ERR_SLUICEGATE_1401";
    error!(code, task, failure, "a task of the daemon cannot go on: the daemon stops");
    GIVEN_UP.send_replace(Some(task));
}

/// Waits until some task cannot go on, and tells which.
pub async fn given_up() -> &'static str {
    let mut given_up = GIVEN_UP.subscribe();
    let found = given_up.wait_for(Option::is_some).await;
    match found.ok().and_then(|task| *task) {
        Some(task) => task,
        // The other side lives as long as the process.
        None => std::future::pending().await,
    }
}

/// Keeps a task going until it ends well, and begins it again when it fails or panics.
pub async fn keep<F>(task: &'static str, mut run: impl FnMut() -> F)
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let mut failures = Failures::default();
    loop {
        let failure = match tokio::spawn(run()).await {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => words_of(&*panic),
                // The runtime ends.
                Err(_) => return,
            },
        };
        if !failures.tell(task, &failure) {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Runs a task that cannot be begun again: if it panics, the daemon stops.
pub async fn once(task: &'static str, run: impl Future<Output = ()> + Send + 'static) {
    if let Err(ended) = tokio::spawn(run).await
        && let Ok(panic) = ended.try_into_panic()
    {
        telemetry::task_failed(task);
        give_up(task, &words_of(&*panic));
    }
}

/// A thread that is kept going until its work ends, and begins it again when it panics. Its name is the
/// task's.
///
/// # Errors
/// When the system gives no thread.
pub fn keep_thread(
    task: &'static str,
    mut run: impl FnMut() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let keep = move || {
        let mut failures = Failures::default();
        // What it leaves half done is behind locks that nobody minds to find poisoned (see `lock`).
        while let Err(panic) = catch_unwind(AssertUnwindSafe(&mut run)) {
            if !failures.tell(task, &words_of(&*panic)) {
                return;
            }
            thread::park_timeout(PAUSE);
        }
    };
    thread::Builder::new().name(task.to_owned()).spawn(keep)
}

/// A thread whose work cannot be begun again: if it panics, the daemon stops.
///
/// # Errors
/// When the system gives no thread.
pub fn thread_once(
    task: &'static str,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let run = move || {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            telemetry::task_failed(task);
            give_up(task, &words_of(&*panic));
        }
    };
    thread::Builder::new().name(task.to_owned()).spawn(run)
}

/// What a panic said.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it panicked".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn five_failures_in_a_minute_are_too_many_and_older_ones_are_forgotten() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut failures = Failures::default();
        assert!([0, 1, 2, 3].into_iter().all(|seconds| !failures.note(at(seconds))));
        assert!(!failures.note(at(60)), "the first is a minute old");
        assert!(failures.note(at(60)));
    }

    /// Fails in two ways until it was begun so often, and then ends.
    async fn fails(begun: Arc<AtomicUsize>, until: usize) -> Result<(), String> {
        match begun.fetch_add(1, Ordering::Relaxed) + 1 {
            number if number == until => Ok(()),
            number if number % 2 == 0 => panic!("number {number}"),
            number => Err(format!("number {number}")),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_is_begun_again_until_it_ends_well() {
        let begun = Arc::new(AtomicUsize::new(0));
        keep("a test's task", || fails(Arc::clone(&begun), 4)).await;
        assert_eq!(begun.load(Ordering::Relaxed), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_keeps_failing_is_given_up_and_told() {
        let begun = Arc::new(AtomicUsize::new(0));
        keep("a test's failing task", || fails(Arc::clone(&begun), usize::MAX)).await;
        assert_eq!(begun.load(Ordering::Relaxed), MAX_FAILURES);
        given_up().await;
    }

    #[test]
    fn a_thread_goes_on_after_a_panic_and_ends_with_its_work() {
        let begun = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&begun);
        let run = move || assert!(count.fetch_add(1, Ordering::Relaxed) > 0, "the first time");
        keep_thread("a-test", run).unwrap().join().unwrap();
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn what_cannot_be_begun_again_stops_the_daemon_at_once() {
        thread_once("a-test-once", || panic!("once")).unwrap().join().unwrap();
        given_up().await;
        once("a test's only task", async { panic!("once") }).await;
    }
}
