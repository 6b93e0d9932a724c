//! Whether X deals with this user and this app at all, and what a deed costs them (x-api.md 5.3, 6.2, 6.3).
//!
//! Invariant: a refusal here comes before the deed, and a charge after it.

use chrono::DateTime;
use serde_json::Value;

use crate::problem;
use crate::reply::Reply;
use crate::route::Route;
use crate::state::World;
use crate::state::accounts::Standing;
use crate::state::grants::AppStanding;
use crate::state::money::{Item, Stop};
use crate::text;

/// Refuses a suspended or unenrolled app and a suspended or locked user.
pub(super) fn admit(
    world: &World,
    account: &str,
    client_id: &str,
    route: Route,
) -> Result<(), Reply> {
    let v1 = route.is_v1();
    let app = world.grants.app(client_id).map(|app| app.standing);
    match app.unwrap_or_default() {
        AppStanding::Active => {}
        AppStanding::Suspended => return Err(problem::app_suspended()),
        AppStanding::NotEnrolled if v1 => return Err(problem::v1_not_in_plan()),
        AppStanding::NotEnrolled => return Err(problem::not_enrolled(client_id)),
    }
    match standing(world, account) {
        Standing::Suspended if v1 => {
            let words = "Your account is suspended and is not permitted to access this feature.";
            Err(problem::v1(403, 64, words))
        }
        Standing::Suspended => Err(problem::user_suspended()),
        Standing::Locked => Err(problem::user_locked()),
        Standing::ReadOnly if route.writes() => {
            let words = "You are not permitted to perform this action.";
            Err(if v1 {
                problem::v1(403, 179, words)
            } else {
                problem::forbidden(words)
            })
        }
        Standing::Active | Standing::ReadOnly | Standing::Silenced => Ok(()),
    }
}

/// How X stands to the user.
pub(super) fn standing(world: &World, account: &str) -> Standing {
    let known = world.accounts.get(account);
    known.map(|account| account.standing).unwrap_or_default()
}

/// Refuses an app that has no money left, or may spend none.
pub(super) fn afford(world: &mut World, client_id: &str, now_us: i64) -> Result<(), Reply> {
    world.money.check(client_id, now_us).map_err(|stop| {
        // The developer account's number; made up, and the same for every app.
        let account_id = "1790000000000000000";
        match stop {
            Stop::NoCredits => problem::no_credits(account_id, world.options.newer_credits_problem),
            Stop::SpendCap(next_us) => {
                let next = DateTime::from_timestamp_micros(next_us).unwrap_or_default();
                problem::spend_cap(account_id, &next.format("%Y-%m-%d").to_string())
            }
        }
    })
}

/// The price of a new post. With a link in a summoned reply, the link decides.
pub(super) fn price(cleaned: &str, summoned: bool) -> Item {
    if !text::links(cleaned).is_empty() {
        Item::PostWithUrl
    } else if summoned {
        Item::SummonedReply
    } else {
        Item::Post
    }
}

/// Charges what a call that has succeeded costs, but for new posts, which know their price themselves.
pub(super) fn charge(
    world: &mut World,
    account: &str,
    client_id: &str,
    route: Route,
    reply: &Reply,
    now_us: i64,
) {
    if reply.status >= 300 {
        return;
    }
    let owns = world
        .grants
        .app(client_id)
        .is_some_and(|app| app.owner.as_deref() == Some(account));
    let read = if route == Route::DeletePost {
        return world.money.charge(client_id, Item::Delete, now_us);
    } else if route == Route::Metadata {
        return world.money.charge(client_id, Item::Metadata, now_us);
    } else if route == Route::Me {
        Item::UserRead
    } else if matches!(route, Route::ReadPost | Route::ReadPosts | Route::UserPosts) {
        Item::PostRead
    } else {
        return;
    };
    let read = if owns { Item::OwnedRead } else { read };
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let one = std::slice::from_ref(&body["data"]);
    for thing in body["data"].as_array().map_or(one, Vec::as_slice) {
        if let Some(id) = thing["id"].as_str() {
            world.money.charge_read(client_id, read, id, now_us);
        }
    }
}
