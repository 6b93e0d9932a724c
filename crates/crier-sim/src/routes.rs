//! The deeds, one function a route.
//!
//! Invariant: the order is always the same: the edge (413), the caller (401), the window (429), the
//! right (403), the request itself. A refusal changes nothing but the window's count.

mod authorize;
mod draft;
mod handshake;
mod media;
mod metadata;
mod oauth;
mod posts;
mod reads;
mod upload;

use crate::auth::{self, Caller};
use crate::call::Call;
use crate::ingest::Payload;
use crate::limits;
use crate::problem;
use crate::reply::Reply;
use crate::route::Route;
use crate::state::World;

/// What a deed comes to: an answer either way.
type Outcome = Result<Reply, Reply>;

/// Does what the call asks, under the lock.
pub(crate) fn act(world: &mut World, call: &Call) -> Reply {
    match &call.payload {
        Payload::TooLarge => return Reply::empty(413),
        Payload::Disk(error) => {
            return problem::internal(&format!("the simulator's disk failed: {error}"));
        }
        Payload::Bytes(_)
        | Payload::Upload(_)
        | Payload::Broken(_)
        | Payload::Gone
        | Payload::Discarded => {}
    }
    let now_us = world.clock.now_us();
    let outcome = match call.route {
        Route::Token => oauth::token(world, call, now_us),
        Route::Revoke => oauth::revoke(world, call),
        Route::AuthorizePage => authorize::page(world, call),
        Route::AuthorizeAnswer => authorize::answer(world, call, now_us),
        Route::RequestToken => handshake::request_token(world, call, now_us),
        Route::OAuth1Page => handshake::page(world, call, now_us),
        Route::OAuth1Answer => handshake::answer(world, call, now_us),
        Route::AccessToken => handshake::access_token(world, call, now_us),
        Route::Invalidate => handshake::invalidate(world, call, now_us),
        Route::CreatePost
        | Route::DeletePost
        | Route::ReadPost
        | Route::ReadPosts
        | Route::UserPosts
        | Route::Me
        | Route::OneShot
        | Route::Status
        | Route::Initialize
        | Route::Append
        | Route::Finalize
        | Route::Metadata
        | Route::AddSubtitles
        | Route::DeleteSubtitles => for_user(world, call, now_us),
    };
    outcome.unwrap_or_else(|refusal| refusal)
}

fn for_user(world: &mut World, call: &Call, now_us: i64) -> Outcome {
    let caller = auth::prove(world, call, now_us)?;
    let taken = world.take_limit(
        limits::Caller {
            account: &caller.account,
            app: &caller.client_id,
            route: call.route,
        },
        now_us,
    );
    let outcome = if taken.allowed {
        caller
            .may(call.route)
            .and_then(|()| deed(world, &caller, call, now_us))
    } else {
        Err(problem::too_many())
    };
    let mut reply = outcome.unwrap_or_else(|refusal| refusal);
    for standing in &taken.standings {
        reply.headers.extend(standing.headers());
    }
    Ok(reply)
}

fn deed(world: &mut World, caller: &Caller, call: &Call, now_us: i64) -> Outcome {
    match call.route {
        Route::CreatePost => posts::create(world, caller, call, now_us),
        Route::DeletePost => posts::delete(world, caller, call),
        Route::ReadPost => reads::post(world, call, now_us),
        Route::ReadPosts => reads::posts(world, call, now_us),
        Route::UserPosts => reads::user_posts(world, call, now_us),
        Route::Me => reads::me(world, caller, call),
        Route::OneShot => upload::one_shot(world, caller, call, now_us),
        Route::Status => media::status(world, caller, call, now_us),
        Route::Initialize => media::initialize(world, caller, call, now_us),
        Route::Append => media::append(world, caller, call, now_us),
        Route::Finalize => media::finalize(world, caller, call, now_us),
        Route::Metadata => metadata::set(world, caller, call, now_us),
        Route::AddSubtitles => metadata::add_subtitles(world, caller, call, now_us),
        Route::DeleteSubtitles => metadata::delete_subtitles(world, caller, call, now_us),
        Route::Token
        | Route::Revoke
        | Route::AuthorizePage
        | Route::AuthorizeAnswer
        | Route::RequestToken
        | Route::OAuth1Page
        | Route::OAuth1Answer
        | Route::AccessToken
        | Route::Invalidate => Err(problem::internal("this route has no user")),
    }
}
