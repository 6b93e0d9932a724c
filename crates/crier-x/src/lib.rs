//! X over HTTP: tokens, media, posts, limits from headers, errors. No table, no retry loop, no sleep. And what rows want
//! fetched from elsewhere.
//!
//! One method of [`XClient`] is one request. It ends as a [`Reply`], or as a [`CallFault`](crier_core::answer::CallFault)
//! that says whether the request certainly never left, was refused, or may have been carried out.
//!
//! **Invariant:** no error, `Debug` output or log line of this crate holds a token, a secret or the bytes of a file; and
//! a success is only reported where X's answer held what the call promises.

#![expect(
    clippy::result_large_err,
    reason = "a fault carries X's words and is made once a network call; boxing it would only burden every caller"
)]

mod auth;
mod client;
mod clock;
mod config;
mod consent;
mod departure;
mod faults;
mod fetch;
mod handshake;
mod headers;
mod hook;
mod media;
mod oauth1;
mod otlp;
mod posts;
mod reply;
mod tokens;
mod v1;
mod words;
mod work;

pub use auth::{AppCredentials, Auth, Chance, ConsumerCredentials, SystemChance};
pub use client::XClient;
pub use config::{ConfigError, MediaEncoding, XConfig};
pub use consent::{ConsentRequest, Pkce};
pub use departure::{Departure, Start};
pub use fetch::{FetchOptions, Fetched, Fetcher, unspooled};
pub use handshake::{OUT_OF_BAND, RequestToken, UserTokens};
pub use hook::{Hook, HookClient, SECRET_PREFIX};
pub use media::{
    MediaState, NewMedia, NewSubtitles, Processing, ProcessingError, ProcessingState,
    UploadSession, WholeMedia,
};
pub use oauth1::{Signing, percent_encode};
pub use otlp::Collector;
pub use posts::{Me, PostId, PostPage, SeenPost};
pub use reply::Reply;
pub use tokens::Tokens;
pub use v1::V1Media;
