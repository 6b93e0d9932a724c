//! Bodies on their way in: small ones whole, files straight to the spool.
//!
//! Invariant: whatever happens, the body is read to its end before an answer goes out (a client that
//! is still sending would see a reset in the place of the answer), and never held whole if it is a
//! file of v2 in multipart. A form of v1.1 holds a few pictures and is kept whole.

use std::io;
use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::Value;

use crate::spool::{Digest, Extent, Spool, digest};

/// Longest value of a multipart field that is not the file, in bytes.
const FIELD_LIMIT: usize = 64 << 10;

/// What came in.
#[derive(Debug)]
pub(crate) enum Payload {
    /// A small body as it was sent.
    Bytes(Bytes),
    /// A body with a file in it.
    Upload(Upload),
    /// A multipart form of v1.1.
    Form(Form),
    /// More than the edge lets through.
    TooLarge,
    /// Not readable as what it claims to be.
    Broken(String),
    /// The simulator's own disk failed.
    Disk(String),
    /// The caller hung up before the end.
    Gone,
    /// Read and thrown away.
    Discarded,
}

/// The members of a body that holds a file in `media`.
#[derive(Debug)]
pub(crate) struct Upload {
    /// JSON with base64, or else multipart with raw bytes.
    pub(crate) json: bool,
    /// All members but `media`, in order.
    pub(crate) members: Vec<(String, Value)>,
    pub(crate) media: MediaPart,
    /// What the file is; only computed for the one-shot upload.
    pub(crate) digest: Option<Digest>,
}

/// A multipart form of v1.1: pictures, and text for the rest.
#[derive(Debug, Default)]
pub(crate) struct Form {
    pub(crate) members: Vec<(String, String)>,
    /// The bytes of each part called `media[]`.
    pub(crate) files: Vec<Vec<u8>>,
}

/// The file itself.
#[derive(Debug)]
pub(crate) enum MediaPart {
    Absent,
    /// Two of them.
    Twice,
    /// JSON that is not a base64 string.
    Undecodable,
    Stored(Extent),
}

/// What to do with a body.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Keep it whole, up to so many bytes.
    Small(u64),
    /// Store the file in it, up to so many bytes of body; hash it too for the one-shot upload.
    File {
        spool: Arc<Spool>,
        limit: u64,
        hash: bool,
    },
    /// Keep a multipart form whole, up to so many bytes.
    Form(u64),
    /// Read it and forget it.
    Discard,
}

/// Reads the body as planned.
pub(crate) async fn ingest(request: Request, plan: Plan) -> Payload {
    match plan {
        Plan::Discard => {
            drain(request.into_body()).await;
            Payload::Discarded
        }
        Plan::Small(limit) => collect(request, limit).await,
        Plan::Form(limit) => form(request, limit).await,
        Plan::File { spool, limit, hash } => {
            let mut payload = file(request, &spool, limit).await;
            if hash
                && let Payload::Upload(upload) = &mut payload
                && let MediaPart::Stored(extent) = upload.media
            {
                let work = tokio::task::spawn_blocking(move || digest(&spool, &[extent]));
                match work.await.map_err(io::Error::other).and_then(|done| done) {
                    Ok(done) => upload.digest = Some(done),
                    Err(error) => return Payload::Disk(error.to_string()),
                }
            }
            payload
        }
    }
}

/// The type of a body without its parameters, in lower case.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

async fn drain(body: Body) {
    let mut stream = body.into_data_stream();
    while let Some(Ok(_)) = stream.next().await {}
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect(request: Request, limit: u64) -> Payload {
    let (parts, body) = request.into_parts();
    if announced(&parts.headers).is_some_and(|bytes| bytes > limit) {
        drain(body).await;
        return Payload::TooLarge;
    }
    if body.is_end_stream() {
        return Payload::Bytes(Bytes::new());
    }
    let mut stream = body.into_data_stream();
    let mut whole = Vec::new();
    let mut too_large = false;
    while let Some(chunk) = stream.next().await {
        let Ok(chunk) = chunk else {
            return Payload::Gone;
        };
        too_large |= u64::try_from(whole.len() + chunk.len()).unwrap_or(u64::MAX) > limit;
        if !too_large {
            whole.extend_from_slice(&chunk);
        }
    }
    if too_large {
        Payload::TooLarge
    } else {
        Payload::Bytes(whole.into())
    }
}

async fn file(request: Request, spool: &Arc<Spool>, limit: u64) -> Payload {
    if announced(request.headers()).is_some_and(|bytes| bytes > limit) {
        drain(request.into_body()).await;
        return Payload::TooLarge;
    }
    match content_type(request.headers()).as_str() {
        "multipart/form-data" => multipart(request, spool, limit).await,
        "application/json" => {
            let payload = collect(request, limit).await;
            if let Payload::Bytes(bytes) = &payload {
                json(bytes, spool, limit).await
            } else {
                payload
            }
        }
        _ => collect(request, limit).await,
    }
}

async fn json(bytes: &[u8], spool: &Arc<Spool>, limit: u64) -> Payload {
    let Ok(Value::Object(members)) = serde_json::from_slice(bytes) else {
        return Payload::Broken("Request body must be a JSON object.".to_owned());
    };
    let mut upload = Upload {
        json: true,
        members: Vec::new(),
        media: MediaPart::Absent,
        digest: None,
    };
    for (name, value) in members {
        if name != "media" {
            upload.members.push((name, value));
            continue;
        }
        let decoded = value.as_str().and_then(|text| STANDARD.decode(text).ok());
        upload.media = match decoded {
            None => MediaPart::Undecodable,
            Some(bytes) => {
                let mut writer = spool.writer(limit);
                let stored = match writer.push(&bytes).await {
                    Ok(_) => writer.finish().await,
                    Err(error) => Err(error),
                };
                match stored {
                    Ok(extent) => MediaPart::Stored(extent),
                    Err(error) => return Payload::Disk(error.to_string()),
                }
            }
        };
    }
    Payload::Upload(upload)
}

async fn multipart(mut request: Request, spool: &Arc<Spool>, limit: u64) -> Payload {
    let room = announced(request.headers()).unwrap_or(limit).min(limit);
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = match Multipart::from_request(request, &()).await {
        Ok(form) => form,
        Err(error) => return Payload::Broken(error.body_text()),
    };
    let mut upload = Upload {
        json: false,
        members: Vec::new(),
        media: MediaPart::Absent,
        digest: None,
    };
    let mut too_large = false;
    loop {
        let mut field = match form.next_field().await {
            Ok(Some(field)) => field,
            Ok(None) => break,
            Err(error) => return broken(&error),
        };
        let name = field.name().unwrap_or_default().to_owned();
        if name == "media" {
            let mut writer = spool.writer(room);
            loop {
                match field.chunk().await {
                    Ok(Some(chunk)) if !too_large => match writer.push(&chunk).await {
                        Ok(fits) => too_large = !fits,
                        Err(error) => return Payload::Disk(error.to_string()),
                    },
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => return broken(&error),
                }
            }
            upload.media = match (&upload.media, writer.finish().await) {
                (MediaPart::Absent, Ok(extent)) => MediaPart::Stored(extent),
                (_, Ok(_)) => MediaPart::Twice,
                (_, Err(error)) => return Payload::Disk(error.to_string()),
            };
        } else {
            let mut text = Vec::new();
            loop {
                match field.chunk().await {
                    Ok(Some(chunk)) if text.len() + chunk.len() <= FIELD_LIMIT => {
                        text.extend_from_slice(&chunk);
                    }
                    Ok(Some(_)) => too_large = true,
                    Ok(None) => break,
                    Err(error) => return broken(&error),
                }
            }
            let text = String::from_utf8_lossy(&text).into_owned();
            upload.members.push((name, Value::String(text)));
        }
    }
    if too_large {
        Payload::TooLarge
    } else {
        Payload::Upload(upload)
    }
}

async fn form(mut request: Request, limit: u64) -> Payload {
    if announced(request.headers()).is_some_and(|bytes| bytes > limit) {
        drain(request.into_body()).await;
        return Payload::TooLarge;
    }
    if content_type(request.headers()) != "multipart/form-data" {
        return collect(request, limit).await;
    }
    DefaultBodyLimit::disable().apply(&mut request);
    let mut parts = match Multipart::from_request(request, &()).await {
        Ok(parts) => parts,
        Err(error) => return Payload::Broken(error.body_text()),
    };
    let mut form = Form::default();
    let mut room = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut too_large = false;
    loop {
        let mut field = match parts.next_field().await {
            Ok(Some(field)) => field,
            Ok(None) => break,
            Err(error) => return broken(&error),
        };
        let name = field.name().unwrap_or_default().to_owned();
        let mut bytes = Vec::new();
        loop {
            match field.chunk().await {
                Ok(Some(chunk)) if chunk.len() <= room => {
                    room -= chunk.len();
                    bytes.extend_from_slice(&chunk);
                }
                Ok(Some(_)) => too_large = true,
                Ok(None) => break,
                Err(error) => return broken(&error),
            }
        }
        if name == "media[]" {
            form.files.push(bytes);
        } else {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            form.members.push((name, text));
        }
    }
    if too_large {
        Payload::TooLarge
    } else {
        Payload::Form(form)
    }
}

/// A form that ends early is a caller that hung up, or one that cannot write a form.
fn broken(error: &axum::extract::multipart::MultipartError) -> Payload {
    Payload::Broken(error.body_text())
}
