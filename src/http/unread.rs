//! A request's body: it must come at a pace, and what of it nobody reads is thrown away.
//!
//! A refusal is answered while the client still writes, and if the connection were closed then, the
//! system would throw the answer away that the client has not read yet. So the rest is read and thrown
//! away, for a while.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::limits::{BODY_START, MIN_RATE};
use super::paced::Timer;
use crate::telemetry;

/// Most bytes that are read after a refusal: a client that has more to say is cut off.
const MAX_REST: usize = 1 << 20;

/// How long they may take: many round trips.
const REST_TIMEOUT: Duration = Duration::from_secs(2);

/// The body comes more slowly than at [`MIN_RATE`].
#[derive(Debug, thiserror::Error)]
#[error("the body comes too slowly: after {} s it must have at least {MIN_RATE} bytes a second", BODY_START.as_secs())]
pub struct TooSlow;

impl TooSlow {
    /// Whether a body could not be read for this reason.
    #[must_use]
    pub fn is_behind(error: &(dyn Error + 'static)) -> bool {
        error.is::<TooSlow>() || error.source().is_some_and(TooSlow::is_behind)
    }
}

/// A request's body, whose rest is read when it is dropped.
pub(super) struct ReadOn {
    /// Until its end, or an error.
    body: Option<Incoming>,
    /// The client asks first whether it may send the body, and was not told so.
    is_withheld: bool,
    /// Since when it is read, and how many bytes came.
    began: Option<Instant>,
    bytes: u64,
    timer: Timer,
}

/// The same request with such a body.
pub(super) fn read_on(request: Request<Incoming>) -> Request<ReadOn> {
    let is_withheld = expects_permission(request.headers());
    request.map(|body| ReadOn {
        body: Some(body),
        is_withheld,
        began: None,
        bytes: 0,
        timer: Timer::default(),
    })
}

fn expects_permission(headers: &HeaderMap) -> bool {
    headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

impl Body for ReadOn {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        // To poll the body is what gives the permission.
        self.is_withheld = false;
        let began = *self.began.get_or_insert_with(Instant::now);
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match Pin::new(body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(last) => {
                self.body = None;
                Poll::Ready(last.map(|it| it.map_err(Into::into)))
            }
            Poll::Pending => {
                let earned = Duration::from_secs(self.bytes / MIN_RATE);
                ready!(self.timer.poll(began + BODY_START + earned, context));
                telemetry::connection_cut("body");
                // The rest comes no faster: nobody is to wait for it.
                self.body = None;
                Poll::Ready(Some(Err(TooSlow.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for ReadOn {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        if self.is_withheld || body.is_end_stream() {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(REST_TIMEOUT, throw_away(body)));
        }
    }
}

async fn throw_away(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > MAX_REST {
            return;
        }
    }
}
