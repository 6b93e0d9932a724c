//! Files with the right first bytes, and uploads of them.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::client::{Request, User, X};

/// A picture of 640x480 by its header, and of that many bytes.
pub(crate) fn png(bytes: usize) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    file.extend([0, 0, 2, 0x80, 0, 0, 1, 0xE0]);
    fill(file, bytes)
}

pub(crate) fn gif(bytes: usize) -> Vec<u8> {
    fill(b"GIF89a\x10\0\x20\0".to_vec(), bytes)
}

/// A film of that many seconds, its index at the end as encoders write it.
pub(crate) fn mp4(bytes: usize, seconds: u32) -> Vec<u8> {
    let mut header = vec![0; 12];
    header.extend(1_000_u32.to_be_bytes());
    header.extend((seconds * 1_000).to_be_bytes());
    let moov = boxed(b"moov", &boxed(b"mvhd", &header));
    let ftyp = boxed(b"ftyp", b"isom\0\0\0\0");
    let data = fill(Vec::new(), bytes - ftyp.len() - moov.len() - 8);
    [ftyp, boxed(b"mdat", &data), moov].concat()
}

fn boxed(kind: &[u8], content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len() + 8).unwrap();
    [&len.to_be_bytes()[..], kind, content].concat()
}

fn fill(mut file: Vec<u8>, bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    while file.len() < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        file.push(state.to_be_bytes()[0]);
    }
    file
}

pub(crate) fn sha256(file: &[u8]) -> String {
    let hex =
        |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from_digit(u32::from(digit), 16));
    Sha256::digest(file)
        .iter()
        .flat_map(hex)
        .flatten()
        .collect()
}

pub(crate) fn initialize(user: &User, category: &str, media_type: &str, bytes: usize) -> Request {
    user.call("POST", "/2/media/upload/initialize")
        .json(&json!({
            "media_category": category, "media_type": media_type, "total_bytes": bytes,
        }))
}

pub(crate) fn append(user: &User, id: &str, index: usize, bytes: &[u8]) -> Request {
    let path = format!("/2/media/upload/{id}/append");
    let index = index.to_string();
    user.call("POST", &path)
        .multipart(Some(bytes), &[("segment_index", &index)], false)
}

pub(crate) fn finalize(user: &User, id: &str) -> Request {
    user.call("POST", &format!("/2/media/upload/{id}/finalize"))
        .json(&json!({}))
}

pub(crate) fn status(user: &User, id: &str) -> Request {
    user.call(
        "GET",
        &format!("/2/media/upload?media_id={id}&command=STATUS"),
    )
}

pub(crate) fn id_of(body: &Value) -> String {
    body["data"]["id"].as_str().unwrap().to_owned()
}

/// Opens a session.
pub(crate) async fn open(
    x: &X,
    user: &User,
    category: &str,
    media_type: &str,
    bytes: usize,
) -> String {
    id_of(
        &x.send(initialize(user, category, media_type, bytes))
            .await
            .expect(200),
    )
}

/// A whole chunked upload in segments of one MiB; the answer of finalize.
pub(crate) async fn chunked(
    x: &X,
    user: &User,
    category: &str,
    media_type: &str,
    file: &[u8],
) -> Value {
    let id = open(x, user, category, media_type, file.len()).await;
    for (index, segment) in file.chunks(1 << 20).enumerate() {
        x.send(append(user, &id, index, segment)).await.expect(200);
    }
    x.send(finalize(user, &id)).await.expect(200)
}

/// A picture that is ready to be posted.
pub(crate) async fn picture(x: &X, user: &User) -> String {
    id_of(&chunked(x, user, "tweet_image", "image/png", &png(3_000)).await)
}

/// A film that is ready to be posted.
pub(crate) async fn film(x: &X, user: &User, category: &str, seconds: u32) -> String {
    let done = chunked(x, user, category, "video/mp4", &mp4(50_000, seconds)).await;
    x.advance(60).await;
    id_of(&done)
}

pub(crate) fn with_media(user: &User, text: &str, ids: &[&str]) -> Request {
    user.call("POST", "/2/tweets")
        .json(&json!({"text": text, "media": {"media_ids": ids}}))
}
