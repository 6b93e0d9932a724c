//! What X takes by size, length, frame and number of frames, per category and tier (x-api.md 3.7).
//!
//! **Invariant:** what is unknown is never held against a file; each fault tells what the file has and what X takes.

use super::measure::{Frame, Measure};
use super::{MOST_ITEMS, MediaCategory};
use crate::fault::Fault;
use crate::tier::Tier;

/// Length of a video in milliseconds (X's page on media best practices: 0.5 to 140 seconds).
pub const VIDEO_MS: (u64, u64) = (500, 140_000);
/// Longest promoted video in milliseconds (X's ads pages on creatives: ten minutes).
pub const MOST_PROMOTED_MS: u64 = 600_000;
/// Frames of a GIF (X's page on media best practices).
pub const MOST_GIF_FRAMES: u32 = 350;
/// Pixels of all frames of a GIF (X's page on media best practices).
pub const MOST_GIF_PIXELS: u64 = 300_000_000;
/// Frame of a GIF (X's page on media best practices).
pub const MOST_GIF_FRAME: Frame = frame(1280, 1080);
/// Smallest frame of a video (X's page on media best practices).
pub const LEAST_VIDEO_FRAME: Frame = frame(32, 32);
/// Largest frame of a video (X's page on media best practices).
pub const MOST_VIDEO_FRAME: Frame = frame(1280, 1024);
/// Largest frame of a video with Premium (the same page: "Premium may upload 1080p").
pub const MOST_PREMIUM_FRAME: Frame = frame(1920, 1080);
/// How many times a video may be longer on one side than on the other (X's page on media best practices: 1:3 to 3:1).
pub const MOST_ASPECT: u32 = 3;

const fn frame(width: u32, height: u32) -> Frame {
    Frame { width, height }
}

impl Frame {
    /// Whether it fits into another, upright or on its side: X takes 720x1280 where it says 1280x1024.
    const fn fits(self, most: Self) -> bool {
        self.long() <= most.long() && self.short() <= most.short()
    }

    const fn long(self) -> u32 {
        if self.width > self.height {
            self.width
        } else {
            self.height
        }
    }

    const fn short(self) -> u32 {
        if self.width > self.height {
            self.height
        } else {
            self.width
        }
    }
}

/// Whether X takes a file of this many bytes in that category.
///
/// # Errors
/// `media_empty` or `media_too_large`, with both sizes.
pub fn check_size(category: MediaCategory, bytes: u64) -> Result<(), Fault> {
    let (most, word) = (category.max_bytes(), category.as_str());
    let (code, title, hint) = if bytes == 0 {
        (
            "media_empty",
            "a file is empty",
            "put the whole file in place",
        )
    } else if bytes > most {
        (
            "media_too_large",
            "a file is larger than X takes",
            "make the file smaller",
        )
    } else {
        return Ok(());
    };
    let detail = format!("the file has {bytes} bytes; X takes 1 to {most} for `{word}`");
    Err(Fault::new(code, title, detail, hint))
}

/// Everything that X would object to in a file of that category, as far as it is known, for an account of that tier.
/// A fault that is [`Fault::passing`] is one that X is not sure to find.
pub fn check_measure(category: MediaCategory, of: &Measure, tier: Tier) -> Vec<Fault> {
    match category {
        MediaCategory::TweetImage => Vec::new(),
        MediaCategory::TweetGif => animation(of),
        MediaCategory::TweetVideo | MediaCategory::AmplifyVideo => length(category, of, tier)
            .into_iter()
            .chain(picture(of, tier))
            .collect(),
    }
}

fn animation(of: &Measure) -> Vec<Fault> {
    let hint = "make the GIF smaller or shorter, or a video of it";
    let mut faults = Vec::new();
    if let Some(frame) = of.frame.filter(|frame| !frame.fits(MOST_GIF_FRAME)) {
        let detail = format!("the GIF has {frame} pixels; X takes {MOST_GIF_FRAME} at most");
        faults.push(too_wide(detail, hint));
    }
    if let Some(frames) = of.frames.filter(|frames| *frames > MOST_GIF_FRAMES) {
        faults.push(Fault::new(
            "media_too_many_frames",
            "a GIF has more frames than X takes",
            format!("the GIF has {frames} frames; X takes {MOST_GIF_FRAMES} at most"),
            hint,
        ));
    }
    if let (Some(frame), Some(frames)) = (of.frame, of.frames) {
        let pixels = u64::from(frame.width) * u64::from(frame.height) * u64::from(frames);
        if pixels > MOST_GIF_PIXELS {
            faults.push(Fault::new(
                "media_too_many_pixels",
                "a GIF has more pixels in all its frames than X takes",
                format!("{frames} frames of {frame} are {pixels} pixels; X takes {MOST_GIF_PIXELS} at most"),
                hint,
            ));
        }
    }
    faults
}

fn length(category: MediaCategory, of: &Measure, tier: Tier) -> Option<Fault> {
    let length = of.duration_ms?;
    let (least, most) = VIDEO_MS;
    // How long a video may be with Premium is not documented for the API: X says it.
    let most = match (category, tier) {
        (MediaCategory::AmplifyVideo, _) => Some(MOST_PROMOTED_MS),
        (_, Tier::Premium) => None,
        (_, Tier::Standard) => Some(most),
    };
    let told = |most: u64| {
        format!(
            "the video lasts {} s; X takes {} to {} s for `{}` of an account that is {}",
            seconds(length),
            seconds(least),
            seconds(most),
            category.as_str(),
            tier.as_str()
        )
    };
    if length < least {
        return Some(Fault::new(
            "media_too_short",
            "a video is shorter than X takes",
            told(most.unwrap_or(VIDEO_MS.1)),
            "make it longer",
        ));
    }
    let most = most.filter(|most| length > *most)?;
    Some(Fault::new(
        "media_too_long",
        "a video is longer than X takes",
        told(most),
        "cut it; an account with Premium may post longer ones: tell crier that it has it",
    ))
}

fn picture(of: &Measure, tier: Tier) -> Vec<Fault> {
    let Some(frame) = of.frame else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    if frame.short() < LEAST_VIDEO_FRAME.short() {
        faults.push(Fault::new(
            "media_too_narrow",
            "a video has fewer pixels than X takes",
            format!("the video has {frame} pixels; X takes {LEAST_VIDEO_FRAME} at least"),
            "make it larger",
        ));
    } else if frame.long() > frame.short().saturating_mul(MOST_ASPECT) {
        faults.push(Fault::new(
            "media_aspect",
            "a video is too long on one side for X",
            format!("the video has {frame} pixels; X takes 1:{MOST_ASPECT} to {MOST_ASPECT}:1"),
            "crop it",
        ));
    }
    let most = match tier {
        Tier::Standard => MOST_VIDEO_FRAME,
        Tier::Premium => MOST_PREMIUM_FRAME,
    };
    if !frame.fits(most) {
        let detail = format!(
            "the video has {frame} pixels; X takes {most} at most of an account that is {}",
            tier.as_str()
        );
        let fault = too_wide(detail, "scale it down");
        // X has been seen to take 1080p of anybody and to scale it down itself.
        faults.push(if frame.fits(MOST_PREMIUM_FRAME) {
            fault.passing()
        } else {
            fault
        });
    }
    faults
}

fn too_wide(detail: String, hint: &str) -> Fault {
    Fault::new(
        "media_too_wide",
        "a file has more pixels than X takes",
        detail,
        hint,
    )
}

/// Milliseconds as seconds, without zeros at the end.
fn seconds(ms: u64) -> String {
    let text = format!("{}.{:03}", ms / 1_000, ms % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Whether X takes these categories in one post: up to four pictures, or one GIF, or one video.
///
/// # Errors
/// `media_mix`, with what there is.
pub fn check_mix(categories: &[MediaCategory]) -> Result<(), Fault> {
    let pictures = categories
        .iter()
        .filter(|c| **c == MediaCategory::TweetImage)
        .count();
    let alone = categories.len() - pictures;
    if categories.len() <= MOST_ITEMS && (alone == 0 || categories.len() == 1) {
        return Ok(());
    }
    Err(Fault::new(
        "media_mix",
        "X does not take these files in one post",
        format!("there are {pictures} pictures and {alone} GIFs or videos"),
        "give up to 4 pictures, or 1 GIF, or 1 video",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(width: u32, height: u32, duration_ms: u64) -> Measure {
        Measure {
            frame: Some(frame(width, height)),
            duration_ms: Some(duration_ms),
            frames: None,
        }
    }

    fn codes(category: MediaCategory, of: &Measure, tier: Tier) -> Vec<(String, bool)> {
        check_measure(category, of, tier)
            .into_iter()
            .map(|fault| (fault.code, fault.permanent))
            .collect()
    }

    fn hard(codes: &[&str]) -> Vec<(String, bool)> {
        codes
            .iter()
            .map(|code| ((*code).to_owned(), true))
            .collect()
    }

    #[test]
    fn videos_end_where_x_ends_them_for_their_tier() {
        use MediaCategory::{AmplifyVideo as Ad, TweetVideo as Video};
        use Tier::{Premium, Standard};
        for (category, tier, of, wrong) in [
            (Video, Standard, video(1280, 720, 500), &[][..]),
            (Video, Standard, video(720, 1280, 140_000), &[]),
            (Video, Standard, video(1280, 1024, 140_000), &[]),
            (Video, Standard, video(32, 32, 9_000), &[]),
            (Video, Standard, video(96, 32, 9_000), &[]),
            (Video, Standard, video(1280, 720, 499), &["media_too_short"]),
            (Video, Premium, video(1280, 720, 499), &["media_too_short"]),
            (
                Video,
                Standard,
                video(1280, 720, 140_001),
                &["media_too_long"],
            ),
            (Video, Premium, video(1280, 720, 4 * 3_600_000), &[]),
            (Ad, Standard, video(1280, 720, 600_000), &[]),
            (Ad, Premium, video(1280, 720, 600_001), &["media_too_long"]),
            (Video, Standard, video(31, 32, 9_000), &["media_too_narrow"]),
            (Video, Standard, video(97, 32, 9_000), &["media_aspect"]),
            (Video, Standard, video(32, 97, 9_000), &["media_aspect"]),
            (Video, Premium, video(1080, 1920, 9_000), &[]),
            (
                Video,
                Premium,
                video(1921, 1080, 9_000),
                &["media_too_wide"],
            ),
            (
                Video,
                Standard,
                video(3840, 2160, 9_000),
                &["media_too_wide"],
            ),
            (
                Video,
                Standard,
                video(4000, 20, 200_000),
                &["media_too_long", "media_too_narrow", "media_too_wide"],
            ),
        ] {
            assert_eq!(codes(category, &of, tier), hard(wrong), "{of:?} {tier:?}");
        }
        // What X may scale down by itself is a warning.
        let full = video(1920, 1080, 9_000);
        let warned = codes(Video, &full, Standard);
        assert_eq!(warned, [("media_too_wide".to_owned(), false)]);
    }

    #[test]
    fn gifs_end_where_x_ends_them() {
        let gif = |width, height, frames| Measure {
            frame: Some(frame(width, height)),
            duration_ms: None,
            frames: Some(frames),
        };
        let look = |of| codes(MediaCategory::TweetGif, &of, Tier::Premium);
        for fine in [gif(1280, 1080, 217), gif(1080, 1280, 1), gif(480, 270, 350)] {
            assert_eq!(look(fine), []);
            assert_eq!(codes(MediaCategory::TweetImage, &fine, Tier::Standard), []);
        }
        assert_eq!(look(gif(1281, 720, 1)), hard(&["media_too_wide"]));
        assert_eq!(look(gif(1281, 720, 1)).len(), 1);
        assert_eq!(look(gif(100, 100, 351)), hard(&["media_too_many_frames"]));
        assert_eq!(look(gif(1280, 1080, 218)), hard(&["media_too_many_pixels"]));
        let all = hard(&[
            "media_too_wide",
            "media_too_many_frames",
            "media_too_many_pixels",
        ]);
        assert_eq!(look(gif(60_000, 60_000, u32::MAX)), all);
    }

    #[test]
    fn faults_tell_what_there_is_and_what_x_takes() {
        let category = MediaCategory::TweetVideo;
        let of = video(4000, 300, 140_120);
        let said: Vec<String> = check_measure(category, &of, Tier::Standard)
            .into_iter()
            .map(|fault| fault.detail)
            .collect();
        assert_eq!(
            said,
            [
                "the video lasts 140.12 s; X takes 0.5 to 140 s for `tweet_video` of an account that is standard",
                "the video has 4000x300 pixels; X takes 1:3 to 3:1",
                "the video has 4000x300 pixels; X takes 1280x1024 at most of an account that is standard",
            ]
        );
    }

    #[test]
    fn nothing_known_is_nothing_wrong() {
        for category in [MediaCategory::TweetGif, MediaCategory::TweetVideo] {
            assert_eq!(codes(category, &Measure::default(), Tier::Standard), []);
        }
    }
}
