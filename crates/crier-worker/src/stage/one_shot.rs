//! A picture in one call, where the operator wants that: X documents it as the older way, and recommends segments.
//!
//! **Invariant:** only a picture that X takes at all is held in memory, whole, during its call; a picture that X finds too
//! large for one call goes in segments.

use crier_core::answer::Endpoint;
use crier_core::media::{MOST_IMAGE_BYTES, MediaCategory};
use crier_core::verdict::Action;
use crier_x::{MediaState, NewMedia, WholeMedia};

use crate::folder::MediaFile;
use crate::stage::call::{Staging, Trouble};
use crate::stage::stop::Stop;

impl Staging {
    /// The picture at X; `None`: this file goes in segments.
    pub(super) async fn one_shot(
        &mut self,
        file: &MediaFile,
        category: MediaCategory,
        media: &NewMedia,
    ) -> Result<Option<MediaState>, Stop> {
        // The call knows no `shared`.
        if !self.worker.options.one_shot
            || category != MediaCategory::TweetImage
            || file.bytes > MOST_IMAGE_BYTES
            || media.shared
        {
            return Ok(None);
        }
        let length = usize::try_from(file.bytes).unwrap_or(usize::MAX);
        let Ok(bytes) = file.read(0, length).await else {
            return Err(self
                .file_changed("it became shorter, or could not be read")
                .await);
        };
        if !file.is_unchanged().await {
            return Err(self
                .file_changed("its size or time is not what it was")
                .await);
        }
        let whole = WholeMedia {
            media_category: media.media_category.clone(),
            additional_owners: media.additional_owners.clone(),
        };
        let sent = self
            .call(Endpoint::MediaUpload, true, |x, auth| {
                let (whole, bytes) = (whole.clone(), bytes.clone());
                async move { x.media_upload(&auth, &whole, bytes).await }
            })
            .await;
        let state = match sent {
            Ok(state) => state,
            Err(Trouble::Fault(_, verdict, _)) if verdict.action == Action::SmallerChunk => {
                return Ok(None);
            }
            Err(trouble) => return Err(self.give_up(trouble).await),
        };
        self.worker.metrics.segment_acknowledged(file.bytes);
        // Kept at once: a worker that takes over goes on with this id.
        self.keep_whole(file, media, &state).await?;
        let id = state.id.clone();
        self.processed(&id, state).await.map(Some)
    }
}
