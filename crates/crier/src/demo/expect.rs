//! What the rows asked for, compared with what is live.
//!
//! **Invariant:** a post too many, too few, out of order, with another text, reply, file or description is a fault; the
//! rows and the files are read here, never what crier wrote about them, but for the ids.

use std::collections::BTreeMap;
use std::path::Path;

use crier_store::JobRow;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::stage::file_of;
use crate::screen::short;

/// What came of the comparison.
#[derive(Debug)]
pub(super) struct Found {
    /// Posts that were asked for.
    pub(super) posts: usize,
    /// What is not as it was asked for.
    pub(super) faults: Vec<String>,
}

/// Compares jobs with live posts, in order of arrival.
pub(super) fn compare(jobs: &[JobRow], posts: &[Value], root: &Path) -> Found {
    let mut faults = Vec::new();
    let by_id: BTreeMap<&str, &Value> = posts
        .iter()
        .filter_map(|post| Some((post["id"].as_str()?, post)))
        .collect();
    let (wanted, lost): (Vec<&JobRow>, Vec<&JobRow>) =
        jobs.iter().partition(|job| has_files(job, root));
    if wanted.is_empty() {
        faults.push("the campaign asks for no post at all".to_owned());
    }
    for job in &lost {
        if !matches!(job.state.as_str(), "failed" | "missed")
            || job.error.is_none() && job.warning.is_none()
        {
            faults.push(format!(
                "job {}: its file is missing, but it is {} and does not say why",
                job.id, job.state
            ));
        }
    }
    for job in &wanted {
        match job.post_id.as_deref().and_then(|id| by_id.get(id)) {
            Some(post) => faults.extend(differences(job, post, jobs, root)),
            None => faults.push(format!(
                "job {} (\"{}\") is {} and not on X",
                job.id,
                short(&job.text, 40),
                job.state
            )),
        }
    }
    if posts.len() != wanted.len() {
        faults.push(format!(
            "{} posts were asked for, {} are live",
            wanted.len(),
            posts.len()
        ));
    }
    faults.extend(order(&wanted, posts));
    Found {
        posts: wanted.len(),
        faults,
    }
}

fn items(job: &JobRow) -> &[Value] {
    job.media.as_array().map_or(&[], Vec::as_slice)
}

fn has_files(job: &JobRow, root: &Path) -> bool {
    items(job)
        .iter()
        .all(|item| file_of(root, item).is_some_and(|file| file.is_file()))
}

fn differences(job: &JobRow, post: &Value, jobs: &[JobRow], root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let mut same = |what: &str, wanted: &Value, live: &Value| {
        if wanted != live {
            faults.push(format!(
                "job {}: {what} is {live}, asked for was {wanted}",
                job.id
            ));
        }
    };
    same(
        "its account",
        &Value::from(job.account.as_str()),
        &post["account"],
    );
    same("its text", &Value::from(job.text.as_str()), &post["text"]);
    let target = job.after.map(|after| {
        jobs.iter()
            .find(|other| other.id == after)
            .and_then(|other| other.post_id.clone())
    });
    same(
        "what it replies to",
        &Value::from(target.flatten()),
        &post["reply_to"],
    );
    let live = post["media"].as_array().map_or(&[][..], Vec::as_slice);
    same(
        "its number of files",
        &Value::from(items(job).len()),
        &Value::from(live.len()),
    );
    for (item, live) in items(job).iter().zip(live) {
        let sum = file_of(root, item).and_then(|file| sha256(&file).ok());
        same("the SHA-256 of a file", &Value::from(sum), &live["sha256"]);
        same("an alt text", &item["alt_text"], &live["alt_text"]);
    }
    faults
}

fn sha256(file: &Path) -> std::io::Result<String> {
    use std::fmt::Write as _;
    use std::io::Read;
    let mut file = std::fs::File::open(file)?;
    let (mut sum, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        sum.update(&buffer[..count]);
    }
    Ok(sum.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// Each account's posts arrive in the order of their times, then of their rows.
fn order(wanted: &[&JobRow], posts: &[Value]) -> Vec<String> {
    let mut accounts: BTreeMap<&str, Vec<&JobRow>> = BTreeMap::new();
    for job in wanted {
        accounts.entry(&job.account).or_default().push(job);
    }
    let mut faults = Vec::new();
    for (account, mut jobs) in accounts {
        jobs.sort_by_key(|job| (job.run_at, job.id));
        let asked: Vec<&str> = jobs
            .iter()
            .filter_map(|job| job.post_id.as_deref())
            .collect();
        let live: Vec<&str> = posts
            .iter()
            .filter(|post| post["account"] == account)
            .filter_map(|post| post["id"].as_str())
            .collect();
        if asked != live {
            faults.push(format!(
                "the posts of @{account} went out in another order than their times"
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use serde_json::json;

    use super::*;

    fn job(id: i64, media: Value, after: Option<i64>, post: Option<&str>) -> JobRow {
        let run_at = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(id);
        JobRow {
            id,
            account: "acme".into(),
            state: if post.is_some() {
                "published"
            } else {
                "failed"
            }
            .into(),
            run_at,
            next_attempt_at: None,
            published_at: None,
            campaign: None,
            after,
            text: format!("text {id}"),
            media,
            attempts: 1,
            post_id: post.map(str::to_owned),
            post_url: None,
            unpublished_at: None,
            error: post.is_none().then(|| json!({"code": "media_missing"})),
            warning: None,
            updated_at: run_at,
        }
    }

    fn live(id: &str, number: i64, media: &Value, reply_to: &Value) -> Value {
        json!({"id": id, "account": "acme", "text": format!("text {number}"), "media": media, "reply_to": reply_to})
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        let root = std::env::temp_dir().join(format!("crier-expect-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(root.join("a.png"), b"abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let picture = json!([{"path": "a.png", "alt_text": "three letters"}]);
        let jobs = [
            job(1, json!([]), None, Some("11")),
            job(2, json!([]), Some(1), Some("12")),
            job(3, picture, None, Some("13")),
            job(4, json!([{"path": "none.png"}]), None, None),
        ];
        let posts = [
            live("11", 1, &json!([]), &Value::Null),
            live("12", 2, &json!([]), &json!("11")),
            live(
                "13",
                3,
                &json!([{"sha256": sum, "alt_text": "three letters"}]),
                &Value::Null,
            ),
        ];
        let faults = |jobs: &[JobRow], posts: &[Value]| compare(jobs, posts, &root).faults;
        assert_eq!(faults(&jobs, &posts), [""; 0]);
        let with = |at: usize, key: &str, value: Value| {
            let mut changed = posts.to_vec();
            changed[at][key] = value;
            faults(&jobs, &changed).len()
        };
        assert_eq!(with(0, "text", json!("other")), 1);
        assert_eq!(with(1, "reply_to", Value::Null), 1);
        assert_eq!(with(2, "media", json!([])), 1);
        assert_eq!(
            with(
                2,
                "media",
                json!([{"sha256": "0", "alt_text": "three letters"}])
            ),
            1
        );
        assert_eq!(
            with(2, "media", json!([{"sha256": sum, "alt_text": null}])),
            1
        );
        assert_eq!(
            faults(&jobs, &posts[..2]).len(),
            3,
            "one too few: not there, the number, the order"
        );
        let twice = [&posts[..], &[live("14", 1, &json!([]), &Value::Null)]].concat();
        assert_eq!(
            faults(&jobs, &twice).len(),
            2,
            "one too many: the number, the order"
        );
        let mut swapped = posts.to_vec();
        swapped.swap(0, 2);
        assert_eq!(faults(&jobs, &swapped).len(), 1);
        let mut silent = jobs.to_vec();
        silent[3].error = None;
        assert_eq!(faults(&silent, &posts).len(), 1);
        assert!(
            !faults(&[], &[]).is_empty(),
            "nothing asked for is no success"
        );
        std::fs::remove_dir_all(root).unwrap();
    }
}
