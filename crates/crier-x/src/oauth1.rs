//! OAuth 1.0a signatures: HMAC-SHA1 after RFC 5849, percent-encoding after RFC 3986, as X's page "creating a
//! signature" describes them.
//!
//! **Invariant:** a signature is a pure function of its inputs; nonce and time come from the caller.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use url::Url;

/// Everything one signature is made of, besides the request.
pub struct Signing<'a> {
    /// Key of the developer app.
    pub consumer_key: &'a str,
    /// Secret of the developer app.
    pub consumer_secret: &'a str,
    /// Token of the account; empty while there is none, and then not sent.
    pub token: &'a str,
    /// Secret of that token; empty while there is none.
    pub token_secret: &'a str,
    /// Used for this request only.
    pub nonce: &'a str,
    /// Seconds since 1970.
    pub timestamp_s: i64,
}

impl std::fmt::Debug for Signing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signing")
            .field("consumer_key", &self.consumer_key)
            .finish_non_exhaustive()
    }
}

impl Signing<'_> {
    /// The `Authorization` header of a request. `form` holds the fields of a form-urlencoded body; bodies of any
    /// other type are not signed.
    pub fn header(&self, method: &str, url: &Url, form: &[(&str, String)]) -> String {
        self.header_with(&[], method, url, form)
    }

    /// The same with more `oauth_` parameters, which are sent in the header and signed.
    pub(crate) fn header_with(
        &self,
        more: &[(&str, &str)],
        method: &str,
        url: &Url,
        form: &[(&str, String)],
    ) -> String {
        let timestamp = self.timestamp_s.to_string();
        let mut fields = self.oauth_parameters(&timestamp);
        fields.extend_from_slice(more);
        let signature = self.signature_over(method, url, form, &fields);
        fields.push(("oauth_signature", &signature));
        fields.sort_unstable();
        let fields: Vec<_> = fields
            .into_iter()
            .map(|(name, value)| format!("{name}=\"{}\"", percent_encode(value)))
            .collect();
        format!("OAuth {}", fields.join(", "))
    }

    /// The signature alone, in base64.
    pub fn signature(&self, method: &str, url: &Url, form: &[(&str, String)]) -> String {
        let timestamp = self.timestamp_s.to_string();
        self.signature_over(method, url, form, &self.oauth_parameters(&timestamp))
    }

    fn oauth_parameters<'a>(&'a self, timestamp: &'a str) -> Vec<(&'a str, &'a str)> {
        let all = [
            ("oauth_consumer_key", self.consumer_key),
            ("oauth_nonce", self.nonce),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", timestamp),
            ("oauth_token", self.token),
            ("oauth_version", "1.0"),
        ];
        all.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect()
    }

    fn signature_over(
        &self,
        method: &str,
        url: &Url,
        form: &[(&str, String)],
        oauth: &[(&str, &str)],
    ) -> String {
        let base = base_string(method, url, form, oauth);
        let key = format!(
            "{}&{}",
            percent_encode(self.consumer_secret),
            percent_encode(self.token_secret)
        );
        let mut mac =
            Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
        mac.update(base.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

fn base_string(method: &str, url: &Url, form: &[(&str, String)], oauth: &[(&str, &str)]) -> String {
    let mut parameters: Vec<(String, String)> = url
        .query_pairs()
        .map(|(name, value)| (percent_encode(&name), percent_encode(&value)))
        .chain(
            form.iter()
                .map(|(name, value)| (percent_encode(name), percent_encode(value))),
        )
        .chain(
            oauth
                .iter()
                .map(|(name, value)| (percent_encode(name), percent_encode(value))),
        )
        .collect();
    parameters.sort_unstable();
    let parameters: Vec<_> = parameters
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut bare = url.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    format!(
        "{}&{}&{}",
        method.to_ascii_uppercase(),
        percent_encode(bare.as_str()),
        percent_encode(&parameters.join("&"))
    )
}

/// Percent-encoding after RFC 3986: letters, digits, `-`, `.`, `_` and `~` stay, every other byte becomes `%XX`.
pub fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 0x0f] {
                out.push(
                    char::from_digit(u32::from(digit), 16)
                        .unwrap_or('0')
                        .to_ascii_uppercase(),
                );
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The worked example of X's page "creating a signature".
    fn example() -> Signing<'static> {
        Signing {
            consumer_key: "xvz1evFS4wEEPTGEFPHBog",
            consumer_secret: "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw",
            token: "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb",
            token_secret: "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE",
            nonce: "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg",
            timestamp_s: 1_318_622_958,
        }
    }

    fn status() -> [(&'static str, String); 1] {
        [(
            "status",
            "Hello Ladies + Gentlemen, a signed OAuth request!".to_owned(),
        )]
    }

    #[test]
    fn the_documented_example_is_signed_as_documented() {
        let url =
            Url::parse("https://api.twitter.com/1.1/statuses/update.json?include_entities=true")
                .unwrap();
        assert_eq!(
            example().signature("post", &url, &status()),
            "hCtSmYh+iHYCEqBWrE7C7hYmtUk="
        );
        let older =
            Url::parse("https://api.twitter.com/1/statuses/update.json?include_entities=true")
                .unwrap();
        assert_eq!(
            example().signature("POST", &older, &status()),
            "tnnArxj06cWHq44gCs1OSKk/jLY="
        );
    }

    #[test]
    fn the_header_is_written_as_documented() {
        let url =
            Url::parse("https://api.twitter.com/1.1/statuses/update.json?include_entities=true")
                .unwrap();
        assert_eq!(
            example().header("POST", &url, &status()),
            "OAuth oauth_consumer_key=\"xvz1evFS4wEEPTGEFPHBog\", \
             oauth_nonce=\"kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg\", \
             oauth_signature=\"hCtSmYh%2BiHYCEqBWrE7C7hYmtUk%3D\", oauth_signature_method=\"HMAC-SHA1\", \
             oauth_timestamp=\"1318622958\", oauth_token=\"370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb\", \
             oauth_version=\"1.0\""
        );
    }

    /// Step 1 of X's page "log in with X" (its numbers are from the time of `Sign in with Twitter`).
    #[test]
    fn a_request_without_a_token_is_signed_without_one() {
        let url = Url::parse("https://api.twitter.com/oauth/request_token").unwrap();
        let signing = Signing {
            consumer_key: "cChZNFj6T5R0TigYB9yd1w",
            consumer_secret: "L8qq9PZyRg6ieKGEKhZolGC0vJWLw8iEJ88DRdyOg",
            token: "",
            token_secret: "",
            nonce: "ea9ec8429b68d6b77cd5600adbbb0456",
            timestamp_s: 1_318_467_427,
        };
        let callback = [("oauth_callback", "http://localhost/sign-in-with-twitter/")];
        assert_eq!(
            signing.header_with(&callback, "POST", &url, &[]),
            "OAuth oauth_callback=\"http%3A%2F%2Flocalhost%2Fsign-in-with-twitter%2F\", \
             oauth_consumer_key=\"cChZNFj6T5R0TigYB9yd1w\", \
             oauth_nonce=\"ea9ec8429b68d6b77cd5600adbbb0456\", \
             oauth_signature=\"F1Li3tvehgcraF8DMJ7OyxO4w9Y%3D\", oauth_signature_method=\"HMAC-SHA1\", \
             oauth_timestamp=\"1318467427\", oauth_version=\"1.0\""
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", example());
        assert!(
            !shown.contains("kAcSOq") && !shown.contains("Lsww") && !shown.contains("370773112"),
            "{shown}"
        );
    }

    #[test]
    fn the_documented_strings_are_encoded_as_documented() {
        assert_eq!(
            percent_encode("Ladies + Gentlemen"),
            "Ladies%20%2B%20Gentlemen"
        );
        assert_eq!(
            percent_encode("An encoded string!"),
            "An%20encoded%20string%21"
        );
        assert_eq!(
            percent_encode("Dogs, Cats & Mice"),
            "Dogs%2C%20Cats%20%26%20Mice"
        );
        assert_eq!(percent_encode("☃"), "%E2%98%83");
        assert_eq!(percent_encode("-._~*"), "-._~%2A");
    }

    proptest! {
        #[test]
        fn a_strict_decoder_reads_back_what_was_encoded(text in any::<String>()) {
            let encoded = percent_encode(&text);
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
            let pair = format!("a={encoded}");
            let (_, decoded) = url::form_urlencoded::parse(pair.as_bytes()).next().unwrap();
            prop_assert_eq!(decoded.as_ref(), text);
        }

        #[test]
        fn the_order_of_the_parameters_does_not_matter(mut form in prop::collection::vec((prop::sample::select(vec!["a", "b", "c~", "c"]), any::<String>()), 0..6)) {
            let url = Url::parse("https://api.x.com/2/x?z=1").unwrap();
            let one = example().signature("POST", &url, &form);
            form.reverse();
            prop_assert_eq!(one, example().signature("POST", &url, &form));
        }
    }
}
