//! What `statuses/update_with_media` cannot do, and what only it can.
//!
//! **Invariant:** nothing of a row is left out of its post because of the call that publishes it.

use super::{Draft, plan};
use crate::fault::{Fault, quoted};
use crate::media::MediaKind;
use crate::options::PostOptions;
use crate::v1::{MOST_GIF_BYTES, Publisher};

/// Why the draft does not fit its publisher.
pub(super) fn faults(draft: &Draft<'_>) -> Vec<Fault> {
    match draft.publisher {
        Publisher::V2 => draft.options.v1.iter().map(|_| only_v1(draft)).collect(),
        Publisher::V1UpdateWithMedia => {
            let mut faults = Vec::new();
            faults.extend(other_fields(draft));
            faults.extend(media(draft));
            faults.extend(reply(draft));
            faults
        }
    }
}

fn only_v1(draft: &Draft<'_>) -> Fault {
    Fault::new(
        "v1_only",
        "v2 has no such parameters",
        "`options.v1` is there, and the account publishes by v2",
        format!(
            "leave `options.v1` out; `crier accounts publisher {} v1_update_with_media` is for gateways of v1.1",
            draft.handle
        ),
    )
}

fn other_fields(draft: &Draft<'_>) -> Option<Fault> {
    let known = PostOptions {
        geo: draft.options.geo.clone(),
        v1: draft.options.v1.clone(),
        reply: draft
            .options
            .reply
            .clone()
            .map(|reply| crate::options::Reply {
                in_reply_to_tweet_id: reply.in_reply_to_tweet_id,
                ..crate::options::Reply::default()
            }),
        ..PostOptions::default()
    };
    let (all, known) = (
        serde_json::to_value(draft.options).ok()?,
        serde_json::to_value(&known).ok()?,
    );
    let lost = all
        .as_object()?
        .iter()
        .filter(|(name, value)| known.get(name.as_str()) != Some(*value))
        .map(|(name, _)| name.as_str());
    let names = quoted(lost);
    (!names.is_empty()).then(|| {
        Fault::new(
            "v1_cannot",
            "v1.1 does not have what this post needs",
            format!("`options` has {names}"),
            format!(
                "leave it out, or `crier accounts publisher {} v2`",
                draft.handle
            ),
        )
    })
}

fn media(draft: &Draft<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut cannot = |detail: String, hint: &str| {
        let title = "v1.1 does not take these media";
        faults.push(Fault::new("v1_media", title, detail, hint));
    };
    if draft.media.is_empty() {
        cannot(
            "`media` is empty, and `update_with_media` takes no post without".to_owned(),
            "add a picture, or let the account publish by v2",
        );
    }
    for (at, fact) in draft.media.iter().enumerate() {
        let takes = [MediaKind::Png, MediaKind::Jpeg, MediaKind::Gif];
        if let Some(kind) = fact.kind.filter(|kind| !takes.contains(kind)) {
            cannot(
                format!(
                    "`media[{at}]` is `{}`, and v1.1 takes PNG, JPEG and GIF",
                    kind.media_type()
                ),
                "give a file of one of these kinds",
            );
        }
        if fact.kind == Some(MediaKind::Gif) && fact.bytes.is_some_and(|n| n > MOST_GIF_BYTES) {
            cannot(
                format!("`media[{at}]` is a GIF of more than {MOST_GIF_BYTES} bytes"),
                "make it smaller",
            );
        }
        if fact.has_alt_text || fact.has_subtitles {
            cannot(
                format!("`media[{at}]` has `alt_text` or `subtitles`, which v1.1 cannot carry"),
                "leave them out, or let the account publish by v2",
            );
        }
    }
    faults
}

/// v1.1 ignores the target of a reply whose text does not mention its author: half a thread would be reported as whole.
fn reply(draft: &Draft<'_>) -> Option<Fault> {
    let to_own = draft.is_reply || draft.replies_to_own;
    if !to_own && draft.options.reply_target().is_none() {
        return None;
    }
    let (is_mentioned, whom) = if to_own {
        (
            plan::mentions(draft.text, draft.handle),
            format!("`@{}`", draft.handle),
        )
    } else {
        (
            plan::handles(draft.text).next().is_some(),
            "its author".to_owned(),
        )
    };
    (!is_mentioned).then(|| {
        Fault::new(
            "v1_reply",
            "v1.1 would not make this post a reply",
            format!(
                "`text` does not mention {whom}, and v1.1 then ignores what the post replies to"
            ),
            format!("mention {whom} in the text"),
        )
    })
}
