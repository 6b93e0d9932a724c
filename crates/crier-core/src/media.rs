//! Files of a post: how a row names them, what their bytes say they are, and what X takes.
//!
//! **Invariant:** a parsed item names exactly one source, and a path never leads out of the media folder.

mod address;
mod film;
mod limits;
mod measure;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fault::{Fault, Shape, check_shape, without_nulls};

pub use address::{UrlRules, is_public, shown};
pub use limits::{
    LEAST_VIDEO_FRAME, MOST_ASPECT, MOST_GIF_FRAME, MOST_GIF_FRAMES, MOST_GIF_PIXELS,
    MOST_PREMIUM_FRAME, MOST_PROMOTED_MS, MOST_VIDEO_FRAME, VIDEO_MS, check_measure, check_mix,
    check_size,
};
pub use measure::{Frame, Measure, measure};

/// Media a post may have (X's specification, `media_ids`; best-practices page: four photos, or one GIF, or one video).
pub const MOST_ITEMS: usize = 4;
/// Characters of an alt text (X's specification, `POST /2/media/metadata`).
pub const MOST_ALT_TEXT: usize = 1000;
/// Bytes of an image (X's page on media best practices: 5 MB).
pub const MOST_IMAGE_BYTES: u64 = 5 * 1024 * 1024;
/// Bytes of an animated GIF (X's page on media best practices: 15 MB).
pub const MOST_GIF_BYTES: u64 = 15 * 1024 * 1024;
/// Bytes of a video (X's page on media best practices: 512 MB).
pub const MOST_VIDEO_BYTES: u64 = 512 * 1024 * 1024;

/// What a file is for, in X's words; the ones a post can use (X's specification, `media_category`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaCategory {
    /// A picture that does not move.
    TweetImage,
    /// An animated GIF.
    TweetGif,
    /// A video.
    TweetVideo,
    /// A video for advertisers.
    AmplifyVideo,
}

impl MediaCategory {
    /// X's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TweetImage => "tweet_image",
            Self::TweetGif => "tweet_gif",
            Self::TweetVideo => "tweet_video",
            Self::AmplifyVideo => "amplify_video",
        }
    }

    /// The most bytes X takes.
    pub const fn max_bytes(self) -> u64 {
        match self {
            Self::TweetImage => MOST_IMAGE_BYTES,
            Self::TweetGif => MOST_GIF_BYTES,
            Self::TweetVideo | Self::AmplifyVideo => MOST_VIDEO_BYTES,
        }
    }

    /// Whether it is a video, the only kind with subtitles.
    pub const fn is_video(self) -> bool {
        matches!(self, Self::TweetVideo | Self::AmplifyVideo)
    }
}

/// What a file is by its own first bytes: the types X takes for posts (X's specification, `media_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// GIF, animated or not.
    Gif,
    /// WebP.
    Webp,
    /// Windows bitmap.
    Bmp,
    /// TIFF.
    Tiff,
    /// MPEG-4.
    Mp4,
    /// Apple's `QuickTime`.
    #[serde(rename = "quicktime")]
    QuickTime,
    /// `WebM`.
    Webm,
    /// MPEG-2 transport stream.
    Mp2t,
}

impl MediaKind {
    /// The `media_type` to announce to X.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
            Self::Bmp => "image/bmp",
            Self::Tiff => "image/tiff",
            Self::Mp4 => "video/mp4",
            Self::QuickTime => "video/quicktime",
            Self::Webm => "video/webm",
            Self::Mp2t => "video/mp2t",
        }
    }

    /// The category to upload it in if the row names none.
    pub const fn default_category(self) -> MediaCategory {
        match self {
            Self::Jpeg | Self::Png | Self::Webp | Self::Bmp | Self::Tiff => {
                MediaCategory::TweetImage
            }
            Self::Gif => MediaCategory::TweetGif,
            Self::Mp4 | Self::QuickTime | Self::Webm | Self::Mp2t => MediaCategory::TweetVideo,
        }
    }

    /// Whether a file of this kind can go in that category. A GIF may be posted as a picture.
    pub fn fits(self, category: MediaCategory) -> bool {
        let own = self.default_category();
        own == category
            || (own.is_video() && category.is_video())
            || (self == Self::Gif && category == MediaCategory::TweetImage)
    }
}

/// Subtitles of a video.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subtitle {
    /// File in SRT or `WebVTT` form, relative to the media folder.
    pub path: String,
    /// Language as two capital letters, such as `EN` (X's specification, `language_code`).
    pub language: String,
    /// Name shown to viewers, such as `English`.
    pub name: Option<String>,
}

/// One file of the `media` column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MediaItem {
    /// File relative to the media folder. Exactly one of `path` and `url` is there.
    pub path: Option<String>,
    /// Where to fetch the file: https, or http where the operator allows it.
    pub url: Option<String>,
    /// Description for people who do not see the picture, up to [`MOST_ALT_TEXT`] characters.
    pub alt_text: Option<String>,
    /// Category to upload it in; absent = by the file's kind.
    pub category: Option<MediaCategory>,
    /// Subtitles of a video.
    pub subtitles: Vec<Subtitle>,
    /// X's `shared` of an upload.
    pub shared: Option<bool>,
    /// Ids of users who may use the upload too.
    pub additional_owners: Vec<String>,
}

impl MediaItem {
    /// What the file is called in messages: its path, or its address without what may be secret in it.
    pub fn source(&self) -> String {
        match (&self.path, &self.url) {
            (Some(path), _) => path.clone(),
            (None, Some(text)) => {
                address::parse(text).map_or_else(|_| "url".to_owned(), |url| shown(&url))
            }
            (None, None) => String::new(),
        }
    }
}

const CATEGORIES: &[&str] = &["tweet_image", "tweet_gif", "tweet_video", "amplify_video"];
const SUBTITLE: Shape = Shape::Object {
    keys: &[
        ("path", Shape::TEXT),
        ("language", Shape::TEXT),
        ("name", Shape::TEXT),
    ],
    required: &["path", "language"],
};
const ITEM: Shape = Shape::Object {
    keys: &[
        ("path", Shape::TEXT),
        ("url", Shape::TEXT),
        ("alt_text", Shape::text(0, MOST_ALT_TEXT)),
        ("category", Shape::Word(CATEGORIES)),
        ("subtitles", Shape::list(&SUBTITLE, 0, 100)),
        ("shared", Shape::Flag),
        // The specification of January 2025 said 100; the newer one says no number.
        ("additional_owners", Shape::list(&Shape::Id, 0, 100)),
    ],
    required: &[],
};

const HINT: &str = "correct the row's `media`";

fn refuse(detail: impl Into<String>, hint: &str) -> Fault {
    Fault::new(
        "media_invalid",
        "the `media` column is not as it should be",
        detail,
        hint,
    )
}

/// Reads the `media` column. Null is no media, at the top and for each key.
///
/// # Errors
/// `media_invalid` or `path_unsafe` for the first thing wrong, naming the key, such as `media[0].alt_text`.
pub fn parse_media(value: &Value) -> Result<Vec<MediaItem>, Fault> {
    if value.is_null() {
        return Ok(Vec::new());
    }
    let value = without_nulls(value);
    let shape = Shape::list(&ITEM, 0, MOST_ITEMS);
    check_shape("media", &value, &shape).map_err(|detail| refuse(detail, HINT))?;
    let mut items: Vec<MediaItem> =
        serde_json::from_value(value).map_err(|e| refuse(e.to_string(), HINT))?;
    for (index, item) in items.iter_mut().enumerate() {
        check_item(&format!("media[{index}]"), item)?;
    }
    Ok(items)
}

fn check_item(at: &str, item: &mut MediaItem) -> Result<(), Fault> {
    match (&item.path, &item.url) {
        (Some(path), None) => drop(safe_relative(path)?),
        (None, Some(url)) => {
            address::parse(url).map_err(|why| {
                let detail = format!("`{at}.url` {why}");
                refuse(detail, "give an https address, or the `path` of a file")
            })?;
        }
        (None, None) | (Some(_), Some(_)) => {
            let detail = format!("`{at}` must have either `path` or `url`");
            return Err(refuse(detail, "give exactly one of the two"));
        }
    }
    if !item.subtitles.is_empty() && item.category.is_some_and(|c| !c.is_video()) {
        let detail = format!("`{at}.subtitles` are there, but its category is no video");
        return Err(refuse(detail, "only videos have subtitles"));
    }
    for (index, subtitle) in item.subtitles.iter_mut().enumerate() {
        safe_relative(&subtitle.path)?;
        subtitle.language.make_ascii_uppercase();
        let letters = subtitle.language.as_bytes();
        if letters.len() != 2 || !letters.iter().all(u8::is_ascii_uppercase) {
            let language = &subtitle.language;
            let detail = format!("`{at}.subtitles[{index}].language` is `{language}`");
            return Err(refuse(detail, "give two letters, such as `EN`"));
        }
    }
    Ok(())
}

/// A path of a row as one below the media folder, by its letters alone (links are the opener's business).
///
/// # Errors
/// `path_unsafe` if it is empty, absolute, names a folder, holds NUL or has a part `..`, on any operating system.
pub fn safe_relative(path: &str) -> Result<PathBuf, Fault> {
    let parts: Vec<&str> = path.split(['/', '\\']).collect();
    let wrong = if path.is_empty() {
        "is empty"
    } else if path.contains('\0') {
        "holds a NUL"
    } else if path.starts_with(['/', '\\']) || path.as_bytes().get(1) == Some(&b':') {
        "is absolute"
    } else if parts.contains(&"..") {
        "leads upwards with `..`"
    } else if parts.last().is_none_or(|last| matches!(*last, "" | ".")) {
        "names a folder"
    } else {
        return Ok(path
            .split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .collect());
    };
    Err(Fault::new(
        "path_unsafe",
        "a path leads out of the media folder or to no file",
        format!("the path `{}` {wrong}", path.escape_debug()),
        "give the file's path relative to the media folder",
    ))
}

/// What a file is, by the first bytes of it (512 are enough); `None` if it is nothing that a post can have.
pub fn sniff(head: &[u8]) -> Option<MediaKind> {
    let at = |from: usize, mark: &[u8]| head.get(from..).is_some_and(|rest| rest.starts_with(mark));
    let holds = |word: &[u8]| {
        head.windows(word.len())
            .take(4096)
            .any(|window| window == word)
    };
    if at(0, b"\xff\xd8\xff") {
        Some(MediaKind::Jpeg)
    } else if at(0, b"\x89PNG\r\n\x1a\n") {
        Some(MediaKind::Png)
    } else if at(0, b"GIF87a") || at(0, b"GIF89a") {
        Some(MediaKind::Gif)
    } else if at(0, b"RIFF") && at(8, b"WEBP") {
        Some(MediaKind::Webp)
    } else if at(0, b"BM") && at(6, &[0; 4]) {
        // The four reserved bytes tell it from a text that begins so.
        Some(MediaKind::Bmp)
    } else if at(0, b"II*\0") || at(0, b"MM\0*") {
        Some(MediaKind::Tiff)
    } else if at(4, b"ftyp") {
        by_brand(head.get(8..12)?)
    } else if [b"moov", b"mdat", b"wide"].iter().any(|mark| at(4, *mark)) {
        // Films older than the `ftyp` box (Apple's QuickTime File Format, "File Type Compatibility").
        Some(MediaKind::QuickTime)
    } else if at(0, b"\x1a\x45\xdf\xa3") && holds(b"webm") {
        // Matroska has the same first bytes and another document type.
        Some(MediaKind::Webm)
    } else if at(0, b"G") && at(188, b"G") && (head.len() <= 376 || at(376, b"G")) {
        // Packets of 188 bytes, each beginning with 0x47 (ISO/IEC 13818-1).
        Some(MediaKind::Mp2t)
    } else {
        None
    }
}

/// Pictures and sound share the box form of films (ISO/IEC 14496-12, major brands at mp4ra.org).
fn by_brand(brand: &[u8]) -> Option<MediaKind> {
    match brand {
        b"qt  " => Some(MediaKind::QuickTime),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" | b"avif"
        | b"avis" | b"crx " | b"M4A " | b"M4B " | b"M4P " => None,
        _ => Some(MediaKind::Mp4),
    }
}
