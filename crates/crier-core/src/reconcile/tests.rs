//! Rules of the search: what X shows is recognised, equal texts do not steal, nothing is believed absent too early.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_790_000_000_000 + ms).unwrap()
}

/// An id made so many milliseconds after the beginning; `low` tells apart those of one millisecond.
fn id(ms: i64, low: u64) -> String {
    let since = u64::try_from(at(ms).timestamp_millis() - EPOCH_MS).unwrap();
    ((since << TIME_SHIFT) | low).to_string()
}

fn sent(job: i64, text: &str, attachments: usize, ms: i64) -> Sent<'_> {
    Sent {
        job,
        text,
        attachments,
        is_reply: false,
        first: at(ms),
        last: at(ms),
        is_doubtful: true,
        ahead: TimeDelta::zero(),
    }
}

fn list(posts: &[(String, String)]) -> Vec<Seen<'_>> {
    posts.iter().map(|(id, text)| Seen { id, text }).collect()
}

/// As X's API shows it (x-api.md 4.2): links as t.co, entities, a link for media.
fn shown(text: &str, attachments: usize) -> String {
    let linked = text.replace(
        "https://example.com/page?a=1&b=2",
        "https://t.co/AbCdEfGhIj",
    );
    let encoded = linked
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    if attachments > 0 {
        format!("{encoded} https://t.co/KlMnOpQrSt")
    } else {
        encoded
    }
}

/// X shows all that was made.
fn long_after() -> DateTime<Utc> {
    at(10_000_000)
}

fn nothing() -> BTreeSet<String> {
    BTreeSet::new()
}

#[test]
fn the_time_of_an_id_is_its_own() {
    assert_eq!(
        id_time("1541815603606036480").unwrap().to_rfc3339(),
        "2022-06-28T16:07:40.105+00:00"
    );
    assert_eq!(id_time(&id(12_345, 9)), Some(at(12_345)));
    for none in ["", "abc", "-1", "99999999999999999999"] {
        assert_eq!(id_time(none), None, "{none}");
    }
}

#[test]
fn ids_are_compared_as_numbers_and_times_not_as_text() {
    let posts = [
        ("9".to_owned(), "x".to_owned()),
        (id(500, 0), "x".to_owned()),
    ];
    assert_eq!(
        pick(
            &sent(1, "x", 0, 0),
            &[],
            &list(&posts),
            &nothing(),
            long_after()
        ),
        Pick::Ours(id(500, 0))
    );
}

#[test]
fn one_post_and_two_open_jobs_is_nobodys_until_one_is_settled() {
    let posts = [(id(31_000, 0), "sale".to_owned())];
    let (first, second) = (sent(1, "sale", 0, 0), sent(2, "sale", 1, 30_000));
    assert_eq!(
        pick(&first, &[second], &list(&posts), &nothing(), long_after()),
        Pick::Unclear
    );
    assert_eq!(
        pick(&second, &[first], &list(&posts), &nothing(), long_after()),
        Pick::Unclear
    );
    // The first was found absent, or the second took the post.
    assert_eq!(
        pick(&second, &[], &list(&posts), &nothing(), long_after()),
        Pick::Ours(id(31_000, 0))
    );
    let taken = BTreeSet::from([id(31_000, 0)]);
    assert_eq!(
        pick(&first, &[], &list(&posts), &taken, long_after()),
        Pick::None
    );
}

#[test]
fn who_was_only_told_of_a_duplicate_takes_no_post_that_may_be_anothers() {
    let posts = [
        (id(-500, 0), "sale".to_owned()),
        (id(600, 0), "sale".to_owned()),
        (id(900, 0), "sale".to_owned()),
    ];
    let told = Sent {
        last: at(30_000),
        is_doubtful: false,
        ..sent(2, "sale", 0, 0)
    };
    let open = sent(1, "sale", 0, 500);
    assert_eq!(
        pick(&told, &[open], &list(&posts), &nothing(), long_after()),
        Pick::Unclear
    );
    assert_eq!(
        pick(&open, &[told], &list(&posts), &nothing(), long_after()),
        Pick::Ours(id(600, 0))
    );
    let taken = BTreeSet::from([id(600, 0)]);
    assert_eq!(
        pick(&told, &[], &list(&posts), &taken, long_after()),
        Pick::Ours(id(900, 0))
    );
    // What stood there before the job was inserted is another's post.
    assert_eq!(
        pick(&told, &[], &list(&posts[..1]), &nothing(), long_after()),
        Pick::None
    );
}

#[test]
fn whose_a_post_is_may_be_clear_once_x_has_shown_that_of_a_later_job() {
    let posts = [(id(31_000, 0), "sale".to_owned())];
    let (first, second) = (sent(1, "sale", 0, 0), sent(2, "sale", 0, 30_000));
    for (ours, rival) in [(first, second), (second, first)] {
        let pick = |shown| pick(&ours, &[rival], &list(&posts), &nothing(), at(shown));
        assert_eq!(pick(149_999), Pick::Early);
        assert_eq!(pick(150_000), Pick::Unclear);
        assert_eq!(next(pick(149_999), &search(99)), Next::LookAgain(WAITS[3]));
        assert_eq!(
            next(pick(150_000), &search(99)),
            Next::Operator(Doubt::Unclear)
        );
    }
    // Only the second can have made it.
    let late = [(id(140_000, 0), "sale".to_owned())];
    assert_eq!(
        pick(&second, &[first], &list(&late), &nothing(), at(0)),
        Pick::Ours(id(140_000, 0))
    );
}

#[test]
fn a_clock_that_is_off_widens_where_a_post_is_looked_for() {
    let off = |ahead| Sent {
        ahead: TimeDelta::seconds(ahead),
        ..sent(1, "x", 0, 0)
    };
    for (ahead, ms, found) in [
        (0, -61_000, false),
        (300, -299_000, true),
        (300, -361_000, false),
        (-300, 419_000, true),
        (-300, 421_000, false),
        // It may have been set right since.
        (300, 119_000, true),
        (-300, -59_000, true),
    ] {
        let posts = [(id(ms, 0), "x".to_owned())];
        let pick = pick(&off(ahead), &[], &list(&posts), &nothing(), long_after());
        assert_eq!(pick != Pick::None, found, "{ahead} {ms}");
    }
    // And each of two jobs has its own still.
    let made = [
        (id(-299_000, 0), "x".to_owned()),
        (id(-269_000, 0), "x".to_owned()),
    ];
    let (first, second) = (
        off(300),
        Sent {
            job: 2,
            first: at(30_000),
            last: at(30_000),
            ..off(300)
        },
    );
    for (ours, rival, own) in [(first, second, &made[0].0), (second, first, &made[1].0)] {
        assert_eq!(
            pick(&ours, &[rival], &list(&made), &nothing(), long_after()),
            Pick::Ours(own.clone())
        );
    }
    let now = at(0);
    assert_eq!(ahead(now, now + TimeDelta::seconds(9)), TimeDelta::zero());
    assert_eq!(
        ahead(now, now - TimeDelta::minutes(5)),
        TimeDelta::minutes(5)
    );
}

#[test]
fn calls_that_overtook_each_other_take_no_post_twice() {
    // The call of the second was made at once, that of the first only much later.
    let posts = [
        (id(100_000, 0), "x".to_owned()),
        (id(400_000, 1), "x".to_owned()),
    ];
    let long = Sent {
        last: at(300_000),
        ..sent(1, "x", 0, -10_000)
    };
    let short = sent(2, "x", 0, 0);
    assert_eq!(
        pick(&short, &[long], &list(&posts), &nothing(), long_after()),
        Pick::Ours(id(100_000, 0))
    );
    assert_eq!(
        pick(&long, &[short], &list(&posts), &nothing(), long_after()),
        Pick::Ours(id(400_000, 1))
    );
}

#[test]
fn rivals_far_apart_do_not_disturb() {
    let posts = [(id(1_000, 0), "daily".to_owned())];
    let (today, yesterday) = (
        sent(2, "daily", 0, 0),
        sent(1, "daily", 0, -24 * 3_600 * 1_000),
    );
    assert_eq!(
        pick(
            &today,
            &[yesterday],
            &list(&posts),
            &nothing(),
            long_after()
        ),
        Pick::Ours(id(1_000, 0))
    );
    assert_eq!(
        pick(
            &yesterday,
            &[today],
            &list(&posts),
            &nothing(),
            long_after()
        ),
        Pick::None
    );
}

#[test]
fn a_post_after_the_call_goes_before_one_ahead_of_it() {
    // Somebody posted the same words by hand some seconds before.
    let posts = [
        (id(-4_000, 0), "live".to_owned()),
        (id(9_000, 0), "live".to_owned()),
    ];
    assert_eq!(
        pick(
            &sent(1, "live", 0, 0),
            &[],
            &list(&posts),
            &nothing(),
            long_after()
        ),
        Pick::Ours(id(9_000, 0))
    );
}

#[test]
fn posts_that_x_does_not_list_are_known() {
    for (options, listed) in [
        (json!({}), true),
        (json!({"nullcast": false, "community_id": null}), true),
        (json!({"nullcast": true}), false),
        (json!({"for_super_followers_only": true}), false),
        (json!({"community_id": "1"}), false),
        (
            json!({"community_id": "1", "share_with_followers": true}),
            true,
        ),
    ] {
        assert_eq!(is_listed(&options), listed, "{options}");
    }
}

const WAITS: [Duration; 4] = [
    Duration::from_secs(15),
    Duration::from_secs(30),
    Duration::from_mins(1),
    Duration::from_mins(2),
];

fn search(looks: usize) -> Search<'static> {
    Search {
        looks,
        waits: &WAITS,
        is_doubtful: true,
        is_duplicate: false,
        is_complete: true,
        is_listed: true,
    }
}

#[test]
fn absence_is_believed_after_every_wait_and_only_where_it_would_be_seen() {
    for (looks, wait) in WAITS.iter().enumerate() {
        assert_eq!(next(Pick::None, &search(looks + 1)), Next::LookAgain(*wait));
    }
    let last = search(5);
    assert_eq!(next(Pick::None, &last), Next::Absent);
    assert_eq!(next(Pick::Unclear, &last), Next::Operator(Doubt::Unclear));
    for (search, doubt) in [
        (
            Search {
                is_listed: false,
                ..last
            },
            Doubt::Unlisted,
        ),
        (
            Search {
                is_complete: false,
                ..last
            },
            Doubt::TooMany,
        ),
    ] {
        assert_eq!(next(Pick::None, &search), Next::Operator(doubt));
    }
}

#[test]
fn a_duplicate_is_never_sent_again() {
    let duplicate = |looks, is_doubtful| Search {
        is_duplicate: true,
        is_doubtful,
        ..search(looks)
    };
    assert_eq!(next(Pick::None, &duplicate(5, false)), Next::Duplicate);
    // An earlier call of this job may be what X remembers: longer, then a person.
    for looks in 1..=8 {
        let wait = WAITS[(looks - 1).min(3)];
        assert_eq!(
            next(Pick::None, &duplicate(looks, true)),
            Next::LookAgain(wait)
        );
    }
    assert_eq!(
        next(Pick::None, &duplicate(9, true)),
        Next::Operator(Doubt::Hidden)
    );
}

proptest! {
    #[test]
    fn what_was_made_is_found_however_x_shows_it(
        words in "[a-zäß日&<> ]{0,30}", link in any::<bool>(), attachments in 0_usize..5,
        delay in -59_000_i64..119_000,
        // None of them has our text: that is another test.
        others in prop::collection::vec((-500_000_i64..500_000, "[a-p]{1,8}"), 0..20),
    ) {
        let text = format!("q {words}{}", if link { " https://example.com/page?a=1&b=2" } else { "" });
        let mut posts: Vec<(String, String)> = others.into_iter().map(|(ms, text)| (id(ms, 1), text)).collect();
        posts.push((id(delay, 2), shown(&text, attachments)));
        posts.sort();
        let ours = sent(1, &text, attachments, 0);
        prop_assert_eq!(pick(&ours, &[], &list(&posts), &nothing(), long_after()), Pick::Ours(id(delay, 2)));
        let taken = BTreeSet::from([id(delay, 2)]);
        prop_assert_eq!(pick(&ours, &[], &list(&posts), &taken, long_after()), Pick::None);
    }

    #[test]
    fn what_was_made_at_another_time_is_not_ours(ms in prop_oneof![-900_000_i64..-60_000, 120_001_i64..900_000]) {
        let posts = [(id(ms, 0), "same words".to_owned())];
        prop_assert_eq!(pick(&sent(1, "same words", 0, 0), &[], &list(&posts), &nothing(), long_after()), Pick::None);
    }

    #[test]
    fn equal_texts_that_were_all_made_each_find_their_own(gaps in prop::collection::vec(1_i64..40_000, 1..8)) {
        let mut clock = 0;
        let starts: Vec<i64> = gaps.iter().map(|gap| { clock += gap; clock }).collect();
        // One account posts in order: each post is made before the next call leaves.
        let made: Vec<(String, String)> = starts
            .iter()
            .enumerate()
            .map(|(n, start)| {
                let until = starts.get(n + 1).copied().unwrap_or(start + 1_000);
                (id((start + 500).min(until), u64::try_from(n).unwrap()), "sale".to_owned())
            })
            .collect();
        let jobs: Vec<Sent<'_>> = (1..).zip(&starts).map(|(n, start)| sent(n, "sale", 0, *start)).collect();
        for (job, post) in jobs.iter().zip(&made) {
            prop_assert_eq!(pick(job, &jobs, &list(&made), &nothing(), long_after()), Pick::Ours(post.0.clone()));
        }
    }

    #[test]
    fn no_two_jobs_take_the_same_post(
        starts in prop::collection::vec((0_i64..400_000, 0_i64..200_000, 0_usize..3, "(sale|sale https://t.co/a|more)"), 1..7),
        made in prop::collection::vec((0_i64..500_000, "(sale|sale https://t.co/a|more|else)"), 0..9),
        taken in prop::collection::vec(0_usize..9, 0..3),
    ) {
        let jobs: Vec<Sent<'_>> = (1..)
            .zip(&starts)
            .map(|(job, (ms, long, attachments, text))| Sent {
                last: at(ms + long),
                is_doubtful: attachments % 2 == 0,
                ..sent(job, text, *attachments, *ms)
            })
            .collect();
        let posts: Vec<(String, String)> = (0..).zip(made).map(|(n, (ms, text))| (id(ms, n), text)).collect();
        let taken: BTreeSet<String> = taken.iter().filter_map(|n| Some(posts.get(*n)?.0.clone())).collect();
        let mut given = taken.clone();
        for job in jobs.iter().filter(|job| job.is_doubtful) {
            if let Pick::Ours(id) = pick(job, &jobs, &list(&posts), &taken, long_after()) {
                prop_assert!(given.insert(id.clone()), "{} was given twice", id);
            }
        }
    }
}
