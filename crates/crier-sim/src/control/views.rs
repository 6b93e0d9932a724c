//! What happened, to look at: posts, calls, media, counts.
//!
//! Invariant: looking changes nothing.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use serde_json::{Value, json};

use super::{Answer, ok};
use crate::reply::Reply;
use crate::state::Sim;

/// Live posts in the order of arrival; `?full=1` adds the request of each.
pub(super) async fn posts(State(sim): State<Arc<Sim>>, RawQuery(query): RawQuery) -> Answer {
    let full = query.is_some_and(|query| query.split('&').any(|pair| pair == "full=1"));
    let world = sim.world();
    let all: Vec<Value> = world
        .posts
        .list()
        .map(|post| {
            let mut shown = json!({
                "id": post.id.to_string(),
                "account": world.accounts.handle(&post.account),
                "text": post.text,
                "media": post.media,
                "reply_to": post.reply_to.map(|id| id.to_string()),
                "received_at_us": post.received_at_us,
            });
            if full && let Some(members) = shown.as_object_mut() {
                members.insert("request".to_owned(), post.request.clone());
            }
            shown
        })
        .collect();
    drop(world);
    ok(200, &Value::Array(all))
}

/// The newest 200,000 calls, oldest first.
pub(super) async fn requests(State(sim): State<Arc<Sim>>) -> Answer {
    let world = sim.world();
    let all: Vec<_> = world.records.list().cloned().collect();
    drop(world);
    let body = serde_json::to_vec(&all).unwrap_or_default();
    Reply::typed(200, "application/json; charset=utf-8", body).into_response(None)
}

/// Sessions and media, oldest first.
pub(super) async fn media(State(sim): State<Arc<Sim>>) -> Answer {
    let world = sim.world();
    let all: Vec<Value> = world
        .media
        .list()
        .into_iter()
        .map(|media| {
            json!({
                "id": media.id.to_string(),
                "media_key": media.key,
                "account": world.accounts.handle(&media.owner),
                "additional_owners": media.additional_owners,
                "category": media.category,
                "media_type": media.mime,
                "total_bytes": media.total_bytes,
                "segments": media.segments.len(),
                "finalized": media.done.is_some(),
                "sha256": media.done.as_ref().map(|done| &done.sha256),
                "duration_ms": media.done.as_ref().and_then(|done| done.duration_ms),
                "metadata": media.metadata,
                "subtitles": media.subtitles,
            })
        })
        .collect();
    ok(200, &Value::Array(all))
}

/// Counts since the start or the last reset.
pub(super) async fn stats(State(sim): State<Arc<Sim>>) -> Answer {
    let world = sim.world();
    let now_us = world.clock.now_us();
    let records = &world.records;
    ok(
        200,
        &json!({
            "routes": records.by_route(),
            "refreshes": records.refreshes,
            "posts": records.posts,
            "appends": records.appends,
            "resent_segments": records.resent_segments,
            "live_sessions": world.media.live_sessions(now_us),
            "faults_fired": world.faults.fired(),
            "money": world.money.show(),
        }),
    )
}
