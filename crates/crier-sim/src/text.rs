//! Text as X counts, stores and shows it.
//!
//! Invariant: counting follows twitter-text v3 (x-api.md 4.4); what is stored is cleaned and has its
//! links as t.co; what is shown has `&`, `<` and `>` as entities besides (x-api.md 4.2).

use twitter_text::extractor::{Extract as _, Extractor};
use twitter_text_config::config_v3;
use unicode_normalization::UnicodeNormalization as _;

use crate::chance::Chance;

/// Characters of a t.co link after its host.
const SLUG: usize = 10;
/// Weighted characters of a long post that `text` still shows.
const SHOWN: i32 = 280;

/// What X makes of a text before it counts it: NFC, no control characters, no blank ends, no `\r`, at
/// most one blank line at a time (the-algorithm, `tweettext/Preprocessor.scala`, 2023).
pub(crate) fn clean(text: &str) -> String {
    let kept: String = text.nfc().filter(|c| !is_stripped(*c)).collect();
    let kept = kept.trim_matches(is_blank).replace("\r\n", "\n");
    let mut cleaned = String::with_capacity(kept.len());
    let mut rest = kept.as_str();
    while let Some(at) = rest.find('\n') {
        cleaned.push_str(&rest[..at]);
        let tail = &rest[at..];
        let blank = tail.len() - tail.trim_start_matches(is_blank).len();
        let lines = tail[..blank].rfind('\n').map_or(0, |last| last + 1);
        let newlines = tail[..lines].matches('\n').count();
        cleaned.push_str(if newlines > 2 { "\n\n" } else { &tail[..lines] });
        rest = &tail[lines..];
    }
    cleaned.push_str(rest);
    cleaned
}

/// `Preprocessor.UnicodeCharsToStrip`.
fn is_stripped(c: char) -> bool {
    matches!(c,
        '\u{fffe}' | '\u{feff}' | '\u{ffff}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{0}'..='\u{9}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{2065}')
}

/// `Preprocessor.BlankWhenLeadingOrTrailingRegex`.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{180e}' | '\u{200b}' | '\u{feff}')
}

/// Weighted length of a text, links counting 23 each.
///
/// The links are put in their t.co form first: twitter-text 0.3 finds a link without a scheme, such as
/// `example.com`, and yet counts its letters.
pub(crate) fn weighted_length(text: &str) -> i32 {
    let shortened = replace_links(text, || "https://t.co/0123456789".to_owned());
    twitter_text::parse(&without_ats(&shortened), config_v3(), false).weighted_length
}

/// The text with each link replaced by a t.co link of its own.
pub(crate) fn shorten_links(text: &str, chance: &mut Chance) -> String {
    replace_links(text, || link_to(chance))
}

/// The links of a text as they were written, in order.
pub(crate) fn links(text: &str) -> Vec<String> {
    let searched = without_ats(text);
    let found = Extractor::new().extract_urls_with_indices(&searched);
    found
        .into_iter()
        .map(|link| link.value.to_string())
        .collect()
}

fn replace_links(text: &str, mut by: impl FnMut() -> String) -> String {
    let searched = without_ats(text);
    let links = Extractor::new().extract_urls_with_indices(&searched);
    let mut links = links.iter().peekable();
    // Places of links are counted in UTF-16 units.
    let mut units = 0_i32;
    let mut replaced = String::with_capacity(text.len());
    for c in text.chars() {
        while links.peek().is_some_and(|link| units >= link.end) {
            links.next();
        }
        match links.peek() {
            Some(link) if units == link.start => replaced.push_str(&by()),
            Some(link) if units > link.start => {}
            Some(_) | None => replaced.push(c),
        }
        units += if c.len_utf16() == 2 { 2 } else { 1 };
    }
    replaced
}

/// The text with each `@` as another character of the same size, weight and meaning beside a link.
///
/// twitter-text 0.3 looks for "RT" before each `@` and panics if a character of several bytes is cut in
/// two by that, as in `löw@x.de`; its other parsers do not, and take minutes for a long post.
fn without_ats(text: &str) -> String {
    text.replace('@', "$").replace('＠', "＃")
}

/// A new t.co link.
pub(crate) fn link_to(chance: &mut Chance) -> String {
    format!("https://t.co/{}", chance.word(SLUG))
}

/// With entities, as the API hands texts out.
pub(crate) fn encode(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// The front of a long post that `text` shows, or the whole of a short one.
pub(crate) fn cut(text: &str) -> String {
    if weighted_length(text) <= SHOWN {
        return text.to_owned();
    }
    let mut end = 0;
    let mut weight = 0;
    for (at, c) in text.char_indices() {
        weight += if matches!(u32::from(c), 0..=4351 | 8192..=8205 | 8208..=8223 | 8242..=8247) {
            1
        } else {
            2
        };
        if weight > SHOWN - 1 {
            break;
        }
        end = at + c.len_utf8();
    }
    format!("{}…", text[..end].trim_end())
}

/// Handles that a text mentions, in lower case (twitter-text `validMention`).
pub(crate) fn mentions(text: &str) -> Vec<String> {
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut before = None;
    let mut found = Vec::new();
    for (at, c) in text.char_indices() {
        let open = before.is_none_or(|c: char| !in_word(c) && !"!@#$%&*＠".contains(c));
        if open && matches!(c, '@' | '＠') {
            let name = &text[at + c.len_utf8()..];
            let end = name.find(|c| !in_word(c)).unwrap_or(name.len());
            if (1..=20).contains(&end) && !name[end..].starts_with(['@', '＠']) {
                found.push(name[..end].to_ascii_lowercase());
            }
        }
        before = Some(c);
    }
    found
}

/// How many different cashtags a text has.
pub(crate) fn cashtags(text: &str) -> usize {
    let mut tags = Extractor::new().extract_cashtags(text);
    for tag in &mut tags {
        tag.make_ascii_uppercase();
    }
    tags.sort();
    tags.dedup();
    tags.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_follows_x() {
        for (raw, kept) in [
            ("  hi \n", "hi"),
            ("a\r\nb", "a\nb"),
            ("a\n\n\n\nb", "a\n\nb"),
            ("a\n \n\t\n b", "a\n\n b"),
            ("a\n  indented", "a\n  indented"),
            ("tab\there", "tabhere"),
            ("e\u{301}", "é"),
        ] {
            assert_eq!(clean(raw), kept, "{raw:?}");
        }
    }

    #[test]
    fn length_is_weighted() {
        for (text, length) in [
            ("hello", 5),
            ("日本", 4),
            ("👨‍👩‍👧‍👦", 2),
            (
                "see https://example.com/a/very/long/path?with=a&query=yes",
                27,
            ),
            ("example.com", 23),
            ("x.photography http://a.co/b", 23 + 1 + 23),
            ("not.a-domain or v1.2", 20),
            ("a-long-name-without-any-scheme.example.org/with/a/path", 23),
            ("", 0),
            ("é!@acme", 7),
            ("löw@x.de", 8),
        ] {
            assert_eq!(weighted_length(text), length, "{text}");
        }
    }

    #[test]
    fn every_link_becomes_t_co_and_nothing_else_changes() {
        let mut chance = Chance::new(Some(1));
        let shown = shorten_links(
            "😀 a https://example.com/x, example.org & 日本 https://example.com/x",
            &mut chance,
        );
        let parts: Vec<&str> = shown.split("https://t.co/").collect();
        assert_eq!(parts.len(), 4, "{shown}");
        assert_eq!(parts[0], "😀 a ");
        assert_eq!(&parts[1][10..], ", ");
        assert_eq!(&parts[2][10..], " & 日本 ");
        assert_eq!(&parts[3][10..], "");
        assert_ne!(parts[1][..10], parts[3][..10]);
        assert_eq!(shorten_links("no link here.", &mut chance), "no link here.");
    }

    #[test]
    fn mentions_are_found() {
        for (text, found) in [
            ("hi @Acme, and ＠b_2!", &["acme", "b_2"][..]),
            ("mail a@acme.com löw@x.de", &[]),
            ("@a@b @ @", &[]),
            ("(@x) é@y", &["x", "y"]),
        ] {
            assert_eq!(mentions(text), found, "{text}");
        }
    }

    #[test]
    fn an_address_is_no_link() {
        let mut chance = Chance::new(Some(1));
        for text in ["mail löw@example.com", "@example.com", "＠example.com"] {
            assert_eq!(shorten_links(text, &mut chance), text);
        }
    }

    #[test]
    fn long_posts_are_cut_and_short_ones_are_not() {
        assert_eq!(cut("short"), "short");
        let long = "word ".repeat(100);
        let shown = cut(&long);
        assert!(shown.ends_with('…') && weighted_length(&shown) <= SHOWN + 1);
        assert!(long.starts_with(shown.trim_end_matches('…')));
    }

    proptest::proptest! {
        #[test]
        fn cleaning_twice_is_cleaning_once(raw in "[ -~\\n\\té日\u{200b}]{0,40}") {
            let once = clean(&raw);
            proptest::prop_assert_eq!(clean(&once), once);
        }

        #[test]
        fn any_text_has_a_length_and_a_shown_form(raw in "\\PC{0,80}") {
            let mut chance = Chance::new(Some(1));
            let stored = shorten_links(&clean(&raw), &mut chance);
            proptest::prop_assert!(weighted_length(&stored) >= 0);
            proptest::prop_assert!(cut(&stored).chars().count() <= stored.chars().count() + 1);
            mentions(&raw);
            cashtags(&raw);
        }

        #[test]
        fn marks_beside_characters_of_many_bytes_are_no_panic(
            raw in "([@＠#＃$!.a_/:]|é|日|😀|http://|RT|x.de){0,12}",
        ) {
            let mut chance = Chance::new(Some(1));
            proptest::prop_assert!(weighted_length(&raw) >= 0);
            shorten_links(&raw, &mut chance);
            cashtags(&raw);
            mentions(&raw);
        }

        #[test]
        fn a_link_weighs_the_same_before_and_after(path in "[a-z]{1,60}") {
            let mut chance = Chance::new(Some(1));
            let text = format!("see https://example.com/{path} now");
            let shown = shorten_links(&text, &mut chance);
            proptest::prop_assert_eq!(weighted_length(&text), weighted_length(&shown));
        }
    }

    #[test]
    fn entities_are_encoded_once() {
        assert_eq!(
            encode("a & b < c > d &amp;"),
            "a &amp; b &lt; c &gt; d &amp;amp;"
        );
    }
}
