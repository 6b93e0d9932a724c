//! `POST /1.1/statuses/update_with_media`: the other way to publish, for gateways that still speak it.
//!
//! **Invariant:** what v1.1 cannot say is never left out of a post in silence: it is a fault.
//!
//! Source: X's page on that call as it was before it was retired; media are part of the call, and a picture at least.

use serde::{Deserialize, Serialize};

use crate::answer::Endpoint;
use crate::fault::Fault;
use crate::media::{MOST_IMAGE_BYTES, MOST_ITEMS};
use crate::options::PostOptions;
use crate::text::weighted_len;

/// Bytes of an animated GIF.
pub const MOST_GIF_BYTES: u64 = 3 * 1024 * 1024;

/// By which call an account publishes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub enum Publisher {
    /// `POST /2/tweets`, with media that was uploaded before.
    #[default]
    #[serde(rename = "v2")]
    V2,
    /// `POST /1.1/statuses/update_with_media`, with media in the call.
    #[serde(rename = "v1_update_with_media")]
    V1UpdateWithMedia,
}

impl Publisher {
    /// Every publisher, the usual one first.
    pub const ALL: [Self; 2] = [Self::V2, Self::V1UpdateWithMedia];

    /// The word used in tables and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V1UpdateWithMedia => "v1_update_with_media",
        }
    }

    /// The call that creates a post.
    pub const fn endpoint(self) -> Endpoint {
        match self {
            Self::V2 => Endpoint::CreatePost,
            Self::V1UpdateWithMedia => Endpoint::UpdateWithMedia,
        }
    }
}

/// What `GET /1.1/help/configuration` says of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct V1Limits {
    /// Characters of the text that each medium takes.
    pub characters_reserved_per_media: usize,
    /// Media in one call.
    pub max_media_per_upload: usize,
    /// Bytes of a picture.
    pub photo_size_limit: u64,
}

impl Default for V1Limits {
    /// X's last answers, for what an answer leaves out.
    fn default() -> Self {
        Self {
            characters_reserved_per_media: 24,
            max_media_per_upload: 1,
            photo_size_limit: 3 * 1024 * 1024,
        }
    }
}

impl V1Limits {
    /// The same within what crier holds in memory at once: no gateway's word makes it hold more.
    pub fn within_reason(self) -> Self {
        Self {
            max_media_per_upload: self.max_media_per_upload.min(MOST_ITEMS),
            photo_size_limit: self.photo_size_limit.min(MOST_IMAGE_BYTES),
            ..self
        }
    }
}

/// The parameters beside the media, by X's names.
pub fn parameters(
    text: &str,
    options: &PostOptions,
    reply_to: Option<&str>,
) -> Vec<(&'static str, String)> {
    let mut fields = vec![("status", text.to_owned())];
    if let Some(id) = reply_to.or(options.reply_target()) {
        fields.push(("in_reply_to_status_id", id.to_owned()));
    }
    if let Some(geo) = &options.geo {
        fields.push(("place_id", geo.place_id.clone()));
    }
    if let Some(v1) = &options.v1 {
        let flags = [
            ("possibly_sensitive", v1.possibly_sensitive),
            ("display_coordinates", v1.display_coordinates),
        ];
        let places = [("lat", &v1.lat), ("long", &v1.long)];
        let places = places
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?.to_string())));
        let flags = flags
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?.to_string())));
        fields.extend(places.chain(flags));
    }
    fields
}

/// What the gateway's limits forbid of a post with media of these sizes.
pub fn limit_fault(
    text: &str,
    sizes: &[u64],
    text_limit: usize,
    limits: &V1Limits,
) -> Option<Fault> {
    let fault = |code: &str, title: &str, detail: String, hint: &str| {
        Some(Fault::new(code, title, detail, hint).at_step("publish"))
    };
    if sizes.len() > limits.max_media_per_upload {
        let (there, most) = (sizes.len(), limits.max_media_per_upload);
        return fault(
            "v1_media_count",
            "v1.1 does not take so many media in one post",
            format!("`media` has {there} files, and the gateway takes {most}"),
            "post fewer, or let the account publish by v2",
        );
    }
    let limit = limits.photo_size_limit;
    if let Some((at, bytes)) = sizes.iter().enumerate().find(|(_, bytes)| **bytes > limit) {
        return fault(
            "v1_media_size",
            "a file is too large for v1.1",
            format!("`media[{at}]` has {bytes} bytes, and the gateway takes {limit}"),
            "make the file smaller",
        );
    }
    let reserved = limits.characters_reserved_per_media * sizes.len();
    let length = weighted_len(text);
    if length + reserved > text_limit {
        return fault(
            "v1_text_no_room",
            "the text leaves no room for the links to the media",
            format!(
                "`text` has {length} weighted characters, the links take {reserved}, and {text_limit} are taken"
            ),
            "shorten the text",
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::options::parse_options;

    #[test]
    fn every_parameter_has_its_source_in_the_row() {
        let options = parse_options(&json!({"geo": {"place_id": "abc"}, "reply": {"in_reply_to_tweet_id": "7"},
            "v1": {"lat": 52.5, "long": -13, "possibly_sensitive": true, "display_coordinates": false}}))
        .unwrap();
        let fields = |reply_to| {
            parameters("hi", &options, reply_to)
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
                .join("&")
        };
        assert_eq!(
            fields(None),
            "status=hi&in_reply_to_status_id=7&place_id=abc&lat=52.5&long=-13&possibly_sensitive=true&display_coordinates=false"
        );
        assert!(fields(Some("8")).contains("in_reply_to_status_id=8"));
        assert_eq!(
            parameters("hi", &PostOptions::default(), None),
            [("status", "hi".to_owned())]
        );
    }

    #[test]
    fn the_gateways_limits_are_told_by_name() {
        let limits = V1Limits {
            characters_reserved_per_media: 24,
            max_media_per_upload: 2,
            photo_size_limit: 1_000,
        };
        let code = |text: &str, sizes: &[u64]| {
            limit_fault(text, sizes, 280, &limits).map(|fault| fault.code)
        };
        assert_eq!(code(&"x".repeat(232), &[1_000, 9]), None);
        let huge = V1Limits {
            max_media_per_upload: usize::MAX,
            photo_size_limit: u64::MAX,
            ..limits
        };
        let bound = huge.within_reason();
        assert!(bound.max_media_per_upload == 4 && bound.photo_size_limit == 5 * 1024 * 1024);
        assert_eq!(code("x", &[1, 1, 1]).unwrap(), "v1_media_count");
        assert_eq!(code("x", &[1, 1_001]).unwrap(), "v1_media_size");
        assert_eq!(code(&"x".repeat(233), &[9, 9]).unwrap(), "v1_text_no_room");
    }
}
