//! One refresh of an account's token, step by step: the right to it, X's answer, the new pair made durable.

use std::time::Duration;

use crier_store::{Lease, OAuth2Tokens, StoreError};
use secrecy::ExposeSecret as _;

use crate::ops::Token;
use crate::people::account;
use crate::world::{Broken, World, busy, pick, unexpected};
use crate::x::app_of;

/// How long the right to refresh holds.
const REFRESH: Duration = Duration::from_mins(2);

/// A refresh in a worker's hands.
#[derive(Debug, Clone)]
pub(crate) struct TokenHand {
    pub(crate) lease: Lease,
    /// Version and refresh token that it spends.
    spent: (i64, String),
    /// What X gave for it.
    pub(crate) rotated: Option<String>,
}

impl World<'_> {
    /// Takes the right to refresh; whoever has it is the only one.
    pub(crate) async fn begin_refresh(&mut self, worker: usize, n: u8) -> Result<(), Broken> {
        let (db, account) = (self.db, account(n));
        let held: bool = sqlx::query_scalar(
            "select exists (select 1 from crier.leases where kind = 'refresh' and subject = $1 and expires_at >= crier.now())",
        )
        .bind(account)
        .fetch_one(&db.people)
        .await
        .unwrap();
        let lease = db
            .store
            .begin_refresh(self.workers[worker].id, account, REFRESH)
            .await
            .map_err(unexpected("begin_refresh"))?;
        if lease.is_some() == held {
            return Err(format!(
                "account {account}: the right to refresh is held ({held}), and another one got {lease:?}"
            ));
        }
        let Some(lease) = lease else {
            return Ok(());
        };
        self.done += 1;
        // Under the lease: whoever had it before may have rotated.
        let spent = self.kept(account).await?;
        self.workers[worker].tokens.push(TokenHand {
            lease,
            spent,
            rotated: None,
        });
        Ok(())
    }

    pub(crate) async fn token(&mut self, worker: usize, n: u8, how: Token) -> Result<(), Broken> {
        let Some(worker) = busy(&self.workers, worker, |worker| !worker.tokens.is_empty()) else {
            return Ok(());
        };
        let Some(place) = pick(&self.workers[worker].tokens, n) else {
            return Ok(());
        };
        self.done += 1;
        let mut hand = self.workers[worker].tokens.remove(place);
        let keep = match &hand.rotated {
            None => self.ask(&mut hand, how).await?,
            Some(rotated) => match self.keep(&hand, rotated).await {
                Ok(()) => how == Token::Unheard,
                // Kept again and again until the database is there.
                Err(broken) if self.tolerates(&broken).await => true,
                Err(broken) => return Err(broken),
            },
        };
        if keep {
            self.workers[worker].tokens.insert(place, hand);
        }
        Ok(())
    }

    /// X's answer; false if there is nothing to keep.
    async fn ask(&mut self, hand: &mut TokenHand, how: Token) -> Result<bool, Broken> {
        let (db, account) = (self.db, hand.lease.account);
        if how == Token::Refused {
            let abandoned = self
                .fenced(
                    "abandon_refresh",
                    &hand.lease,
                    db.store.abandon_refresh(&hand.lease),
                )
                .await?;
            return match abandoned {
                Ok(()) | Err(StoreError::LeaseLost { .. }) => Ok(false),
                Err(error) => Err(format!("abandon_refresh: {error}")),
            };
        }
        if !self.holds(&hand.lease).await {
            return Ok(false);
        }
        match self.x.refresh(account, &hand.spent.1) {
            Some(_) if how == Token::AnswerLost => {
                // Nobody has what X gave: only a login helps.
                self.x.lost.insert(account);
                Ok(false)
            }
            Some(rotated) => {
                hand.rotated = Some(rotated);
                Ok(true)
            }
            None => {
                let now = self.kept(account).await?;
                let is_known =
                    self.x.lost.contains(&account) || now != hand.spent || self.is_in_hand(account);
                if is_known {
                    Ok(false)
                } else {
                    Err(format!(
                        "account {account}: X refuses {}, which was spent",
                        hand.spent.1
                    ))
                }
            }
        }
    }

    fn is_in_hand(&self, account: i64) -> bool {
        let mut hands = self.workers.iter().flat_map(|worker| &worker.tokens);
        hands.any(|hand| hand.lease.account == account && hand.rotated.is_some())
    }

    /// The pair is durable, or another grant stands in its place.
    async fn keep(&mut self, hand: &TokenHand, rotated: &str) -> Result<(), Broken> {
        let account = hand.lease.account;
        let before = self.kept(account).await?;
        let tokens = OAuth2Tokens {
            client_id: format!("app{}", app_of(account)),
            client_secret: None,
            access_token: format!("access of {rotated}").into(),
            refresh_token: Some(rotated.to_owned().into()),
            expires_in_s: 7200,
            scopes: Vec::new(),
        };
        let kept = self
            .db
            .store
            .finish_refresh(&hand.lease, hand.spent.0, &tokens)
            .await;
        let after = self.kept(account).await?;
        match kept {
            Ok(()) if after.1 == rotated => Ok(()),
            Ok(()) => Err(format!(
                "account {account}: {rotated} is said to be kept, there is {after:?}"
            )),
            Err(StoreError::LeaseLost { .. }) if before == after && before.0 != hand.spent.0 => {
                Ok(())
            }
            Err(error) => Err(format!(
                "account {account}: {rotated}, the only token that X takes, was dropped for {after:?}: {error}"
            )),
        }
    }

    /// Version and refresh token as they are kept.
    async fn kept(&self, account: i64) -> Result<(i64, String), Broken> {
        let tokens = self
            .db
            .store
            .tokens(account)
            .await
            .map_err(unexpected("tokens"))?
            .ok_or_else(|| format!("account {account} has no tokens"))?;
        let refresh = tokens
            .refresh_token
            .map(|token| token.expose_secret().to_owned());
        Ok((tokens.version, refresh.unwrap_or_default()))
    }

    /// Grants that a worker takes with it when it dies.
    pub(crate) fn lose_tokens(&mut self, worker: usize) {
        for hand in &self.workers[worker].tokens {
            if hand.rotated.is_some() {
                self.x.lost.insert(hand.lease.account);
            }
        }
    }
}
