//! `crier post --dry-run`: what would be sent, and what would be refused.
//!
//! **Invariant:** nothing is left in the database, and nothing goes to X.

use crier_core::fault::Fault;
use crier_core::options::{create_body, parse_options};
use crier_core::price::{Priced, Prices};
use crier_core::text::weighted_len;
use crier_core::v1::{Publisher, parameters};
use crier_store::{AccountRow, CheckDraft, NewJob, Store, StoreError, Trial};
use serde_json::{Value, json};

use super::Context;
use crate::exit::Refusal;
use crate::lint;
use crate::screen::{counted, instant, note};

/// Tries the row, and tells.
pub(super) async fn run(context: &Context, store: &Store, job: &NewJob) -> anyhow::Result<()> {
    let (mut faults, mut facts) = (Vec::new(), json!({}));
    match store.try_job(job).await {
        Ok(Trial::Known(id)) => {
            facts["known_job"] = json!(id);
            note(&format!(
                "nothing would be inserted: job {id} has this dedupe key"
            ));
        }
        Ok(Trial::New {
            draft,
            state,
            reply_to,
            run_at,
        }) => {
            faults = lint::faults(&context.config, &draft);
            facts["account"] = json!(draft.handle);
            facts["state"] = json!(state);
            facts["run_at"] = json!(instant(run_at));
            measure(&mut facts, &draft, reply_to, &context.config.prices.table());
        }
        Err(error) => {
            // What the table refuses is one fault; X may have more against it.
            let Some(refused) = refused(&error) else {
                return Err(error.into());
            };
            faults.push(refused);
            if let Some(draft) = unseen(store, job).await? {
                faults.extend(lint::faults(&context.config, &draft));
                facts["account"] = json!(draft.handle);
                measure(&mut facts, &draft, None, &context.config.prices.table());
            }
        }
    }
    tell(context, &faults, facts)
}

/// What the database has against the row.
fn refused(error: &StoreError) -> Option<Fault> {
    let state = error.sqlstate()?;
    if !state.starts_with("22") && !state.starts_with("23") {
        return None;
    }
    let (message, hint) = error.database_words()?;
    Some(Fault::new(
        "insert_refused",
        "the table refuses the row",
        message,
        hint.unwrap_or_default(),
    ))
}

/// The row as a check would read it, had the table taken it; `None` if the account is not known.
async fn unseen(store: &Store, job: &NewJob) -> anyhow::Result<Option<CheckDraft>> {
    let Some(account) = store.account(job.account.trim()).await? else {
        return Ok(None);
    };
    let rows = store.account_rows(Some(&account.handle)).await?;
    let Some(row) = rows.into_iter().next() else {
        return Ok(None);
    };
    let now = store.now().await?;
    let AccountRow {
        account: handle,
        status,
        scopes,
        text_limit,
        tier,
        publisher,
        token_age_s,
        ..
    } = row;
    Ok(Some(CheckDraft {
        revision: 0,
        text: job.text.clone(),
        media: Ok(job.media.clone().unwrap_or_else(|| json!([]))),
        options: Ok(job.options.clone().unwrap_or_else(|| json!({}))),
        run_at: now,
        due_in_s: 0,
        follows: job.after.is_some(),
        predecessor_run_at: None,
        after: job.after,
        handle,
        replies_to_own: false,
        text_limit: u32::try_from(text_limit).unwrap_or_default(),
        tier: serde_json::from_value(json!(tier))?,
        publisher: serde_json::from_value(json!(publisher))?,
        // Only OAuth 2.0 has scopes.
        scopes: token_age_s.is_some().then_some(scopes),
        account_status: status,
        warning: None,
        campaign_paused: false,
    }))
}

/// Length, request and cost, as far as the row can be read.
fn measure(facts: &mut Value, draft: &CheckDraft, reply_to: Option<String>, prices: &Prices) {
    facts["weighted_length"] = json!(weighted_len(&draft.text));
    facts["text_limit"] = json!(draft.text_limit);
    let (Ok(options), Ok(media)) = (&draft.options, &draft.media) else {
        return;
    };
    let Ok(options) = parse_options(options) else {
        return;
    };
    let sources: Vec<String> = media
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| {
            let source = item["path"].as_str().or(item["url"].as_str());
            source.unwrap_or_default().to_owned()
        })
        .collect();
    let described = media.as_array().into_iter().flatten();
    let described =
        described.filter(|item| !item["alt_text"].as_str().unwrap_or_default().is_empty());
    let replies = options.reply_target().is_some();
    let post = prices.charge(Priced::of_post(&draft.text, replies), 1);
    let alt = prices.charge(Priced::Metadata, described.count());
    facts["cost_micro_usd"] = json!(post.micro_usd + alt.micro_usd);
    // What only X can tell stands as what it will be.
    let reply_to = reply_to.or_else(|| Some(format!("<post of job {}>", draft.after?)));
    facts["request"] = match draft.publisher {
        Publisher::V2 => {
            let ids: Vec<String> = sources
                .iter()
                .map(|source| format!("<media id of {source}>"))
                .collect();
            json!({"call": "POST /2/tweets",
                "body": create_body(&draft.text, &options, &ids, reply_to.as_deref())})
        }
        Publisher::V1UpdateWithMedia => {
            let fields: serde_json::Map<String, Value> =
                parameters(&draft.text, &options, reply_to.as_deref())
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), json!(value)))
                    .collect();
            json!({"call": "POST /1.1/statuses/update_with_media", "body": fields, "media[]": sources})
        }
    };
}

fn tell(context: &Context, faults: &[Fault], mut facts: Value) -> anyhow::Result<()> {
    let refused = faults.iter().filter(|fault| fault.permanent).count();
    let screen = context.screen;
    if screen.json {
        facts["would_be_refused"] = json!(refused > 0);
        facts["faults"] = faults.iter().map(lint::shown).collect();
        screen.object(&facts)?;
    } else {
        for fault in faults {
            screen.line(&lint::line(fault));
        }
        let word = |key: &str| facts[key].as_str().map(str::to_owned);
        let length = facts["weighted_length"]
            .as_u64()
            .map(|length| format!("{length} of {} weighted characters", facts["text_limit"]));
        let cost = facts["cost_micro_usd"].as_i64().map(|micro| {
            let milli = micro / 1_000;
            format!("{}.{:03} USD", milli / 1_000, milli % 1_000)
        });
        let call = facts["request"]["call"].as_str().map(str::to_owned);
        let body = facts["request"].get("body").map(Value::to_string);
        let files = facts["request"].get("media[]").map(Value::to_string);
        let lines = [
            ("account", word("account")),
            ("state", word("state")),
            ("run at", word("run_at")),
            ("length", length),
            ("cost", cost),
            ("call", call),
            ("body", body),
            ("media[]", files),
        ];
        for (name, value) in lines {
            if let Some(value) = value {
                // Not as a table: a body is to be copied as it stands.
                screen.line(&format!("{name}: {value}"));
            }
        }
    }
    if refused == 0 {
        return Ok(());
    }
    let count = u64::try_from(refused).unwrap_or(u64::MAX);
    Refusal::new(format!(
        "the post would be refused: {} that only an edit mends",
        counted(count, "fault", "faults")
    ))
    .fail()
}
