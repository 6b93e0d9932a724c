//! Media: one shot, initialize, append, finalize, status, alt text, subtitles.
//!
//! **Invariant:** one call carries one segment, or one small file, shared and not copied where the encoding allows it;
//! nothing is held here after the call.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crier_core::answer::{CallFault, Endpoint};
use reqwest::Body;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::auth::{Auth, Bearer};
use crate::client::{Call, Payload, XClient};
use crate::config::MediaEncoding;
use crate::faults;
use crate::posts::check_id;
use crate::reply::{Received, Reply, count, data, id, text};

/// Nothing is kept longer.
const MOST_LIFE_S: u64 = 366 * 86_400;

/// A file that is about to be uploaded, in X's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMedia {
    /// Such as `tweet_image`, `tweet_gif`, `tweet_video`, `subtitles`.
    pub media_category: String,
    /// MIME type, such as `image/png`.
    pub media_type: String,
    /// Size of the file.
    pub total_bytes: u64,
    /// X's `shared`; `false` is not sent.
    pub shared: bool,
    /// Ids of other accounts that may use it; up to 100.
    pub additional_owners: Vec<String>,
}

/// A file that is uploaded in one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeMedia {
    /// Such as `tweet_image`.
    pub media_category: String,
    /// Ids of other accounts that may use it; up to 100.
    pub additional_owners: Vec<String>,
}

/// An upload that X has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadSession {
    /// The media id.
    pub id: String,
    /// Life of the session in seconds, if X said.
    pub expires_after_s: Option<u64>,
}

/// What X says of a media id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaState {
    /// The media id.
    pub id: String,
    /// Life of the media id in seconds, if X said.
    pub expires_after_s: Option<u64>,
    /// `None` is ready at once; and asking for the status of such a medium is an error.
    pub processing: Option<Processing>,
}

/// X's `processing_info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processing {
    /// How far it is.
    pub state: ProcessingState,
    /// Seconds to wait before asking again.
    pub check_after_s: Option<u64>,
    /// 0 to 100.
    pub progress_percent: Option<u64>,
    /// Why it failed. Seen beside `in_progress` too, and final even then.
    pub error: Option<ProcessingError>,
}

/// X's words on a failed processing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessingError {
    /// Such as 1 or 3.
    pub code: Option<i64>,
    /// Such as `InvalidMedia`; may be empty.
    pub name: String,
    /// For people; may be empty.
    pub message: String,
}

/// State of processing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessingState {
    /// Not begun, or a word that X's specification does not know.
    Pending,
    /// Begun.
    InProgress,
    /// Ready.
    Succeeded,
    /// Will never be ready.
    Failed,
}

/// Subtitles to be put under a video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSubtitles {
    /// Media id of the video.
    pub media_id: String,
    /// `TweetVideo` or `AmplifyVideo`: here X spells the category another way.
    pub media_category: String,
    /// Media id of the uploaded subtitles.
    pub subtitles_id: String,
    /// Two capital letters, such as `EN`.
    pub language_code: String,
    /// What viewers see in the menu.
    pub display_name: String,
}

impl XClient {
    /// Uploads a whole file in one call, the older way that X documents for pictures. The category is in the body: X does
    /// not see it elsewhere since May 2025. Neither `media_type` nor `shared` is known here any more.
    pub async fn media_upload(
        &self,
        auth: &Auth,
        media: &WholeMedia,
        file: Bytes,
    ) -> Result<Reply<MediaState>, CallFault> {
        let endpoint = Endpoint::MediaUpload;
        let mut fields = vec![("media_category", media.media_category.clone())];
        if !media.additional_owners.is_empty() {
            // Here a list of ids is one text (specification 2.167).
            fields.push(("additional_owners", media.additional_owners.join(",")));
        }
        let payload = match self.config().media_encoding {
            MediaEncoding::Multipart => {
                let form = fields
                    .into_iter()
                    .fold(Form::new(), |form, (name, value)| form.text(name, value));
                Payload::Multipart(form.part("media", part(endpoint, "media", file)?))
            }
            MediaEncoding::Json => {
                let mut body = json!({"media": STANDARD.encode(&file)});
                for (name, value) in fields {
                    body[name] = json!(value);
                }
                Payload::Json(body)
            }
        };
        let call = Call {
            endpoint,
            path: &["2", "media", "upload"],
            query: &[],
            bearer: Bearer::Account(auth),
            payload,
            body_secrets: Vec::new(),
        };
        self.call(call).await?.read("`data.id`", media_state)
    }

    /// Begins an upload.
    pub async fn media_initialize(
        &self,
        auth: &Auth,
        media: &NewMedia,
    ) -> Result<Reply<UploadSession>, CallFault> {
        let mut body = json!({
            "media_category": media.media_category,
            "media_type": media.media_type,
            "total_bytes": media.total_bytes,
        });
        if media.shared {
            body["shared"] = json!(true);
        }
        if !media.additional_owners.is_empty() {
            body["additional_owners"] = json!(media.additional_owners);
        }
        let path = ["2", "media", "upload", "initialize"];
        self.media_json(Endpoint::MediaInitialize, auth, &path, body)
            .await?
            .read("`data.id`", |value| {
                let data = data(value);
                Some(UploadSession {
                    id: id(data)?,
                    expires_after_s: life_s(data),
                })
            })
    }

    /// Sends one segment; the first index is 0, the last may be 999. Any 2xx, an empty one too, is a success.
    pub async fn media_append(
        &self,
        auth: &Auth,
        media_id: &str,
        segment_index: u16,
        segment: Bytes,
    ) -> Result<Reply<()>, CallFault> {
        let endpoint = Endpoint::MediaAppend;
        check_id(endpoint, media_id)?;
        let payload = match self.config().media_encoding {
            MediaEncoding::Multipart => {
                let form = Form::new().text("segment_index", segment_index.to_string());
                Payload::Multipart(form.part("media", part(endpoint, "segment", segment)?))
            }
            MediaEncoding::Json => Payload::Json(
                json!({"media": STANDARD.encode(&segment), "segment_index": segment_index}),
            ),
        };
        let call = Call {
            endpoint,
            path: &["2", "media", "upload", media_id, "append"],
            query: &[],
            bearer: Bearer::Account(auth),
            payload,
            body_secrets: Vec::new(),
        };
        self.call(call).await?.done()
    }

    /// Ends an upload. Sends `{}`, since X has refused an empty body (July 2026).
    pub async fn media_finalize(
        &self,
        auth: &Auth,
        media_id: &str,
    ) -> Result<Reply<MediaState>, CallFault> {
        check_id(Endpoint::MediaFinalize, media_id)?;
        let path = ["2", "media", "upload", media_id, "finalize"];
        self.media_json(Endpoint::MediaFinalize, auth, &path, json!({}))
            .await?
            .read("`data.id`", media_state)
    }

    /// How far processing is; only to be asked after `finalize` or an earlier status spoke of processing.
    pub async fn media_status(
        &self,
        auth: &Auth,
        media_id: &str,
    ) -> Result<Reply<MediaState>, CallFault> {
        let endpoint = Endpoint::MediaStatus;
        check_id(endpoint, media_id)?;
        let call = Call {
            endpoint,
            path: &["2", "media", "upload"],
            query: &[
                ("command", "STATUS".to_owned()),
                ("media_id", media_id.to_owned()),
            ],
            bearer: Bearer::Account(auth),
            payload: Payload::None,
            body_secrets: Vec::new(),
        };
        self.call(call).await?.read("`data.id`", media_state)
    }

    /// Gives a medium its alt text, at most 1,000 characters.
    pub async fn media_metadata(
        &self,
        auth: &Auth,
        media_id: &str,
        alt_text: &str,
    ) -> Result<Reply<()>, CallFault> {
        check_id(Endpoint::MediaMetadata, media_id)?;
        let body = json!({"id": media_id, "metadata": {"alt_text": {"text": alt_text}}});
        self.media_json(
            Endpoint::MediaMetadata,
            auth,
            &["2", "media", "metadata"],
            body,
        )
        .await?
        .done()
    }

    /// Puts uploaded subtitles under a video.
    pub async fn media_subtitles(
        &self,
        auth: &Auth,
        subtitles: &NewSubtitles,
    ) -> Result<Reply<()>, CallFault> {
        let body = json!({
            "id": subtitles.media_id,
            "media_category": subtitles.media_category,
            "subtitles": {
                "id": subtitles.subtitles_id,
                "language_code": subtitles.language_code,
                "display_name": subtitles.display_name,
            },
        });
        self.media_json(
            Endpoint::MediaSubtitles,
            auth,
            &["2", "media", "subtitles"],
            body,
        )
        .await?
        .done()
    }

    async fn media_json(
        &self,
        endpoint: Endpoint,
        auth: &Auth,
        path: &[&str],
        body: Value,
    ) -> Result<Received, CallFault> {
        let bearer = Bearer::Account(auth);
        self.call(Call {
            endpoint,
            path,
            query: &[],
            bearer,
            payload: Payload::Json(body),
            body_secrets: Vec::new(),
        })
        .await
    }
}

/// A part of raw bytes. A body made of `Bytes` knows its length, so the request is not chunked.
fn part(endpoint: Endpoint, name: &'static str, bytes: Bytes) -> Result<Part, CallFault> {
    Part::stream(Body::from(bytes))
        .file_name(name)
        .mime_str("application/octet-stream")
        .map_err(|error| faults::from_transport(endpoint, error))
}

/// For how long X keeps it; no longer than a calendar holds.
fn life_s(data: &Value) -> Option<u64> {
    count(data, "expires_after_secs").map(|life| life.min(MOST_LIFE_S))
}

fn media_state(value: &Value) -> Option<MediaState> {
    let data = data(value);
    Some(MediaState {
        id: id(data)?,
        expires_after_s: life_s(data),
        processing: data
            .get("processing_info")
            .filter(|info| info.is_object())
            .map(processing),
    })
}

fn processing(info: &Value) -> Processing {
    Processing {
        state: match info
            .get("state")
            .and_then(Value::as_str)
            .unwrap_or_default()
        {
            "in_progress" => ProcessingState::InProgress,
            "succeeded" => ProcessingState::Succeeded,
            "failed" => ProcessingState::Failed,
            _ => ProcessingState::Pending,
        },
        check_after_s: count(info, "check_after_secs"),
        progress_percent: count(info, "progress_percent"),
        error: info
            .get("error")
            .filter(|error| error.is_object())
            .map(|error| ProcessingError {
                code: error.get("code").and_then(Value::as_i64),
                name: text(error, "name").unwrap_or_default(),
                message: text(error, "message").unwrap_or_default(),
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processing_in_all_its_states() {
        let state = |word: &str| processing(&json!({"state": word, "check_after_secs": 5})).state;
        assert_eq!(state("pending"), ProcessingState::Pending);
        assert_eq!(state("in_progress"), ProcessingState::InProgress);
        assert_eq!(state("succeeded"), ProcessingState::Succeeded);
        assert_eq!(state("failed"), ProcessingState::Failed);
        assert_eq!(state("uploading"), ProcessingState::Pending);
        assert_eq!(processing(&json!({})).state, ProcessingState::Pending);
    }

    #[test]
    fn a_state_needs_an_id_and_tolerates_a_missing_envelope() {
        assert_eq!(
            media_state(&json!({"data": {"expires_after_secs": 1}})),
            None
        );
        let bare =
            media_state(&json!({"id": "7", "expires_after_secs": 86400, "processing_info": null}))
                .unwrap();
        assert_eq!(
            bare,
            MediaState {
                id: "7".into(),
                expires_after_s: Some(86400),
                processing: None
            }
        );
    }
}
