//! A stream with time limits: for a request's head, between requests, and for a client that does not
//! take its answer. hyper knows only one of these. A client that begins with HTTP/2 is told that this is
//! HTTP/1.1: what hyper would do is to hang up.
//!
//! A body's pace is `body`'s matter, since nobody but its reader knows whether it is waited for.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Activity;
use super::limits::{ConnectionLimits, MIN_RATE};
use crate::telemetry;

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4), as far as no request can.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// What an HTTP/2 client understands: no settings, and the end of the connection for the reason 13,
/// `HTTP_1_1_REQUIRED`, with words for people (RFC 9113, sections 6.5 and 6.8).
fn http2_refusal() -> Vec<u8> {
    let code = "ERR_SLUICEGATE_1353";
    let words = format!("this address speaks HTTP/1.1: do not begin with HTTP/2 ({code})");
    let settings = [0u8, 0, 0, 4, 0, 0, 0, 0, 0];
    let length = u8::try_from(8 + words.len()).unwrap_or(8);
    let going = [0, 0, length, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13];
    [&settings[..], &going, words.as_bytes()].concat()
}

/// A stream that ends when the other side takes too long.
pub(super) struct Paced<S> {
    stream: S,
    limits: ConnectionLimits,
    activity: Arc<Activity>,
    /// Nothing has come yet.
    is_new: bool,
    /// When the first byte of the head that is being read came.
    head_began: Option<Instant>,
    reading: Timer,
    /// Since when bytes wait to be written, and how many were written since.
    blocked: Option<(Instant, u64)>,
    writing: Timer,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, limits: ConnectionLimits, activity: Arc<Activity>) -> Paced<S> {
        Paced {
            stream,
            limits,
            activity,
            is_new: true,
            head_began: None,
            reading: Timer::default(),
            blocked: None,
            writing: Timer::default(),
        }
    }

    /// Nothing came. Ends the stream if what is waited for is overdue.
    fn wait_to_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(since) = self.activity.waits_since() else { return Poll::Pending };
        if self.activity.is_ousted(context.waker()) {
            telemetry::connection_cut("place");
            return Poll::Ready(Ok(()));
        }
        let (deadline, limit) = match self.head_began {
            Some(began) => (began + self.limits.head_timeout, "head"),
            None => (since + self.limits.idle_timeout, "idle"),
        };
        ready!(self.reading.poll(deadline, context));
        telemetry::connection_cut(limit);
        // To hyper the end between two requests is no error, and in a head it is one.
        Poll::Ready(Ok(()))
    }

    /// Nothing could be written. Fails if that has been so for too long.
    fn wait_to_write<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let (since, written) = *self.blocked.get_or_insert_with(|| (Instant::now(), 0));
        let earned = Duration::from_secs(written / MIN_RATE);
        ready!(self.writing.poll(since + self.limits.write_timeout + earned, context));
        telemetry::connection_cut("write");
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn written(
        &mut self,
        polled: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Pending => self.wait_to_write(context),
            Poll::Ready(Ok(bytes)) => {
                if let Some((_, written)) = &mut self.blocked {
                    *written += bytes as u64;
                }
                polled
            }
            Poll::Ready(Err(_)) => polled,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.activity.waits_since().is_none() {
            self.head_began = None;
            return polled;
        }
        match polled {
            Poll::Pending => self.wait_to_read(context),
            Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                if std::mem::take(&mut self.is_new)
                    && buffer.filled()[before..].starts_with(HTTP2_PREFACE)
                {
                    telemetry::connection_cut("http2");
                    // Nothing was written before: there is room for it, or nobody who listens.
                    let stream = Pin::new(&mut self.stream);
                    let _written = stream.poll_write(context, &http2_refusal());
                    buffer.set_filled(before);
                    return Poll::Ready(Ok(()));
                }
                self.head_began.get_or_insert_with(Instant::now);
                polled
            }
            Poll::Ready(_) => polled,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(polled, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Pending => self.wait_to_write(context),
            flushed => {
                self.blocked = None;
                self.activity.written();
                flushed
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(context) {
            Poll::Pending => self.wait_to_write(context),
            ended => ended,
        }
    }
}

/// A timer that is seldom set: one that goes off early is set anew, so that a deadline that moves on
/// with each request costs nothing.
#[derive(Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready when the deadline is over.
    pub(super) fn poll(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(context));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}
