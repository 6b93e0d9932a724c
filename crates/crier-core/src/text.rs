//! How long a text is to X, and whether a text that X shows is ours.
//!
//! **Invariant:** every Unicode text has a length; nothing here panics.

use unicode_normalization::UnicodeNormalization as _;

mod links;
mod shown;

use links::links;
pub use shown::matches_published;

/// Weighted length of a link, whatever its own (twitter-text `config/v3.json`, `transformedURLLength`).
pub const LINK_WEIGHT: usize = 23;
/// Weighted characters of an ordinary post (X's page on counting characters).
pub const ORDINARY_LIMIT: usize = 280;
/// Weighted characters of a long post of a Premium account (X's changelog, 2024-08-20).
pub const LONG_LIMIT: usize = 25_000;

/// Weight of an emoji, however many code points make it up (twitter-text v3, `emojiParsingEnabled`).
const EMOJI_WEIGHT: usize = 2;
/// No emoji of Unicode's list has more code points than this.
const LONGEST_EMOJI: usize = 12;

/// Weighted length of a text as X counts it: NFC, links 23 each, emoji 2 each, else by range of code point
/// (twitter-text v3).
pub fn weighted_len(text: &str) -> usize {
    let text: String = text.nfc().collect();
    let mut length = 0;
    let mut done = 0;
    for link in links(&text) {
        length += weigh(&text[done..link.start]) + LINK_WEIGHT;
        done = link.end;
    }
    length + weigh(&text[done..])
}

/// Links of a text, as X counts them.
pub fn link_count(text: &str) -> usize {
    links(&text.nfc().collect::<String>()).len()
}

/// Weight of a text without links.
fn weigh(text: &str) -> usize {
    let mut weight = 0;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let emoji = emoji_len(rest);
        weight += if emoji.is_some() {
            EMOJI_WEIGHT
        } else {
            char_weight(first)
        };
        rest = &rest[emoji.unwrap_or(first.len_utf8())..];
    }
    weight
}

/// Weight of one code point (twitter-text `config/v3.json`, `ranges`).
fn char_weight(c: char) -> usize {
    match u32::from(c) {
        0..=4351 | 8192..=8205 | 8208..=8223 | 8242..=8247 => 1,
        _ => 2,
    }
}

/// Bytes of the emoji of several code points that a text begins with. One of a single code point weighs the same
/// as any character of its range.
fn emoji_len(text: &str) -> Option<usize> {
    let mut chars = text.chars();
    let first = chars.next()?;
    match (first, chars.next()?) {
        // The last two are text unless marked as emoji (twemoji-parser, which twitter-text uses).
        ('#' | '*' | '0'..='9', '\u{20e3}') | ('©' | '®', '\u{fe0f}') => {
            Some(first.len_utf8() + 3)
        }
        ('#' | '*' | '0'..='9', '\u{fe0f}') => {
            (chars.next() == Some('\u{20e3}')).then(|| first.len_utf8() + 6)
        }
        ('\u{203c}'.., second) if joins(second) || is_regional(first) => longest_emoji(text),
        _ => None,
    }
}

/// The longest front of several code points that is in Unicode's list of emoji.
fn longest_emoji(text: &str) -> Option<usize> {
    let mut ends = Vec::with_capacity(LONGEST_EMOJI);
    let mut before = None;
    for (count, (at, c)) in text.char_indices().take(LONGEST_EMOJI).enumerate() {
        // A flag is two regional indicators, and the next one begins another flag.
        let pair = count == 1 && before.is_some_and(is_regional) && is_regional(c);
        if count > 0 && !joins(c) && before != Some('\u{200d}') && !pair {
            break;
        }
        if count > 0 {
            ends.push(at + c.len_utf8());
        }
        before = Some(c);
    }
    let is_emoji = |end: &usize| {
        let config = twitter_text_config::config_v3();
        twitter_text::parse(&text[..*end], config, false).weighted_length == 2
    };
    ends.into_iter().rev().find(is_emoji)
}

/// Whether a code point continues an emoji: joiner, variation selector, skin tone or tag (UTS 51).
fn joins(c: char) -> bool {
    matches!(c, '\u{200d}' | '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0020}'..='\u{e007f}')
}

fn is_regional(c: char) -> bool {
    matches!(c, '\u{1f1e6}'..='\u{1f1ff}')
}

/// Whether X would make a link of some part of a text.
pub fn has_link(text: &str) -> bool {
    let text: String = text.nfc().collect();
    !links(&text).is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_follow_twitter_text() {
        for (text, length) in [
            ("", 0),
            ("hello", 5),
            ("日本", 4),
            ("e\u{301}", 1),
            ("\u{10ff}\u{1100}", 3),
            ("“quoted” – text…", 17),
            ("https://example.com/a/very/long/path?with=a&query=yes", 23),
            ("example.com", 23),
            ("see example.com, and http://b.org.", 4 + 23 + 6 + 23 + 1),
            ("日本https://t.co/abcdefghij日本", 4 + 23 + 4),
            ("https://medium.com/@acme/a.b", 23),
            ("v1.2 and a.b", 12),
            ("löw@example.com", 15),
            ("a.b@example.com", 15),
            ("name.al-last@foo.com", 20),
            ("@example.com ＠example.com", 12 + 1 + 2 + 23),
            ("é!@acme", 7),
            ("日!@acme", 8),
        ] {
            assert_eq!(weighted_len(text), length, "{text}");
        }
    }

    #[test]
    fn an_emoji_is_two_however_it_is_made() {
        for (text, length) in [
            ("😀", 2),
            ("👨‍👩‍👧‍👦", 2),
            ("🙋🏽👨‍🎤", 4),
            ("🇩🇪🇫🇷", 4),
            ("🇩🇪", 2),
            ("🏴󠁧󠁢󠁥󠁮󠁧󠁿", 2),
            ("👩🏻‍❤️‍💋‍👩🏻", 2),
            ("1️⃣#⃣", 4),
            ("❤️", 2),
            ("©®", 2),
            ("©️", 2),
            ("H🐱☺👨‍👩‍👧‍👦", 7),
            ("a\u{200d}b", 3),
            // No such emoji: three characters by themselves.
            ("日\u{200d}本", 5),
        ] {
            assert_eq!(weighted_len(text), length, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_length(text in any::<String>()) {
            prop_assert!(weighted_len(&text) <= 2 * text.nfc().count() + 23 * text.matches('.').count());
        }

        #[test]
        fn marks_beside_characters_of_many_bytes_are_no_panic(
            text in "([@＠#＃$!.a_/:~～]|é|日|😀|\u{200d}|\u{fe0f}|🇩|🏽|&amp;|http://|https://t.co/a|RT|x.de){0,14}",
        ) {
            weighted_len(&text);
        }

        #[test]
        fn a_link_weighs_the_same_whatever_its_path(path in "[a-z0-9]{0,80}", scheme in "(https?://)?") {
            let text = format!("see {scheme}example.com/{path} now");
            prop_assert_eq!(weighted_len(&text), 4 + 23 + 4);
        }

        #[test]
        fn plain_text_is_counted_by_code_point(text in "[ a-zäöüßа-я]{0,60}") {
            prop_assert_eq!(weighted_len(&text), text.chars().count());
        }
    }
}
