//! Weighted lengths against twitter-text, the library that X's own clients count with.
//!
//! `data/weights.jsonl` holds a text and its `parseTweet(text).weightedLength` a line, as version 3.1.0 of the npm package
//! `twitter-text` counted it: links, names, handles, scripts and emoji in each other's company, and random mixtures.

use crier_core::text::weighted_len;

#[test]
fn weights_are_those_of_twitter_text() {
    let data = include_str!("data/weights.jsonl");
    let cases: Vec<(String, usize)> = data
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(cases.len() > 900, "{}", cases.len());
    let wrong: Vec<String> = cases
        .iter()
        .filter(|(text, weight)| weighted_len(text) != *weight)
        .map(|(text, weight)| format!("{text:?}: {} instead of {weight}", weighted_len(text)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn long_texts_of_any_kind_are_counted_in_one_pass() {
    // What makes backtracking patterns slow: names without an end, unbalanced parentheses, dots and marks in a row.
    for piece in [
        "日",
        "a.",
        "a-",
        "x.com",
        "http://x.com/((",
        "é.é",
        "@a.",
        "_.",
        "?a",
        "👨\u{200d}",
    ] {
        let text: String = std::iter::repeat_n(piece, 25_000).collect();
        assert!(weighted_len(&text) >= 25_000, "{piece}");
    }
    // Labels without a known end, a label as long as the text, and one of ever other characters.
    let labels = format!("{}.", "日本語文字列".repeat(4)).repeat(1_000);
    let long = format!("{}.com", "日".repeat(25_000));
    let others: String = (0..20_000_u32)
        .filter_map(|n| char::from_u32(0x4e00 + n))
        .chain(".com".chars())
        .collect();
    for text in [labels, long, others] {
        assert!(weighted_len(&text) >= 20_000);
    }
}
