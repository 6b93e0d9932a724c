//! One attempt by `statuses/update_with_media`: figures, files, allowance, intent, call.
//!
//! **Invariant:** the files are part of the call, so that the post never goes out bare; what is held of them in memory is
//! bounded by the gateway's own figures.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crier_core::answer::{CallFault, Endpoint};
use crier_core::fault::Fault;
use crier_core::limit::Window;
use crier_core::lint::{Draft, MediaFact, sending_faults};
use crier_core::media::{MediaItem, MediaKind, parse_media, sniff};
use crier_core::options::PostOptions;
use crier_core::retry::{Pace, next_attempt};
use crier_core::text::ORDINARY_LIMIT;
use crier_core::tier::Tier;
use crier_core::v1::{MOST_GIF_BYTES, V1Limits, limit_fault, parameters};
use crier_core::verdict::{Action, Step, judge};
use crier_store::{Claimed, Settlement, Why};
use crier_x::{Auth, V1Media};
use serde_json::json;

use crate::Worker;
use crate::attempt::{Done, SKEW_ALLOWANCE, Stopped, too_late};
use crate::folder::MediaFile;
use crate::reasons::{plain_why, status};
use crate::token::NoToken;

/// The gateway's figures are asked for anew after this time, as X's page asks.
const FIGURES_LAST: Duration = Duration::from_hours(24);

/// The gateway's figures, as every clone of a worker knows them.
#[derive(Debug, Clone, Default)]
pub struct V1Cache(Arc<Mutex<Option<(V1Limits, Instant)>>>);

impl V1Cache {
    fn get(&self) -> Option<V1Limits> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.and_then(|(limits, since)| (since.elapsed() < FIGURES_LAST).then_some(limits))
    }

    fn set(&self, limits: V1Limits) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((limits, Instant::now()));
    }
}

/// What X would surely refuse of a job.
pub(crate) fn unfit(job: &Claimed, options: &PostOptions, media: &[MediaFact]) -> Option<Fault> {
    let draft = Draft {
        text: &job.text,
        options,
        media,
        is_reply: job.after.is_some(),
        handle: &job.handle,
        replies_to_own: job.replies_to_own,
        tier: Tier::Standard,
        publisher: job.publisher,
        text_limit: job.text_limit,
        scopes: None,
        self_serve: false,
    };
    sending_faults(&draft).into_iter().next()
}

/// The job can never go out as it is.
pub(crate) fn failed(fault: &Fault) -> Settlement {
    Settlement::Failed(Why {
        code: fault.code.clone(),
        http_status: None,
        error: json!(fault),
    })
}

impl Worker {
    /// Publishes a job whose options were read.
    pub(crate) async fn publish_by_v1(
        &self,
        job: &Claimed,
        options: &PostOptions,
    ) -> Result<Done, Stopped> {
        let none = Vec::new();
        let items = job.media.as_ref().map_err(Clone::clone);
        let items = match items.and_then(parse_media) {
            Ok(items) => items,
            Err(fault) => return Ok((failed(&fault), none)),
        };
        let facts: Vec<MediaFact> = items.iter().map(told).collect();
        if let Some(fault) = unfit(job, options, &facts) {
            return Ok((failed(&fault.at_step("publish")), none));
        }
        let auth = match self.signer(job.lease.account).await {
            Ok((auth, _)) => auth,
            Err(no_token) => return Ok((self.without_signer(job, no_token).await?, none)),
        };
        let limits = match self.v1_limits(&auth).await {
            Ok(limits) => limits,
            Err(fault) => {
                let verdict = judge(Step::Read, &fault);
                return Ok((self.outcome(job, &fault, verdict, Step::Read).await?, none));
            }
        };
        let media = match self.read_files(job, &items, &limits).await {
            Ok(media) => media,
            Err(fault) => return Ok((failed(&fault), none)),
        };
        if let Some(settlement) = self.no_allowance(job, media.len()).await? {
            return Ok((settlement, none));
        }
        let fields = parameters(&job.text, options, job.reply_to.as_deref());
        let margin = self.x.config().timeout + SKEW_ALLOWANCE;
        let departure = match self.intend(job, margin, &[]).await? {
            Ok(departure) => departure,
            Err(late) => return Ok((late, none)),
        };
        let begin = Instant::now();
        let call = self.x.update_with_media(&auth, &fields, media, &departure);
        let answer = self.quit.or_hurry(call).await;
        let (took, endpoint) = (begin.elapsed(), Endpoint::UpdateWithMedia);
        let fault = match answer {
            Ok(reply) => {
                self.metrics
                    .x_request(endpoint, Some(reply.status), None, took);
                let post_id = reply.value.0;
                return Ok((Settlement::Published { post_id }, reply.windows));
            }
            Err(fault) => fault,
        };
        let mut verdict = judge(Step::Publish, &fault);
        self.metrics
            .x_request(endpoint, status(&fault), Some(verdict.code), took);
        if departure.is_missed() {
            return Ok((too_late(), none));
        }
        if verdict.action == Action::PauseApp && verdict.code == "access_level" {
            // The plan lacks v1.1, which keeps no account from publishing by v2.
            verdict.action = Action::PauseAccount;
            verdict.code = "v1_access_level";
            verdict.hint = "the app's plan does not hold v1.1: `crier accounts publisher HANDLE v2`, then `crier accounts resume`";
        }
        if verdict.action == Action::Reupload {
            // Nothing was uploaded before: the files themselves are what X refuses.
            verdict.action = Action::FailJob;
        }
        let windows: Vec<Window> = match &fault {
            CallFault::Refused(answer) => answer.windows.clone(),
            CallFault::NotSent { .. } | CallFault::NoAnswer { .. } => none,
        };
        match self.outcome_of_call(job, &fault, verdict).await {
            Ok(settlement) => Ok((settlement, windows)),
            Err(error) => Err(Stopped { error, sent: true }),
        }
    }

    async fn v1_limits(&self, auth: &Auth) -> Result<V1Limits, CallFault> {
        if let Some(limits) = self.v1.get() {
            return Ok(limits);
        }
        let begin = Instant::now();
        let endpoint = Endpoint::V1Configuration;
        let limits = match self.x.v1_configuration(auth).await {
            Ok(reply) => {
                self.metrics
                    .x_request(endpoint, Some(reply.status), None, begin.elapsed());
                reply.value.within_reason()
            }
            Err(fault) => {
                let code = judge(Step::Read, &fault).code;
                self.metrics
                    .x_request(endpoint, status(&fault), Some(code), begin.elapsed());
                if !matches!(status(&fault), Some(404 | 410)) {
                    return Err(fault);
                }
                tracing::warn!(
                    "the gateway has no `help/configuration`: going by the figures that X had last"
                );
                V1Limits::default()
            }
        };
        self.v1.set(limits);
        Ok(limits)
    }

    /// The files, whole. None is read that the gateway would not take.
    async fn read_files(
        &self,
        job: &Claimed,
        items: &[MediaItem],
        limits: &V1Limits,
    ) -> Result<Vec<V1Media>, Fault> {
        let mut files = Vec::with_capacity(items.len());
        for item in items {
            let Some(path) = &item.path else {
                return Err(Fault::new(
                    "v1_media",
                    "v1.1 does not take these media",
                    "a file of a `url` is not fetched for v1.1",
                    "put the file into the media folder and give its `path`",
                )
                .at_step("publish"));
            };
            let file = MediaFile::open(&self.options.media_root, path).await?;
            files.push((path, file));
        }
        let sizes: Vec<u64> = files.iter().map(|(_, file)| file.bytes).collect();
        if let Some(fault) = limit_fault(&job.text, &sizes, ORDINARY_LIMIT, limits) {
            return Err(fault);
        }
        let mut media = Vec::with_capacity(files.len());
        for (path, file) in files {
            media.push(read(path, &file).await?);
        }
        Ok(media)
    }

    /// X counts the media of a day: what does not fit into what is left waits for the next one.
    async fn no_allowance(
        &self,
        job: &Claimed,
        count: usize,
    ) -> Result<Option<Settlement>, Stopped> {
        let (account, endpoint) = (job.lease.account, Endpoint::UpdateWithMedia);
        let Some((left, reset)) = self.store.day_left(account, endpoint).await? else {
            return Ok(None);
        };
        if usize::try_from(left).is_ok_and(|left| left >= count) {
            return Ok(None);
        }
        let now = self.store.now().await?;
        let until = next_attempt(1, now, Some(reset), Pace::Limit, (self.chance)());
        let why = plain_why(
            "v1_media_limit",
            "the account's allowance of media for this day is used up",
            "publish",
            "nothing to do: crier waits until X's limit resets",
        );
        Ok(Some(Settlement::Snoozed {
            until: Some(until),
            why,
        }))
    }

    async fn without_signer(
        &self,
        job: &Claimed,
        no_token: NoToken,
    ) -> Result<Settlement, Stopped> {
        if !matches!(no_token, NoToken::Absent) {
            return Ok(self.without_token(job, no_token).await?);
        }
        let why = plain_why(
            "v1_no_tokens",
            "the account publishes by v1.1 and has no OAuth 1.0a tokens",
            "token",
            "import them with `crier auth import`, or let the account publish by v2",
        );
        self.pause_account(job.lease.account, &why.error).await?;
        Ok(Settlement::Snoozed { until: None, why })
    }
}

/// What the row says of a file that is not opened yet.
fn told(item: &MediaItem) -> MediaFact {
    MediaFact {
        category: item.category,
        has_subtitles: !item.subtitles.is_empty(),
        has_alt_text: item.alt_text.as_ref().is_some_and(|text| !text.is_empty()),
        ..MediaFact::default()
    }
}

async fn read(path: &str, file: &MediaFile) -> Result<V1Media, Fault> {
    let fault = |code: &str, title: &str, why: &str, hint: &str| {
        let path = path.escape_debug();
        Fault::new(code, title, format!("`{path}` {why}"), hint).at_step("publish")
    };
    let kind = sniff(&file.head);
    let media_type = match kind {
        Some(MediaKind::Gif) if file.bytes > MOST_GIF_BYTES => {
            return Err(fault(
                "v1_media",
                "v1.1 does not take these media",
                "is a GIF of more than 3 MB",
                "make it smaller",
            ));
        }
        Some(kind @ (MediaKind::Png | MediaKind::Jpeg | MediaKind::Gif)) => kind.media_type(),
        Some(_) | None => {
            return Err(fault(
                "v1_media",
                "v1.1 does not take these media",
                "is neither PNG nor JPEG nor GIF",
                "give a file of one of these kinds",
            ));
        }
    };
    let length = usize::try_from(file.bytes).unwrap_or(usize::MAX);
    let bytes = match file.read(0, length).await {
        Ok(bytes) if file.is_unchanged().await => bytes,
        Ok(_) | Err(_) => {
            return Err(fault(
                "media_changed",
                "a file changed while it was read",
                "is not what it was",
                "write files elsewhere and move them in place; then `crier jobs retry`",
            ));
        }
    };
    Ok(V1Media {
        media_type: media_type.to_owned(),
        bytes,
    })
}
