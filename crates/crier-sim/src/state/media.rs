//! Upload sessions and what became of them.
//!
//! Invariant: an id is a session until finalize and a medium after, each with its own life
//! (x-api.md 3.3 and 3.7); it belongs to its owner and, once it is a medium, to those named with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock::{millis_us, seconds_us};
use crate::options::{ProcessingFailure, SimOptions};
use crate::spool::{Digest, Extent, Spool};

/// Life of a session in seconds (x-api.md 3.3: the example says 1295999).
pub(crate) const SESSION_LIFE_S: u64 = 1_295_999;
/// Life of a medium after finalize in seconds (x-api.md 3.7).
pub(crate) const MEDIA_LIFE_S: u64 = 86_400;

/// What kind of thing a category holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Image,
    Gif,
    Video,
    Subtitles,
}

impl Class {
    /// By `media_category` (x-api.md 3.3).
    pub(crate) fn of(category: &str) -> Option<Self> {
        Some(match category {
            "tweet_image" | "dm_image" => Self::Image,
            "tweet_gif" | "dm_gif" => Self::Gif,
            "tweet_video" | "amplify_video" | "dm_video" => Self::Video,
            "subtitles" => Self::Subtitles,
            _ => return None,
        })
    }

    /// Largest file in bytes (x-api.md 3.7). Subtitles have no figure in any document.
    pub(crate) fn max_bytes(self) -> u64 {
        match self {
            Self::Image => 5 << 20,
            Self::Gif => 15 << 20,
            Self::Video => 512 << 20,
            Self::Subtitles => 1 << 20,
        }
    }

    /// Whether a file of that type belongs here.
    pub(crate) fn takes(self, media_type: &str) -> bool {
        match self {
            // No document says which category a 3D model goes by.
            Self::Image => media_type.starts_with("image/") || media_type.starts_with("model/"),
            Self::Gif => media_type == "image/gif",
            Self::Video => media_type.starts_with("video/"),
            Self::Subtitles => media_type.starts_with("text/"),
        }
    }

    /// First part of a media key.
    fn key_prefix(self, category: &str) -> u8 {
        match self {
            Self::Image => 3,
            Self::Gif => 16,
            Self::Video if category == "amplify_video" => 13,
            Self::Video => 7,
            Self::Subtitles => 1,
        }
    }

    /// Whether X works on it after finalize.
    fn is_processed(self) -> bool {
        matches!(self, Self::Gif | Self::Video)
    }
}

/// What finalize made of a session.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
    pub(crate) expires_us: i64,
    pub(crate) duration_ms: Option<u64>,
    /// Width and height.
    size: Option<(u32, u32)>,
    /// Begin and end of processing, for what is processed.
    processing: Option<(i64, i64)>,
    failure: Option<ProcessingFailure>,
}

/// A session or a medium.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) id: u64,
    pub(crate) key: String,
    pub(crate) owner: String,
    pub(crate) additional_owners: Vec<String>,
    pub(crate) category: String,
    pub(crate) class: Class,
    /// As announced, or as recognised for a one-shot upload.
    pub(crate) mime: String,
    pub(crate) total_bytes: u64,
    pub(crate) session_until_us: i64,
    pub(crate) segments: BTreeMap<u32, Extent>,
    pub(crate) spool: Option<Arc<Spool>>,
    /// Changes with every segment, so that a hash made outside the lock is known to be of these.
    pub(crate) version: u64,
    pub(crate) done: Option<Done>,
    pub(crate) alt_text: Option<String>,
    pub(crate) metadata: serde_json::Map<String, Value>,
    /// By language code.
    pub(crate) subtitles: BTreeMap<String, Value>,
}

/// Where processing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing to process, or done.
    Ready,
    Pending,
    InProgress,
    Failed,
}

impl Media {
    /// Turns the session into a medium.
    pub(crate) fn finish(&mut self, digest: &Digest, options: &SimOptions, now_us: i64) {
        let work_us = millis_us(options.processing_delay_ms);
        let processed = self.class.is_processed();
        self.done = Some(Done {
            sha256: digest.sha256.clone(),
            bytes: digest.bytes,
            expires_us: now_us.saturating_add(seconds_us(MEDIA_LIFE_S)),
            duration_ms: digest.duration_ms,
            size: crate::sniff::size(&digest.head),
            processing: processed.then(|| (now_us, now_us.saturating_add(work_us))),
            failure: options.processing_failure.clone().filter(|_| processed),
        });
        self.spool = None;
        self.segments.clear();
    }

    /// Whether this user may use the medium.
    pub(crate) fn may_use(&self, account: &str) -> bool {
        self.owner == account || self.additional_owners.iter().any(|owner| owner == account)
    }

    /// Where processing stands; none for a session.
    pub(crate) fn stage(&self, now_us: i64) -> Option<Stage> {
        let done = self.done.as_ref()?;
        let Some((begin, end)) = done.processing else {
            return Some(Stage::Ready);
        };
        Some(if now_us >= end {
            if done.failure.is_some() {
                Stage::Failed
            } else {
                Stage::Ready
            }
        } else if now_us < begin.saturating_add((end - begin) / 3) {
            Stage::Pending
        } else {
            Stage::InProgress
        })
    }

    /// `processing_info`, for what is processed (x-api.md 3.6).
    fn processing_info(&self, options: &SimOptions, now_us: i64) -> Option<Value> {
        let done = self.done.as_ref()?;
        let (begin, end) = done.processing?;
        let wait = options.check_after_s;
        let percent = (now_us - begin).saturating_mul(100) / (end - begin).max(1);
        Some(match self.stage(now_us)? {
            Stage::Ready => json!({"state": "succeeded", "progress_percent": 100}),
            Stage::Pending => json!({"state": "pending", "check_after_secs": wait}),
            Stage::InProgress => json!({
                "state": "in_progress",
                "check_after_secs": wait,
                "progress_percent": percent.clamp(0, 99),
            }),
            Stage::Failed => {
                let failure = done.failure.as_ref()?;
                json!({
                    "state": failure.state,
                    "progress_percent": 99,
                    "error": {
                        "code": failure.code,
                        "name": failure.name,
                        "message": failure.message,
                    },
                })
            }
        })
    }

    /// The members that finalize, STATUS and the one-shot upload answer with.
    pub(crate) fn describe(&self, options: &SimOptions, now_us: i64) -> Option<Value> {
        let done = self.done.as_ref()?;
        let left_us = done.expires_us.saturating_sub(now_us).max(0);
        let mut data = json!({
            "id": self.id.to_string(),
            "media_key": self.key,
            "size": done.bytes,
            "expires_after_secs": crate::clock::seconds(left_us),
        });
        let members = data.as_object_mut()?;
        match self.class {
            Class::Image | Class::Gif => {
                let mut image = json!({"image_type": self.mime});
                if let (Some((w, h)), Some(image)) = (done.size, image.as_object_mut()) {
                    image.insert("w".to_owned(), json!(w));
                    image.insert("h".to_owned(), json!(h));
                }
                members.insert("image".to_owned(), image);
            }
            Class::Video => {
                members.insert("video".to_owned(), json!({"video_type": self.mime}));
            }
            Class::Subtitles => {}
        }
        if let Some(info) = self.processing_info(options, now_us) {
            members.insert("processing_info".to_owned(), info);
        }
        Some(data)
    }

    /// Whether it is an open session at that time.
    pub(crate) fn is_open(&self, now_us: i64) -> bool {
        self.done.is_none() && now_us < self.session_until_us
    }

    /// Whether it is a medium, and not expired.
    pub(crate) fn is_live(&self, now_us: i64) -> bool {
        self.done
            .as_ref()
            .is_some_and(|done| now_us < done.expires_us)
    }
}

/// What a new session is to hold.
#[derive(Debug)]
pub(crate) struct NewMedia {
    pub(crate) id: u64,
    pub(crate) owner: String,
    pub(crate) additional_owners: Vec<String>,
    pub(crate) category: String,
    pub(crate) class: Class,
    /// As announced, or as recognised for a one-shot upload.
    pub(crate) mime: String,
    pub(crate) total_bytes: u64,
}

/// All sessions and media.
#[derive(Debug, Default)]
pub(crate) struct MediaStore {
    by_id: HashMap<u64, Media>,
    sweep_at: usize,
}

impl MediaStore {
    pub(crate) fn get(&self, id: &str) -> Option<&Media> {
        self.by_id.get(&id.parse().ok()?)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Media> {
        self.by_id.get_mut(&id.parse().ok()?)
    }

    /// Opens a session, and forgets those that died of age.
    pub(crate) fn open(&mut self, new: NewMedia, now_us: i64) -> &mut Media {
        if self.by_id.len() >= self.sweep_at.max(1_000) {
            self.by_id
                .retain(|_, media| media.is_open(now_us) || media.done.is_some());
            self.sweep_at = self.by_id.len() * 2;
        }
        let prefix = new.class.key_prefix(&new.category);
        let media = Media {
            id: new.id,
            key: format!("{prefix}_{}", new.id),
            owner: new.owner,
            additional_owners: new.additional_owners,
            category: new.category,
            class: new.class,
            mime: new.mime,
            total_bytes: new.total_bytes,
            session_until_us: now_us.saturating_add(seconds_us(SESSION_LIFE_S)),
            segments: BTreeMap::new(),
            spool: None,
            version: 0,
            done: None,
            alt_text: None,
            metadata: serde_json::Map::new(),
            subtitles: BTreeMap::new(),
        };
        self.by_id.entry(new.id).or_insert(media)
    }

    /// Sessions that still wait for their bytes.
    pub(crate) fn live_sessions(&self, now_us: i64) -> usize {
        self.by_id
            .values()
            .filter(|media| media.is_open(now_us))
            .count()
    }

    /// All of them, oldest first.
    pub(crate) fn list(&self) -> Vec<&Media> {
        let mut all: Vec<_> = self.by_id.values().collect();
        all.sort_by_key(|media| media.id);
        all
    }
}
