//! What X makes of texts, by a reading of its rules of our own, and that each is still known.

use proptest::prelude::*;
use twitter_text::extractor::{Extract as _, Extractor};

use super::*;

/// As X's API shows a text (the-algorithm, `Preprocessor.scala`; x-api.md 4.2): cleaned, links as t.co, entities. Links by
/// another reading of the rules than ours.
fn shown(text: &str) -> String {
    encoded(&linked(&cleaned(text)))
}

fn cleaned(text: &str) -> String {
    let kept: String = text.nfc().filter(|c| !is_stripped(*c)).collect();
    let blank = |c: char| c.is_whitespace() || matches!(c, '\u{180e}' | '\u{200b}' | '\u{feff}');
    let mut kept = kept.trim_matches(blank).replace("\r\n", "\n");
    while kept.contains("\n\n\n") {
        kept = kept.replace("\n\n\n", "\n\n");
    }
    kept
}

fn linked(text: &str) -> String {
    // twitter-text 0.3 panics at some `@`.
    let searched = text.replace('@', "$").replace('＠', "＃");
    let found = Extractor::new().extract_urls_with_indices(&searched);
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut linked = Vec::new();
    let mut done = 0;
    for (n, link) in found.iter().enumerate() {
        let place = |units: i32| usize::try_from(units).unwrap();
        let (from, to) = (place(link.start), place(link.end));
        linked.extend_from_slice(&units[done..from]);
        linked.extend(format!("https://t.co/AbCdEfGh{n:02}").encode_utf16());
        done = to;
    }
    linked.extend_from_slice(&units[done..]);
    String::from_utf16(&linked).unwrap()
}

fn encoded(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Whether twitter-text 0.3 takes nothing for a link that is none: in `example.comaé` it sees `example.co`; nor one for two.
fn is_read_alike(text: &str) -> bool {
    let text = cleaned(text);
    let ours = links(&text);
    let searched = text.replace('@', "$").replace('＠', "＃");
    let theirs = Extractor::new().extract_urls_with_indices(&searched);
    let mut last = None;
    theirs.iter().all(|link| {
        let place = |units: i32| {
            let mut left = usize::try_from(units).unwrap();
            text.char_indices()
                .find(|(_, c)| {
                    let is_there = left == 0;
                    left = left.saturating_sub(c.len_utf16());
                    is_there
                })
                .map_or(text.len(), |(at, _)| at)
        };
        let (from, to) = (place(link.start), place(link.end));
        let of = ours.iter().position(|link| {
            (link.start == from && to <= link.end) || (link.end == to && from >= link.start)
        });
        // Two of theirs are no one link of ours: it ends a path at `ä`, which may be in one.
        let is_new = of.is_some() && of != last;
        last = of;
        is_new
    })
}

/// Texts with everything in them that X changes.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zäß日本é&<>;! ]{1,12}",
        1 => prop::sample::select(vec![
            "https://example.com/page?a=1&b=2", "http://example.org", "example.com", "sub.example.co.uk/x_(y)", "日本.jp",
            "https://t.co/abcdefghij", "v1.2", "a.b", "mail@example.com", "@acme", "＠acme ", "#tag", "$ABC", "...", "…",
        ]).prop_map(ToOwned::to_owned),
        1 => prop::sample::select(vec![
            "\t", "\n", "\r\n", "\n\n\n\n", "  ", "\u{a0}", "\u{200b}", "\u{200e}", "\u{feff}", "\u{2028}", "\u{202e}", "\u{7f}",
        ]).prop_map(ToOwned::to_owned),
        1 => prop::sample::select(vec![
            "😀", "👨\u{200d}👩\u{200d}👧", "🇩🇪", "❤\u{fe0f}", "e\u{301}", "ﬁ", "ａ", "&amp;", "&lt;", "\u{212b}", "👍🏽",
        ]).prop_map(ToOwned::to_owned),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn what_x_shows_is_recognised() {
    for (ours, theirs, attachments) in [
        ("We are live!", "We are live!", 0),
        ("Tom & <Jerry>", "Tom &amp; &lt;Jerry&gt;", 0),
        ("Tom & Jerry", "Tom & Jerry", 0),
        ("literal &amp;", "literal &amp;amp;", 0),
        ("literal &amp;", "literal &amp;", 0),
        (
            "see https://example.com/a?b=c&d=e, now",
            "see https://t.co/abcdefghij, now",
            0,
        ),
        ("see example.com", "see https://t.co/abcdefghij", 0),
        // A way of reading that shows links as they were, or as X would open them.
        ("see https://example.com/a", "see https://example.com/a", 0),
        ("see example.com/a", "see http://example.com/a", 0),
        ("picture", "picture https://t.co/abcdefghij", 1),
        ("picture", "picture", 1),
        ("", "https://t.co/abcdefghij", 1),
        (
            "both https://example.com",
            "both https://t.co/abcdefghij https://t.co/bcdefghijk",
            1,
        ),
        ("a\r\n\r\n\r\n\r\nb\tc ", "a\n\nbc", 0),
        ("cafe\u{301}\u{200e}", "café", 0),
        // X strips the tab first, and the link is longer than it looks.
        ("see\texample.com", "https://t.co/abcdefghij", 0),
        ("see\texample.com", "see\thttps://t.co/abcdefghij", 0),
        // And keeps what is invisible in the middle.
        (
            "a exam\u{200b}ple.com",
            "a exam\u{200b}https://t.co/abcdefghij",
            0,
        ),
        ("日本example.com日本", "日本https://t.co/abcdefghij日本", 0),
    ] {
        assert!(
            matches_published(ours, theirs, attachments, false),
            "{ours} / {theirs}"
        );
    }
}

#[test]
fn another_text_is_not_ours() {
    for (ours, theirs, attachments) in [
        ("We are live!", "We are live", 0),
        ("We are live!", "we are live!", 0),
        ("picture", "picture https://t.co/abcdefghij", 0),
        ("picture", "picture https://t.co/a https://t.co/b", 1),
        (
            "see https://example.com",
            "see https://t.co/abcdefghij https://t.co/bcdefghijk",
            0,
        ),
        ("see https://example.com now", "see now", 0),
        (
            "(see https://example.com)",
            "(see https://t.co/abcdefghij",
            0,
        ),
        ("see https://example.com", "see https://t.co/abcdefghij!", 0),
        ("v1.2", "https://t.co/abcdefghij", 0),
        ("hello", "https://t.co/abcdefghij", 1),
        ("wait for it", "wait…", 0),
        ("&lt;", "<", 0),
        ("hi", "@bob hi", 0),
        ("a", "", 4),
    ] {
        assert!(
            !matches_published(ours, theirs, attachments, false),
            "{ours} / {theirs}"
        );
    }
}

#[test]
fn the_mentions_that_x_puts_before_a_reply_are_no_part_of_it() {
    for (ours, theirs) in [
        ("thanks", "@bob thanks"),
        ("thanks", "@bob @Carol_1 thanks"),
        ("@Bob thanks", "@bob @carol thanks"),
        ("@carol thanks", "@bob @carol thanks"),
        ("thanks", "thanks"),
        ("@bob", "@bob"),
        ("", "@bob https://t.co/abcdefghij"),
    ] {
        let pictures = usize::from(ours.is_empty());
        assert!(
            matches_published(ours, theirs, pictures, true),
            "{ours} / {theirs}"
        );
    }
    for (ours, theirs) in [
        ("@bob thanks", "@carol thanks"),
        ("@bob thanks", "thanks"),
        ("thanks", "@bob thanks!"),
        ("thanks", "bob thanks"),
        ("@bob thanks", "@bobby thanks"),
    ] {
        assert!(
            !matches_published(ours, theirs, 0, true),
            "{ours} / {theirs}"
        );
    }
}

#[test]
fn a_long_post_shown_in_part_is_recognised() {
    let ours = "word ".repeat(100);
    let shown = format!("{}…", &ours[..275]);
    assert!(matches_published(&ours, &shown, 0, false));
    assert!(matches_published(&ours, &ours, 0, false));
    assert!(matches_published(
        &ours,
        &format!("{shown} https://t.co/abcdefghij"),
        1,
        false
    ));
    assert!(matches_published(&ours, &format!("@bob {shown}"), 0, true));
    assert!(!matches_published(
        &ours,
        &format!("{shown} https://t.co/abcdefghij"),
        0,
        false
    ));
    assert!(!matches_published(&ours, "word word…", 0, false));
    assert!(!matches_published(&ours, &format!("x{shown}"), 0, false));
    assert!(!matches_published(&ours, &ours[..275], 0, false));
    // Links on both sides of the cut.
    let ours = format!(
        "https://example.com {} https://example.org",
        "a b ".repeat(100)
    );
    let shown = format!("https://t.co/abcdefghij {}…", "a b ".repeat(60));
    assert!(matches_published(&ours, &shown, 0, false));
}

#[test]
fn entities_come_off_once() {
    assert_eq!(decode("&amp;lt; & &amp"), "&lt; & &amp");
}

proptest! {
    #[test]
    fn a_text_matches_what_x_shows_of_it(
        text in texts(), attachments in 0_usize..5, appended: bool, replying in prop::option::of("(@[a-z_]{1,15} ){1,3}"),
    ) {
        prop_assume!(is_read_alike(&text));
        let mut theirs = shown(&text);
        if attachments > 0 && appended {
            theirs.push_str(" https://t.co/KlMnOpQrSt");
        }
        prop_assert!(matches_published(&text, &theirs, attachments, false), "{:?}", theirs);
        let front = replying.unwrap_or_default();
        prop_assert!(matches_published(&text, &format!("{front}{theirs}"), attachments, true), "{:?}", theirs);
    }

    #[test]
    fn a_long_text_matches_the_front_of_it_that_x_shows(text in texts(), more in "[a-zé日 ]{300,400}", cut in 260_usize..280) {
        let text = format!("{text} {more}");
        let whole = linked(&cleaned(&text));
        prop_assume!(weighted_len(&text) > ORDINARY_LIMIT && is_read_alike(&text));
        let front: String = whole.chars().take(cut).collect();
        let cuts_link = front.rfind("https://t.co/").is_some_and(|at| at + 23 > front.len());
        prop_assume!(!cuts_link);
        let theirs = format!("{}…", encoded(front.trim_end()));
        prop_assert!(matches_published(&text, &theirs, 0, false), "{:?}", theirs);
    }

    #[test]
    fn any_text_matches_itself(text in any::<String>(), attachments in 0_usize..6, is_reply: bool) {
        prop_assert!(matches_published(&text, &text, attachments, is_reply));
    }

    #[test]
    fn one_visible_character_makes_another_post(
        text in "[a-z日😀 ]{0,20}(https://example.com/a)?[a-z!é \n]{0,20}", place: prop::sample::Index, how in 0..3, new in "[A-Z0-9!?;日é😀]",
        attachments in 0_usize..2, is_reply: bool,
    ) {
        let sent = cleaned(&text);
        let kept: Vec<char> = linked(&sent).chars().collect();
        let open: Vec<usize> = (0..=kept.len())
            // Within a link X does not keep it, and beside one it may make another link.
            .filter(|at| kept.iter().skip(at.saturating_sub(24)).take(48).all(|c| *c != '/'))
            .collect();
        prop_assume!(!open.is_empty());
        let at = open[place.index(open.len())];
        let new = new.chars().next().unwrap();
        let mut other = kept.clone();
        match how {
            0 => other.insert(at, new),
            1 if at < kept.len() && kept[at] != new => other[at] = new,
            _ if at < kept.len() && !kept[at].is_whitespace() => { other.remove(at); }
            _ => other.insert(at, new),
        }
        let other: String = other.into_iter().collect();
        prop_assert!(!matches_published(&text, &encoded(&other), attachments, is_reply), "{:?} / {:?}", text, other);
    }

    #[test]
    fn marks_beside_characters_of_many_bytes_are_no_panic(
        ours in "([@＠#＃$!.a_/:~～]|é|日|😀|\u{200d}|\u{fe0f}|🇩|🏽|&amp;|http://|https://t.co/a|RT|x.de){0,14}",
        theirs in "([@＠#＃$!.a_/:~～]|é|日|😀|\u{200d}|\u{fe0f}|🇩|🏽|&amp;|http://|https://t.co/a|RT|x.de){0,14}",
    ) {
        prop_assert!(matches_published(&ours, &ours, 0, false));
        matches_published(&ours, &theirs, 4, true);
    }

    #[test]
    fn entities_of_x_come_off(text in "[a-z&<>; ]{0,40}") {
        prop_assert_eq!(decode(&encoded(&text)), text.clone());
        prop_assert!(matches_published(&text, &encoded(&text), 0, false));
    }
}
