//! One upload, step by step: session, segments, finalize, ready. Zombies go on as if nothing had happened.

use chrono::TimeDelta;
use crier_store::{NewSession, PutOff, StoreError};

use crate::ops::Upload;
use crate::publish::why;
use crate::world::{Broken, LEAD, TTL, UploadHand, World, busy, pick, unexpected};

/// How long media ids live at X, and how long those that do not live long.
const LONG: TimeDelta = TimeDelta::hours(24);
const SHORT: TimeDelta = TimeDelta::seconds(400);
/// A file whose id would live no longer is begun anew.
const LEAST: TimeDelta = TimeDelta::seconds(120);

impl World<'_> {
    pub(crate) async fn claim_uploads(&mut self, worker: usize, limit: u8) -> Result<(), Broken> {
        let id = self.workers[worker].id;
        let claimed = self
            .db
            .store
            .claim_uploads(id, i64::from(limit), TTL, LEAD)
            .await
            .map_err(unexpected("claim_uploads"))?;
        self.done += u32::from(!claimed.is_empty());
        for upload in claimed {
            if upload.now != self.now {
                return Err(format!(
                    "file {}: it is not {}",
                    upload.lease.subject, upload.now
                ));
            }
            // Whoever takes over goes on with what X has of it, if that can still be used.
            let known = upload
                .media_id
                .clone()
                .filter(|_| upload.expires_at.is_some_and(|ends| ends > self.now));
            self.workers[worker].uploads.push(UploadHand {
                is_final: known.is_some() && upload.finalizing,
                media_id: known,
                upload,
            });
        }
        Ok(())
    }

    pub(crate) async fn upload(&mut self, worker: usize, n: u8, how: Upload) -> Result<(), Broken> {
        let Some(worker) = busy(&self.workers, worker, |worker| !worker.uploads.is_empty()) else {
            return Ok(());
        };
        let Some(place) = pick(&self.workers[worker].uploads, n) else {
            return Ok(());
        };
        self.done += 1;
        let mut hand = self.workers[worker].uploads.remove(place);
        // What the database does not take is left to the lease.
        if self.upload_step(&mut hand, how).await? {
            self.workers[worker].uploads.insert(place, hand);
        }
        Ok(())
    }

    /// False if the file is out of hand.
    async fn upload_step(&mut self, hand: &mut UploadHand, how: Upload) -> Result<bool, Broken> {
        let (db, lease) = (self.db, hand.upload.lease);
        let store = &db.store;
        let reason = why("media_fault");
        let put_off = PutOff {
            why: &reason,
            costs_attempt: how == Upload::PutOff,
            new_session: how == Upload::PutOff,
            as_warning: how == Upload::Missing,
        };
        let until = self.now + TimeDelta::seconds(20);
        let ended = match how {
            Upload::Failed => Some(
                self.fenced(
                    "upload_failed",
                    &lease,
                    store.upload_failed(&hand.upload, &reason),
                )
                .await?,
            ),
            Upload::Release => Some(
                self.fenced("release_upload", &lease, store.release_upload(&hand.upload))
                    .await?,
            ),
            Upload::PutOff | Upload::Missing => {
                let write = store.put_off_upload(&hand.upload, until, &put_off);
                Some(
                    self.fenced("put_off_upload", &lease, write)
                        .await?
                        .map(drop),
                )
            }
            Upload::Well | Upload::Short => None,
        };
        if let Some(ended) = ended {
            return lost_or(ended, "ending an upload").map(|_| false);
        }
        let Some(media_id) = hand.media_id.clone() else {
            return self.begin_upload(hand, how).await;
        };
        if hand.is_final {
            let now = self.real;
            let left = self
                .x
                .media
                .get(&media_id)
                .map_or(TimeDelta::zero(), |media| media.ends - now);
            if left < LEAST {
                let anew = PutOff {
                    new_session: true,
                    ..put_off
                };
                let write = store.put_off_upload(&hand.upload, self.now, &anew);
                return lost_or(
                    self.fenced("put_off_upload", &lease, write).await?,
                    "put_off_upload",
                )
                .map(|_| false);
            }
            if let Some(media) = self.x.media.get_mut(&media_id) {
                media.is_ready = true;
            }
            let write = store.upload_ready(&hand.upload, u64::try_from(left.num_seconds()).ok());
            return lost_or(
                self.fenced("upload_ready", &lease, write).await?,
                "upload_ready",
            )
            .map(|_| false);
        }
        let done = self
            .fenced(
                "segment_done",
                &lease,
                store.segment_done(&hand.upload, &media_id, 1, TTL),
            )
            .await?;
        if !lost_or(done, "segment_done")? {
            return Ok(false);
        }
        let done = self
            .fenced("finalizing", &lease, store.finalizing(&hand.upload, TTL))
            .await?;
        hand.is_final = true;
        lost_or(done, "finalizing")
    }

    async fn begin_upload(&mut self, hand: &mut UploadHand, how: Upload) -> Result<bool, Broken> {
        let lease = hand.upload.lease;
        let life = if how == Upload::Short { SHORT } else { LONG };
        let item = hand
            .upload
            .item
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        let media_id = self.x.begin_media(self.real, lease.account, &item, life);
        let session = NewSession {
            media_id: media_id.clone(),
            media_type: "image/png".into(),
            category: "tweet_image".into(),
            total_bytes: 10,
            file_stamp: "10:1".into(),
            segment_bytes: Some(10),
            expires_in_s: u64::try_from(life.num_seconds()).ok(),
        };
        let saved = self
            .fenced(
                "save_session",
                &lease,
                self.db.store.save_session(&hand.upload, &session, TTL),
            )
            .await?;
        hand.media_id = Some(media_id);
        lost_or(saved, "save_session")
    }
}

/// Whether the hand goes on; only a lost lease may stop it.
fn lost_or<T>(result: Result<T, StoreError>, what: &str) -> Result<bool, Broken> {
    match result {
        Ok(_) => Ok(true),
        Err(StoreError::LeaseLost { .. }) => Ok(false),
        Err(error) => Err(format!("{what}: {error}")),
    }
}
