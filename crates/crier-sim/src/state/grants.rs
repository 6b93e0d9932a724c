//! Apps, and what users granted them: codes, access tokens, refresh tokens, OAuth 1.0a tokens.
//!
//! Invariant: a refresh token works once (x-api.md 1.4); a code works once and for 30 seconds; a
//! revoked token never again.

use std::collections::{HashMap, HashSet};

use crate::chance::Chance;
use crate::clock::seconds_us;

/// Life of an authorization code in seconds (x-api.md 1.4).
const CODE_LIFE_S: u64 = 30;
/// Seconds that a signature's timestamp may differ from X's clock. The figure is not documented.
pub(crate) const TIMESTAMP_SLACK_S: i64 = 300;

/// A client of X.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) client_id: String,
    /// None for a public client.
    pub(crate) client_secret: Option<String>,
    pub(crate) consumer_key: String,
    pub(crate) consumer_secret: String,
    pub(crate) redirect_uris: Vec<String>,
    /// What the OAuth 1.0a tokens that users grant it from now on may do; older ones keep what they had.
    pub(crate) may_write: bool,
}

/// An access token's meaning.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) account: String,
    pub(crate) client_id: String,
    pub(crate) scope: String,
    pub(crate) expires_us: i64,
    grant: u64,
}

/// A refresh token's meaning.
#[derive(Debug, Clone)]
pub(crate) struct Refresh {
    pub(crate) account: String,
    pub(crate) client_id: String,
    pub(crate) scope: String,
    /// Life of the access tokens made from it, in seconds.
    pub(crate) expires_in: u64,
    /// Used or revoked; kept to tell whose it was.
    pub(crate) spent: bool,
    grant: u64,
}

/// An authorization code's meaning.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) account: String,
    pub(crate) client_id: String,
    pub(crate) scope: String,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: String,
    /// `S256`, or else `plain`.
    pub(crate) hashed: bool,
    pub(crate) expires_us: i64,
}

/// An OAuth 1.0a token's meaning.
#[derive(Debug, Clone)]
pub(crate) struct UserToken {
    pub(crate) account: String,
    pub(crate) client_id: String,
    pub(crate) secret: String,
    pub(crate) may_write: bool,
}

/// What a successful call of the token endpoint gives.
#[derive(Debug, Clone)]
pub(crate) struct TokenSet {
    pub(crate) access_token: String,
    /// Only with `offline.access`.
    pub(crate) refresh_token: Option<String>,
    pub(crate) expires_in: u64,
    pub(crate) scope: String,
}

/// What a grant is for.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) account: String,
    pub(crate) client_id: String,
    pub(crate) scope: String,
    pub(crate) expires_in: u64,
}

/// Everything that was granted.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    apps: HashMap<String, App>,
    by_consumer_key: HashMap<String, String>,
    access: HashMap<String, Access>,
    refresh: HashMap<String, Refresh>,
    codes: HashMap<String, Code>,
    user_tokens: HashMap<String, UserToken>,
    nonces: HashSet<(i64, String)>,
    last_grant: u64,
    sweep_at: usize,
    sweep_nonces_at: usize,
}

impl Grants {
    pub(crate) fn app(&self, client_id: &str) -> Option<&App> {
        self.apps.get(client_id)
    }

    pub(crate) fn app_mut(&mut self, client_id: &str) -> Option<&mut App> {
        self.apps.get_mut(client_id)
    }

    pub(crate) fn app_by_consumer_key(&self, key: &str) -> Option<&App> {
        self.apps.get(self.by_consumer_key.get(key)?)
    }

    pub(crate) fn add_app(&mut self, app: App) {
        self.by_consumer_key
            .insert(app.consumer_key.clone(), app.client_id.clone());
        self.apps.insert(app.client_id.clone(), app);
    }

    pub(crate) fn access(&self, token: &str) -> Option<&Access> {
        self.access.get(token)
    }

    pub(crate) fn refresh(&self, token: &str) -> Option<&Refresh> {
        self.refresh.get(token)
    }

    pub(crate) fn code(&self, code: &str) -> Option<&Code> {
        self.codes.get(code)
    }

    pub(crate) fn user_token(&self, token: &str) -> Option<&UserToken> {
        self.user_tokens.get(token)
    }

    /// True if the token names or the names are not taken yet.
    pub(crate) fn is_free(&self, token: &str) -> bool {
        !self.access.contains_key(token) && !self.refresh.contains_key(token)
    }

    /// A new grant: its first tokens, with these names if given.
    pub(crate) fn issue(
        &mut self,
        chance: &mut Chance,
        terms: Terms,
        now_us: i64,
        names: (Option<String>, Option<String>),
    ) -> TokenSet {
        self.last_grant += 1;
        self.add_tokens(chance, terms, now_us, names, self.last_grant)
    }

    /// Spends a refresh token that is good, and gives the next tokens of its grant.
    pub(crate) fn rotate(
        &mut self,
        chance: &mut Chance,
        token: &str,
        now_us: i64,
    ) -> Option<TokenSet> {
        let known = self.refresh.get_mut(token).filter(|known| !known.spent)?;
        known.spent = true;
        let grant = known.grant;
        let terms = Terms {
            account: known.account.clone(),
            client_id: known.client_id.clone(),
            scope: known.scope.clone(),
            expires_in: known.expires_in,
        };
        Some(self.add_tokens(chance, terms, now_us, (None, None), grant))
    }

    fn add_tokens(
        &mut self,
        chance: &mut Chance,
        terms: Terms,
        now_us: i64,
        names: (Option<String>, Option<String>),
        grant: u64,
    ) -> TokenSet {
        self.sweep(now_us);
        let access_token = names.0.unwrap_or_else(|| chance.word(91));
        self.access.insert(
            access_token.clone(),
            Access {
                account: terms.account.clone(),
                client_id: terms.client_id.clone(),
                scope: terms.scope.clone(),
                expires_us: now_us.saturating_add(seconds_us(terms.expires_in)),
                grant,
            },
        );
        let lasting = terms
            .scope
            .split(' ')
            .any(|scope| scope == "offline.access");
        let refresh_token = lasting.then(|| names.1.unwrap_or_else(|| chance.word(91)));
        if let Some(token) = &refresh_token {
            self.refresh.insert(
                token.clone(),
                Refresh {
                    account: terms.account,
                    client_id: terms.client_id,
                    scope: terms.scope.clone(),
                    expires_in: terms.expires_in,
                    spent: false,
                    grant,
                },
            );
        }
        TokenSet {
            access_token,
            refresh_token,
            expires_in: terms.expires_in,
            scope: terms.scope,
        }
    }

    /// Takes a token back; with a refresh token goes all of its grant.
    pub(crate) fn revoke(&mut self, token: &str) {
        self.access.remove(token);
        if let Some(known) = self.refresh.get_mut(token) {
            known.spent = true;
            let grant = known.grant;
            self.access.retain(|_, access| access.grant != grant);
            for refresh in self.refresh.values_mut() {
                refresh.spent |= refresh.grant == grant;
            }
        }
    }

    /// A new code for what `code` says; its life begins now.
    pub(crate) fn add_code(&mut self, chance: &mut Chance, mut code: Code, now_us: i64) -> String {
        self.codes.retain(|_, code| code.expires_us > now_us);
        code.expires_us = now_us.saturating_add(seconds_us(CODE_LIFE_S));
        let word = chance.word(91);
        self.codes.insert(word.clone(), code);
        word
    }

    /// Uses a code up.
    pub(crate) fn spend_code(&mut self, code: &str) {
        self.codes.remove(code);
    }

    /// A new OAuth 1.0a token in X's form, `userid-word`, and its secret.
    pub(crate) fn add_user_token(
        &mut self,
        chance: &mut Chance,
        account: &str,
        client_id: &str,
        may_write: bool,
    ) -> (String, String) {
        let token = format!("{account}-{}", chance.word(30));
        let secret = chance.word(45);
        let known = UserToken {
            account: account.to_owned(),
            client_id: client_id.to_owned(),
            secret: secret.clone(),
            may_write,
        };
        self.user_tokens.insert(token.clone(), known);
        (token, secret)
    }

    /// The OAuth 1.0a token that the user granted the app already, or a new one: X hands out the same
    /// until it is revoked. One of other rights is replaced.
    pub(crate) fn user_token_for(
        &mut self,
        chance: &mut Chance,
        account: &str,
        app: (&str, bool),
    ) -> (String, String) {
        let (client_id, may_write) = app;
        let known = |token: &UserToken| token.account == account && token.client_id == client_id;
        let same = self
            .user_tokens
            .iter()
            .filter(|(_, token)| known(token) && token.may_write == may_write)
            .min_by_key(|(word, _)| word.as_str());
        if let Some((word, token)) = same {
            return (word.clone(), token.secret.clone());
        }
        self.user_tokens.retain(|_, token| !known(token));
        self.add_user_token(chance, account, client_id, may_write)
    }

    /// Takes an OAuth 1.0a token back.
    pub(crate) fn invalidate(&mut self, token: &str) {
        self.user_tokens.remove(token);
    }

    /// Notes a nonce; false if it was used before with this timestamp and token.
    pub(crate) fn is_new_nonce(
        &mut self,
        token: &str,
        nonce: &str,
        stamp_s: i64,
        now_s: i64,
    ) -> bool {
        if self.nonces.len() >= self.sweep_nonces_at.max(1_000) {
            self.nonces
                .retain(|(stamp, _)| (stamp - now_s).abs() <= TIMESTAMP_SLACK_S);
            self.sweep_nonces_at = self.nonces.len() * 2;
        }
        self.nonces.insert((stamp_s, format!("{token} {nonce}")))
    }

    /// Tokens long expired are forgotten once there are twice as many as last time.
    fn sweep(&mut self, now_us: i64) {
        if self.access.len() >= self.sweep_at.max(1_000) {
            self.access.retain(|_, access| access.expires_us > now_us);
            self.sweep_at = self.access.len() * 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(scope: &str) -> Terms {
        Terms {
            account: "1".to_owned(),
            client_id: "app".to_owned(),
            scope: scope.to_owned(),
            expires_in: 7_200,
        }
    }

    #[test]
    fn a_refresh_token_works_once_and_the_old_access_token_lives_on() {
        let (mut grants, mut chance) = (Grants::default(), Chance::new(Some(1)));
        let first = grants.issue(
            &mut chance,
            terms("tweet.read offline.access"),
            0,
            (None, None),
        );
        let token = first.refresh_token.unwrap();
        let second = grants.rotate(&mut chance, &token, 10).unwrap();
        assert_ne!(second.refresh_token.as_deref(), Some(token.as_str()));
        assert!(grants.rotate(&mut chance, &token, 20).is_none());
        assert!(grants.access(&first.access_token).is_some());
        assert!(
            grants
                .rotate(&mut chance, &second.refresh_token.unwrap(), 30)
                .is_some()
        );
    }

    #[test]
    fn without_offline_access_there_is_no_refresh_token() {
        let (mut grants, mut chance) = (Grants::default(), Chance::new(Some(1)));
        let set = grants.issue(&mut chance, terms("tweet.read"), 0, (None, None));
        assert!(set.refresh_token.is_none());
    }

    #[test]
    fn revoking_the_refresh_token_ends_the_grant_and_no_other() {
        let (mut grants, mut chance) = (Grants::default(), Chance::new(Some(1)));
        let scope = "tweet.read offline.access";
        let first = grants.issue(&mut chance, terms(scope), 0, (None, None));
        let other = grants.issue(&mut chance, terms(scope), 0, (None, None));
        let second = grants
            .rotate(&mut chance, &first.refresh_token.unwrap(), 0)
            .unwrap();
        let last = second.refresh_token.unwrap();
        grants.revoke(&last);
        assert!(grants.access(&first.access_token).is_none());
        assert!(grants.access(&second.access_token).is_none());
        assert!(grants.rotate(&mut chance, &last, 0).is_none());
        assert!(grants.access(&other.access_token).is_some());
    }
}
