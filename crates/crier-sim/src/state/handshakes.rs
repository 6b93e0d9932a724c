//! Request tokens of OAuth 1.0a: from the app's question to the user's answer to the access token.
//!
//! Invariant: a request token is answered once by one user, and exchanged once; then it is gone.

use std::collections::HashMap;

use crate::chance::Chance;
use crate::clock::seconds_us;

/// Life of a request token in seconds. The figure is not documented.
const LIFE_S: u64 = 900;
/// Digits of a PIN (x-api.md 2.2).
const PIN: usize = 7;

/// A request token's meaning.
#[derive(Debug, Clone)]
pub(crate) struct RequestToken {
    pub(crate) client_id: String,
    pub(crate) secret: String,
    /// A URL, or `oob` for a PIN.
    pub(crate) callback: String,
    pub(crate) may_write: bool,
    /// Who said yes, and the verifier that proves it.
    pub(crate) granted: Option<Granted>,
    expires_us: i64,
}

/// A user's yes.
#[derive(Debug, Clone)]
pub(crate) struct Granted {
    pub(crate) account: String,
    pub(crate) verifier: String,
}

/// All request tokens that live.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    by_token: HashMap<String, RequestToken>,
}

impl Handshakes {
    /// A new request token and its secret.
    pub(crate) fn open(
        &mut self,
        chance: &mut Chance,
        client_id: &str,
        callback: &str,
        may_write: bool,
        now_us: i64,
    ) -> (String, String) {
        self.by_token.retain(|_, known| known.expires_us > now_us);
        let (token, secret) = (chance.word(27), chance.word(32));
        let known = RequestToken {
            client_id: client_id.to_owned(),
            secret: secret.clone(),
            callback: callback.to_owned(),
            may_write,
            granted: None,
            expires_us: now_us.saturating_add(seconds_us(LIFE_S)),
        };
        self.by_token.insert(token.clone(), known);
        (token, secret)
    }

    /// The request token of that name, if it lives.
    pub(crate) fn get(&self, token: &str, now_us: i64) -> Option<&RequestToken> {
        self.by_token
            .get(token)
            .filter(|known| now_us < known.expires_us)
    }

    /// Whose yes it holds, if any.
    pub(crate) fn account(&self, token: &str) -> Option<&String> {
        let granted = self.by_token.get(token)?.granted.as_ref()?;
        Some(&granted.account)
    }

    /// Notes the yes of a user and gives the verifier: a PIN where there is no callback.
    pub(crate) fn grant(
        &mut self,
        chance: &mut Chance,
        token: &str,
        account: &str,
    ) -> Option<String> {
        let known = self.by_token.get_mut(token)?;
        let verifier = if known.callback == "oob" {
            chance.digits(PIN)
        } else {
            chance.word(32)
        };
        known.granted = Some(Granted {
            account: account.to_owned(),
            verifier: verifier.clone(),
        });
        Some(verifier)
    }

    /// Ends it: it was exchanged, or the user said no.
    pub(crate) fn close(&mut self, token: &str) {
        self.by_token.remove(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_token_lives_a_while_and_holds_one_answer() {
        let (mut handshakes, mut chance) = (Handshakes::default(), Chance::new(Some(1)));
        let (token, _) = handshakes.open(&mut chance, "app", "oob", true, 0);
        assert!(handshakes.account(&token).is_none());
        let pin = handshakes.grant(&mut chance, &token, "1").unwrap();
        assert!(pin.len() == PIN && pin.bytes().all(|byte| byte.is_ascii_digit()));
        assert_eq!(handshakes.account(&token).unwrap(), "1");
        assert!(handshakes.get(&token, seconds_us(LIFE_S) - 1).is_some());
        assert!(handshakes.get(&token, seconds_us(LIFE_S)).is_none());
        handshakes.close(&token);
        assert!(handshakes.get(&token, 0).is_none());
        assert!(handshakes.grant(&mut chance, &token, "1").is_none());
    }
}
