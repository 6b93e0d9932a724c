//! Whether a text that X shows is the one that a job sent: links as t.co, entities, blanks stripped, a front of mentions,
//! links appended for attachments, long posts in part.
//!
//! Which part of a text X makes a link of is X's to say, and no reading of its rules is sure. So the t.co addresses of the
//! shown text are laid over the sent one: each must lie on a link of ours, from its beginning or up to its end, and every
//! other character must be the same.
//!
//! **Invariant:** a text that X shows always matches its own job; one that differs by a visible character outside of links
//! never does. Time grows with the length of the texts.

use std::collections::BTreeSet;
use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;

use super::links::links;
use super::{ORDINARY_LIMIT, weighted_len};

/// A text shown in part is at least this long, so that a short post ending in `…` is never taken for one.
const LEAST_SHOWN: usize = 240;
/// A post has at most four attachments, and X appends a link for them.
const MOST_ATTACHMENTS: usize = 4;
/// What the addresses begin with that X puts in the place of links.
const SHORT: [&str; 2] = ["https://t.co/", "http://t.co/"];
/// Longest slug of such an address (twitter-text, `MAX_TCO_SLUG_LENGTH`).
const LONGEST_SLUG: usize = 40;
/// Longest handle that twitter-text takes for a mention.
const LONGEST_HANDLE: usize = 20;

/// Whether a text that X shows (`theirs`) is the one that was to be posted (`ours`), with so many attachments for which X
/// may append a link (media, a quoted post, a card), as a reply or not.
///
/// White space is left out, since X strips some and keeps some. The appended links may be there or not, and so may the
/// mentions that X puts before a reply. A long post may be shown in part, ending in `…`.
pub fn matches_published(ours: &str, theirs: &str, attachments: usize, is_reply: bool) -> bool {
    if ours == theirs {
        return true;
    }
    let sent: String = ours.nfc().filter(|c| !is_stripped(*c)).collect();
    let in_part = weighted_len(ours) > ORDINARY_LIMIT && weighted_len(theirs) >= LEAST_SHOWN;
    let whole = Text::new(&sent);
    let front = is_reply.then(|| mentions(&sent));
    let bare = front
        .as_ref()
        .filter(|(named, _)| !named.is_empty())
        .map(|(_, rest)| Text::new(rest));
    // Not every way of reading encodes entities.
    [decode(theirs), theirs.to_owned()].iter().any(|shown| {
        let shown: String = shown.nfc().collect();
        let fits = |text: &Text, shown: &str| {
            [short_links(shown), links(shown)]
                .iter()
                .any(|links| text.is_shown_by(shown, links, attachments, in_part))
        };
        if fits(&whole, &shown) {
            return true;
        }
        let Some((ours, _)) = &front else {
            return false;
        };
        let (theirs, rest) = mentions(&shown);
        // Whom the job names X names too, whatever others it adds.
        !theirs.is_empty() && ours.is_subset(&theirs) && fits(bare.as_ref().unwrap_or(&whole), rest)
    })
}

/// The entities that X's API puts into texts. Once only: `&amp;lt;` is the text `&lt;`.
fn decode(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        let (c, len) = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>')]
            .iter()
            .find(|(entity, _)| rest.starts_with(entity))
            .map_or(('&', 1), |(entity, c)| (*c, entity.len()));
        decoded.push(c);
        rest = &rest[len..];
    }
    decoded.push_str(rest);
    decoded
}

/// Characters that X takes out before it looks for links (the-algorithm, `Preprocessor.scala`). Line breaks stay.
fn is_stripped(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{9}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2065}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Characters that make no difference: blanks, and what nobody sees.
fn is_nothing(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || is_stripped(c)
        || matches!(c, '\u{180e}' | '\u{200b}' | '\u{fffc}')
}

/// The mentions that a text begins with, in lower case, and what follows them.
fn mentions(text: &str) -> (BTreeSet<String>, &str) {
    let mut named = BTreeSet::new();
    let mut rest = text.trim_start_matches(is_nothing);
    while let Some(after) = rest.strip_prefix(['@', '＠']) {
        let end = after
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(after.len());
        let (handle, tail) = after.split_at(end);
        let ends = tail.chars().next().is_none_or(is_nothing);
        if !(1..=LONGEST_HANDLE).contains(&end) || !ends {
            break;
        }
        named.insert(handle.to_ascii_lowercase());
        rest = tail.trim_start_matches(is_nothing);
    }
    (named, rest)
}

/// Where the t.co addresses of a text are, whatever stands before and after them.
fn short_links(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let slug = SHORT
            .iter()
            .find_map(|front| rest.strip_prefix(front))
            .map(|slug| slug.bytes().take_while(u8::is_ascii_alphanumeric).count());
        match slug {
            Some(length) if (1..=LONGEST_SLUG).contains(&length) => {
                let front = if rest.starts_with(SHORT[0]) {
                    SHORT[0].len()
                } else {
                    SHORT[1].len()
                };
                let end = at + front + length;
                found.push(at..end);
                at = end;
            }
            Some(_) | None => at += rest.chars().next().map_or(1, char::len_utf8),
        }
    }
    found
}

/// A sent text by the characters that are compared, and which of them are links.
struct Text {
    chars: Vec<char>,
    /// For each place in a link, the end of the link.
    link_end: Vec<Option<usize>>,
    /// Whether a link begins there.
    begins: Vec<bool>,
}

impl Text {
    /// `text` is NFC, without the characters that X strips.
    fn new(text: &str) -> Self {
        let mut chars = Vec::with_capacity(text.len());
        let mut bytes = Vec::with_capacity(text.len());
        for (at, c) in text.char_indices().filter(|(_, c)| !is_nothing(*c)) {
            chars.push(c);
            bytes.push(at);
        }
        let mut link_end = vec![None; chars.len() + 1];
        let mut begins = vec![false; chars.len() + 1];
        for link in links(text) {
            let place = |byte: usize| bytes.partition_point(|at| *at < byte);
            let (from, to) = (place(link.start), place(link.end));
            link_end[from..to].fill(Some(to));
            begins[from] = from < to;
        }
        Self {
            chars,
            link_end,
            begins,
        }
    }

    /// Whether `shown`, whose links are at `links`, is this text, or the front of it; up to `attachments` links at its end
    /// may be X's own.
    fn is_shown_by(
        &self,
        shown: &str,
        links: &[Range<usize>],
        attachments: usize,
        in_part: bool,
    ) -> bool {
        let most = attachments.min(MOST_ATTACHMENTS);
        let words: Vec<Vec<char>> = (0..=links.len())
            .map(|n| {
                let from = n.checked_sub(1).map_or(0, |before| links[before].end);
                let to = links.get(n).map_or(shown.len(), |link| link.start);
                shown[from..to]
                    .chars()
                    .filter(|c| !is_nothing(*c))
                    .collect()
            })
            .collect();
        let length = self.chars.len();
        let mut there = self.nowhere();
        there.fresh[0] = true;
        for (n, said) in words.iter().enumerate() {
            let appended = links.len() - n;
            if appended <= most && words[n + 1..].iter().all(Vec::is_empty) {
                let front = said.strip_suffix(&['…']).filter(|_| in_part);
                if self.after(&there, said).fresh[length]
                    || front.is_some_and(|front| self.after(&there, front).any())
                {
                    return true;
                }
            }
            there = self.after_link(&self.after(&there, said));
            if !there.any() {
                return false;
            }
        }
        false
    }

    /// The places after these words.
    fn after(&self, there: &Places, words: &[char]) -> Places {
        if words.is_empty() {
            return there.clone();
        }
        let mut next = self.nowhere();
        for at in (0..self.chars.len()).filter(|at| self.chars[*at..].starts_with(words)) {
            let to = at + words.len();
            let is_past = self.link_end[at].is_none_or(|end| to >= end);
            next.fresh[to] |= there.fresh[at] || (there.used[at] && is_past);
            next.used[to] |= there.used[at] && !is_past;
        }
        next
    }

    /// The places after a link: any within one of ours that begins here, or the end of one that we are in. What of our
    /// link is left is compared as words.
    fn after_link(&self, there: &Places) -> Places {
        let mut next = self.nowhere();
        for at in (0..self.chars.len()).filter(|at| there.fresh[*at]) {
            let Some(end) = self.link_end[at] else {
                continue;
            };
            if self.begins[at] {
                next.used[at + 1..end].fill(true);
            }
            next.fresh[end] = true;
        }
        next
    }

    fn nowhere(&self) -> Places {
        Places {
            fresh: vec![false; self.chars.len() + 1],
            used: vec![false; self.chars.len() + 1],
        }
    }
}

/// Places in a sent text that may be reached with what is read of the shown one so far.
#[derive(Clone)]
struct Places {
    fresh: Vec<bool>,
    /// In a link of ours that had its address already: no second one is laid on it.
    used: Vec<bool>,
}

impl Places {
    fn any(&self) -> bool {
        self.fresh.contains(&true) || self.used.contains(&true)
    }
}

#[cfg(test)]
mod tests;
