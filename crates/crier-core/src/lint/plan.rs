//! What X may refuse without its specification saying so: what plans and subscriptions hold, and caps of its backend.
//!
//! **Invariant:** whether a plan applies to an app, or a cap still holds, is X's secret: here are warnings only.

use std::collections::BTreeSet;

use super::Draft;
use crate::fault::Fault;
use crate::text::{ORDINARY_LIMIT, link_count, weighted_len};

/// Mentions, links and hashtags of a post (the-algorithm, `TweetText.scala`).
const MOST_MENTIONS: usize = 50;
const MOST_LINKS: usize = 10;
const MOST_HASHTAGS: usize = 50;
/// Characters of a hashtag (the same).
const LONGEST_HASHTAG: usize = 100;
/// Bytes of UTF-8 of an ordinary post (the same).
const MOST_BYTES: usize = 5_708;

/// What X does not let apps do that pay per use (X's changelog, 2026-02-23 and 2026-04-16; its integration page).
pub(super) fn plan_warnings(draft: &Draft<'_>) -> Vec<Fault> {
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
    if let Some(id) = draft
        .options
        .reply_target()
        .filter(|_| !draft.replies_to_own)
    {
        warn(
            "reply_restricted",
            "X takes replies only to posts whose author mentions or quotes the account",
            format!("`options.reply.in_reply_to_tweet_id` is `{id}`"),
            "to continue a thread of the account's own, use the column `after`",
        );
    }
    faults
}

/// Caps of X's backend as it was published in 2023, whatever the plan.
pub(super) fn cap_warnings(draft: &Draft<'_>) -> Vec<Fault> {
    let text = draft.text;
    let mut faults = Vec::new();
    let mut warn = |what: &str, there: usize, most: usize, hint: &str| {
        if there > most {
            let detail = format!("`text` has {there} {what}, and X's backend took at most {most}");
            let title = "X may refuse the text";
            faults.push(Fault::new("text_caps", title, detail, hint).passing());
        }
    };
    let tags = tags(text, ['#', '＃'], is_tag);
    let hashtags = tags
        .iter()
        .filter(|tag| tag.chars().any(char::is_alphabetic));
    let longest = hashtags.clone().map(|tag| tag.chars().count()).max();
    warn("hashtags", hashtags.count(), MOST_HASHTAGS, "keep fewer");
    warn(
        "characters in a hashtag",
        longest.unwrap_or(0),
        LONGEST_HASHTAG,
        "shorten the hashtag",
    );
    let handles = self::tags(text, ['@', '＠'], |c| {
        c.is_ascii_alphanumeric() || c == '_'
    });
    warn("mentions", handles.len(), MOST_MENTIONS, "keep fewer");
    // A text without room for so many needs no look.
    if text.matches('.').count() > MOST_LINKS {
        warn("links", link_count(text), MOST_LINKS, "keep fewer");
    }
    if text.len() > MOST_BYTES && weighted_len(text) <= ORDINARY_LIMIT {
        warn("bytes", text.len(), MOST_BYTES, "shorten the text");
    }
    faults
}

/// An edit where the post replies to somebody else: X's page on editing leaves such posts out.
pub(super) fn edit_warning(draft: &Draft<'_>) -> Option<Fault> {
    draft.options.edit_options.as_ref()?;
    let id = draft
        .options
        .reply_target()
        .filter(|_| !draft.replies_to_own)?;
    Some(
        Fault::new(
            "edit_restricted",
            "X does not edit replies to others",
            format!("`options.edit_options` is there, and the post replies to `{id}`"),
            "delete the post and reply anew",
        )
        .passing(),
    )
}

fn is_tag(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Runs of characters behind one of two marks that follows no word.
fn tags(text: &str, marks: [char; 2], belongs: impl Fn(char) -> bool) -> Vec<&str> {
    let mut found = Vec::new();
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        if marks.contains(&c) && !is_tag(before) && !matches!(before, '&' | '/') {
            let rest = &text[at + c.len_utf8()..];
            let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
            if end > 0 {
                found.push(&rest[..end]);
            }
        }
        before = c;
    }
    found
}

/// Whether a text mentions a handle, in any case.
pub(super) fn mentions(text: &str, handle: &str) -> bool {
    handles(text).any(|there| there.eq_ignore_ascii_case(handle))
}

/// The handles that a text mentions.
pub(super) fn handles(text: &str) -> impl Iterator<Item = &str> {
    tags(text, ['@', '＠'], |c| {
        c.is_ascii_alphanumeric() || c == '_'
    })
    .into_iter()
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

    #[test]
    fn tags_follow_no_word() {
        let tags = |text| tags(text, ['#', '＃'], is_tag);
        assert_eq!(
            tags("#one a#two ＃drei(#four) &#39; /#x #"),
            ["one", "drei", "four"]
        );
        assert_eq!(
            handles("@acme a@b.de ＠Orbit, @_x!").collect::<Vec<_>>(),
            ["acme", "Orbit", "_x"]
        );
        assert!(mentions("hi @ACME", "acme") && !mentions("hi @acme2", "acme"));
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
