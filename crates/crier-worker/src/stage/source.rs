//! Where a file comes from: the media folder, an address, or the upload of another account.
//!
//! **Invariant:** what is fetched is known by its bytes: an upload goes on after a crash only if the address still answers
//! with the same ones. **Invariant:** the upload of another account is used only while X says that this account may, and
//! only for a file that is the same in everything that readers see.

use chrono::TimeDelta;
use crier_core::fault::Fault;
use crier_core::media::MediaItem;
use crier_core::retry::{Pace, next_attempt};
use crier_store::{Lent, NewSession, Why};
use crier_x::{Fetcher, MediaState, NewMedia, unspooled};
use serde_json::json;

use crate::folder::MediaFile;
use crate::spool;
use crate::stage::call::Staging;
use crate::stage::stop::{Later, Stop};

/// How soon an upload of another account is looked for again that is on its way.
const LENT_WAIT: TimeDelta = TimeDelta::seconds(2);
/// How long past its time a job waits for such an upload; after that its own is no slower.
const LENT_LATE: TimeDelta = TimeDelta::minutes(2);

/// Faults of an address that are worth an attempt even when its job is due.
const WORTH_A_RETRY: [&str; 2] = ["media_url_unreachable", "media_spool"];

impl Staging {
    /// The file of an item, open.
    pub(super) async fn file(&self, item: &MediaItem) -> Result<MediaFile, Stop> {
        match (&item.path, &item.url) {
            (Some(path), _) => self.open(path).await,
            (None, Some(url)) => match self.fetch(url, item).await {
                Ok(file) => Ok(file),
                Err(fault) => Err(self.bad_address(fault).await),
            },
            (None, None) => Err(self
                .bad_file(Fault::new(
                    "media_invalid",
                    "the `media` column is not as it should be",
                    "an item has neither `path` nor `url`",
                    "correct the row's `media`",
                ))
                .await),
        }
    }

    /// A file of the media folder.
    pub(super) async fn open(&self, path: &str) -> Result<MediaFile, Stop> {
        match MediaFile::open(&self.worker.options.media_root, path).await {
            Ok(file) => Ok(file),
            Err(fault) => Err(self.bad_file(fault).await),
        }
    }

    async fn fetch(&self, url: &str, item: &MediaItem) -> Result<MediaFile, Fault> {
        let options = &self.worker.options;
        let folder = options.spool_dir.clone();
        let made = tokio::task::spawn_blocking(move || spool::file(&folder)).await;
        let made = made.unwrap_or_else(|_| Err(std::io::Error::other("the writing thread died")));
        let file = made.map_err(|error| unspooled(&error))?;
        let mut into = tokio::fs::File::from_std(file);
        let fetched = Fetcher::new(options.urls.clone())
            .fetch(url, item.category, &mut into)
            .await?;
        tracing::debug!(
            job = self.upload.job,
            bytes = fetched.bytes,
            "fetched {}",
            item.source()
        );
        let stamp = format!("sha256:{}", fetched.sha256);
        MediaFile::spooled(into.into_std().await, fetched.bytes, stamp)
            .await
            .map_err(|error| unspooled(&error))
    }

    /// What is wrong with an address. A network that fails at the very moment does not end a job: that is worth attempts.
    async fn bad_address(&self, fault: Fault) -> Stop {
        let now = match self.worker.store.now().await {
            Ok(now) => now,
            Err(error) => return error.into(),
        };
        if !WORTH_A_RETRY.contains(&fault.code.as_str()) || self.upload.run_at > now {
            return self.bad_file(fault).await;
        }
        let attempt = u32::try_from(self.upload.attempts).unwrap_or(0) + 1;
        let chance = (self.worker.chance)();
        Stop::Later(Box::new(Later {
            until: next_attempt(attempt, now, None, Pace::Normal, chance),
            why: Why {
                code: fault.code.clone(),
                http_status: None,
                error: json!(fault),
            },
            costs_attempt: true,
            new_session: false,
            as_warning: false,
        }))
    }

    /// The upload of another account that this one may use, if the row asks for it.
    pub(super) async fn lent(
        &self,
        item: &MediaItem,
        file: &MediaFile,
        media: &NewMedia,
    ) -> Result<Option<MediaState>, Stop> {
        if !borrows(item) {
            return Ok(None);
        }
        let store = &self.worker.store;
        match store.lent_upload(&self.upload, &file.stamp).await? {
            Lent::None => Ok(None),
            Lent::Coming if self.upload.now > self.upload.run_at + LENT_LATE => Ok(None),
            Lent::Coming => Err(self.lender_first().await),
            Lent::Ready {
                media_id,
                expires_in_s,
            } => {
                let job = self.upload.job;
                tracing::info!(job, "the upload {media_id} of another account is used");
                let state = MediaState {
                    id: media_id,
                    expires_after_s: Some(expires_in_s),
                    processing: None,
                };
                self.keep_whole(file, media, &state).await?;
                Ok(Some(state))
            }
        }
    }

    /// Puts the upload off while another account is uploading the same file.
    pub(super) async fn wait_for_lender(&self, item: &MediaItem) -> Result<(), Stop> {
        if !borrows(item) || self.upload.now > self.upload.run_at + LENT_LATE {
            return Ok(());
        }
        match self.worker.store.lent_upload(&self.upload, "").await? {
            Lent::Coming => Err(self.lender_first().await),
            Lent::None | Lent::Ready { .. } => Ok(()),
        }
    }

    async fn lender_first(&self) -> Stop {
        let now = match self.worker.store.now().await {
            Ok(now) => now,
            Err(error) => return error.into(),
        };
        Stop::Later(Box::new(Later {
            until: now + LENT_WAIT,
            why: crate::reasons::plain_why(
                "media_shared_wait",
                "another account is uploading the same file",
                "media",
                "nothing to do: its upload is used as soon as it is ready",
            ),
            costs_attempt: false,
            new_session: false,
            as_warning: true,
        }))
    }

    /// Keeps a media id that needs no segments from us.
    pub(super) async fn keep_whole(
        &self,
        file: &MediaFile,
        media: &NewMedia,
        state: &MediaState,
    ) -> Result<(), Stop> {
        let saved = NewSession {
            media_id: state.id.clone(),
            media_type: media.media_type.clone(),
            category: media.media_category.clone(),
            total_bytes: i64::try_from(file.bytes).unwrap_or(i64::MAX),
            file_stamp: file.stamp.clone(),
            segment_bytes: None,
            expires_in_s: state.expires_after_s,
        };
        let ttl = self.worker.options.lease;
        self.worker
            .store
            .save_session(&self.upload, &saved, ttl)
            .await?;
        Ok(())
    }
}

/// Whether the row asks for the upload of another account.
pub(super) fn borrows(item: &MediaItem) -> bool {
    item.shared == Some(true) && item.additional_owners.is_empty()
}
