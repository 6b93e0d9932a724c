//! `crier accounts`: who is published for, and whether they go on.

use clap::{Args, Subcommand};
use crier_core::tier::Tier;
use crier_core::v1::Publisher;
use crier_store::{AccountRow, AppMoney, MOST_WAITING, MonthCost, Store};
use serde_json::{Value, json};

use super::Context;
use super::standing::{lacks_grant, needs};
use crate::connect;
use crate::screen::{instant, maybe, reason, span, told_instant};

/// What to do with accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum Accounts {
    /// List them.
    List,
    /// Show one: app, token, scopes, what it waits for, limits.
    Show(One),
    /// Publish nothing more for one until it is resumed; its jobs wait.
    Pause(One),
    /// Go on with one, and with its app if X's answers stopped that.
    Resume(One),
    /// Say what one has subscribed to: Premium may post longer texts and videos, and edit.
    Tier(SetTier),
    /// Say by which call one publishes.
    #[command(after_help = PUBLISHERS)]
    Publisher(SetPublisher),
    /// Bound what the calls of a developer app may cost a month, and show what they have cost.
    Budget(Budget),
}

/// The budget of an app.
#[derive(Debug, Args)]
#[command(
    after_help = "When the budget is spent, the accounts of the app publish nothing more until the next month by UTC, or until the budget is raised; their jobs wait. Costs are counted by the prices of the configuration; what is under way at that moment still goes out."
)]
pub(crate) struct Budget {
    /// The app: its client id, or one of its accounts.
    app: String,
    /// US dollars a month, such as 25 or 12.50; `none` takes the bound away. Left out, nothing is changed.
    #[arg(value_parser = usd)]
    usd: Option<Usd>,
}

/// A bound in US dollars, or none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usd(Option<f64>);

fn usd(text: &str) -> Result<Usd, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(Usd(None));
    }
    let number = text.trim_start_matches('$').parse::<f64>().ok();
    number
        .filter(|usd| (0.0..=1e9).contains(usd))
        .map(|usd| Usd(Some(usd)))
        .ok_or_else(|| "give dollars such as 25 or 12.50, or `none`".to_owned())
}

/// An account.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Its handle, with or without `@`.
    account: String,
}

const PUBLISHERS: &str = "\
v2 is POST /2/tweets. v1_update_with_media is for gateways that speak only
POST /1.1/statuses/update_with_media: OAuth 1.0a, a picture in each post, and none of v2's fields.";

/// A subscription.
#[derive(Debug, Args)]
pub(crate) struct SetTier {
    /// Its handle, with or without `@`.
    account: String,
    /// What it has subscribed to.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(["standard", "premium"]))]
    tier: String,
}

/// A call.
#[derive(Debug, Args)]
pub(crate) struct SetPublisher {
    /// Its handle, with or without `@`.
    account: String,
    /// The call.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(Publisher::ALL.map(Publisher::as_str)))]
    publisher: String,
}

impl Accounts {
    pub(crate) async fn run(self, context: Context) -> anyhow::Result<()> {
        let screen = context.screen;
        let store = connect::ready_store(&context.config).await?;
        match self {
            Self::List => {
                let rows = store.account_rows(None).await?;
                let head = ["account", "status", "token", "waiting", "next", "reason"];
                let none = "there are no accounts yet: `crier auth login` adds one, `crier auth import` several";
                screen.rows(&rows, &head, none, |row| {
                    vec![
                        row.account.clone(),
                        status(row),
                        token(row),
                        waiting(row),
                        next(row),
                        why(row),
                    ]
                })
            }
            Self::Show(One { account }) => {
                let known = connect::account(&store, &account).await?;
                let rows = store.account_rows(Some(&known.handle)).await?;
                let windows = windows(&store, known.id, known.app_id).await?;
                let costs = store.month_costs(known.id).await?;
                let money = match known.app_id {
                    Some(app) => store.app_money(app).await?,
                    None => None,
                };
                for row in &rows {
                    if screen.json {
                        let mut shown = serde_json::to_value(row)?;
                        shown["limits"] = Value::Array(windows.clone());
                        shown["costs"] = serde_json::to_value(&costs)?;
                        shown["app_money"] = serde_json::to_value(&money)?;
                        screen.object(&shown)?;
                    } else {
                        let mut lines = lines(row, &windows);
                        lines.extend(money_lines(&costs, money.as_ref()));
                        screen.facts(lines.into_iter());
                    }
                }
                Ok(())
            }
            Self::Budget(budget) => budget.run(&context, &store).await,
            Self::Pause(One { account }) => {
                let known = connect::account(&store, &account).await?;
                let reason = json!({"code": "paused", "title": "paused by a person", "detail": "", "step": "claim",
                    "hint": format!("`crier accounts resume {}`", known.handle)});
                store.pause_account(known.id, "paused", &reason).await?;
                said(&context, &[known.handle], "paused")
            }
            Self::Resume(One { account }) => {
                let known = connect::account(&store, &account).await?;
                let rows = store.account_rows(Some(&known.handle)).await?;
                let bare = |row: &AccountRow| row.token_expires_in_s.is_none() && !row.has_oauth1;
                if rows.iter().any(|row| lacks_grant(row) || bare(row)) {
                    return crate::exit::Refusal::new(format!(
                        "`{}` has no grant to go on with",
                        known.handle
                    ))
                    .hint(format!(
                        "log in again: `crier auth login --account {}`; its jobs then go on by themselves",
                        known.handle
                    ))
                    .fail();
                }
                let handles = store.resume_account(known.id).await?;
                said(&context, &handles, "active")
            }
            Self::Tier(SetTier { account, tier }) => {
                let known = connect::account(&store, &account).await?;
                let tier = Tier::from_word(&tier);
                let limit = store.set_tier(known.id, tier).await?;
                let (handle, tier) = (known.handle, tier.as_str());
                if screen.json {
                    return screen
                        .object(&json!({"account": handle, "tier": tier, "text_limit": limit}));
                }
                screen.line(&format!("{handle} is {tier}: {limit} characters a post"));
                Ok(())
            }
            Self::Publisher(SetPublisher { account, publisher }) => {
                let known = connect::account(&store, &account).await?;
                let publisher = Publisher::ALL
                    .into_iter()
                    .find(|one| one.as_str() == publisher)
                    .unwrap_or_default();
                store.set_publisher(known.id, publisher).await?;
                let (handle, publisher) = (known.handle, publisher.as_str());
                if screen.json {
                    return screen.object(&json!({"account": handle, "publisher": publisher}));
                }
                screen.line(&format!("{handle} publishes by {publisher}"));
                Ok(())
            }
        }
    }
}

impl Budget {
    async fn run(self, context: &Context, store: &Store) -> anyhow::Result<()> {
        let app = match store.app_by_client_id(&self.app).await? {
            Some(app) => app,
            None => match store.account(&self.app).await?.map(|known| known.app_id) {
                Some(Some(app)) => app,
                Some(None) => {
                    return crate::exit::Refusal::new(format!(
                        "the account `{}` has no developer app of its own",
                        self.app
                    ))
                    .hint("X charges an app: give the client id of one, `crier accounts show` names it")
                    .fail();
                }
                None => {
                    return crate::exit::Refusal::new(format!(
                        "there is neither an app nor an account `{}`",
                        self.app
                    ))
                    .hint("`crier accounts show ACCOUNT` names the account's app")
                    .fail();
                }
            },
        };
        if let Some(Usd(bound)) = self.usd {
            store.set_budget(app, bound).await?;
        }
        let Some(money) = store.app_money(app).await? else {
            return Ok(());
        };
        if context.screen.json {
            return context.screen.object(&serde_json::to_value(&money)?);
        }
        context.screen.line(&told(&money));
        Ok(())
    }
}

/// What an app has cost, what it may cost, and whether it waits.
fn told(money: &AppMoney) -> String {
    let bound = match money.monthly_budget_usd {
        Some(usd) => format!("of {usd:.2} USD a month"),
        None => "without a bound".to_owned(),
    };
    let waits = match money.waits_until {
        Some(until) => format!("; its accounts wait until {}", instant(until)),
        None => String::new(),
    };
    format!(
        "{} has cost {:.3} USD {bound}{waits}",
        money.app, money.spent_usd
    )
}

fn money_lines(costs: &[MonthCost], money: Option<&AppMoney>) -> Vec<Vec<String>> {
    let mut lines: Vec<Vec<String>> = costs
        .iter()
        .map(|cost| {
            let usd = cost.micro_usd / 1_000;
            vec![
                format!("cost this month, {}", cost.kind.replace('_', " ")),
                format!("{} × = {}.{:03} USD", cost.calls, usd / 1_000, usd % 1_000),
            ]
        })
        .collect();
    if let Some(money) = money {
        lines.push(vec!["cost of the app".to_owned(), told(money)]);
    }
    lines
}

fn said(context: &Context, handles: &[String], status: &str) -> anyhow::Result<()> {
    for handle in handles {
        if context.screen.json {
            context
                .screen
                .object(&json!({"account": handle, "status": status}))?;
        } else {
            context.screen.line(&format!("{handle} is {status}"));
        }
    }
    Ok(())
}

async fn windows(store: &Store, account: i64, app: Option<i64>) -> anyhow::Result<Vec<Value>> {
    let app = app.unwrap_or(-1);
    Ok(store
        .select_json(&format!(
            "select endpoint, class, length, call_limit, remaining, resets_at from crier.limit_windows
              where resets_at > crier.now() and (class, owner_id) in (('account', {account}), ('app', {app}))
              order by endpoint, class, length"
        ))
        .await?)
}

fn status(row: &AccountRow) -> String {
    if row.app_status.as_deref() == Some("paused") {
        return format!("{}, app paused", row.status);
    }
    row.status.clone()
}

fn token(row: &AccountRow) -> String {
    match row.token_expires_in_s {
        Some(left) if left < 0.0 => "expired".to_owned(),
        Some(left) => span(left),
        None if row.has_oauth1 => "OAuth 1.0a".to_owned(),
        None => "none".to_owned(),
    }
}

/// Beside a token of OAuth 2.0.
fn oauth1(row: &AccountRow) -> String {
    match row.token_expires_in_s {
        Some(_) if row.has_oauth1 => "has tokens, too".to_owned(),
        Some(_) | None => String::new(),
    }
}

fn waiting(row: &AccountRow) -> String {
    if row.waiting >= MOST_WAITING {
        return format!("{MOST_WAITING}+");
    }
    row.waiting.to_string()
}

fn next(row: &AccountRow) -> String {
    if row.in_flight {
        return "in flight".to_owned();
    }
    if row.closed {
        return "closed".to_owned();
    }
    match row.closed_until {
        Some(until) => format!("limit until {}", instant(until)),
        None => maybe(row.next_at),
    }
}

fn why(row: &AccountRow) -> String {
    let own = reason(row.reason.as_ref());
    if own.is_empty() {
        reason(row.app_reason.as_ref())
    } else {
        own
    }
}

/// When X is asked whether an account or app that it has stopped may go on.
fn asked_again(row: &AccountRow) -> String {
    let stopped = row.status != "active" || row.app_status.as_deref() == Some("paused");
    maybe(row.probe_at.filter(|_| stopped))
}

fn lines(row: &AccountRow, windows: &[Value]) -> Vec<Vec<String>> {
    let mut lines = vec![
        ("account", row.account.clone()),
        ("status", status(row)),
        ("X is asked again", asked_again(row)),
        ("id on X", row.x_user_id.clone()),
        ("app", row.app.clone().unwrap_or_default()),
        ("token ends in", token(row)),
        ("OAuth 1.0a", oauth1(row)),
        (
            "token renewed",
            row.token_age_s
                .map(|age| format!("{} ago", span(age)))
                .unwrap_or_default(),
        ),
        ("scopes", row.scopes.join(" ")),
        ("tier", row.tier.clone()),
        ("text limit", row.text_limit.to_string()),
        ("publishes by", row.publisher.clone()),
        ("waiting jobs", waiting(row)),
        ("next", next(row)),
    ];
    // What is wrong stands right below the status, each with what ends it.
    let needs = needs(row)
        .into_iter()
        .flat_map(|need| [("", need.what), ("to do", need.cure)]);
    lines.splice(2..2, needs);
    lines.retain(|(_, value)| !value.is_empty());
    let mut lines: Vec<Vec<String>> = lines
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), value])
        .collect();
    for window in windows {
        let word = |key: &str| window[key].as_str().unwrap_or_default().to_owned();
        lines.push(vec![
            format!(
                "limit of {} ({}, {})",
                word("endpoint"),
                word("class"),
                word("length")
            ),
            if word("length") == "unstated" {
                format!(
                    "closed until {}: X refuses and does not say until when",
                    told_instant(&word("resets_at"))
                )
            } else {
                format!(
                    "{} of {} left until {}",
                    window["remaining"],
                    window["call_limit"],
                    told_instant(&word("resets_at"))
                )
            },
        ]);
    }
    lines
}
