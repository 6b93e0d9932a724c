//! Everything that can be known to be wrong with a post before it is due.
//!
//! **Invariant:** all faults are told at once, and the same draft always has the same ones.

use crate::fault::Fault;
use crate::media::{Measure, MediaCategory, MediaKind, check_measure, check_mix, check_size};
use crate::options::{PostOptions, check_exclusions};
use crate::text::weighted_len;
use crate::tier::Tier;
use crate::v1::Publisher;

mod plan;
mod v1;

/// Scopes without which X takes no post (X's specification, security of `POST /2/tweets`).
pub const POST_SCOPES: [&str; 3] = ["tweet.read", "tweet.write", "users.read"];
/// Scope without which X takes no upload.
pub const MEDIA_SCOPE: &str = "media.write";

/// What is known of one file of a draft; a file not looked at yet has `None`s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MediaFact {
    /// What its bytes say it is.
    pub kind: Option<MediaKind>,
    /// Category that the row names.
    pub category: Option<MediaCategory>,
    /// Its size in bytes.
    pub bytes: Option<u64>,
    /// What it says of itself.
    pub measure: Measure,
    /// Whether the row gives it subtitles.
    pub has_subtitles: bool,
    /// Whether the row describes it for those who do not see it.
    pub has_alt_text: bool,
}

impl MediaFact {
    /// The category it will be uploaded in, as far as it is known.
    pub fn effective_category(&self) -> Option<MediaCategory> {
        self.category
            .or_else(|| self.kind.map(MediaKind::default_category))
    }
}

/// A post as its row describes it, with what is known of its account.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// Text of the post.
    pub text: &'a str,
    /// Its options.
    pub options: &'a PostOptions,
    /// One fact for each file of the row.
    pub media: &'a [MediaFact],
    /// Whether the row has `after`.
    pub is_reply: bool,
    /// Handle of the account.
    pub handle: &'a str,
    /// Whether the post that `options` names to reply to is one of the account's own.
    pub replies_to_own: bool,
    /// What the account has subscribed to.
    pub tier: Tier,
    /// By which call it publishes.
    pub publisher: Publisher,
    /// Weighted characters that the account may post.
    pub text_limit: usize,
    /// Scopes granted to the account's token; `None` where there are no scopes (OAuth 1.0a).
    pub scopes: Option<&'a [String]>,
    /// Whether the app pays per use, which X does not let quote or reply freely.
    pub self_serve: bool,
}

/// All faults of a draft: those that cannot mend themselves have [`Fault::permanent`], the others are warnings.
pub fn lint(draft: &Draft<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    faults.extend(text_fault(draft));
    faults.extend(media_faults(draft.media, draft.tier));
    faults.extend(check_exclusions(
        draft.options,
        draft.media.len(),
        draft.is_reply,
    ));
    faults.extend(tier_fault(draft));
    faults.extend(v1::faults(draft));
    faults.extend(scope_fault(draft));
    if draft.self_serve {
        faults.extend(plan::plan_warnings(draft));
    }
    faults.extend(plan::edit_warning(draft));
    faults.extend(plan::cap_warnings(draft));
    faults
}

/// What X would surely refuse of a draft, for whoever is about to send it: files and scopes were looked at before.
pub fn sending_faults(draft: &Draft<'_>) -> Vec<Fault> {
    let mut faults: Vec<Fault> = text_fault(draft).into_iter().collect();
    faults.extend(check_exclusions(
        draft.options,
        draft.media.len(),
        draft.is_reply,
    ));
    faults.extend(v1::faults(draft));
    faults.retain(|fault| fault.permanent);
    faults
}

fn text_fault(draft: &Draft<'_>) -> Option<Fault> {
    if draft.text.trim().is_empty() {
        return draft.media.is_empty().then(|| {
            Fault::new(
                "text_empty",
                "there is nothing to post",
                "`text` is empty, and the row has no media",
                "give a text or media",
            )
        });
    }
    let (length, limit) = (weighted_len(draft.text), draft.text_limit);
    let over = length.checked_sub(limit).filter(|over| *over > 0)?;
    Some(Fault::new(
        "text_too_long",
        "the text is too long for X",
        format!(
            "`text` has {length} weighted characters, {over} more than the {limit} that the account may post"
        ),
        "shorten it; a link counts 23, an emoji and a character of Chinese, Japanese or Korean 2",
    ))
}

fn media_faults(media: &[MediaFact], tier: Tier) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, fact) in media.iter().enumerate() {
        let at = |mut fault: Fault| {
            fault.detail = format!("`media[{index}]`: {}", fault.detail);
            fault
        };
        if let (Some(kind), Some(category)) = (fact.kind, fact.category)
            && !kind.fits(category)
        {
            faults.push(at(Fault::new(
                "media_category",
                "a file is not what its category says",
                format!(
                    "the file is `{}`, its category `{}`",
                    kind.media_type(),
                    category.as_str()
                ),
                "leave `category` out: crier goes by the file's own bytes",
            )));
        }
        let Some(category) = fact.effective_category() else {
            continue;
        };
        if fact.has_subtitles && !category.is_video() {
            faults.push(at(Fault::new(
                "media_subtitles",
                "only videos have subtitles",
                format!(
                    "the file goes as `{}` and has `subtitles`",
                    category.as_str()
                ),
                "leave `subtitles` out",
            )));
        }
        let size = fact
            .bytes
            .and_then(|bytes| check_size(category, bytes).err())
            .map(at);
        // A file of no bytes is about to be written; one that is too large does not shrink by itself.
        faults.extend(size.map(|fault| match fact.bytes {
            Some(0) => fault.passing(),
            Some(_) | None => fault,
        }));
        let measured = check_measure(category, &fact.measure, tier);
        faults.extend(measured.into_iter().map(at));
    }
    let known: Vec<MediaCategory> = media
        .iter()
        .filter_map(MediaFact::effective_category)
        .collect();
    let mix = check_mix(&known).err();
    // One video and one file not looked at yet are too much already, whatever that file is.
    let crowded = (known.len() < media.len()
        && known.iter().any(|c| *c != MediaCategory::TweetImage))
        || media.len() > crate::media::MOST_ITEMS;
    faults.extend(mix.or_else(|| {
        crowded.then(|| {
            Fault::new(
                "media_mix",
                "X does not take these files in one post",
                format!(
                    "there are {} files, not all of them pictures or too many",
                    media.len()
                ),
                "give up to 4 pictures, or 1 GIF, or 1 video",
            )
        })
    }));
    faults
}

/// Only Premium edits posts (X's page on editing posts).
fn tier_fault(draft: &Draft<'_>) -> Option<Fault> {
    draft.options.edit_options.as_ref()?;
    let handle = draft.handle;
    (draft.tier != Tier::Premium).then(|| {
        Fault::new(
            "edit_needs_premium",
            "X lets only Premium accounts edit posts",
            format!("`options.edit_options` is there, and `@{handle}` is `standard`"),
            format!("if it has subscribed: `crier accounts tier {handle} premium`, then `crier jobs retry`"),
        )
    })
}

fn scope_fault(draft: &Draft<'_>) -> Option<Fault> {
    let granted = draft.scopes?;
    let media = (!draft.media.is_empty()).then_some(MEDIA_SCOPE);
    let missing: Vec<&str> = POST_SCOPES
        .into_iter()
        .chain(media)
        .filter(|scope| !granted.iter().any(|g| g == scope))
        .collect();
    // A new consent before the post is due mends it; a refresh cannot widen a grant.
    (!missing.is_empty()).then(|| {
        Fault::new(
            "scope_missing",
            "the account has not granted what this post needs",
            format!("missing: `{}`", missing.join("`, `")),
            "let the account's owner consent again with `crier auth login`",
        )
        .passing()
    })
}
