//! OAuth 1.0a signatures, verified (x-api.md 2.1, RFC 5849 section 3.4).
//!
//! Invariant: the signature is computed anew from the request as it arrived; JSON and multipart
//! bodies are not part of it, form bodies are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use crate::call::{Call, value};
use crate::clock::seconds;
use crate::problem;
use crate::reply::Reply;
use crate::state::World;
use crate::state::grants::{App, TIMESTAMP_SLACK_S, UserToken};

/// RFC 3986 unreserved characters stay, all else becomes `%XX` (x-api.md 2.1).
pub(crate) fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// Undoes percent-encoding; `+` stays a plus.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = escaped {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The parameters of an `Authorization: OAuth` header.
pub(crate) fn parameters(header: &str) -> Vec<(String, String)> {
    header
        .split(',')
        .filter_map(|pair| pair.trim().split_once('='))
        .map(|(name, value)| (decode(name), decode(value.trim_matches('"'))))
        .collect()
}

/// The HMAC-SHA1 signature of a base string, in base64.
fn sign(base: &str, consumer_secret: &str, token_secret: &str) -> String {
    let key = format!("{}&{}", encode(consumer_secret), encode(token_secret));
    let mut mac =
        Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(base.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// The parameter string: encoded, sorted by name and then by value.
fn parameter_string(parameters: &[(String, String)]) -> String {
    let mut encoded: Vec<_> = parameters
        .iter()
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    encoded.sort();
    let pairs: Vec<_> = encoded
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// Bases that the caller may have signed: the host it called, over either scheme, and those set.
fn bases(world: &World, call: &Call) -> Vec<String> {
    let mut bases = Vec::new();
    if let Some(host) = call.header("host") {
        let host = host.to_ascii_lowercase();
        // RFC 5849 3.4.1.2: the port is left out if it is the scheme's own.
        bases.push(format!(
            "http://{}",
            host.strip_suffix(":80").unwrap_or(&host)
        ));
        bases.push(format!(
            "https://{}",
            host.strip_suffix(":443").unwrap_or(&host)
        ));
    }
    bases.extend(
        world
            .options
            .oauth1_bases
            .iter()
            .map(|base| base.trim_end_matches('/').to_owned()),
    );
    bases
}

/// What a header says of itself, in form and in time; whether it is true is for [`Claim::prove`].
#[derive(Debug)]
pub(crate) struct Claim {
    oauth: Vec<(String, String)>,
    pub(crate) app: App,
    /// Absent only where an app asks in its own name, for a request token.
    pub(crate) token: Option<String>,
    stamp_s: i64,
    second: i64,
}

/// Reads the header's parameters, or 401 with the code that fits (x-api.md 6.3).
pub(crate) fn claim(world: &World, header: &str, now_us: i64) -> Result<Claim, Reply> {
    let oauth = parameters(header);
    let of = |name| value(&oauth, name);
    let (Some(key), Some(_), Some(_), Some(method), Some(stamp)) = (
        of("oauth_consumer_key"),
        of("oauth_nonce"),
        of("oauth_signature"),
        of("oauth_signature_method"),
        of("oauth_timestamp"),
    ) else {
        return Err(bad_data());
    };
    if method != "HMAC-SHA1" || of("oauth_version").is_some_and(|version| version != "1.0") {
        return Err(refused());
    }
    let second = seconds(now_us);
    let stamp_s: i64 = stamp.parse().map_err(|_| refused())?;
    if stamp_s.saturating_sub(second).saturating_abs() > TIMESTAMP_SLACK_S {
        return Err(problem::oauth1(135, "Timestamp out of bounds."));
    }
    let app = world.grants.app_by_consumer_key(key).ok_or_else(refused)?;
    Ok(Claim {
        app: app.clone(),
        token: of("oauth_token").map(str::to_owned),
        stamp_s,
        second,
        oauth,
    })
}

impl Claim {
    /// A parameter of the flow, which may stand in the header, the query or a form.
    pub(crate) fn parameter(&self, call: &Call, name: &str) -> Option<String> {
        let (query, form) = (call.query(), call.form());
        [&self.oauth, &query, &form]
            .into_iter()
            .find_map(|pairs| value(pairs, name))
            .map(str::to_owned)
    }

    /// Verifies the signature with this token secret, or 401; a nonce is good once.
    pub(crate) fn prove(
        &self,
        world: &mut World,
        call: &Call,
        token_secret: &str,
    ) -> Result<(), Reply> {
        let mut members: Vec<_> = self
            .oauth
            .iter()
            .filter(|(name, _)| name != "oauth_signature" && name != "realm")
            .cloned()
            .collect();
        members.extend(call.query());
        members.extend(call.form());
        // Some clients repeat `oauth_token` in the form and sign it once, others twice.
        let mut once = Vec::new();
        for pair in &members {
            if !(pair.0.starts_with("oauth_") && once.contains(pair)) {
                once.push(pair.clone());
            }
        }
        let signature = value(&self.oauth, "oauth_signature").unwrap_or_default();
        let good = [members, once].iter().any(|members| {
            let parameter_string = encode(&parameter_string(members));
            bases(world, call).iter().any(|base| {
                let url = encode(&format!("{base}{}", call.uri.path()));
                let base = format!("{}&{url}&{parameter_string}", call.method);
                sign(&base, &self.app.consumer_secret, token_secret) == signature
            })
        });
        let nonce = value(&self.oauth, "oauth_nonce").unwrap_or_default();
        let whose = self.token.as_deref().unwrap_or(&self.app.consumer_key);
        if good
            && world
                .grants
                .is_new_nonce(whose, nonce, self.stamp_s, self.second)
        {
            Ok(())
        } else {
            Err(refused())
        }
    }
}

/// 401: the header lacks a parameter.
pub(crate) fn bad_data() -> Reply {
    problem::oauth1(215, "Bad Authentication data.")
}

/// 401: the token is not there, or no longer.
pub(crate) fn bad_token() -> Reply {
    problem::oauth1(89, "Invalid or expired token.")
}

fn refused() -> Reply {
    problem::oauth1(32, "Could not authenticate you.")
}

/// Verifies a signature in a user's name, or 401 with the code that fits (x-api.md 6.3).
pub(crate) fn verify(
    world: &mut World,
    call: &Call,
    header: &str,
    now_us: i64,
) -> Result<UserToken, Reply> {
    let claim = claim(world, header, now_us)?;
    let token = claim.token.as_deref().ok_or_else(bad_data)?;
    let user = world
        .grants
        .user_token(token)
        .filter(|user| user.client_id == claim.app.client_id)
        .ok_or_else(bad_token)?
        .clone();
    claim.prove(world, call, &user.secret)?;
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of X's page "Creating a signature".
    #[test]
    fn the_documents_example_signs_as_printed() {
        let pairs: Vec<(String, String)> = [
            (
                "status",
                "Hello Ladies + Gentlemen, a signed OAuth request!",
            ),
            ("include_entities", "true"),
            ("oauth_consumer_key", "xvz1evFS4wEEPTGEFPHBog"),
            ("oauth_nonce", "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "1318622958"),
            (
                "oauth_token",
                "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb",
            ),
            ("oauth_version", "1.0"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        let base = format!(
            "POST&{}&{}",
            encode("https://api.twitter.com/1.1/statuses/update.json"),
            encode(&parameter_string(&pairs))
        );
        let signature = sign(
            &base,
            "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw",
            "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE",
        );
        assert_eq!(signature, "hCtSmYh+iHYCEqBWrE7C7hYmtUk=");
    }

    proptest::proptest! {
        #[test]
        fn decoding_undoes_encoding(text in "\\PC{0,40}") {
            proptest::prop_assert_eq!(decode(&encode(&text)), text);
        }
    }

    #[test]
    fn a_header_is_read_back_as_it_was_meant() {
        let read = parameters(r#"realm="x", oauth_nonce="a%2Bb", oauth_signature="c%3D" "#);
        assert_eq!(value(&read, "oauth_nonce"), Some("a+b"));
        assert_eq!(value(&read, "oauth_signature"), Some("c="));
        assert_eq!(encode("a b+é~"), "a%20b%2B%C3%A9~");
    }
}
