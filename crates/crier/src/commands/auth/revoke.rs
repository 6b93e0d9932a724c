//! `crier auth revoke`: X takes the grants of an account back, and crier forgets them.
//!
//! **Invariant:** a grant is forgotten only once X has ended it or knows nothing of it, or if a person says so; what is
//! forgotten makes the account wait for a login, and loses no job.

use clap::Args;
use crier_core::answer::CallFault;
use crier_core::verdict::{Step, judge};
use crier_store::{Account, Lease, OpenedOAuth1, OpenedTokens, Store, StoreError};
use crier_x::{AppCredentials, Auth, XClient};
use secrecy::ExposeSecret;
use serde_json::json;
use uuid::Uuid;

use super::{REFRESH_LEASE, trouble};
use crate::commands::Context;
use crate::connect;
use crate::exit::Refusal;
use crate::screen::note;

/// Which account, and how.
#[derive(Debug, Args)]
#[command(
    after_help = "Both kinds of grants, OAuth 2.0 and 1.0a, are taken back. Its jobs wait: `crier auth login` lets them go on."
)]
pub(crate) struct Options {
    /// Its handle, with or without `@`.
    account: String,
    /// Forget the grants without asking X, which goes on to honour them.
    #[arg(long)]
    local: bool,
}

/// What is kept of an account.
struct Kept {
    oauth2: Option<OpenedTokens>,
    oauth1: Option<OpenedOAuth1>,
}

impl Options {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let store = connect::ready_store(&context.config).await?;
        let x = connect::x(&context.config)?;
        let account = connect::account(&store, &self.account).await?;
        // Nobody rotates a token while it is being taken back.
        let lease = store
            .begin_refresh(Uuid::new_v4(), account.id, REFRESH_LEASE)
            .await?;
        let Some(lease) = lease else {
            return Refusal::new(format!(
                "another process is refreshing the token of `{}` at this moment",
                account.handle
            ))
            .hint("try again in a few seconds")
            .fail();
        };
        match self.end(&store, &x, &account, &lease).await {
            Ok((status, ended)) => said(context, &account, &status, &ended, self.local),
            Err(error) => {
                if let Err(error) = store.abandon_refresh(&lease).await {
                    tracing::debug!("the right to refresh could not be given back: {error}");
                }
                Err(error)
            }
        }
    }

    /// Ends what is kept, and forgets it; answers the account's status and what was there.
    async fn end(
        &self,
        store: &Store,
        x: &XClient,
        account: &Account,
        lease: &Lease,
    ) -> anyhow::Result<(String, Vec<&'static str>)> {
        let handle = &account.handle;
        let mut ended = Vec::new();
        match kept(store, account).await {
            Ok(kept) => {
                if kept.oauth2.is_none() && kept.oauth1.is_none() {
                    return Refusal::new(format!("`{handle}` has no grant to revoke"))
                        .hint("`crier accounts list` shows which accounts have")
                        .fail();
                }
                if let Some(tokens) = &kept.oauth2 {
                    if !self.local {
                        end_oauth2(x, handle, tokens).await?;
                    }
                    ended.push("oauth2");
                }
                if let Some(opened) = kept.oauth1 {
                    if !self.local {
                        end_oauth1(x, handle, opened).await?;
                    }
                    ended.push("oauth1");
                }
            }
            // What does not open can be forgotten all the same.
            Err(error @ (StoreError::Sealed { .. } | StoreError::NoKey)) if self.local => {
                note(&format!("what is forgotten could not be read: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
        let reason = json!({
            "code": "revoked", "title": "its grants were revoked with `crier auth revoke`", "detail": "", "step": "token",
            "hint": format!("`crier auth login --account {handle}`; its jobs then go on by themselves"),
        });
        let status = store.forget_credentials(lease, &reason).await?;
        Ok((status, ended))
    }
}

async fn kept(store: &Store, account: &Account) -> Result<Kept, StoreError> {
    Ok(Kept {
        oauth2: store.tokens(account.id).await?,
        oauth1: store.oauth1_tokens(account.id).await?,
    })
}

async fn end_oauth2(x: &XClient, handle: &str, tokens: &OpenedTokens) -> anyhow::Result<()> {
    let app = AppCredentials {
        client_id: tokens.client_id.clone(),
        client_secret: tokens.client_secret.clone(),
    };
    // The refresh token first: with the access token alone gone, the grant would live on.
    let both = tokens.refresh_token.iter().chain([&tokens.access_token]);
    for token in both {
        if let Err(fault) = x.revoke(&app, token).await
            && !is_gone(Step::Token, &fault)
        {
            return Err(not_ended(handle, Step::Token, &fault));
        }
    }
    Ok(())
}

async fn end_oauth1(x: &XClient, handle: &str, opened: OpenedOAuth1) -> anyhow::Result<()> {
    let tokens = opened.tokens;
    let auth = Auth::OAuth1 {
        consumer_key: tokens.consumer_key.expose_secret().to_owned(),
        consumer_secret: tokens.consumer_secret,
        access_token: tokens.access_token,
        access_token_secret: tokens.access_token_secret,
    };
    match x.invalidate_token(&auth).await {
        Err(fault) if !is_gone(Step::Read, &fault) => Err(not_ended(handle, Step::Read, &fault)),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whether X says that it knows nothing of the token, which is what was wanted.
fn is_gone(step: Step, fault: &CallFault) -> bool {
    match (step, fault) {
        (Step::Token, _) => judge(step, fault).code == "grant_dead",
        // "Invalid or expired token."
        (_, CallFault::Refused(answer)) => answer.codes.contains(&89),
        (_, CallFault::NotSent { .. } | CallFault::NoAnswer { .. }) => false,
    }
}

fn not_ended(handle: &str, step: Step, fault: &CallFault) -> anyhow::Error {
    let cure = match fault {
        CallFault::Refused(answer) if answer.status < 500 => judge(step, fault).hint,
        CallFault::Refused(_) | CallFault::NotSent { .. } | CallFault::NoAnswer { .. } => {
            "try again a little later"
        }
    };
    trouble(
        &format!("the grants of `{handle}` were not revoked, and nothing was forgotten"),
        fault,
        &format!(
            "{cure}; or `crier auth revoke {handle} --local` forgets them here alone, and the account's settings at x.com end them there"
        ),
    )
}

fn said(
    context: &Context,
    account: &Account,
    status: &str,
    ended: &[&str],
    local: bool,
) -> anyhow::Result<()> {
    let handle = &account.handle;
    if context.screen.json {
        return context.screen.object(&json!({
            "account": handle, "status": status, "forgotten": ended, "revoked": if local { &[] } else { ended },
        }));
    }
    let how = if local {
        "are forgotten here"
    } else {
        "are revoked at X and forgotten here"
    };
    context
        .screen
        .line(&format!("the grants of {handle} {how}; it is {status}"));
    if local {
        note(
            "X honours them still: end them at x.com, in the account's settings, under connected apps",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crier_core::answer::Answer;

    use super::*;

    fn refused(status: u16, title: &str, codes: &[i64]) -> CallFault {
        CallFault::Refused(Answer {
            status,
            title: title.to_owned(),
            codes: codes.to_vec(),
            ..Answer::default()
        })
    }

    #[test]
    fn only_a_token_that_x_does_not_know_counts_as_gone() {
        let lost = CallFault::NoAnswer {
            detail: "timed out".into(),
        };
        for (step, fault, gone) in [
            (Step::Token, refused(400, "invalid_request", &[]), true),
            (Step::Token, refused(400, "invalid_grant", &[]), true),
            (Step::Token, refused(401, "invalid_client", &[]), false),
            (Step::Token, refused(503, "", &[]), false),
            (Step::Token, lost.clone(), false),
            (Step::Read, refused(401, "", &[89]), true),
            (Step::Read, refused(401, "", &[32]), false),
            (Step::Read, refused(404, "", &[]), false),
            (Step::Read, lost, false),
        ] {
            assert_eq!(is_gone(step, &fault), gone, "{fault:?}");
        }
    }
}
