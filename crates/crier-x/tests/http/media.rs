//! The exact form of the calls of media, and what is read from their success.

use bytes::Bytes;
use crier_core::answer::CallFault;
use crier_x::{
    MediaEncoding, MediaState, NewMedia, NewSubtitles, Processing, ProcessingError,
    ProcessingState, UploadSession, WholeMedia,
};
use serde_json::json;

use crate::server::{Server, bearer, client};

#[tokio::test]
async fn initialize() {
    let server = Server::ok(
        json!({"data": {"id": "11", "media_key": "3_11", "expires_after_secs": 1_295_999}}),
    )
    .await;
    let mut media = NewMedia {
        media_category: "tweet_video".into(),
        media_type: "video/mp4".into(),
        total_bytes: 1024,
        shared: false,
        additional_owners: Vec::new(),
    };
    let reply = server
        .client()
        .media_initialize(&bearer(), &media)
        .await
        .unwrap();
    assert_eq!(
        reply.value,
        UploadSession {
            id: "11".into(),
            expires_after_s: Some(1_295_999)
        }
    );
    let seen = server.only();
    assert_eq!(seen.line, "POST /2/media/upload/initialize");
    let plain =
        json!({"media_category": "tweet_video", "media_type": "video/mp4", "total_bytes": 1024});
    assert_eq!(seen.json(), plain);

    let server = Server::ok(json!({"id": "12"})).await;
    (media.shared, media.additional_owners) = (true, vec!["5".into()]);
    assert_eq!(
        server
            .client()
            .media_initialize(&bearer(), &media)
            .await
            .unwrap()
            .value
            .id,
        "12"
    );
    let body = server.only().json();
    assert_eq!(
        (&body["shared"], &body["additional_owners"]),
        (&json!(true), &json!(["5"]))
    );
}

#[tokio::test]
async fn append_as_multipart() {
    let server = Server::answering(204, &[], "").await;
    let segment = Bytes::from_static(b"\x00\xffraw\r\nbytes");
    assert_eq!(
        server
            .client()
            .media_append(&bearer(), "11", 3, segment)
            .await
            .unwrap()
            .status,
        204
    );
    let seen = server.only();
    assert_eq!(seen.line, "POST /2/media/upload/11/append");
    let kind = seen.header("content-type");
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let mut expected = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"segment_index\"\r\n\r\n3\r\n--{boundary}\r\n\
         Content-Disposition: form-data; name=\"media\"; filename=\"segment\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    expected.extend_from_slice(b"\x00\xffraw\r\nbytes");
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert_eq!(seen.body, expected);
    assert_eq!(seen.header("content-length"), expected.len().to_string());
}

#[tokio::test]
async fn append_as_json() {
    let server = Server::ok(json!({"data": {"expires_at": 1}})).await;
    let there = client(server.address, MediaEncoding::Json);
    there
        .media_append(&bearer(), "11", 0, Bytes::from_static(b"\x00\xff"))
        .await
        .unwrap();
    assert_eq!(
        server.only().json(),
        json!({"media": "AP8=", "segment_index": 0})
    );
}

#[tokio::test]
async fn finalize_and_status() {
    let info = json!({"state": "in_progress", "check_after_secs": 5, "progress_percent": 8,
        "error": {"code": 3, "name": "UnsupportedMedia", "message": "too long"}});
    let server = Server::ok(
        json!({"data": {"id": "11", "expires_after_secs": 86400, "processing_info": info}}),
    )
    .await;
    let expected = MediaState {
        id: "11".into(),
        expires_after_s: Some(86400),
        processing: Some(Processing {
            state: ProcessingState::InProgress,
            check_after_s: Some(5),
            progress_percent: Some(8),
            error: Some(ProcessingError {
                code: Some(3),
                name: "UnsupportedMedia".into(),
                message: "too long".into(),
            }),
        }),
    };
    assert_eq!(
        server
            .client()
            .media_finalize(&bearer(), "11")
            .await
            .unwrap()
            .value,
        expected
    );
    let seen = server.only();
    assert_eq!(
        (seen.line.as_str(), seen.json()),
        ("POST /2/media/upload/11/finalize", json!({}))
    );

    let server = Server::ok(json!({"data": {"id": "11"}})).await;
    assert_eq!(
        server
            .client()
            .media_status(&bearer(), "11")
            .await
            .unwrap()
            .value
            .processing,
        None
    );
    assert_eq!(
        server.only().line,
        "GET /2/media/upload?command=STATUS&media_id=11"
    );
}

#[tokio::test]
async fn metadata_and_subtitles() {
    let server = Server::ok(json!({"data": {"id": "11"}})).await;
    server
        .client()
        .media_metadata(&bearer(), "11", "a „cat“")
        .await
        .unwrap();
    let seen = server.only();
    assert_eq!(seen.line, "POST /2/media/metadata");
    assert_eq!(
        seen.json(),
        json!({"id": "11", "metadata": {"alt_text": {"text": "a „cat“"}}})
    );

    let server = Server::answering(200, &[], "").await;
    let subtitles = NewSubtitles {
        media_id: "11".into(),
        media_category: "TweetVideo".into(),
        subtitles_id: "12".into(),
        language_code: "EN".into(),
        display_name: "English".into(),
    };
    server
        .client()
        .media_subtitles(&bearer(), &subtitles)
        .await
        .unwrap();
    let seen = server.only();
    assert_eq!(seen.line, "POST /2/media/subtitles");
    let inner = json!({"id": "12", "language_code": "EN", "display_name": "English"});
    assert_eq!(
        seen.json(),
        json!({"id": "11", "media_category": "TweetVideo", "subtitles": inner})
    );
}

#[tokio::test]
async fn one_shot_as_multipart() {
    // Unwrapped, as it was seen live.
    let server = Server::ok(json!({"id": "11", "size": 3, "expires_after_secs": 86400,
        "image": {"image_type": "image/png", "w": 1, "h": 1}}))
    .await;
    let mut media = WholeMedia {
        media_category: "tweet_image".into(),
        additional_owners: Vec::new(),
    };
    let file = Bytes::from_static(b"\x89\r\n");
    let reply = server
        .client()
        .media_upload(&bearer(), &media, file.clone())
        .await
        .unwrap();
    let expected = MediaState {
        id: "11".into(),
        expires_after_s: Some(86400),
        processing: None,
    };
    assert_eq!(reply.value, expected);
    let seen = server.only();
    assert_eq!(seen.line, "POST /2/media/upload");
    let kind = seen.header("content-type");
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let mut body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"media_category\"\r\n\r\ntweet_image\r\n--{boundary}\r\n\
         Content-Disposition: form-data; name=\"media\"; filename=\"media\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(&file);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert_eq!(seen.body, body);

    let server = Server::ok(json!({"data": {"id": "12"}})).await;
    media.additional_owners = vec!["5".into(), "6".into()];
    server
        .client()
        .media_upload(&bearer(), &media, file)
        .await
        .unwrap();
    let body = server.only().body;
    let owners = b"name=\"additional_owners\"\r\n\r\n5,6\r\n";
    assert!(body.windows(owners.len()).any(|part| part == owners));
}

#[tokio::test]
async fn one_shot_as_json() {
    let server = Server::ok(json!({"data": {"id": "11"}})).await;
    let there = client(server.address, MediaEncoding::Json);
    let media = WholeMedia {
        media_category: "tweet_image".into(),
        additional_owners: vec!["5".into(), "6".into()],
    };
    there
        .media_upload(&bearer(), &media, Bytes::from_static(b"\x00\xff"))
        .await
        .unwrap();
    assert_eq!(
        server.only().json(),
        json!({"media": "AP8=", "media_category": "tweet_image", "additional_owners": "5,6"})
    );
    // A success without an id is none.
    let server = Server::ok(json!({"data": {"size": 3}})).await;
    let there = client(server.address, MediaEncoding::Json);
    let fault = there.media_upload(&bearer(), &media, Bytes::new()).await;
    assert!(matches!(fault, Err(CallFault::NoAnswer { .. })));
}

#[tokio::test]
async fn every_word_of_initialize_is_passed_on() {
    // The list of X's specification; what of it a post may hold is crier-core's business.
    let fields = include_str!("../../../crier-core/tests/x_fields.txt");
    let words = |field: &str| -> Vec<&str> {
        let begin = format!("POST /2/media/upload/initialize\t{field}\t");
        fields
            .lines()
            .filter_map(|line| line.strip_prefix(begin.as_str()))
            .collect()
    };
    let (categories, types) = (words("media_category"), words("media_type"));
    assert_eq!((categories.len(), types.len()), (8, 15));
    let pairs = categories
        .iter()
        .map(|category| (*category, "image/png"))
        .chain(types.iter().map(|kind| ("tweet_image", *kind)));
    for (category, kind) in pairs {
        let server = Server::ok(json!({"data": {"id": "11"}})).await;
        let media = NewMedia {
            media_category: category.into(),
            media_type: kind.into(),
            total_bytes: 17_179_869_184,
            shared: false,
            additional_owners: Vec::new(),
        };
        server
            .client()
            .media_initialize(&bearer(), &media)
            .await
            .unwrap();
        let whole = json!({"media_category": category, "media_type": kind, "total_bytes": 17_179_869_184_u64});
        assert_eq!(server.only().json(), whole);
    }
}
