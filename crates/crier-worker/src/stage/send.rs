//! The bytes of one file: session, segments, finalize, processing.
//!
//! **Invariant:** one segment is in memory at a time; a segment leaves only after the one before it was acknowledged and
//! that is committed; finalize is sent again only after STATUS did not know of it.

use std::time::Duration;

use crier_core::answer::{CallFault, Endpoint};
use crier_core::fault::Fault;
use crier_core::verdict::Action;
use crier_store::NewSession;
use crier_x::{MediaState, NewMedia, Processing, ProcessingState};
use tokio::time::Instant;

use crate::folder::MediaFile;
use crate::reasons::status;
use crate::stage::call::{Staging, Trouble};
use crate::stage::stop::{Stop, failed};

/// Segments that X takes: their numbers go from 0 to 999 (x-api.md 3.4).
const MOST_SEGMENTS: u64 = 1000;
/// Smaller ones are not tried: then it is not the size that X objects to.
const LEAST_SEGMENT: u32 = 64 * 1024;
/// Shortest and longest wait between two looks; X names its own in between.
const LOOKS_S: (u64, u64) = (1, 60);
/// Times that finalize is sent within one attempt.
const FINALIZES: u32 = 3;

/// A session that an earlier worker opened, and how far it came.
#[derive(Debug, Clone)]
pub(super) struct Resumed {
    pub(super) media_id: String,
    /// `None`: the file is at X as a whole.
    pub(super) segment_bytes: Option<u32>,
    pub(super) done: u16,
    /// Finalize may have been sent.
    pub(super) finalizing: bool,
}

impl Staging {
    /// Brings a whole file to X and waits until X has processed it. With `kept` its progress is kept in the upload's
    /// row; small side files begin anew after a crash.
    pub(super) async fn send(
        &mut self,
        file: &MediaFile,
        media: &NewMedia,
        resumed: Option<Resumed>,
        kept: bool,
    ) -> Result<MediaState, Stop> {
        let least = u32::try_from(file.bytes.div_ceil(MOST_SEGMENTS)).unwrap_or(u32::MAX);
        let own = self.worker.options.segment_bytes.max(LEAST_SEGMENT);
        // What X found too large of this file, or lately of this account, is not tried again.
        let known = [self.upload.segment_bytes, self.upload.account_segment_bytes]
            .into_iter()
            .flatten()
            .filter_map(|bytes| u32::try_from(bytes).ok());
        let mut segment_bytes = known.fold(own, u32::min).max(least);
        let mut session = resumed;
        loop {
            let begun = match session.take() {
                Some(resumed) => resumed,
                None => self.initialize(file, media, segment_bytes, kept).await?,
            };
            segment_bytes = begun.segment_bytes.unwrap_or(segment_bytes);
            if begun.finalizing {
                return self.finish(&begun.media_id, true).await;
            }
            match self.segments(file, &begun, segment_bytes, kept).await {
                Ok(()) => {}
                Err(Trouble::Fault(fault, verdict, endpoint))
                    if verdict.action == Action::SmallerChunk =>
                {
                    // Halves have other numbers, so they need another session.
                    let half = (segment_bytes / 2).max(LEAST_SEGMENT).max(least);
                    if half == segment_bytes {
                        return Err(self.give_up(Trouble::Fault(fault, verdict, endpoint)).await);
                    }
                    segment_bytes = half;
                    let account = self.upload.lease.account;
                    let store = &self.worker.store;
                    let kept = i32::try_from(half).unwrap_or(i32::MAX);
                    store.note_segment_bytes(account, kept).await?;
                    self.upload.account_segment_bytes = Some(kept);
                    continue;
                }
                Err(trouble) => return Err(self.give_up(trouble).await),
            }
            if !file.is_unchanged().await {
                return Err(self
                    .file_changed("its size or time is not what it was")
                    .await);
            }
            if kept {
                let ttl = self.worker.options.lease;
                self.worker.store.finalizing(&self.upload, ttl).await?;
            }
            return self.finish(&begun.media_id, false).await;
        }
    }

    async fn initialize(
        &mut self,
        file: &MediaFile,
        media: &NewMedia,
        segment_bytes: u32,
        kept: bool,
    ) -> Result<Resumed, Stop> {
        let begun = self
            .call(Endpoint::MediaInitialize, true, |x, auth| {
                let media = media.clone();
                async move { x.media_initialize(&auth, &media).await }
            })
            .await;
        let session = match begun {
            Ok(session) => session,
            Err(trouble) => return Err(self.give_up(trouble).await),
        };
        if kept {
            let saved = NewSession {
                media_id: session.id.clone(),
                media_type: media.media_type.clone(),
                category: media.media_category.clone(),
                total_bytes: i64::try_from(file.bytes).unwrap_or(i64::MAX),
                file_stamp: file.stamp.clone(),
                segment_bytes: Some(i32::try_from(segment_bytes).unwrap_or(i32::MAX)),
                expires_in_s: session.expires_after_s,
            };
            let ttl = self.worker.options.lease;
            self.worker
                .store
                .save_session(&self.upload, &saved, ttl)
                .await?;
        }
        Ok(Resumed {
            media_id: session.id,
            segment_bytes: Some(segment_bytes),
            done: 0,
            finalizing: false,
        })
    }

    async fn segments(
        &mut self,
        file: &MediaFile,
        session: &Resumed,
        segment_bytes: u32,
        kept: bool,
    ) -> Result<(), Trouble> {
        let size = u64::from(segment_bytes);
        let mut index = session.done;
        loop {
            let from = u64::from(index) * size;
            if from >= file.bytes {
                return Ok(());
            }
            let length = size.min(file.bytes - from);
            let wanted = usize::try_from(length).unwrap_or(usize::MAX);
            let Ok(segment) = file.read(from, wanted).await else {
                let stop = self
                    .file_changed("it became shorter, or could not be read")
                    .await;
                return Err(Trouble::Stop(stop));
            };
            self.call(Endpoint::MediaAppend, true, |x, auth| {
                let (id, segment) = (session.media_id.clone(), segment.clone());
                async move { x.media_append(&auth, &id, index, segment).await }
            })
            .await?;
            drop(segment);
            self.worker.metrics.segment_acknowledged(length);
            index += 1;
            if kept {
                let (store, ttl) = (&self.worker.store, self.worker.options.lease);
                let blocked = store
                    .segment_done(&self.upload, &session.media_id, i32::from(index), ttl)
                    .await
                    .map_err(|error| Trouble::Stop(error.into()))?;
                if let Some(until) = blocked {
                    self.close(Endpoint::MediaAppend, until);
                }
            }
        }
    }

    /// From the last segment to ready. `perhaps`: finalize may have been sent before.
    async fn finish(&mut self, media_id: &str, perhaps: bool) -> Result<MediaState, Stop> {
        let mut state = if perhaps {
            self.look(media_id).await?
        } else {
            None
        };
        let mut sent = 0;
        let state = loop {
            if let Some(state) = state {
                break state;
            }
            sent += 1;
            let finalized = self
                .call(Endpoint::MediaFinalize, false, |x, auth| {
                    let id = media_id.to_owned();
                    async move { x.media_finalize(&auth, &id).await }
                })
                .await;
            match finalized {
                Ok(state) => break state,
                Err(Trouble::Fault(fault, verdict, _))
                    if matches!(verdict.action, Action::Retry | Action::NewSession)
                        && status(&fault) != Some(400)
                        && sent < FINALIZES =>
                {
                    tokio::time::sleep(Duration::from_secs(LOOKS_S.0)).await;
                    state = self.look(media_id).await?;
                }
                Err(trouble) => return Err(self.give_up(trouble).await),
            }
        };
        self.processed(media_id, state).await
    }

    /// What STATUS says; `None` if X refuses to say, as it does for pictures and before finalize (x-api.md 3.6).
    async fn look(&mut self, media_id: &str) -> Result<Option<MediaState>, Stop> {
        match self.status(media_id).await {
            Ok(state) => Ok(Some(state)),
            Err(Trouble::Fault(CallFault::Refused(answer), ..))
                if answer.status == 400 || answer.status == 404 =>
            {
                Ok(None)
            }
            Err(trouble) => Err(self.give_up(trouble).await),
        }
    }

    async fn status(&mut self, media_id: &str) -> Result<MediaState, Trouble> {
        self.call(Endpoint::MediaStatus, true, |x, auth| {
            let id = media_id.to_owned();
            async move { x.media_status(&auth, &id).await }
        })
        .await
    }

    /// Waits until X has processed the file, without taking a place from files that have bytes to send.
    pub(super) async fn processed(
        &mut self,
        media_id: &str,
        first: MediaState,
    ) -> Result<MediaState, Stop> {
        let begin = Instant::now();
        let mut life_s = first.expires_after_s;
        let mut state = first;
        while let Some(processing) = &state.processing {
            if processing.state == ProcessingState::Failed || processing.error.is_some() {
                return Err(failed(refused_by_processing(processing)));
            }
            if processing.state == ProcessingState::Succeeded {
                break;
            }
            if begin.elapsed() >= self.worker.options.processing {
                return Err(self.stuck(begin.elapsed()).await);
            }
            self.place.give_back();
            let wait = processing.check_after_s.unwrap_or(LOOKS_S.0);
            tokio::time::sleep(Duration::from_secs(wait.clamp(LOOKS_S.0, LOOKS_S.1))).await;
            state = match self.status(media_id).await {
                Ok(state) => state,
                Err(trouble) => return Err(self.give_up(trouble).await),
            };
            life_s = life_s.or(state.expires_after_s);
        }
        state.expires_after_s = life_s;
        Ok(state)
    }
}

/// X's own words on a file that it could not process.
fn refused_by_processing(processing: &Processing) -> Fault {
    let (code, name, message) = processing.error.as_ref().map_or_else(
        || (None, "", ""),
        |error| (error.code, error.name.as_str(), error.message.as_str()),
    );
    let code = code.map(|code| format!("code {code}"));
    let said: Vec<&str> = [code.as_deref().unwrap_or(""), name, message]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    let detail = if said.is_empty() {
        "X gives no reason".to_owned()
    } else {
        said.join(": ")
    };
    Fault::new(
        "media_processing_failed",
        "X could not process a file",
        detail,
        "encode the file as X asks (H.264 and AAC, 0.5 to 140 s) and insert the post again",
    )
}

#[cfg(test)]
mod tests {
    use crier_x::ProcessingError;

    use super::*;

    #[test]
    fn the_words_of_x_reach_the_operator() {
        let mut processing = Processing {
            state: ProcessingState::Failed,
            check_after_s: None,
            progress_percent: None,
            error: Some(ProcessingError {
                code: Some(3),
                name: "UnsupportedMedia".into(),
                message: "Duration exceeds".into(),
            }),
        };
        let fault = refused_by_processing(&processing);
        assert_eq!(fault.detail, "code 3: UnsupportedMedia: Duration exceeds");
        processing.error = None;
        assert_eq!(
            refused_by_processing(&processing).detail,
            "X gives no reason"
        );
    }
}
