//! The latest moment at which a call that cannot be repeated may leave.
//!
//! **Invariant:** after that moment, by either clock of this machine, no byte of a body is handed to the connection. Its
//! head may have left; a request without the whole of its body is none (RFC 9112, section 8), so that X does nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use crier_core::answer::Endpoint;
use crier_core::failpoint::{self, Deed};
use http_body::{Body, Frame, SizeHint};

/// When something began, by both clocks of this machine: the monotonic one stands still while the machine sleeps, and the
/// wall clock may be set back.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    monotonic: Instant,
    wall: SystemTime,
}

impl Start {
    /// It begins now.
    #[expect(
        clippy::disallowed_methods,
        reason = "a clock of this machine is compared with itself; what is due is the database's to say"
    )]
    pub fn now() -> Self {
        Self::at(Instant::now(), SystemTime::now())
    }

    /// It began then.
    pub const fn at(monotonic: Instant, wall: SystemTime) -> Self {
        Self { monotonic, wall }
    }

    /// How long ago that is, by the clock that says more.
    pub fn elapsed(&self) -> Duration {
        let by_wall = self.wall.elapsed().unwrap_or_default();
        self.monotonic.elapsed().max(by_wall)
    }
}

/// Until when a call may leave, and whether it missed that. One for each call.
#[derive(Debug, Clone)]
pub struct Departure {
    start: Start,
    within: Duration,
    missed: Arc<AtomicBool>,
}

impl Departure {
    /// A call may leave until so much later.
    pub fn within(start: Start, within: Duration) -> Self {
        Self {
            start,
            within,
            missed: Arc::default(),
        }
    }

    fn is_past(&self) -> bool {
        self.start.elapsed() > self.within
    }

    /// Whether the call was held back for being late: then X surely did nothing.
    pub fn is_missed(&self) -> bool {
        self.missed.load(Ordering::SeqCst)
    }

    /// The body, which refuses to be read when it is too late.
    pub(crate) fn guard(&self, endpoint: Endpoint, body: reqwest::Body) -> reqwest::Body {
        reqwest::Body::wrap(Guarded {
            departure: self.clone(),
            endpoint,
            body,
        })
    }
}

/// As late as a program can look: when the connection asks for the bytes that it is about to write.
struct Guarded {
    departure: Departure,
    endpoint: Endpoint,
    body: reqwest::Body,
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_some() {
            failpoint::before(Deed::Body, self.endpoint.label());
            if self.departure.is_past() {
                self.departure.missed.store(true, Ordering::SeqCst);
                return Poll::Ready(Some(Err("it is too late for the call to leave".into())));
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
