//! Where the links of a text are, as X sees them: each counts 23 and becomes a t.co address.
//!
//! X's rule is the one of twitter-text 3 (its `extractUrlsWithIndices` in JavaScript), which this scanner follows without
//! backtracking; the crate twitter-text 0.3 has the list of top-level domains, and its own extractor misses names that a
//! full stop follows, such as `see example.com. Then`.
//!
//! **Invariant:** time grows with the length of the text, whatever it holds; links are in order and do not overlap.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use twitter_text::tlds::is_valid_tld_case_insensitive;

/// Longest link, in UTF-16 units, its scheme counted twice (twitter-text, `MAX_URL_LENGTH`).
const LONGEST_LINK: usize = 4096;
/// Longest label of a name in its ASCII form (RFC 1035 2.3.4).
const LONGEST_LABEL: usize = 63;
/// No name has more labels (RFC 1035: 255 octets, two at least a label).
const MOST_LABELS: usize = 127;
/// No top-level domain has more characters.
const LONGEST_TLD: usize = 24;
/// Longest slug of a t.co address (twitter-text, `MAX_TCO_SLUG_LENGTH`).
const LONGEST_SLUG: usize = 40;

/// Where the links of an NFC text are, in bytes and in order.
pub(super) fn links(text: &str) -> Vec<Range<usize>> {
    if !text.contains('.') {
        return Vec::new();
    }
    let scan = Scan::new(text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < scan.chars.len() {
        let before = scan.chars[at];
        // X counts in UTF-16: the first half of a character may precede a link that begins with its other half.
        let begins = at == 0 || before.len_utf16() == 2;
        let here = |begins: bool| {
            let url = if begins { scan.url(at) } else { None };
            url.map(|url| (None, url))
        };
        let url = here(begins && at > 0)
            .or_else(|| {
                let after = may_precede(before).then(|| scan.url(at + 1)).flatten();
                after.map(|url| (Some(before), url))
            })
            .or_else(|| here(at == 0));
        match url {
            Some((before, url)) => {
                at = url.end;
                scan.keep(before, &url, &mut found);
            }
            None => at += 1,
        }
    }
    let byte = |at: usize| scan.bytes.get(at).copied().unwrap_or(text.len());
    found
        .into_iter()
        .map(|place| byte(place.start)..byte(place.end))
        .collect()
}

/// A text by its characters; all places here count these.
struct Scan {
    chars: Vec<char>,
    bytes: Vec<usize>,
    /// For each place, the end of the run of characters of a label that it is in.
    run_end: Vec<usize>,
    /// For each place, how many underscores are before it.
    underscores: Vec<usize>,
    /// Top-level domains that were looked for, by their place: names that share their end share the answer.
    tlds: RefCell<HashMap<usize, Option<usize>>>,
}

/// A link, or what looks like one.
struct Url {
    /// After `http://` or `https://`, if it has that.
    name: Range<usize>,
    start: usize,
    has_scheme: bool,
    has_path: bool,
    end: usize,
}

impl Scan {
    fn new(text: &str) -> Self {
        let (bytes, chars): (Vec<usize>, Vec<char>) = text.char_indices().unzip();
        let mut run_end = vec![0; chars.len() + 1];
        run_end[chars.len()] = chars.len();
        for at in (0..chars.len()).rev() {
            run_end[at] = if is_name_char(chars[at]) || "_-".contains(chars[at]) {
                run_end[at + 1]
            } else {
                at
            };
        }
        let mut underscores = Vec::with_capacity(chars.len() + 1);
        underscores.push(0);
        let mut count = 0;
        for c in &chars {
            count += usize::from(*c == '_');
            underscores.push(count);
        }
        Self {
            chars,
            bytes,
            run_end,
            underscores,
            tlds: RefCell::default(),
        }
    }

    fn get(&self, at: usize) -> Option<char> {
        self.chars.get(at).copied()
    }

    /// A link that begins there.
    fn url(&self, start: usize) -> Option<Url> {
        let scheme = self.scheme(start);
        let with = scheme.and_then(|end| self.name(end).map(|name| (name, true)));
        let (name, has_scheme) = with.or_else(|| self.name(start).map(|name| (name, false)))?;
        let mut end = name.end;
        if self.get(end) == Some(':') {
            let digits = self.run(end + 1, |c| c.is_ascii_digit());
            end = if digits > end + 1 { digits } else { end };
        }
        let path = self.path(end);
        let has_path = path > end;
        let end = self.query(path);
        Some(Url {
            name,
            start,
            has_scheme,
            has_path,
            end,
        })
    }

    fn scheme(&self, start: usize) -> Option<usize> {
        ["https://", "http://"].into_iter().find_map(|scheme| {
            let end = start + scheme.len();
            let there = self.chars.get(start..end)?;
            let same = |(a, b): (&char, char)| a.eq_ignore_ascii_case(&b);
            there.iter().zip(scheme.chars()).all(same).then_some(end)
        })
    }

    fn run(&self, from: usize, is_in: impl Fn(char) -> bool) -> usize {
        let rest = self.chars.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|c| is_in(**c)).count()
    }

    /// A domain name: labels and a known top-level domain, as many labels as there are.
    fn name(&self, start: usize) -> Option<Range<usize>> {
        let mut dots = Vec::new();
        let mut at = start;
        while dots.len() < MOST_LABELS {
            let end = self.run_end.get(at).copied().unwrap_or(at);
            let sound = end > at
                && is_name_char(self.chars[at])
                && is_name_char(self.chars[end - 1])
                && self.get(end) == Some('.');
            if !sound {
                break;
            }
            // The label before the top-level domain has no underscore.
            dots.push((end + 1, self.underscores[at] == self.underscores[end]));
            at = end + 1;
        }
        let mut last = dots.into_iter().rev().filter(|(_, plain)| *plain);
        let end = last.find_map(|(after, _)| {
            let mut known = self.tlds.borrow_mut();
            *known
                .entry(after)
                .or_insert_with(|| self.tld(after, self.chars.len()))
        })?;
        Some(start..end)
    }

    /// The end of the top-level domain that begins there, within `limit`.
    fn tld(&self, start: usize, limit: usize) -> Option<usize> {
        let rest = &self.chars[start.min(limit)..limit];
        let ends_well = |length: usize| {
            rest.get(length)
                .is_none_or(|c| !(c.is_ascii_alphanumeric() || "@+-".contains(*c)))
        };
        let word: String = rest
            .iter()
            .take(LONGEST_TLD)
            .take_while(|c| c.is_alphanumeric() || !c.is_ascii())
            .collect();
        let mut ends: Vec<(usize, usize)> = word
            .char_indices()
            .enumerate()
            .map(|(count, (at, c))| (count + 1, at + c.len_utf8()))
            .collect();
        ends.reverse();
        let known = ends.into_iter().find(|(length, bytes)| {
            ends_well(*length) && is_valid_tld_case_insensitive(&word[..*bytes])
        });
        if let Some((length, _)) = known {
            return Some(start + length);
        }
        // Punycode stands for any.
        let front: String = rest.iter().take(4).collect();
        let tail = rest.get(4..).unwrap_or_default();
        let more = tail
            .iter()
            .take_while(|c| c.is_ascii_alphanumeric() || **c == '-')
            .count();
        (front.eq_ignore_ascii_case("xn--") && more > 0).then_some(start + 4 + more)
    }

    /// The end of the path that begins there.
    fn path(&self, start: usize) -> usize {
        if self.get(start) != Some('/') {
            return start;
        }
        let (mut at, mut end) = (start + 1, start + 1);
        loop {
            if let Some(after) = self.parens(at, 2) {
                // Parentheses end a path only where it could have ended before them.
                end = if end == at { after } else { end };
                at = after;
            } else if let Some(c) = self.get(at).filter(|c| is_path_char(*c)) {
                at += 1;
                if is_path_end(c) {
                    end = at;
                }
            } else {
                return end;
            }
        }
    }

    /// The end of balanced parentheses of a path, nested up to `depth`.
    fn parens(&self, start: usize, depth: usize) -> Option<usize> {
        if self.get(start) != Some('(') || depth == 0 {
            return None;
        }
        let mut at = self.run(start + 1, is_path_char);
        let nested = self.parens(at, depth - 1);
        if nested.is_none() && at == start + 1 {
            return None;
        }
        if let Some(after) = nested {
            at = self.run(after, is_path_char);
        }
        (self.get(at) == Some(')')).then_some(at + 1)
    }

    /// The end of the query that begins there.
    fn query(&self, start: usize) -> usize {
        if self.get(start) != Some('?') {
            return start;
        }
        let end = self.run(start + 1, |c| {
            c.is_ascii_alphanumeric() || "!?*'@();:&=+$/%#[]-_.,~|".contains(c)
        });
        let last = self.chars[start + 1..end]
            .iter()
            .rposition(|c| c.is_ascii_alphanumeric() || "-_&=#/".contains(*c));
        last.map_or(start, |last| start + last + 2)
    }

    /// Whether X takes it for a link, and which part of it.
    fn keep(&self, before: Option<char>, url: &Url, found: &mut Vec<Range<usize>>) {
        let units = |place: Range<usize>| -> usize {
            self.chars[place].iter().map(|c| c.len_utf16()).sum()
        };
        let scheme = if url.has_scheme {
            url.name.start - url.start
        } else {
            "https://".len()
        };
        if !self.is_sound(&url.name) || scheme + units(url.start..url.end) > LONGEST_LINK {
            return;
        }
        if url.has_scheme {
            found.extend(self.whole(url));
            return;
        }
        if before.is_some_and(|c| "-_./".contains(c)) {
            return;
        }
        // Without a scheme only the Latin part of a name counts, with what follows the name.
        let names = found.len();
        let mut at = url.name.start;
        while at < url.name.end {
            match self.latin_name(at, url.name.end) {
                Some(end) => {
                    found.push(at..end);
                    at = end;
                }
                None => at += 1,
            }
        }
        if let Some(last) = found[names..].last_mut().filter(|_| url.has_path) {
            last.end = url.end;
        }
    }

    /// A link with a scheme; one of t.co ends with its slug.
    fn whole(&self, url: &Url) -> Option<Range<usize>> {
        let name: String = self.chars[url.name.clone()].iter().collect();
        if !(name.eq_ignore_ascii_case("t.co") && self.get(url.name.end) == Some('/')) {
            return Some(url.start..url.end);
        }
        let slug = url.name.end + 1;
        let end = self.run(slug, |c| c.is_ascii_alphanumeric());
        if end == slug || end > url.end {
            return Some(url.start..url.end);
        }
        (end - slug <= LONGEST_SLUG).then(|| url.start..self.query(end))
    }

    /// The end of a name of Latin letters, digits and hyphens that begins there.
    fn latin_name(&self, start: usize, limit: usize) -> Option<usize> {
        let mut dots = Vec::new();
        let mut at = start;
        while dots.len() < MOST_LABELS {
            let end = self.run(at, |c| {
                c.is_ascii_alphanumeric() || c == '-' || is_latin_accent(c)
            });
            if end == at || end >= limit || self.get(end) != Some('.') {
                break;
            }
            at = end + 1;
            dots.push(at);
        }
        dots.into_iter()
            .rev()
            .find_map(|after| self.tld(after, limit))
    }

    /// Whether a name could be one of the DNS: the length of its labels, and punycode with a name that it stands for.
    fn is_sound(&self, name: &Range<usize>) -> bool {
        let (start, end) = (name.start, name.end);
        let name: String = self.chars[start..end].iter().collect();
        // Lengths first: they bound the work on the rest.
        let short = name.split('.').all(|label| {
            // Punycode is longer than what it stands for.
            if label.chars().count() > LONGEST_LABEL {
                return false;
            }
            let length = if label.is_ascii() {
                label.len()
            } else {
                idna::punycode::encode_str(label).map_or(usize::MAX, |code| code.len() + 4)
            };
            (1..=LONGEST_LABEL).contains(&length)
        });
        short
            && (!name.starts_with("xn--")
                || (start..end).any(|at| self.latin_name(at, end).is_some()))
    }
}

/// Whether a link may begin after that character.
fn may_precede(c: char) -> bool {
    !(c.is_ascii_alphanumeric() || matches!(c, '@' | '＠' | '$' | '#' | '＃') || is_invalid(c))
}

/// Characters that X takes in no text.
fn is_invalid(c: char) -> bool {
    matches!(c, '\u{fffe}' | '\u{feff}' | '\u{ffff}')
}

/// What a label of a name may hold beside `-` and `_`: neither marks, nor spaces, nor signs of direction.
fn is_name_char(c: char) -> bool {
    let space = matches!(c, '\u{9}'..='\u{d}' | ' ' | '\u{85}' | '\u{a0}' | '\u{1680}' | '\u{180e}' | '\u{2000}'..='\u{200a}'
        | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}');
    let direction = matches!(c, '\u{202a}'..='\u{202e}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2066}'..='\u{2069}');
    !(space || direction || is_invalid(c) || "!'#%&()*+,\\-./:;<=>?@[]^_{|}~$".contains(c))
}

fn is_path_char(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || "!*';:=+,.$/%#[]-–_~@|&".contains(c)
        || is_cyrillic(c)
        || is_latin_accent(c)
}

/// What a path may end with, so that `/foo.` does not take the full stop.
fn is_path_end(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+-=_#/".contains(c) || is_cyrillic(c) || is_latin_accent(c)
}

fn is_cyrillic(c: char) -> bool {
    in_either_case(c, |c| matches!(c, '\u{400}'..='\u{4ff}'))
}

fn is_latin_accent(c: char) -> bool {
    in_either_case(c, |c| {
        matches!(c, '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{24f}' | '\u{253}' | '\u{254}' | '\u{256}'
            | '\u{257}' | '\u{259}' | '\u{25b}' | '\u{263}' | '\u{268}' | '\u{26f}' | '\u{272}' | '\u{289}' | '\u{28b}'
            | '\u{2bb}' | '\u{300}'..='\u{36f}' | '\u{1e00}'..='\u{1eff}')
    })
}

/// X's classes do not tell capital letters from small ones.
fn in_either_case(c: char, class: impl Fn(char) -> bool) -> bool {
    if c.is_ascii() {
        return false;
    }
    let mut capital = c.to_uppercase();
    // The iota below a letter, which the class of accents holds, has the capital of every iota.
    let iota = matches!(c, '\u{399}' | '\u{3b9}' | '\u{1fbe}') && class('\u{345}');
    class(c) || iota || (capital.len() == 1 && capital.next().is_some_and(class))
}
