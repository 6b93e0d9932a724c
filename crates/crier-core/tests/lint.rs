//! Drafts: every fault that can be known before a post is due, all at once.

use crier_core::lint::{Draft, MediaFact, lint};
use crier_core::media::{Frame, Measure, MediaCategory, MediaKind};
use crier_core::options::{PostOptions, parse_options};
use crier_core::text::weighted_len;
use crier_core::tier::Tier;
use crier_core::v1::Publisher;
use serde_json::json;

fn scopes(words: &str) -> Vec<String> {
    words.split(' ').map(str::to_owned).collect()
}

fn draft<'a>(text: &'a str, options: &'a PostOptions, media: &'a [MediaFact]) -> Draft<'a> {
    Draft {
        text,
        options,
        media,
        is_reply: false,
        handle: "acme",
        replies_to_own: false,
        tier: Tier::Standard,
        publisher: Publisher::V2,
        text_limit: 280,
        scopes: None,
        self_serve: true,
    }
}

fn codes(draft: &Draft<'_>) -> Vec<(String, bool)> {
    lint(draft)
        .into_iter()
        .map(|fault| (fault.code, fault.permanent))
        .collect()
}

fn fact(kind: MediaKind, bytes: u64) -> MediaFact {
    MediaFact {
        kind: Some(kind),
        bytes: Some(bytes),
        ..MediaFact::default()
    }
}

fn is(code: &str, permanent: bool) -> Vec<(String, bool)> {
    vec![(code.to_owned(), permanent)]
}

#[test]
fn a_good_draft_has_no_fault() {
    let options = PostOptions::default();
    let unseen = [MediaFact::default(); 4];
    let pictures = [fact(MediaKind::Png, 5), fact(MediaKind::Jpeg, 5)];
    assert_eq!(lint(&draft("We are live!", &options, &[])), []);
    assert_eq!(lint(&draft("", &options, &unseen)), []);
    assert_eq!(lint(&draft("", &options, &pictures)), []);
    assert_eq!(lint(&draft(&"x".repeat(280), &options, &[])), []);
}

#[test]
fn nothing_to_post_is_told() {
    let options = PostOptions::default();
    assert_eq!(codes(&draft(" \n", &options, &[])), is("text_empty", true));
}

#[test]
fn too_long_says_by_how_much() {
    let options = PostOptions::default();
    let text = "日".repeat(145);
    let faults = lint(&draft(&text, &options, &[]));
    assert_eq!(faults[0].code, "text_too_long");
    assert!(
        faults[0]
            .detail
            .contains("290 weighted characters, 10 more than the 280")
    );
    assert_eq!(
        lint(&Draft {
            text_limit: 25_000,
            ..draft(&text, &options, &[])
        }),
        []
    );
}

#[test]
fn media_is_judged_as_far_as_it_is_known() {
    let options = PostOptions::default();
    let of = |media: &[MediaFact]| codes(&draft("x", &options, media));
    let (video, unseen) = (fact(MediaKind::Mp4, 9), MediaFact::default());
    let as_image = MediaFact {
        category: Some(MediaCategory::TweetImage),
        ..video
    };
    let spoken = MediaFact {
        has_subtitles: true,
        ..fact(MediaKind::Png, 9)
    };
    assert_eq!(of(&[video, fact(MediaKind::Png, 9)]), is("media_mix", true));
    assert_eq!(of(&[video, unseen]), is("media_mix", true));
    assert_eq!(of(&[unseen; 5]), is("media_mix", true));
    assert_eq!(
        of(&[fact(MediaKind::Png, 6_000_000)]),
        is("media_too_large", true)
    );
    assert_eq!(of(&[fact(MediaKind::Png, 0)]), is("media_empty", false));
    assert_eq!(of(&[fact(MediaKind::Gif, 6_000_000)]), []);
    assert_eq!(of(&[as_image]), is("media_category", true));
    assert_eq!(of(&[spoken]), is("media_subtitles", true));
    let faults = lint(&draft(
        "x",
        &options,
        &[fact(MediaKind::Png, 9), fact(MediaKind::Png, 0)],
    ));
    assert!(faults[0].detail.starts_with("`media[1]`: "));
}

#[test]
fn scopes_are_needed_for_what_is_posted() {
    let options = PostOptions::default();
    let media = [MediaFact::default()];
    let all = scopes("tweet.read tweet.write users.read offline.access");
    let few = scopes("tweet.read users.read");
    let with = |scopes, media| Draft {
        scopes,
        ..draft("x", &options, media)
    };
    assert_eq!(lint(&with(Some(&all[..]), &[][..])), []);
    assert_eq!(lint(&with(None, &media[..])), []);
    let faults = lint(&with(Some(&all[..]), &media[..]));
    assert_eq!(
        (faults[0].code.as_str(), faults[0].permanent),
        ("scope_missing", false)
    );
    assert_eq!(faults[0].detail, "missing: `media.write`");
    let faults = lint(&with(Some(&few[..]), &media[..]));
    assert_eq!(faults[0].detail, "missing: `tweet.write`, `media.write`");
}

#[test]
fn the_plan_only_warns() {
    let value = json!({"quote_tweet_id": "1", "reply": {"in_reply_to_tweet_id": "2"}});
    let options = parse_options(&value).unwrap();
    let bound = draft("$TWTR and $goog, not $5 or a$b", &options, &[]);
    let warned = ["too_many_cashtags", "quote_restricted", "reply_restricted"];
    assert_eq!(codes(&bound), warned.map(|code| (code.to_owned(), false)));
    assert_eq!(
        lint(&Draft {
            self_serve: false,
            ..bound
        }),
        []
    );
}

#[test]
fn a_reply_to_an_own_post_is_no_reply_to_others() {
    let options = parse_options(&json!({"reply": {"in_reply_to_tweet_id": "2"}})).unwrap();
    let own = Draft {
        replies_to_own: true,
        ..draft("x", &options, &[])
    };
    assert_eq!(lint(&own), []);
    assert_eq!(
        codes(&draft("x", &options, &[])),
        is("reply_restricted", false)
    );
}

#[test]
fn caps_of_the_backend_warn() {
    let options = PostOptions::default();
    let long = |text: &str| {
        codes(&Draft {
            text_limit: 25_000,
            ..draft(text, &options, &[])
        })
    };
    let many = |word: &str, n: usize| [word].repeat(n).join(" ");
    for (text, most) in [("#tag", 50), ("@acme", 50), ("x.com", 10)] {
        assert_eq!(long(&many(text, most)), [], "{text}");
        assert_eq!(
            long(&many(text, most + 1)),
            is("text_caps", false),
            "{text}"
        );
    }
    assert_eq!(
        long(&format!("#{}", "x".repeat(101))),
        is("text_caps", false)
    );
    assert_eq!(long(&many("#1", 60)), [], "a number is no hashtag");
    // Joiners make many bytes of few weighted characters.
    let family = "👨‍👩‍👧‍👦".repeat(140);
    assert!(family.len() > 3_000 && weighted_len(&family) == 280);
    assert_eq!(long(&family), []);
    let link = format!("https://x.com/{}", "a".repeat(2_900));
    let links = format!("{link} {link}");
    assert_eq!(long(&links), is("text_caps", false));
}

#[test]
fn only_premium_edits() {
    let options = parse_options(&json!({"edit_options": {"previous_post_id": "2"}})).unwrap();
    let standard = draft("x", &options, &[]);
    assert_eq!(codes(&standard), is("edit_needs_premium", true));
    let premium = Draft {
        tier: Tier::Premium,
        ..standard
    };
    assert_eq!(lint(&premium), []);
    let reply =
        json!({"edit_options": {"previous_post_id": "2"}, "reply": {"in_reply_to_tweet_id": "3"}});
    let options = parse_options(&reply).unwrap();
    let reply = Draft {
        self_serve: false,
        options: &options,
        ..premium
    };
    assert_eq!(codes(&reply), is("edit_restricted", false));
}

#[test]
fn what_v1_cannot_do_is_a_fault_of_its_accounts_only() {
    let picture = [fact(MediaKind::Png, 9)];
    let of = |text: &str, options: serde_json::Value, media: &[MediaFact]| {
        let options = parse_options(&options).unwrap();
        let draft = Draft {
            publisher: Publisher::V1UpdateWithMedia,
            self_serve: false,
            ..draft(text, &options, media)
        };
        codes(&draft)
    };
    let all = json!({"v1": {"lat": 1, "long": 2, "possibly_sensitive": true}, "geo": {"place_id": "a"},
        "reply": {"in_reply_to_tweet_id": "1"}});
    assert_eq!(of("hi @orbit", all.clone(), &picture), []);
    assert_eq!(of("hi", all, &picture), is("v1_reply", true));
    assert_eq!(of("hi", json!({}), &[]), is("v1_media", true));
    let told = MediaFact {
        has_alt_text: true,
        ..picture[0]
    };
    assert_eq!(of("hi", json!({}), &[told]), is("v1_media", true));
    for (kind, bytes) in [
        (MediaKind::Mp4, 9),
        (MediaKind::Webp, 9),
        (MediaKind::Gif, 4_000_000),
    ] {
        assert_eq!(
            of("hi", json!({}), &[fact(kind, bytes)]),
            is("v1_media", true)
        );
    }
    for cannot in [
        json!({"reply_settings": "following"}),
        json!({"made_with_ai": true}),
        json!({"media": {"title": "t"}}),
    ] {
        assert_eq!(of("hi", cannot, &picture), is("v1_cannot", true));
    }
    let options = parse_options(&json!({"v1": {"possibly_sensitive": true}})).unwrap();
    assert_eq!(codes(&draft("hi", &options, &picture)), is("v1_only", true));
    let thread = Draft {
        is_reply: true,
        publisher: Publisher::V1UpdateWithMedia,
        ..draft("and on", &options, &picture)
    };
    assert_eq!(codes(&thread), is("v1_reply", true));
    let mentioned = Draft {
        text: "@ACME and on",
        ..thread
    };
    assert_eq!(lint(&mentioned), []);
}

#[test]
fn all_faults_come_at_once() {
    let poll = json!({"poll": {"options": ["a", "b"], "duration_minutes": 5}});
    let options = parse_options(&poll).unwrap();
    let media = [fact(MediaKind::Mp4, 0), fact(MediaKind::Png, 1)];
    let (text, none) = ("x".repeat(281), Vec::new());
    let bad = Draft {
        scopes: Some(&none),
        ..draft(&text, &options, &media)
    };
    let told: Vec<String> = lint(&bad).into_iter().map(|fault| fault.code).collect();
    let wanted = [
        "text_too_long",
        "media_empty",
        "media_mix",
        "options_conflict",
        "scope_missing",
    ];
    assert_eq!(told, wanted);
}

proptest::proptest! {
    #[test]
    fn a_text_has_one_fault_or_none(text in "\\PC{0,300}", limit in 1_usize..400) {
        let options = PostOptions::default();
        let draft = Draft { text_limit: limit, self_serve: false, ..draft(&text, &options, &[]) };
        let long = weighted_len(&text) > limit;
        let empty = text.trim().is_empty();
        proptest::prop_assert_eq!(lint(&draft).len(), usize::from(long || empty));
    }
}

#[test]
fn a_file_is_judged_by_what_it_says_of_itself_and_by_the_account() {
    let options = PostOptions::default();
    let film = |width, height, duration_ms| MediaFact {
        measure: Measure {
            frame: Some(Frame { width, height }),
            duration_ms: Some(duration_ms),
            frames: None,
        },
        ..fact(MediaKind::Mp4, 9_000)
    };
    let (long, full) = ([film(1280, 720, 150_000)], [film(1920, 1080, 9_000)]);
    assert_eq!(
        codes(&draft("", &options, &long)),
        is("media_too_long", true)
    );
    assert_eq!(
        codes(&draft("", &options, &full)),
        is("media_too_wide", false)
    );
    for media in [&long, &full] {
        let premium = Draft {
            tier: Tier::Premium,
            ..draft("", &options, media)
        };
        assert_eq!(codes(&premium), []);
    }
    let told = &lint(&draft("", &options, &long))[0].detail;
    assert!(
        told.starts_with("`media[0]`: the video lasts 150 s"),
        "{told}"
    );
    // A GIF that goes as a picture is held to a picture's limits.
    let gif = MediaFact {
        kind: Some(MediaKind::Gif),
        category: Some(MediaCategory::TweetImage),
        measure: Measure {
            frames: Some(9_000),
            ..Measure::default()
        },
        ..MediaFact::default()
    };
    assert_eq!(codes(&draft("", &options, &[gif])), []);
    let moving = MediaFact {
        category: None,
        ..gif
    };
    let wrong = codes(&draft("", &options, &[moving]));
    assert_eq!(wrong, is("media_too_many_frames", true));
}
