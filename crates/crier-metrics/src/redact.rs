//! Masks secrets in text that is about to leave the process.
//!
//! **Invariant:** the value after a name of [`NAMES`] or a [`whole`] name, the token of a `Bearer` or `Basic`
//! credential and the password of a URL do not survive, in a form, JSON (escaped or not), a query, a header or `Debug` output;
//! masking twice is masking once.
//!
//! This is the second line of defence: secrets are types that do not print themselves. In doubt it masks too much.

use std::borrow::Cow;

/// What stands in the place of a secret.
const MASK: &str = "[redacted]";

/// Names whose values are secret, in lower case. They match inside longer names too: `x_access_token`. The names are
/// those of RFC 6749, RFC 7636, RFC 5849, libpq and crier's own configuration.
const NAMES: [&str; 19] = [
    "access_token",
    "refresh_token",
    "client_secret",
    "client_assertion",
    "code_verifier",
    "id_token",
    "bearer_token",
    "oauth_signature",
    "oauth_token",
    "oauth_verifier",
    "token_secret",
    "consumer_secret",
    "api_secret",
    "api_key_secret",
    "password",
    "passwd",
    "secrets__key",
    "secrets.key",
    "other_keys",
];

/// Credential schemes of the `Authorization` header whose one token is the secret (RFC 6750, RFC 7617).
const SCHEMES: [&str; 2] = ["bearer", "basic"];

/// A plain word this short after a scheme is prose ("bearer token refused"), not a token.
const PROSE: usize = 16;

/// A separator between name and value, and what ends the value, as written at increasing depths of
/// percent-encoding: a signature base string (RFC 5849) encodes once or twice.
const ENCODED: [(&str, &str); 2] = [("%3d", "%26"), ("%253d", "%2526")];

/// The text with its secrets masked; the very text when it holds none.
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut masked = String::new();
    let mut kept = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        let found = named(rest)
            .or_else(|| whole(text.as_bytes(), at))
            .or_else(|| scheme(text.as_bytes(), at))
            .or_else(|| url_password(rest));
        match found {
            Some(secret) => {
                masked.push_str(&text[kept..at + secret.start]);
                masked.push_str(MASK);
                kept = at + secret.end;
                at = kept;
            }
            None => at += 1,
        }
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    masked.push_str(&text[kept..]);
    Cow::Owned(masked)
}

/// Length of the colour sequence (ECMA-48 SGR) at the start, 0 when there is none.
fn colour(text: &[u8]) -> usize {
    let Some(codes) = text.strip_prefix(b"\x1b[") else {
        return 0;
    };
    let len = codes
        .iter()
        .position(|byte| !(byte.is_ascii_digit() || *byte == b';'))
        .unwrap_or(codes.len());
    if codes.get(len) == Some(&b'm') {
        len + 3
    } else {
        0
    }
}

/// Length of the colour sequences at the start: a terminal log puts them between name and `=`.
fn colours(text: &[u8]) -> usize {
    let mut len = 0;
    loop {
        match colour(&text[len..]) {
            0 => return len,
            more => len += more,
        }
    }
}

/// Where a secret lies, in bytes from where it was looked for. Both ends are next to an ASCII byte or an end of the
/// text, so that cutting there never splits a character.
struct Secret {
    start: usize,
    end: usize,
}

impl Secret {
    fn new(text: &[u8], start: usize, len: usize) -> Option<Self> {
        let is_new = len > 0 && !text[start..].starts_with(MASK.as_bytes());
        is_new.then_some(Self {
            start,
            end: start + len,
        })
    }
}

/// `name = value`, in whatever dress.
fn named(text: &[u8]) -> Option<Secret> {
    let name = NAMES.iter().find(|name| starts_with(text, name))?;
    for (equals, and) in ENCODED {
        if starts_with(&text[name.len()..], equals) {
            let start = name.len() + equals.len();
            let rest = &text[start..];
            let end = (0..rest.len()).find(|&i| starts_with(&rest[i..], and) || ends_bare(rest[i]));
            return Secret::new(text, start, end.unwrap_or(rest.len()));
        }
    }
    value(text, name.len()).map(|found| found.secret)
}

/// Names that are secret only as whole names, for they are words of every day: the `token` of a revocation
/// (RFC 7009) or of a struct, and the `code` of a callback (RFC 6749), which in our own logs names a fault.
fn whole(text: &[u8], at: usize) -> Option<Secret> {
    let (before, rest) = text.split_at(at);
    let last = before.last();
    let in_form = last.is_none_or(|byte| b"?&\"'".contains(byte));
    if in_form && starts_with(rest, "code=") {
        return value(rest, 4).map(|found| found.secret);
    }
    let in_word = last.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(byte));
    if !starts_with(rest, "token") || (in_word && !ends_in_colour(before)) {
        return None;
    }
    value(rest, 5)
        .filter(|found| found.equals || found.quoted)
        .map(|found| found.secret)
}

fn ends_in_colour(text: &[u8]) -> bool {
    text.iter()
        .rposition(|byte| *byte == b'\x1b')
        .is_some_and(|start| colour(&text[start..]) == text.len() - start)
}

/// A value and how it is written.
struct Value {
    secret: Secret,
    equals: bool,
    quoted: bool,
}

/// The value that follows a name of this length.
fn value(text: &[u8], name: usize) -> Option<Value> {
    let mut at = name;
    at += colours(&text[at..]);
    at += run(&text[at..], |byte| {
        matches!(byte, b'\\' | b'"' | b'\'' | b' ')
    });
    let equals = match text.get(at)? {
        b'=' => true,
        b':' => false,
        _ => return None,
    };
    at += 1;
    at += colours(&text[at..]);
    at += run(&text[at..], |byte| byte == b' ');
    if text[at..].starts_with(b"Some(") {
        at += 5;
    }
    let escapes = run(&text[at..], |byte| byte == b'\\');
    let (secret, quoted) = if let Some(&quote @ (b'"' | b'\'')) = text.get(at + escapes) {
        let start = at + escapes + 1;
        let len = to_quote(&text[start..], quote, escapes);
        (Secret::new(text, start, len), true)
    } else {
        let len = run(&text[at..], |byte| !ends_bare(byte));
        (Secret::new(text, at, len), false)
    };
    secret.map(|secret| Value {
        secret,
        equals,
        quoted,
    })
}

/// Length of a value up to its closing quote, which has as many backslashes before it as the opening one.
fn to_quote(value: &[u8], quote: u8, escapes: usize) -> usize {
    let mut backslashes = 0;
    for (i, &byte) in value.iter().enumerate() {
        if byte == quote && backslashes <= escapes {
            return i - backslashes;
        }
        backslashes = if byte == b'\\' { backslashes + 1 } else { 0 };
    }
    value.len()
}

/// `Bearer token`, `Basic token`; the space may be encoded.
fn scheme(text: &[u8], at: usize) -> Option<Secret> {
    if at > 0 && (text[at - 1].is_ascii_alphanumeric() || text[at - 1] == b'_') {
        return None;
    }
    let rest = &text[at..];
    let scheme = SCHEMES.iter().find(|scheme| starts_with(rest, scheme))?;
    let mut start = scheme.len();
    start += match rest.get(start)? {
        b' ' | b'+' => run(&rest[start..], |byte| matches!(byte, b' ' | b'+')),
        b'%' if rest[start..].starts_with(b"%20") => 3,
        _ => return None,
    };
    let token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=%".contains(&byte);
    let len = run(&rest[start..], token_byte);
    let is_prose = len < PROSE
        && rest[start..start + len]
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || *byte == b'.');
    if is_prose {
        None
    } else {
        Secret::new(rest, start, len)
    }
}

/// `://user:password@host`.
fn url_password(text: &[u8]) -> Option<Secret> {
    let authority = text.strip_prefix(b"://")?;
    let len = run(authority, |byte| {
        !matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'`')
            && !byte.is_ascii_whitespace()
    });
    let userinfo = authority[..len].iter().rposition(|byte| *byte == b'@')?;
    let colon = authority[..userinfo]
        .iter()
        .position(|byte| *byte == b':')?;
    Secret::new(text, 3 + colon + 1, userinfo - colon - 1)
}

/// What ends a value without quotes.
fn ends_bare(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b"&,;\"'`)}]<>\\".contains(&byte)
}

/// Whether the text starts with this lower-case word, in any case.
fn starts_with(text: &[u8], word: &str) -> bool {
    text.get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
}

/// How many bytes from the start satisfy the condition.
fn run(text: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    text.iter()
        .position(|byte| !wanted(*byte))
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "Zm9v-s3cr3t_~x";

    /// Each place in which a secret has been seen in logs; `@` stands for it.
    const PLACES: [&str; 32] = [
        "token=@&token_type_hint=refresh_token",
        "client_id=abc&token=@",
        r#"body="token=@""#,
        "GET /callback?code=@&state=x HTTP/1.1",
        "http://127.0.0.1:8080/callback?state=x&code=@",
        r#"OAuth oauth_verifier="@""#,
        "CRIER__SECRETS__KEY=@",
        r#"{"secrets":{"key_id":1},"secrets.key":"@"}"#,
        "grant_type=refresh_token&refresh_token=@&client_id=abc",
        "refresh_token=@",
        "POST /2/oauth2/token?client_secret=@ HTTP/1.1",
        r#"{"token_type":"bearer","access_token":"@","expires_in":7200}"#,
        r#"{"access_token" : "@"}"#,
        r#"{"message":"X said {\"access_token\":\"@\",\"scope\":\"tweet.write\"}"}"#,
        r#"{"a":"{\\\"refresh_token\\\":\\\"@\\\"}"}"#,
        "Authorization: Bearer @",
        "authorization: bearer   @, x",
        r#"{"authorization": "Bearer @"}"#,
        "header=Bearer%20@",
        "Authorization: Basic @==",
        r#"OAuth oauth_consumer_key="key", oauth_signature_method="HMAC-SHA1", oauth_signature="@", oauth_version="1.0""#,
        r#"OAuth oauth_token="@""#,
        "oauth_token_secret=@&user_id=1",
        "access_token_secret: '@'",
        "POST&https%3A%2F%2Fx&oauth_token%3D@%26oauth_version%3D1.0",
        "oauth_token%253D@%2526x",
        "cannot connect to postgres://crier:@@db:5432/crier?sslmode=require",
        "https://user:p:@@[::1]/",
        "host=db user=crier password=@ dbname=crier",
        r#"Config { password: Some("@"), port: 1 }"#,
        "X_ACCESS_TOKEN=@",
        "tokens: ACCESS_TOKEN=@, Refresh_Token: @",
    ];

    #[test]
    fn a_secret_survives_nowhere() {
        for place in PLACES {
            // The last `@` before a host is the URL's own.
            let text = place.replacen('@', SECRET, if place.contains("@@") { 1 } else { 9 });
            let masked = redact(&text);
            assert!(!masked.contains("s3cr3t"), "{text}\n{masked}");
            assert!(masked.contains(MASK), "{text}\n{masked}");
            assert_eq!(redact(&masked), masked, "masking twice is masking once");
        }
    }

    #[test]
    fn what_is_around_a_secret_stays() {
        let masked = |text| redact(text).into_owned();
        assert_eq!(
            masked("refresh_token=a1&client_id=abc"),
            "refresh_token=[redacted]&client_id=abc"
        );
        assert_eq!(
            masked(r#"{"access_token":"a\"1","expires_in":7200}"#),
            r#"{"access_token":"[redacted]","expires_in":7200}"#
        );
        assert_eq!(
            masked(r#"{"m":"{\"access_token\":\"a1\",\"n\":2}"}"#),
            r#"{"m":"{\"access_token\":\"[redacted]\",\"n\":2}"}"#
        );
        assert_eq!(
            masked("postgres://crier:a1@db/crier"),
            "postgres://crier:[redacted]@db/crier"
        );
        assert_eq!(masked("é Bearer a1é"), "é Bearer [redacted]é");
        assert_eq!(
            masked("oauth_token%3Da1%26x%3D2"),
            "oauth_token%3D[redacted]%26x%3D2"
        );
    }

    #[test]
    fn prose_is_left_alone() {
        for text in [
            "",
            "the bearer token was refused",
            "no refresh_token in the answer",
            "password authentication failed for user `crier`",
            "https://x.com/acme/status/1?x=a:b@c",
            "mail to ops@example.com: at 10:30",
            "INFO crier_worker::token: refreshed, code=rate_limited, code: daily_limit",
            "next_token is absent; token: none; lease_token=7",
            "basic checks. bearer. Grüße 🎉",
            r#"{"token_type":"bearer"}"#,
        ] {
            assert!(
                matches!(redact(text), Cow::Borrowed(same) if same == text),
                "{text}"
            );
        }
    }

    #[test]
    fn no_cut_splits_a_character() {
        for place in PLACES {
            for piece in ["é", "🎉", "\\", "\"", "'", "=", ":", "%3D", " "] {
                for (i, _) in place.char_indices() {
                    let text = format!("{}{piece}{}", &place[..i], &place[i..]);
                    let masked = redact(&text);
                    assert_eq!(redact(&masked), masked, "{text}");
                }
            }
        }
    }
}
