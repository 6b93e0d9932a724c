//! One item of a job's `media`, from its file to ready: bytes, alt text, subtitles.
//!
//! **Invariant:** a file goes on where an earlier worker stopped only if it is the very file that was begun.

use crier_core::answer::Endpoint;
use crier_core::fault::Fault;
use crier_core::media::{
    MediaCategory, MediaItem, MediaKind, Subtitle, check_measure, check_size, parse_media,
};
use crier_core::tier::Tier;
use crier_x::{MediaState, NewMedia, NewSubtitles};
use serde_json::json;

use crate::folder::MediaFile;
use crate::stage::call::Staging;
use crate::stage::send::Resumed;
use crate::stage::source::borrows;
use crate::stage::stop::{Stop, failed};

/// Bytes of subtitles. X names no limit; a two-minute film needs a few kilobytes.
const MOST_SUBTITLE_BYTES: u64 = 1024 * 1024;

impl Staging {
    /// Does all of it; answers the life of the media id in seconds, if X said.
    pub(super) async fn whole(&mut self) -> Result<Option<u64>, Stop> {
        let item = self.upload.item.clone();
        let item = item.and_then(|item| one_item(&item)).map_err(failed)?;
        if item.url.is_some() {
            // What another account is uploading need not be fetched meanwhile.
            self.wait_for_lender(&item).await?;
        }
        let file = self.file(&item).await?;
        let (category, kind) = match fitting(&item, &file, self.upload.tier) {
            Ok(fitting) => fitting,
            Err(fault) => return Err(self.bad_file(fault).await),
        };
        let media = NewMedia {
            media_category: category.as_str().to_owned(),
            media_type: kind.media_type().to_owned(),
            total_bytes: file.bytes,
            shared: item.shared.unwrap_or(false),
            additional_owners: item.additional_owners.clone(),
        };
        let mut resumed = self.resumed(&file, category);
        // A medium that was whole may be a lender's, of which only its owner may tell X more: it is asked for again.
        if borrows(&item) {
            resumed = resumed.filter(|resumed| resumed.segment_bytes.is_some());
        }
        if resumed.is_none()
            && let Some(state) = self.lent(&item, &file, &media).await?
        {
            // Its owner has told X the rest.
            return Ok(state.expires_after_s);
        }
        let state = match resumed {
            Some(resumed) if resumed.segment_bytes.is_none() => self.as_it_is(&resumed),
            None => match self.one_shot(&file, category, &media).await? {
                Some(state) => state,
                None => self.send(&file, &media, None, true).await?,
            },
            resumed @ Some(_) => self.send(&file, &media, resumed, true).await?,
        };
        let id = state.id;
        if let Some(alt_text) = item.alt_text.filter(|text| !text.is_empty()) {
            let told = self
                .call(Endpoint::MediaMetadata, true, |x, auth| {
                    let (id, alt_text) = (id.clone(), alt_text.clone());
                    async move { x.media_metadata(&auth, &id, &alt_text).await }
                })
                .await;
            if let Err(trouble) = told {
                return Err(self.give_up(trouble).await);
            }
        }
        for subtitle in &item.subtitles {
            self.subtitles(&id, category, subtitle).await?;
        }
        Ok(state.expires_after_s)
    }

    /// The session to go on with: of this very file, for this category, and not at its end.
    fn resumed(&self, file: &MediaFile, category: MediaCategory) -> Option<Resumed> {
        let upload = &self.upload;
        let same = upload.file_stamp.as_deref() == Some(file.stamp.as_str())
            && upload.category.as_deref() == Some(category.as_str())
            && upload.expires_at.is_some_and(|end| end > upload.now);
        if !same {
            return None;
        }
        Some(Resumed {
            media_id: upload.media_id.clone()?,
            segment_bytes: match upload.segment_bytes {
                Some(bytes) => Some(u32::try_from(bytes).ok()?),
                None => None,
            },
            done: u16::try_from(upload.segments_done).ok()?,
            finalizing: upload.finalizing,
        })
    }

    /// A medium that was whole at X when an earlier worker stopped.
    fn as_it_is(&self, resumed: &Resumed) -> MediaState {
        let left = self.upload.expires_at.map(|end| end - self.upload.now);
        MediaState {
            id: resumed.media_id.clone(),
            expires_after_s: left.and_then(|left| u64::try_from(left.num_seconds()).ok()),
            processing: None,
        }
    }

    async fn subtitles(
        &mut self,
        video_id: &str,
        category: MediaCategory,
        subtitle: &Subtitle,
    ) -> Result<(), Stop> {
        let file = self.open(&subtitle.path).await?;
        if file.bytes == 0 || file.bytes > MOST_SUBTITLE_BYTES {
            let fault = Fault::new(
                "subtitles_size",
                "subtitles are empty or too large",
                format!("`{}` has {} bytes", subtitle.path, file.bytes),
                "give a file in SRT or WebVTT form",
            );
            return Err(self.bad_file(fault.passing().at_step("media")).await);
        }
        let text = file
            .head
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(&file.head);
        let media_type = if text.starts_with(b"WEBVTT") {
            "text/vtt"
        } else {
            "text/srt"
        };
        let media = NewMedia {
            media_category: "subtitles".to_owned(),
            media_type: media_type.to_owned(),
            total_bytes: file.bytes,
            shared: false,
            additional_owners: Vec::new(),
        };
        let track = self.send(&file, &media, None, false).await?;
        // Here X spells the category another way (x-api.md 3.8).
        let media_category = if category == MediaCategory::AmplifyVideo {
            "AmplifyVideo"
        } else {
            "TweetVideo"
        };
        let subtitles = NewSubtitles {
            media_id: video_id.to_owned(),
            media_category: media_category.to_owned(),
            subtitles_id: track.id,
            language_code: subtitle.language.clone(),
            display_name: subtitle
                .name
                .clone()
                .unwrap_or_else(|| subtitle.language.clone()),
        };
        let put = self
            .call(Endpoint::MediaSubtitles, true, |x, auth| {
                let subtitles = subtitles.clone();
                async move { x.media_subtitles(&auth, &subtitles).await }
            })
            .await;
        match put {
            Ok(()) => Ok(()),
            Err(trouble) => Err(self.give_up(trouble).await),
        }
    }
}

fn one_item(item: &serde_json::Value) -> Result<MediaItem, Fault> {
    let mut items = parse_media(&json!([item]))?;
    items.pop().ok_or_else(|| {
        Fault::new(
            "media_invalid",
            "the `media` column is not as it should be",
            "an item is empty",
            "correct the row's `media`",
        )
    })
}

/// What to upload it as, or what X would not take.
fn fitting(
    item: &MediaItem,
    file: &MediaFile,
    tier: Tier,
) -> Result<(MediaCategory, MediaKind), Fault> {
    let path = item.source();
    if file.bytes == 0 {
        // Somebody may be writing it at this moment.
        return Err(Fault::new(
            "media_empty",
            "a file is empty",
            format!("`{path}` has 0 bytes"),
            "put the whole file in place",
        )
        .at_step("media")
        .passing());
    }
    let kind = file.seen.kind.ok_or_else(|| {
        Fault::new(
            "media_kind",
            "a file is nothing that X takes",
            format!("`{path}` is no JPEG, PNG, GIF, WebP, BMP, TIFF, MP4, MOV, WebM or MPEG-TS by its first bytes"),
            "convert the file",
        )
        .at_step("media")
        .passing()
    })?;
    let category = item.category.unwrap_or_else(|| kind.default_category());
    if !kind.fits(category) {
        return Err(Fault::new(
            "media_category",
            "a file is not what its category says",
            format!(
                "`{path}` is `{}`, its category `{}`",
                kind.media_type(),
                category.as_str()
            ),
            "leave `category` out: crier goes by the file's own bytes",
        ));
    }
    if !item.subtitles.is_empty() && !category.is_video() {
        return Err(Fault::new(
            "media_subtitles",
            "only videos have subtitles",
            format!(
                "`{path}` goes as `{}` and has `subtitles`",
                category.as_str()
            ),
            "leave `subtitles` out",
        ));
    }
    check_size(category, file.bytes)?;
    // What X is not sure to object to, X decides.
    let mut faults = check_measure(category, &file.seen.measure, tier);
    faults.retain(|fault| fault.permanent);
    match faults.into_iter().next() {
        Some(fault) => Err(Fault {
            detail: format!("`{path}`: {}", fault.detail),
            ..fault
        }),
        None => Ok((category, kind)),
    }
}
