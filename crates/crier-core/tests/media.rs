//! Rows' media: reading the column, types by bytes, sizes and mixing, and paths that stay inside.

use std::path::Component;

use crier_core::media::{
    MediaCategory, MediaKind, check_mix, check_size, parse_media, safe_relative, sniff,
};
use proptest::prelude::*;
use serde_json::json;

fn heads() -> Vec<(&'static str, Vec<u8>, MediaKind)> {
    let mut stream = vec![0_u8; 377];
    for at in [0, 188, 376] {
        stream[at] = 0x47;
    }
    vec![
        (
            "image/jpeg",
            b"\xff\xd8\xff\xe0\0\x10JFIF".to_vec(),
            MediaKind::Jpeg,
        ),
        (
            "image/png",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(),
            MediaKind::Png,
        ),
        ("image/gif", b"GIF89a\x01\0".to_vec(), MediaKind::Gif),
        (
            "image/webp",
            b"RIFF\x10\0\0\0WEBPVP8 ".to_vec(),
            MediaKind::Webp,
        ),
        (
            "image/bmp",
            b"BM\x3a\0\0\0\0\0\0\0\x36".to_vec(),
            MediaKind::Bmp,
        ),
        ("image/tiff", b"MM\0*\0\0\0\x08".to_vec(), MediaKind::Tiff),
        (
            "video/mp4",
            b"\0\0\0\x18ftypisom\0\0\x02\0".to_vec(),
            MediaKind::Mp4,
        ),
        (
            "video/quicktime",
            b"\0\0\0\x14ftypqt  \0\0\0\0".to_vec(),
            MediaKind::QuickTime,
        ),
        (
            "video/quicktime",
            b"\0\0\0\x08wide\0\0\0\0mdat".to_vec(),
            MediaKind::QuickTime,
        ),
        (
            "video/webm",
            b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm".to_vec(),
            MediaKind::Webm,
        ),
        ("video/mp2t", stream, MediaKind::Mp2t),
    ]
}

#[test]
fn the_bytes_tell_the_type() {
    for (media_type, head, kind) in heads() {
        assert_eq!(sniff(&head), Some(kind));
        assert_eq!(kind.media_type(), media_type);
        assert!(kind.fits(kind.default_category()));
    }
}

#[test]
fn what_no_post_can_have_is_nothing() {
    for head in [
        &b""[..],
        b"GIF",
        b"BMW is a car maker",
        b"RIFF\x10\0\0\0WAVEfmt ",
        b"\0\0\0\x18ftypheic\0\0\0\0",
        b"\0\0\0\x18ftypM4A \0\0\0\0",
        b"\0\0\0\x18ftyp",
        b"\x1a\x45\xdf\xa3\x9fB\x82\x88matroska",
        b"Good morning",
        b"<svg xmlns='http://www.w3.org/2000/svg'>",
    ] {
        assert_eq!(sniff(head), None, "{head:?}");
    }
}

#[test]
fn categories_follow_the_kind() {
    assert_eq!(MediaKind::Gif.default_category(), MediaCategory::TweetGif);
    assert_eq!(
        MediaKind::Webp.default_category(),
        MediaCategory::TweetImage
    );
    assert_eq!(
        MediaKind::Webm.default_category(),
        MediaCategory::TweetVideo
    );
    assert!(MediaKind::Gif.fits(MediaCategory::TweetImage));
    assert!(MediaKind::Mp4.fits(MediaCategory::AmplifyVideo));
    assert!(!MediaKind::Png.fits(MediaCategory::TweetGif));
    assert!(!MediaKind::Png.fits(MediaCategory::TweetVideo));
    assert!(!MediaKind::Mp4.fits(MediaCategory::TweetImage));
}

#[test]
fn sizes_end_where_x_ends_them() {
    for (category, most) in [
        (MediaCategory::TweetImage, 5_242_880),
        (MediaCategory::TweetGif, 15_728_640),
        (MediaCategory::TweetVideo, 536_870_912),
        (MediaCategory::AmplifyVideo, 536_870_912),
    ] {
        assert!(check_size(category, 1).is_ok());
        assert!(check_size(category, most).is_ok());
        assert_eq!(
            check_size(category, most + 1).unwrap_err().code,
            "media_too_large"
        );
        assert_eq!(check_size(category, 0).unwrap_err().code, "media_empty");
    }
}

#[test]
fn four_pictures_or_one_gif_or_one_video() {
    use MediaCategory::{TweetGif as Gif, TweetImage as Image, TweetVideo as Video};
    for good in [&[][..], &[Image], &[Image; 4], &[Gif], &[Video]] {
        assert!(check_mix(good).is_ok(), "{good:?}");
    }
    for bad in [
        &[Image; 5][..],
        &[Gif, Gif],
        &[Video, Image],
        &[Image, Gif],
        &[Video, Video],
    ] {
        assert_eq!(check_mix(bad).unwrap_err().code, "media_mix", "{bad:?}");
    }
}

#[test]
fn the_column_is_read() {
    let items = parse_media(&json!([
        {"path": "a/b.png", "alt_text": "a cat", "url": null},
        {"url": "https://example.com/c.mp4", "category": "amplify_video", "shared": true,
         "additional_owners": ["123"], "subtitles": [{"path": "c.srt", "language": "en", "name": "English"}]},
    ]))
    .unwrap();
    assert_eq!(items[0].path.as_deref(), Some("a/b.png"));
    assert_eq!(items[0].alt_text.as_deref(), Some("a cat"));
    assert_eq!(items[1].category, Some(MediaCategory::AmplifyVideo));
    assert_eq!(items[1].subtitles[0].language, "EN");
    assert_eq!(items[1].additional_owners, ["123"]);
    let written = serde_json::to_value(&items).unwrap();
    assert_eq!(parse_media(&written).unwrap(), items);
    for empty in [json!(null), json!([])] {
        assert!(parse_media(&empty).unwrap().is_empty());
    }
    assert!(parse_media(&json!([{"path": "a", "alt_text": "é".repeat(1000)}])).is_ok());
}

#[test]
fn a_mistake_is_told_by_its_place() {
    for (column, place) in [
        (json!({"path": "a"}), "`media`"),
        (json!(vec![json!({"path": "a"}); 5]), "`media`"),
        (json!(["a.png"]), "`media[0]`"),
        (json!([{}]), "`media[0]`"),
        (json!([{"path": "a", "url": "https://b.c"}]), "`media[0]`"),
        (
            json!([{"path": "a"}, {"path": "b", "alt": "x"}]),
            "`media[1].alt`",
        ),
        (json!([{"path": 7}]), "`media[0].path`"),
        (
            json!([{"path": "a", "alt_text": "x".repeat(1001)}]),
            "`media[0].alt_text`",
        ),
        (
            json!([{"path": "a", "category": "dm_image"}]),
            "`media[0].category`",
        ),
        (json!([{"path": "a", "shared": "yes"}]), "`media[0].shared`"),
        (
            json!([{"path": "a", "additional_owners": [5]}]),
            "`media[0].additional_owners[0]`",
        ),
        (
            json!([{"path": "a", "subtitles": [{"path": "b"}]}]),
            "`media[0].subtitles[0].language`",
        ),
        (
            json!([{"path": "a", "subtitles": [{"path": "b", "language": "eng"}]}]),
            "`media[0].subtitles[0].language`",
        ),
        (
            json!([{"path": "a", "category": "tweet_gif", "subtitles": [{"path": "b", "language": "EN"}]}]),
            "`media[0].subtitles`",
        ),
        (json!([{"path": "../a"}]), "`../a`"),
        (
            json!([{"path": "a", "subtitles": [{"path": "/b", "language": "EN"}]}]),
            "`/b`",
        ),
    ] {
        let fault = parse_media(&column).unwrap_err();
        assert!(fault.detail.contains(place), "{column}: {fault}");
        assert!(fault.permanent && !fault.hint.is_empty());
    }
}

#[test]
fn only_addresses_of_the_web_are_taken() {
    for (url, good) in [
        ("https://example.com/a.png", true),
        ("HTTPS://example.com:8443/a?b#c", true),
        ("http://127.0.0.1:8080/a", true),
        ("http://localhost/a", true),
        ("http://[::1]:80/a", true),
        ("http://example.com/a.png", true),
        ("http://localhost@example.com/a", false),
        ("https://user:word@example.com/a", false),
        ("http://example.com\\@localhost/a", false),
        ("https:///a.png", false),
        ("file:///etc/passwd", false),
        ("ftp://example.com/a", false),
        ("a.png", false),
    ] {
        assert_eq!(parse_media(&json!([{"url": url}])).is_ok(), good, "{url}");
    }
}

#[test]
fn a_path_stays_inside() {
    for (path, kept) in [
        ("a.png", "a.png"),
        ("./a//b/./c.png", "a/b/c.png"),
        ("a..b/..c", "a..b/..c"),
    ] {
        assert_eq!(safe_relative(path).unwrap().to_str(), Some(kept));
    }
    for path in [
        "", ".", "..", "/a", "../a", "a/../b", "a/..", "a/", "a/.", "a\0b", "\\a", "..\\a",
        "C:\\a", "c:a", "a\\",
    ] {
        assert_eq!(
            safe_relative(path).unwrap_err().code,
            "path_unsafe",
            "{path:?}"
        );
    }
}

proptest! {
    #[test]
    fn no_path_leads_out(path in "([./\\\\a:]|\\.\\.|\\PC){0,10}") {
        if let Ok(kept) = safe_relative(&path) {
            prop_assert!(kept.components().all(|part| matches!(part, Component::Normal(_))));
            prop_assert!(kept.components().next().is_some());
        }
    }

    #[test]
    fn any_bytes_are_sniffed_without_a_panic(head in proptest::collection::vec(any::<u8>(), 0..600)) {
        sniff(&head);
    }

    #[test]
    fn a_head_cut_short_is_never_another_kind(index in 0_usize..11, keep in 0_usize..400) {
        let (_, head, kind) = heads().swap_remove(index);
        let cut = &head[..keep.min(head.len())];
        prop_assert!(sniff(cut).is_none_or(|k| k == kind));
    }
}
