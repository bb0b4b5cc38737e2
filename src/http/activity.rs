//! What a connection is doing: waiting for a request, or answering one. Its time limits and its claim
//! to its place hang on that.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

/// In place of a time: a request is being answered.
const ANSWERING: u64 = u64::MAX;

/// In place of a time: the answer is made, and the client has not taken all of it.
const WRITING: u64 = u64::MAX - 1;

/// One connection's activity. Its stream, its service and the register of places share it.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// Milliseconds after `began` at which it began to wait for a request, or what it does instead.
    waits_since: AtomicU64,
    /// Its place was given to another.
    is_ousted: AtomicBool,
    waker: AtomicWaker,
}

impl Activity {
    /// A connection that waits for its first request.
    pub(super) fn new() -> Activity {
        Activity {
            began: Instant::now(),
            waits_since: AtomicU64::new(0),
            is_ousted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// A whole head has come.
    pub(super) fn begin_answer(&self) {
        self.waits_since.store(ANSWERING, Ordering::Release);
    }

    /// All of the answer has been handed to the stream.
    pub(super) fn end_answer(&self) {
        self.waits_since.store(WRITING, Ordering::Release);
    }

    /// All that was handed to the stream is written.
    pub(super) fn written(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(WRITING - 1);
        // Of a request that is still being answered only a part was.
        let _answering =
            self.waits_since.compare_exchange(WRITING, since, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Since when it waits for a request; none while it answers one, or its client has not taken all of
    /// the answer.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        match self.waits_since.load(Ordering::Acquire) {
            ANSWERING | WRITING => None,
            since => Some(self.began + Duration::from_millis(since)),
        }
    }

    /// Takes its place away; it ends as soon as it waits for a request.
    pub(super) fn oust(&self) {
        self.is_ousted.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether its place was taken away. If not, `waker` is told when it is.
    pub(super) fn is_ousted(&self, waker: &Waker) -> bool {
        self.waker.register(waker);
        self.is_ousted.load(Ordering::Acquire)
    }

    /// Done when its place was taken away.
    pub(super) async fn ousted(&self) {
        poll_fn(|context| match self.is_ousted(context.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}
