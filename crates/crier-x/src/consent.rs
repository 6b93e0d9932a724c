//! The page on which a person grants access by OAuth 2.0, and the proof key (PKCE, RFC 7636) that ties its answer to us.
//!
//! **Invariant:** a verifier leaves its `SecretString` only to be hashed here or sent to the token endpoint; the address of
//! the page holds neither it nor a secret of the app.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use url::Url;

use crate::client::{XClient, under};
use crate::oauth1::percent_encode;

/// Host of X's pages, where the API is at its own host.
const PAGES: [(&str, &str); 2] = [("api.x.com", "x.com"), ("api.twitter.com", "twitter.com")];

/// A proof key for one login.
#[derive(Debug, Clone)]
pub struct Pkce {
    /// What is shown to the token endpoint at the end.
    pub verifier: SecretString,
}

impl Pkce {
    /// A key of 32 bytes of chance, as RFC 7636 section 4.1 recommends: a verifier of 43 characters.
    pub fn new(chance: [u8; 32]) -> Self {
        Self {
            verifier: URL_SAFE_NO_PAD.encode(chance).into(),
        }
    }

    /// What is shown on the page: `S256` of the verifier.
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.expose_secret().as_bytes()))
    }
}

/// What a person is asked for.
#[derive(Debug, Clone, Copy)]
pub struct ConsentRequest<'a> {
    /// The app that asks.
    pub client_id: &'a str,
    /// Where X sends the answer; one of the callbacks that the app has registered.
    pub redirect_uri: &'a str,
    /// Scopes, separated by spaces.
    pub scope: &'a str,
    /// Comes back unchanged.
    pub state: &'a str,
    /// The key of this login.
    pub pkce: &'a Pkce,
}

impl XClient {
    /// The page on which a person consents.
    pub fn consent_url(&self, request: &ConsentRequest<'_>) -> Url {
        let mut url = under(&self.pages(), &["i", "oauth2", "authorize"]);
        let challenge = request.pkce.challenge();
        let fields = [
            ("response_type", "code"),
            ("client_id", request.client_id),
            ("redirect_uri", request.redirect_uri),
            ("scope", request.scope),
            ("state", request.state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        // X wants a space as `%20`, which a form would write as `+`.
        let fields = fields.map(|(name, value)| format!("{name}={}", percent_encode(value)));
        url.set_query(Some(&fields.join("&")));
        url
    }

    /// Base of the pages: the configured one, X's own, or that of the API.
    fn pages(&self) -> Url {
        let config = self.config();
        if let Some(base) = &config.authorize_base {
            return base.clone();
        }
        let mut url = config.api_base.clone();
        let host = PAGES
            .iter()
            .find(|(api, _)| url.host_str() == Some(*api))
            .map(|(_, pages)| *pages);
        if host.is_some() && url.set_host(host).is_ok() {
            url.set_path("");
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::XConfig;

    fn client(api: &str, authorize: Option<&str>) -> XClient {
        let api = Url::parse(api).unwrap();
        let mut config = XConfig::new(api.clone(), api);
        config.authorize_base = authorize.map(|base| Url::parse(base).unwrap());
        XClient::new(config).unwrap()
    }

    fn page(client: &XClient, scope: &str, state: &str) -> Url {
        client.consent_url(&ConsentRequest {
            client_id: "cid",
            redirect_uri: "http://127.0.0.1:8723/callback",
            scope,
            state,
            pkce: &Pkce::new([7; 32]),
        })
    }

    /// RFC 7636 appendix B.
    #[test]
    fn the_challenge_is_that_of_the_standard() {
        let pkce = Pkce::new([
            116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212,
            37, 77, 105, 214, 191, 240, 91, 88, 5, 88, 83, 132, 141, 121,
        ]);
        assert_eq!(
            pkce.verifier.expose_secret(),
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        );
        assert_eq!(
            pkce.challenge(),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
        assert!(!format!("{pkce:?}").contains("dBjf"));
    }

    #[test]
    fn the_page_is_x_own_unless_another_is_configured() {
        let start = |client: &XClient| {
            let url = page(client, "tweet.read users.read", "st");
            assert_eq!(
                url.query()
                    .unwrap()
                    .split("&code_challenge=")
                    .next()
                    .unwrap(),
                "response_type=code&client_id=cid&redirect_uri=http%3A%2F%2F127.0.0.1%3A8723%2Fcallback\
                 &scope=tweet.read%20users.read&state=st"
            );
            assert!(url.as_str().ends_with("&code_challenge_method=S256"));
            url[..url::Position::AfterPath].to_owned()
        };
        for (api, authorize, page) in [
            (
                "https://api.x.com",
                None,
                "https://x.com/i/oauth2/authorize",
            ),
            (
                "https://api.twitter.com/",
                None,
                "https://twitter.com/i/oauth2/authorize",
            ),
            (
                "http://127.0.0.1:8090",
                None,
                "http://127.0.0.1:8090/i/oauth2/authorize",
            ),
            (
                "https://gate.example/x/",
                None,
                "https://gate.example/x/i/oauth2/authorize",
            ),
            (
                "https://api.x.com",
                Some("https://twitter.com"),
                "https://twitter.com/i/oauth2/authorize",
            ),
        ] {
            assert_eq!(start(&client(api, authorize)), page);
        }
    }

    proptest! {
        #[test]
        fn what_is_asked_comes_back_unchanged(scope in any::<String>(), state in any::<String>()) {
            let url = page(&client("https://api.x.com", None), &scope, &state);
            let pairs: std::collections::HashMap<_, _> = url.query_pairs().into_owned().collect();
            prop_assert_eq!(&pairs["scope"], &scope);
            prop_assert_eq!(&pairs["state"], &state);
            prop_assert!(!url.as_str().contains('+'));
        }

        #[test]
        fn a_verifier_is_as_the_standard_has_it(chance in any::<[u8; 32]>()) {
            let pkce = Pkce::new(chance);
            let verifier = pkce.verifier.expose_secret();
            prop_assert!((43..=128).contains(&verifier.len()));
            prop_assert!(verifier.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)));
        }
    }
}
