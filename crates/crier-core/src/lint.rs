//! Everything that can be known to be wrong with a post before it is due.
//!
//! **Invariant:** all faults are told at once, and the same draft always has the same ones.

use std::collections::BTreeSet;

use crate::fault::Fault;
use crate::media::{Measure, MediaCategory, MediaKind, check_measure, check_mix, check_size};
use crate::options::{PostOptions, check_exclusions};
use crate::text::weighted_len;
use crate::tier::Tier;

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
    let tier = Tier::from_text_limit(draft.text_limit);
    faults.extend(media_faults(draft.media, tier));
    faults.extend(check_exclusions(
        draft.options,
        draft.media.len(),
        draft.is_reply,
    ));
    faults.extend(scope_fault(draft));
    if draft.self_serve {
        faults.extend(plan_warnings(draft));
    }
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

/// What X does not let apps that pay per use do (X's changelog, 2026-02-23 and 2026-04-16; its integration page).
/// Whether it applies to a given app is X's secret, so these are warnings.
fn plan_warnings(draft: &Draft<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut warn = |code: &str, title: &str, detail: String, hint: &str| {
        faults.push(Fault::new(code, title, detail, hint).passing());
    };
    let tags = cashtags(draft.text);
    if tags.len() > 1 {
        let names: Vec<String> = tags.iter().map(|tag| format!("`${tag}`")).collect();
        warn(
            "too_many_cashtags",
            "X may refuse a post with more than one cashtag",
            format!("`text` has {}", names.join(", ")),
            "keep one",
        );
    }
    if let Some(id) = &draft.options.quote_tweet_id {
        warn(
            "quote_restricted",
            "X lets only enterprise apps quote posts",
            format!("`options.quote_tweet_id` is `{id}`"),
            "put a link to the post into the text instead",
        );
    }
    let reply = draft
        .options
        .reply
        .as_ref()
        .and_then(|reply| reply.in_reply_to_tweet_id.as_ref());
    if let Some(id) = reply {
        warn(
            "reply_restricted",
            "X takes replies only to posts whose author mentions or quotes the account",
            format!("`options.reply.in_reply_to_tweet_id` is `{id}`"),
            "to continue a thread of the account's own, use the column `after`",
        );
    }
    faults
}

/// The different cashtags of a text, in capitals: `$`, 1 to 6 letters, perhaps `.` or `_` and 1 or 2 more, between
/// spaces or punctuation (twitter-text, `cashtag`).
fn cashtags(text: &str) -> BTreeSet<String> {
    let letters = |s: &str| s.chars().take_while(char::is_ascii_alphabetic).count();
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices('$') {
        let rest = &text[at + 1..];
        let mut len = letters(rest);
        if !(1..=6).contains(&len)
            || !text[..at]
                .chars()
                .next_back()
                .is_none_or(char::is_whitespace)
        {
            continue;
        }
        if let Some(more) = rest[len..].strip_prefix(['.', '_'])
            && let extra @ 1..=2 = letters(more)
            && !more[extra..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
        {
            len += 1 + extra;
        }
        if !rest[len..].starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$')) {
            found.insert(rest[..len].to_ascii_uppercase());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cashtags_are_told_apart() {
        for (text, tags) in [
            ("$TWTR $twtr", &["TWTR"][..]),
            ("$BRK.A, $a_b $TOOLONGX", &["A_B", "BRK.A"]),
            ("$a. $5 $ x$b $c$d $日 $é", &["A"]),
            ("$abc.def", &["ABC"]),
        ] {
            assert_eq!(
                cashtags(text).into_iter().collect::<Vec<_>>(),
                tags,
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_cashtags_or_none(text in "([$._ ]|[a-c]|日|é|7){0,20}") {
            for tag in cashtags(&text) {
                let there = text.to_ascii_uppercase().contains(&format!("${tag}"));
                proptest::prop_assert!(there);
            }
        }
    }
}
