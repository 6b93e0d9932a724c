//! OAuth 1.0a signatures, written by hand and apart from the simulator's own.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use crate::client::{Request, Seen, User, X};

/// What signs a request.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) key: &'a str,
    pub(crate) secret: &'a str,
    /// Empty for none.
    pub(crate) token: &'a str,
    pub(crate) token_secret: &'a str,
}

impl<'a> Keys<'a> {
    /// The app alone.
    pub(crate) fn app(user: &'a User) -> Self {
        Self {
            key: user.oauth1("consumer_key"),
            secret: user.oauth1("consumer_secret"),
            token: "",
            token_secret: "",
        }
    }

    /// The app in the user's name.
    pub(crate) fn user(user: &'a User) -> Self {
        Self {
            token: user.oauth1("access_token"),
            token_secret: user.oauth1("access_token_secret"),
            ..Self::app(user)
        }
    }

    /// Signs method, path, query and form, never JSON or multipart; `extra` goes into the header.
    pub(crate) fn sign(
        &self,
        request: Request,
        host: &str,
        stamp: i64,
        nonce: &str,
        extra: &[(&str, &str)],
    ) -> Request {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let stamp = stamp.to_string();
        let mut oauth = vec![
            ("oauth_consumer_key", self.key),
            ("oauth_nonce", nonce),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", &stamp),
            ("oauth_version", "1.0"),
        ];
        if !self.token.is_empty() {
            oauth.push(("oauth_token", self.token));
        }
        oauth.extend(extra);
        let mut pairs: Vec<(String, String)> = oauth
            .iter()
            .map(|(name, value)| (encode(name), encode(value)))
            .collect();
        for encoded in [query.as_bytes(), request.form_body()] {
            for (name, value) in url::form_urlencoded::parse(encoded) {
                pairs.push((encode(&name), encode(&value)));
            }
        }
        pairs.sort();
        let joined: Vec<_> = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let base = format!(
            "{}&{}&{}",
            request.method,
            encode(&format!("http://{host}{path}")),
            encode(&joined.join("&"))
        );
        let key = format!("{}&{}", encode(self.secret), encode(self.token_secret));
        let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(base.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let mut header: Vec<_> = oauth
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", encode(value)))
            .collect();
        header.push(format!("oauth_signature=\"{}\"", encode(&signature)));
        request.header("authorization", &format!("OAuth {}", header.join(", ")))
    }

    /// Signs with a fresh nonce at the simulator's time and sends.
    pub(crate) async fn send(&self, x: &X, request: Request, extra: &[(&str, &str)]) -> Seen {
        static NONCE: AtomicU64 = AtomicU64::new(0);
        let nonce = format!("fresh{}", NONCE.fetch_add(1, Ordering::Relaxed));
        let host = x.addr.to_string();
        let stamp = now_s(x).await;
        x.send(self.sign(request, &host, stamp, &nonce, extra))
            .await
    }
}

/// The simulator's clock in seconds.
pub(crate) async fn now_s(x: &X) -> i64 {
    x.look("/_sim/clock").await["now_us"].as_i64().unwrap() / 1_000_000
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
