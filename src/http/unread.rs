//! What becomes of a body that nobody reads to its end: a refusal is answered while the client still
//! writes, and if the connection were closed then, the system would throw the answer away that the
//! client has not read yet. So the rest is read and thrown away, for a while.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// Most bytes that are read after a refusal: a client that has more to say is cut off.
const MAX_REST: usize = 1 << 20;

/// How long they may take: many round trips.
const REST_TIMEOUT: Duration = Duration::from_secs(2);

/// A request's body, whose rest is read when it is dropped.
pub(super) struct ReadOn {
    /// Until its end, or an error.
    body: Option<Incoming>,
    /// The client asks first whether it may send the body, and was not told so.
    is_withheld: bool,
}

/// The same request with such a body.
pub(super) fn read_on(request: Request<Incoming>) -> Request<ReadOn> {
    let is_withheld = expects_permission(request.headers());
    request.map(|body| ReadOn { body: Some(body), is_withheld })
}

fn expects_permission(headers: &HeaderMap) -> bool {
    headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

impl Body for ReadOn {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // To poll the body is what gives the permission.
        self.is_withheld = false;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
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
