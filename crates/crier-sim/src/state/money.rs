//! What calls cost, app by app (x-api.md 5.3): a ledger, and a balance and a spending limit where set.
//!
//! Invariant: only a deed that was done is charged, at the price of its kind; a post or user that was
//! read is charged once per app and day (UTC).

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value, json};

use crate::clock::{SECOND_US, seconds, seconds_us};
use crate::route::DAY_S;

/// Length of a billing cycle in seconds. X's is a month; the exact day is the account's own.
const CYCLE_S: u64 = 30 * DAY_S;

/// What is charged, and its price in millionths of a dollar (x-api.md 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    Post,
    PostWithUrl,
    SummonedReply,
    Delete,
    Metadata,
    PostRead,
    OwnedRead,
    UserRead,
}

impl Item {
    fn micros(self) -> i64 {
        match self {
            Self::Post => 15_000,
            Self::PostWithUrl => 200_000,
            Self::SummonedReply | Self::Delete | Self::UserRead => 10_000,
            Self::Metadata | Self::PostRead => 5_000,
            Self::OwnedRead => 1_000,
        }
    }

    /// As `GET /_sim/stats` names it.
    fn word(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::PostWithUrl => "post_with_url",
            Self::SummonedReply => "summoned_reply",
            Self::Delete => "delete",
            Self::Metadata => "metadata",
            Self::PostRead => "post_read",
            Self::OwnedRead => "owned_read",
            Self::UserRead => "user_read",
        }
    }
}

/// Why an app may call no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    NoCredits,
    /// With the time at which the next cycle begins.
    SpendCap(i64),
}

/// An app's money.
#[derive(Debug, Default)]
struct Purse {
    /// None is endless.
    balance: Option<i64>,
    cap: Option<i64>,
    cycle_from_us: i64,
    cycle_spent: i64,
    spent: i64,
    items: BTreeMap<Item, u64>,
}

/// The money of all apps, by client id.
#[derive(Debug, Default)]
pub(crate) struct Money {
    purses: BTreeMap<String, Purse>,
    /// What was read today, by app and thing.
    read: HashMap<String, HashSet<String>>,
    read_day: i64,
}

impl Money {
    /// Sets balance and spending limit, and begins a cycle.
    pub(crate) fn set(
        &mut self,
        client_id: &str,
        balance: Option<i64>,
        cap: Option<i64>,
        now_us: i64,
    ) {
        let purse = self.purses.entry(client_id.to_owned()).or_default();
        purse.balance = balance;
        purse.cap = cap;
        purse.cycle_from_us = now_us;
        purse.cycle_spent = 0;
    }

    /// Whether the app may call. The balance may go below nothing by one call (x-api.md 5.3).
    pub(crate) fn check(&mut self, client_id: &str, now_us: i64) -> Result<(), Stop> {
        let Some(purse) = self.purses.get_mut(client_id) else {
            return Ok(());
        };
        let cycle_us = seconds_us(CYCLE_S);
        while now_us.saturating_sub(purse.cycle_from_us) >= cycle_us {
            purse.cycle_from_us = purse.cycle_from_us.saturating_add(cycle_us);
            purse.cycle_spent = 0;
        }
        if purse.balance.is_some_and(|balance| balance <= 0) {
            return Err(Stop::NoCredits);
        }
        if purse.cap.is_some_and(|cap| purse.cycle_spent >= cap) {
            let next = purse.cycle_from_us.saturating_add(cycle_us);
            return Err(Stop::SpendCap(next));
        }
        Ok(())
    }

    /// Charges one item.
    pub(crate) fn charge(&mut self, client_id: &str, item: Item, now_us: i64) {
        let purse = self.purses.entry(client_id.to_owned()).or_insert(Purse {
            cycle_from_us: now_us,
            ..Purse::default()
        });
        *purse.items.entry(item).or_default() += 1;
        let price = item.micros();
        purse.spent = purse.spent.saturating_add(price);
        purse.cycle_spent = purse.cycle_spent.saturating_add(price);
        if let Some(balance) = &mut purse.balance {
            *balance = balance.saturating_sub(price);
        }
    }

    /// Charges a thing that was read, unless the app read it today already.
    pub(crate) fn charge_read(&mut self, client_id: &str, item: Item, id: &str, now_us: i64) {
        let today = seconds(now_us).div_euclid(seconds_us(DAY_S) / SECOND_US);
        if today != self.read_day {
            self.read.clear();
            self.read_day = today;
        }
        let read = self.read.entry(client_id.to_owned()).or_default();
        if read.insert(format!("{} {id}", item == Item::UserRead)) {
            self.charge(client_id, item, now_us);
        }
    }

    /// As `GET /_sim/stats` shows it.
    pub(crate) fn show(&self) -> Value {
        let all: BTreeMap<&str, Value> = self
            .purses
            .iter()
            .map(|(client_id, purse)| {
                let items: BTreeMap<&str, Value> = purse
                    .items
                    .iter()
                    .map(|(item, count)| {
                        let count_i = i64::try_from(*count).unwrap_or(i64::MAX);
                        let usd = usd(item.micros().saturating_mul(count_i));
                        (item.word(), json!({"count": count, "usd": usd}))
                    })
                    .collect();
                let shown = json!({
                    "spent_usd": usd(purse.spent),
                    "cycle_spent_usd": usd(purse.cycle_spent),
                    "balance_usd": purse.balance.map(usd),
                    "spend_cap_usd": purse.cap.map(usd),
                    "items": items,
                });
                (client_id.as_str(), shown)
            })
            .collect();
        json!(all)
    }
}

/// Millionths as dollars.
fn usd(micros: i64) -> f64 {
    let whole = std::time::Duration::from_micros(micros.unsigned_abs()).as_secs_f64();
    if micros < 0 { -whole } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_ends_after_the_call_that_uses_it_up() {
        let mut money = Money::default();
        assert_eq!(money.check("app", 0), Ok(()));
        money.set("app", Some(20_000), None, 0);
        money.charge("app", Item::Post, 0);
        assert_eq!(money.check("app", 0), Ok(()));
        money.charge("app", Item::Post, 0);
        assert_eq!(money.check("app", 0), Err(Stop::NoCredits));
        assert_eq!(money.show()["app"]["balance_usd"], json!(-0.01));
        money.set("app", None, None, 0);
        assert_eq!(money.check("app", 0), Ok(()));
        assert_eq!(money.show()["app"]["spent_usd"], json!(0.03));
    }

    #[test]
    fn a_spending_limit_holds_until_the_next_cycle() {
        let mut money = Money::default();
        money.set("app", None, Some(10_000), 5);
        money.charge("app", Item::Delete, 6);
        let next = 5 + seconds_us(CYCLE_S);
        assert_eq!(money.check("app", next - 1), Err(Stop::SpendCap(next)));
        assert_eq!(money.check("app", next), Ok(()));
    }

    #[test]
    fn a_post_is_read_once_a_day() {
        let mut money = Money::default();
        let day = seconds_us(DAY_S);
        for (id, now_us) in [("1", 0), ("1", day - 1), ("2", day - 1), ("1", day)] {
            money.charge_read("app", Item::PostRead, id, now_us);
        }
        assert_eq!(money.show()["app"]["items"]["post_read"]["count"], 3);
    }
}
