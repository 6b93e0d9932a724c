//! Looks at a new row for what SQL cannot see: the weighted length, options in depth, files, scopes, a thread that runs
//! backwards.
//!
//! **Invariant:** a fault that cannot mend itself is an end, any other a warning that goes when the fault does; the same
//! row and the same files always give the same finding.

use std::time::Duration;

use crier_core::fault::Fault;
use crier_core::lint::{Draft, MediaFact, lint};
use crier_core::media::{Measure, MediaItem, MediaKind, UrlRules, parse_media};
use crier_core::options::parse_options;
use crier_store::{CheckDraft, Finding};
use serde_json::Value;

/// How soon a row with a warning is looked at again.
const AGAIN: Duration = Duration::from_secs(30);
/// How soon, if it is due only after [`FAR`]: there are many such rows, and time enough.
const AGAIN_FAR: Duration = Duration::from_mins(5);
/// Seconds before `run_at` beyond which a row is far off.
const FAR: i64 = 7 * 24 * 3600;
/// Warnings about what only an edit can change: looking again is of no use (`crier_core::lint`, plan).
const ONLY_EDITS_MEND: [&str; 5] = [
    "too_many_cashtags",
    "quote_restricted",
    "reply_restricted",
    "edit_restricted",
    "text_caps",
];

/// A file as a probe found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbedFile {
    /// What its first bytes say it is; `None`: nothing that X takes.
    pub kind: Option<MediaKind>,
    /// Its size in bytes.
    pub bytes: u64,
    /// What it says of itself.
    pub measure: Measure,
}

/// Looks at files of the media folder on behalf of the checks.
pub trait MediaProbe: std::fmt::Debug + Send + Sync + 'static {
    /// Looks at the file that a row names, without reading it to the end. It may block.
    ///
    /// # Errors
    ///
    /// A fault that is [`Fault::passing`] if the file may still come or be mended.
    fn probe(&self, path: &str) -> Result<ProbedFile, Fault>;
}

/// What is known of one file, and what is wrong with it.
fn fact(
    item: &MediaItem,
    probe: Option<&dyn MediaProbe>,
    urls: &UrlRules,
) -> (MediaFact, Option<Fault>) {
    let unseen = MediaFact {
        kind: None,
        category: item.category,
        bytes: None,
        measure: Measure::default(),
        has_subtitles: !item.subtitles.is_empty(),
        has_alt_text: item.alt_text.as_ref().is_some_and(|text| !text.is_empty()),
    };
    if let Some(url) = &item.url {
        // Only a worker fetches it, when it is staged.
        return (unseen, urls.check(url).err());
    }
    let Some(path) = &item.path else {
        return (unseen, None);
    };
    let Some(probe) = probe else {
        return (unseen, None);
    };
    match probe.probe(path) {
        Ok(file) => {
            let fact = MediaFact {
                kind: file.kind,
                bytes: Some(file.bytes),
                measure: file.measure,
                ..unseen
            };
            let unknown = file.kind.is_none().then(|| {
                Fault::new(
                    "media_kind",
                    "a file is nothing that X takes",
                    format!("`{path}` is no JPEG, PNG, GIF, WebP, BMP, TIFF, MP4, QuickTime, WebM or MPEG-TS"),
                    "put a file of one of these kinds in its place",
                )
                .passing()
            });
            (fact, unknown)
        }
        Err(fault) => (unseen, Some(fault)),
    }
}

/// All faults of a row that can be known before it is due.
pub fn look(
    draft: &CheckDraft,
    probe: Option<&dyn MediaProbe>,
    urls: &UrlRules,
    self_serve: bool,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let options = draft.options.as_ref().map_err(Clone::clone);
    let options = options.and_then(parse_options).unwrap_or_else(|fault| {
        faults.push(fault);
        crier_core::options::PostOptions::default()
    });
    let items = draft.media.as_ref().map_err(Clone::clone);
    let mut media = Vec::new();
    match items.and_then(parse_media) {
        Ok(items) => {
            for item in &items {
                let (fact, fault) = fact(item, probe, urls);
                media.push(fact);
                faults.extend(fault);
            }
        }
        Err(fault) => {
            faults.push(fault);
            // There is something, whatever it is: what the rest of the row lacks is told all the same.
            media.push(MediaFact::default());
        }
    }
    faults.extend(lint(&Draft {
        text: &draft.text,
        options: &options,
        media: &media,
        is_reply: draft.follows,
        handle: &draft.handle,
        replies_to_own: draft.replies_to_own,
        tier: draft.tier,
        publisher: draft.publisher,
        text_limit: usize::try_from(draft.text_limit).unwrap_or(usize::MAX),
        scopes: draft.scopes.as_deref(),
        self_serve,
    }));
    faults.extend(account_fault(draft));
    faults.extend(thread_fault(draft));
    faults
}

fn account_fault(draft: &CheckDraft) -> Option<Fault> {
    let handle = &draft.handle;
    let (code, title, hint) = match draft.account_status.as_str() {
        "active" => return None,
        "needs_login" => (
            "account_needs_login",
            "crier may not post for the account: its grant has ended",
            format!("`crier auth login --account {handle}`; it goes on by itself then"),
        ),
        "suspended" => (
            "account_suspended",
            "X has suspended the account",
            format!("look at `@{handle}` on X"),
        ),
        _ => (
            "account_paused",
            "the account is paused",
            format!("`crier accounts resume {handle}`"),
        ),
    };
    let detail = format!(
        "the account `@{handle}` is `{}`, so nothing of it goes out",
        draft.account_status
    );
    Some(Fault::new(code, title, detail, hint).passing())
}

fn thread_fault(draft: &CheckDraft) -> Option<Fault> {
    let (before, after) = (draft.predecessor_run_at?, draft.after?);
    (draft.run_at < before).then(|| {
        Fault::new(
            "thread_backwards",
            "the thread runs backwards",
            format!(
                "it is due at `{}`, but the job `{after}` that it replies to only at `{before}`",
                draft.run_at
            ),
            "it waits for that job; set `run_at` later if it should not be late",
        )
        .passing()
    })
}

/// Several faults as the one that a column holds: the gravest first, the particulars of all.
fn together(mut faults: Vec<Fault>) -> Option<Fault> {
    faults.sort_by_key(|fault| !fault.permanent);
    let mut faults = faults.into_iter();
    let mut first = faults.next()?;
    for fault in faults {
        if fault.permanent != first.permanent {
            break;
        }
        first.detail = format!("{}; also {}: {}", first.detail, fault.title, fault.detail);
        if !first.hint.contains(&fault.hint) {
            first.hint = format!("{}; {}", first.hint, fault.hint);
        }
    }
    Some(first)
}

/// What to do about a row.
pub(crate) fn judge(
    draft: &CheckDraft,
    probe: Option<&dyn MediaProbe>,
    urls: &UrlRules,
    self_serve: bool,
) -> Finding {
    let faults = look(draft, probe, urls, self_serve);
    let may_mend = faults
        .iter()
        .any(|fault| !ONLY_EDITS_MEND.contains(&fault.code.as_str()));
    let Some(fault) = together(faults) else {
        return Finding::Fine;
    };
    // Five texts always make an object.
    let column = serde_json::to_value(&fault).unwrap_or(Value::Null);
    if fault.permanent {
        return Finding::Fail(column);
    }
    let again = (may_mend && draft.due_in_s > 0).then_some(if draft.due_in_s > FAR {
        AGAIN_FAR
    } else {
        AGAIN
    });
    Finding::Warn {
        warning: column,
        again,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use crier_core::media::Frame;
    use crier_core::tier::Tier;
    use crier_core::v1::Publisher;
    use serde_json::json;

    use super::*;

    #[derive(Debug)]
    struct Folder;

    impl MediaProbe for Folder {
        fn probe(&self, path: &str) -> Result<ProbedFile, Fault> {
            let file = |kind, bytes| {
                Ok(ProbedFile {
                    kind,
                    bytes,
                    measure: Measure::default(),
                })
            };
            let video = |width, height, duration_ms| {
                Ok(ProbedFile {
                    kind: Some(MediaKind::Mp4),
                    bytes: 1_000_000,
                    measure: Measure {
                        frame: Some(Frame { width, height }),
                        duration_ms: Some(duration_ms),
                        frames: None,
                    },
                })
            };
            match path {
                "a.jpg" => file(Some(MediaKind::Jpeg), 1_000),
                "huge.jpg" => file(Some(MediaKind::Jpeg), 6_000_000),
                "a.mp4" => file(Some(MediaKind::Mp4), 1_000_000),
                "long.mp4" => video(1280, 720, 200_000),
                "full.mp4" => video(1920, 1080, 9_000),
                "a.txt" => file(None, 10),
                _ => Err(Fault::new(
                    "media_missing",
                    "a file is missing",
                    format!("`{path}`"),
                    "put it there",
                )
                .passing()),
            }
        }
    }

    fn draft() -> CheckDraft {
        CheckDraft {
            revision: 0,
            text: "good morning".into(),
            media: Ok(json!([])),
            options: Ok(json!({})),
            run_at: DateTime::<Utc>::UNIX_EPOCH,
            due_in_s: 3600,
            follows: false,
            predecessor_run_at: None,
            after: None,
            handle: "acme".into(),
            replies_to_own: false,
            tier: Tier::Standard,
            publisher: Publisher::V2,
            text_limit: 280,
            scopes: None,
            account_status: "active".into(),
            warning: None,
            campaign_paused: false,
        }
    }

    fn look(draft: &CheckDraft) -> Finding {
        judge(draft, Some(&Folder), &UrlRules::default(), true)
    }

    fn code(finding: &Finding) -> &str {
        match finding {
            Finding::Fine => "fine",
            Finding::Fail(error) => error["code"].as_str().unwrap(),
            Finding::Warn { warning, .. } => warning["code"].as_str().unwrap(),
        }
    }

    #[test]
    fn what_cannot_mend_itself_fails_and_what_may_warns() {
        let media = |paths: &[&str]| CheckDraft {
            media: Ok(paths
                .iter()
                .map(|p| json!({"path": p}))
                .collect::<Vec<_>>()
                .into()),
            ..draft()
        };
        let failed = [
            (
                CheckDraft {
                    text: "x".repeat(281),
                    ..draft()
                },
                "text_too_long",
            ),
            (
                CheckDraft {
                    options: Ok(
                        json!({"poll": {"options": ["a", "b"], "duration_minutes": "ten"}}),
                    ),
                    ..draft()
                },
                "options_invalid",
            ),
            (
                CheckDraft {
                    media: Err(Fault::new("media_invalid", "unreadable", "", "")),
                    ..draft()
                },
                "media_invalid",
            ),
            (media(&["a.jpg", "a.mp4"]), "media_mix"),
            (media(&["../a.jpg"]), "path_unsafe"),
            (media(&["huge.jpg"]), "media_too_large"),
            (
                CheckDraft {
                    media: Ok(json!([{"url": "https://10.0.0.1/a.jpg"}])),
                    ..draft()
                },
                "media_url_refused",
            ),
            (media(&["long.mp4"]), "media_too_long"),
        ];
        for (draft, expected) in failed {
            let finding = look(&draft);
            assert!(matches!(finding, Finding::Fail(_)), "{finding:?}");
            assert_eq!(code(&finding), expected);
        }
        let later = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(1);
        let warned = [
            (media(&["none.jpg"]), "media_missing"),
            (media(&["a.txt"]), "media_kind"),
            (media(&["full.mp4"]), "media_too_wide"),
            (
                CheckDraft {
                    scopes: Some(vec!["tweet.read".into()]),
                    ..draft()
                },
                "scope_missing",
            ),
            (
                CheckDraft {
                    account_status: "needs_login".into(),
                    ..draft()
                },
                "account_needs_login",
            ),
            (
                CheckDraft {
                    follows: true,
                    after: Some(7),
                    predecessor_run_at: Some(later),
                    ..draft()
                },
                "thread_backwards",
            ),
        ];
        for (draft, expected) in warned {
            let finding = look(&draft);
            assert_eq!(code(&finding), expected);
            assert!(
                matches!(finding, Finding::Warn { again: Some(again), .. } if again == AGAIN),
                "{finding:?}"
            );
        }
        let fetched = CheckDraft {
            media: Ok(json!([{"url": "https://example.com/a.jpg"}])),
            ..draft()
        };
        let premium = CheckDraft {
            tier: Tier::Premium,
            ..media(&["long.mp4"])
        };
        for fine in [
            draft(),
            fetched,
            premium,
            media(&["a.jpg", "a.jpg"]),
            media(&["a.mp4"]),
        ] {
            assert_eq!(look(&fine), Finding::Fine);
        }
        // Without a media folder at hand, files are not judged.
        let rules = UrlRules::default();
        let unseen = judge(&media(&["none.jpg"]), None, &rules, true);
        assert_eq!(unseen, Finding::Fine);
    }

    #[test]
    fn a_row_is_looked_at_again_only_while_that_can_help() {
        let again = |finding| match finding {
            Finding::Warn { again, .. } => again,
            other @ (Finding::Fine | Finding::Fail(_)) => panic!("{other:?}"),
        };
        let needs_login = CheckDraft {
            account_status: "needs_login".into(),
            ..draft()
        };
        for (due_in_s, expected) in [
            (1, Some(AGAIN)),
            (FAR, Some(AGAIN)),
            (FAR + 1, Some(AGAIN_FAR)),
            (0, None),
            (-9, None),
        ] {
            let draft = CheckDraft {
                due_in_s,
                ..needs_login.clone()
            };
            assert_eq!(again(look(&draft)), expected, "{due_in_s}");
        }
        let quote = CheckDraft {
            options: Ok(json!({"quote_tweet_id": "1"})),
            ..draft()
        };
        assert_eq!(again(look(&quote)), None, "only an edit mends it");
        let rules = UrlRules::default();
        assert_eq!(judge(&quote, None, &rules, false), Finding::Fine);
    }

    #[test]
    fn a_column_that_cannot_be_read_hides_no_fault_of_the_others() {
        let codes = |draft: &CheckDraft| {
            super::look(draft, Some(&Folder), &UrlRules::default(), true)
                .into_iter()
                .map(|fault| fault.code)
                .collect::<Vec<_>>()
        };
        let bad = CheckDraft {
            text: "x".repeat(281),
            media: Err(Fault::new("media_invalid", "unreadable", "", "")),
            options: Ok(json!({"colour": 1})),
            ..draft()
        };
        let all = ["options_invalid", "media_invalid", "text_too_long"];
        assert_eq!(codes(&bad), all);
        let bare = CheckDraft {
            text: String::new(),
            ..bad
        };
        assert_eq!(codes(&bare), all[..2], "there may be media");
    }

    #[test]
    fn all_faults_of_the_gravest_kind_are_told_at_once() {
        let draft = CheckDraft {
            text: "x".repeat(300),
            media: Ok(json!([{"path": "a.jpg"}, {"path": "a.mp4"}, {"path": "none.jpg"}])),
            ..draft()
        };
        let Finding::Fail(error) = look(&draft) else {
            panic!()
        };
        let detail = error["detail"].as_str().unwrap();
        assert!(
            detail.contains("300 weighted") && detail.contains("also"),
            "{detail}"
        );
        assert!(!detail.contains("none.jpg"), "{detail}");
    }
}
