//! v1.1: a post with its media in one call, and the figures that call goes by.
//!
//! **Invariant:** of a multipart body nothing is signed (X's page on OAuth 1.0a; all published clients do so).

use bytes::Bytes;
use crier_core::answer::{CallFault, Endpoint};
use crier_core::v1::V1Limits;
use reqwest::Body;
use reqwest::multipart::{Form, Part};
use serde_json::Value;

use crate::auth::{Auth, Bearer};
use crate::client::{Call, Payload, XClient};
use crate::departure::Departure;
use crate::faults;
use crate::posts::PostId;
use crate::reply::{Reply, count, id, is_id, text};

/// A picture on its way.
#[derive(Debug, Clone)]
pub struct V1Media {
    /// Such as `image/png`.
    pub media_type: String,
    /// All of it.
    pub bytes: Bytes,
}

impl XClient {
    /// The figures of `update_with_media`; what the answer leaves out is as X last had it.
    pub async fn v1_configuration(&self, auth: &Auth) -> Result<Reply<V1Limits>, CallFault> {
        let call = Call {
            endpoint: Endpoint::V1Configuration,
            path: &["1.1", "help", "configuration.json"],
            query: &[],
            bearer: Bearer::Account(auth),
            payload: Payload::None,
            body_secrets: Vec::new(),
        };
        self.call(call)
            .await?
            .read("`photo_size_limit`", configuration)
    }

    /// Creates a post with media. Like [`XClient::create_post`], it must not be repeated blindly.
    ///
    /// # Errors
    /// `NoAnswer`, and `Refused` with a status from 500, leave open whether the post exists.
    pub async fn update_with_media(
        &self,
        auth: &Auth,
        parameters: &[(&'static str, String)],
        media: Vec<V1Media>,
        departure: &Departure,
    ) -> Result<Reply<PostId>, CallFault> {
        let endpoint = Endpoint::UpdateWithMedia;
        let mut form = Form::new();
        for (name, value) in parameters {
            form = form.text(*name, value.clone());
        }
        for (index, one) in media.into_iter().enumerate() {
            let part = Part::stream(Body::from(one.bytes))
                .file_name(format!("media{index}"))
                .mime_str(&one.media_type)
                .map_err(|error| faults::from_transport(endpoint, error))?;
            form = form.part("media[]", part);
        }
        let call = Call {
            endpoint,
            path: &["1.1", "statuses", "update_with_media.json"],
            query: &[],
            bearer: Bearer::Account(auth),
            payload: Payload::Multipart(form),
            body_secrets: Vec::new(),
        };
        let answer = self.call_until(call, Some(departure)).await?;
        answer.read("`id_str`", |value| {
            // A number of 64 bits loses digits in many parsers, hence the text beside it.
            text(value, "id_str")
                .filter(|id| is_id(id))
                .or_else(|| id(value))
                .map(PostId)
        })
    }
}

fn configuration(value: &Value) -> Option<V1Limits> {
    let known = V1Limits::default();
    let size = |name: &str, default: usize| {
        count(value, name)
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(default)
    };
    value.is_object().then(|| V1Limits {
        characters_reserved_per_media: size(
            "characters_reserved_per_media",
            known.characters_reserved_per_media,
        ),
        max_media_per_upload: size("max_media_per_upload", known.max_media_per_upload),
        photo_size_limit: count(value, "photo_size_limit").unwrap_or(known.photo_size_limit),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_that_are_left_out_are_xs_last() {
        let limits =
            configuration(&json!({"max_media_per_upload": 4, "photo_size_limit": "9"})).unwrap();
        assert_eq!(
            limits,
            V1Limits {
                max_media_per_upload: 4,
                photo_size_limit: 9,
                ..V1Limits::default()
            }
        );
        assert_eq!(configuration(&json!([])), None);
    }
}
