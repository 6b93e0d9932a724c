//! One call to X on behalf of an upload: token, counting, limits, and the few repeats that are worth making at once.
//!
//! **Invariant:** no call leaves for an endpoint whose window this upload, or for segments any worker, saw used up. **Invariant:** a token
//! refresh that has begun is never dropped half done, not even when the upload is.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use crier_core::answer::{CallFault, Endpoint};
use crier_core::limit::{Window, believed, blocked_until};
use crier_core::price::Priced;
use crier_core::retry::backoff;
use crier_core::verdict::{Action, Step, Verdict, judge};
use crier_store::Upload;
use crier_x::{Auth, MediaEncoding, Reply, XClient, XConfig};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::Worker;
use crate::reasons::status;
use crate::stage::Place;
use crate::stage::stop::{Stop, limited};
use crate::token::{NoToken, can_be_refreshed};

/// Repeats of one call within an attempt.
const REPEATS: u32 = 3;
/// Ceiling of the first wait before such a repeat, and of all of them.
const REPEAT_BASE: Duration = Duration::from_millis(500);
const REPEAT_CAP: Duration = Duration::from_secs(4);
/// An access token is read anew from the database after this time.
const TOKEN_READ: Duration = Duration::from_secs(20);

/// One upload in hand.
#[derive(Debug)]
pub(super) struct Staging {
    pub(super) worker: Worker,
    pub(super) upload: Upload,
    pub(super) place: Place,
    x: XClient,
    tasks: TaskTracker,
    token: Option<(Auth, i64, Instant)>,
    closed: Vec<(Endpoint, DateTime<Utc>)>,
}

/// Why a call brought nothing, for those who can make something of it.
#[derive(Debug)]
pub(super) enum Trouble {
    /// X, or the way to it; judged.
    Fault(CallFault, Verdict, Endpoint),
    /// Nothing to be done about it here.
    Stop(Stop),
}

impl Staging {
    pub(super) fn new(worker: Worker, upload: Upload, place: Place, tasks: TaskTracker) -> Self {
        let x = worker.x.clone();
        Self {
            worker,
            upload,
            place,
            x,
            tasks,
            token: None,
            closed: Vec::new(),
        }
    }

    /// Makes a call; `repeats` says whether one that may have been carried out can be made again blindly.
    pub(super) async fn call<T, Call>(
        &mut self,
        endpoint: Endpoint,
        repeats: bool,
        call: impl Fn(XClient, Auth) -> Call,
    ) -> Result<T, Trouble>
    where
        Call: Future<Output = Result<Reply<T>, CallFault>>,
    {
        let (mut tries, mut spent) = (0_u32, None);
        loop {
            self.check_open(endpoint).await?;
            let (auth, version) = self.token(spent).await?;
            let begin = Instant::now();
            let renewable = can_be_refreshed(&auth);
            let answer = call(self.x.clone(), auth).await;
            let took = begin.elapsed();
            let metrics = &self.worker.metrics;
            let fault = match answer {
                Ok(reply) => {
                    metrics.x_request(endpoint, Some(reply.status), None, took);
                    self.note(endpoint, &reply.windows).await?;
                    self.count(endpoint).await?;
                    return Ok(reply.value);
                }
                Err(fault) => fault,
            };
            let verdict = judge(Step::Media, &fault);
            metrics.x_request(endpoint, status(&fault), Some(verdict.code), took);
            if let CallFault::Refused(answer) = &fault {
                self.note(endpoint, &answer.windows).await?;
            }
            match verdict.action {
                Action::RefreshToken if spent.is_none() && renewable => {
                    spent = Some(version);
                    self.token = None;
                }
                Action::SwitchEncoding if self.switch_encoding(endpoint) => {}
                // A 404 of a media endpoint has been an outage more often than a lost session (x-api.md 3.9).
                Action::Retry | Action::NewSession
                    if repeats && tries < REPEATS && status(&fault) != Some(400) =>
                {
                    tries += 1;
                    let chance = (self.worker.chance)();
                    tokio::time::sleep(backoff(tries, REPEAT_BASE, REPEAT_CAP, chance)).await;
                    if endpoint == Endpoint::MediaAppend {
                        self.worker.metrics.segment_resent();
                    }
                }
                Action::Retry
                | Action::RetrySlowly
                | Action::RefreshToken
                | Action::WaitForLimit
                | Action::PauseAccount
                | Action::PauseApp
                | Action::FailJob
                | Action::Reupload
                | Action::NewSession
                | Action::SmallerChunk
                | Action::SwitchEncoding
                | Action::Reconcile => return Err(Trouble::Fault(fault, verdict, endpoint)),
            }
        }
    }

    /// The end of this upload that the trouble means.
    pub(super) async fn give_up(&self, trouble: Trouble) -> Stop {
        match trouble {
            Trouble::Fault(fault, verdict, endpoint) => {
                self.stop_for(Step::Media, endpoint, &fault, verdict).await
            }
            Trouble::Stop(stop) => stop,
        }
    }

    /// From now on, no call to that endpoint before `until`.
    pub(super) fn close(&mut self, endpoint: Endpoint, until: DateTime<Utc>) {
        self.closed.retain(|(closed, _)| *closed != endpoint);
        self.closed.push((endpoint, until));
    }

    async fn check_open(&self, endpoint: Endpoint) -> Result<(), Trouble> {
        let closed = self.closed.iter().find(|(closed, _)| *closed == endpoint);
        let Some((_, until)) = closed else {
            return Ok(());
        };
        let now = self.worker.store.now().await;
        match now.map_err(|error| Trouble::Stop(error.into()))? {
            now if now <= *until => Err(Trouble::Stop(limited(*until))),
            _ => Ok(()),
        }
    }

    /// Keeps what the headers said. A segment with calls left is no news worth a write.
    async fn note(&mut self, endpoint: Endpoint, windows: &[Window]) -> Result<(), Trouble> {
        let mut until = blocked_until(windows);
        if until.is_some() {
            let now = self.worker.store.now().await;
            let now = now.map_err(|error| Trouble::Stop(error.into()))?;
            until = blocked_until(&believed(windows, now));
        }
        if let Some(until) = until {
            self.close(endpoint, until);
        }
        if windows.is_empty() || (until.is_none() && endpoint == Endpoint::MediaAppend) {
            return Ok(());
        }
        let account = self.upload.lease.account;
        let store = &self.worker.store;
        let noted = store.note_media_windows(account, endpoint.label(), windows);
        noted.await.map_err(|error| Trouble::Stop(error.into()))
    }

    /// What a success costs, and that a limit of which X did not say when it ends is over.
    async fn count(&self, endpoint: Endpoint) -> Result<(), Trouble> {
        let (worker, account) = (&self.worker, self.upload.lease.account);
        // One write a segment is enough.
        if endpoint == Endpoint::MediaAppend {
            return Ok(());
        }
        let mut passed = vec![endpoint.label()];
        if endpoint == Endpoint::MediaFinalize {
            passed.push(Endpoint::MediaAppend.label());
        }
        if endpoint == Endpoint::MediaMetadata {
            let charge = worker.options.prices.charge(Priced::Metadata, 1);
            worker.charge(account, charge).await;
        }
        let noted = worker.store.limit_passed(account, &passed).await;
        noted.map_err(|error| Trouble::Stop(error.into()))
    }

    async fn token(&mut self, spent: Option<i64>) -> Result<(Auth, i64), Trouble> {
        if let Some((auth, version, read)) = &self.token
            && read.elapsed() < TOKEN_READ
        {
            return Ok((auth.clone(), *version));
        }
        let (worker, account) = (self.worker.clone(), self.upload.lease.account);
        // In a task of its own: dropped between X's answer and the commit, it would lose the only token that works.
        let asking = async move { worker.token(account, spent).await };
        let token = self
            .tasks
            .spawn(asking.in_current_span())
            .await
            .unwrap_or(Err(NoToken::Busy));
        match token {
            Ok((auth, version)) => {
                self.token = Some((auth.clone(), version, Instant::now()));
                Ok((auth, version))
            }
            Err(no_token) => Err(Trouble::Stop(self.without_token(no_token).await)),
        }
    }

    /// Sends files in the other form from now on, once; false if that was done before or is no help here.
    fn switch_encoding(&mut self, endpoint: Endpoint) -> bool {
        let config = self.x.config();
        if !matches!(endpoint, Endpoint::MediaAppend | Endpoint::MediaUpload)
            || config.media_encoding != self.worker.x.config().media_encoding
        {
            return false;
        }
        let media_encoding = match config.media_encoding {
            MediaEncoding::Multipart => MediaEncoding::Json,
            MediaEncoding::Json => MediaEncoding::Multipart,
        };
        let Ok(other) = self.x.with_config(XConfig {
            media_encoding,
            ..config.clone()
        }) else {
            return false;
        };
        tracing::warn!(
            job = self.upload.job,
            "X refused the form of an upload; sending it as {media_encoding:?}"
        );
        self.x = other;
        true
    }
}
