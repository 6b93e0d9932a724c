//! Jobs to look at for what SQL cannot see: taken from an inbox that the triggers fill.
//!
//! **Invariant:** a check leaves the inbox in the commit that acts on it; a job that changed since it was read is looked
//! at again. A job whose create call may have left is never touched.

use std::time::Duration;

use chrono::{DateTime, Utc};
use crier_core::fault::Fault;
use crier_core::tier::Tier;
use crier_core::v1::Publisher;
use serde_json::Value;

use crate::claim::micros;
use crate::gate::Conn;
use crate::{Store, StoreError};

/// How soon a job is looked at again that was locked or changed at this moment.
const SOON: Duration = Duration::from_secs(1);

/// What a check reads of a row `j` of open jobs and of its account `a`; the one place that says so.
macro_rules! draft {
    () => {
        "select j.revision, j.text, j.media::text, j.options::text, crier.readable(j.run_at) as run_at, j.after, crier.readable(j.warning) as warning, j.after is not null as follows,
                floor(extract(epoch from j.run_at - crier.now()))::bigint as due_in_s,
                (select crier.readable(p.run_at) from crier.jobs_open p where p.id = j.after limit 1) as predecessor_run_at,
                (select true from crier.posts p where p.post_id = j.options #>> '{reply,in_reply_to_tweet_id}' and p.account_id = a.id limit 1)
                  is not null as replies_to_own,
                a.handle, a.text_limit, a.tier, a.publisher, a.status as account_status,
                case when (select true from crier.credentials k where k.account_id = a.id and k.kind = 'oauth2' limit 1)
                     then to_jsonb(a.scopes) end as scopes,
                j.state = 'scheduled' and coalesce((select m.paused from crier.campaigns m where m.name = j.campaign limit 1), false)
                  as campaign_paused
           from crier.jobs_open j join crier.accounts a on a.id = j.account_id"
    };
}
pub(crate) use draft;

/// A check that is due, with the job and what is known of its account.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Check {
    place: String,
    next_at: DateTime<Utc>,
    /// The job.
    pub job: i64,
    /// Whether uploads are planned for it.
    pub has_uploads: bool,
    /// What is to be looked at; `None`: the job has ended, is unknown or is gone.
    #[sqlx(json(nullable))]
    pub draft: Option<CheckDraft>,
}

/// A job as a check reads it.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub struct CheckDraft {
    /// Revision as read.
    pub revision: i32,
    /// Text of the post.
    pub text: String,
    /// Media as in the column, or why that cannot be read.
    #[serde(deserialize_with = "crate::column::media_in_json")]
    pub media: Result<Value, Fault>,
    /// Other fields as in the column, or why that cannot be read.
    #[serde(deserialize_with = "crate::column::options_in_json")]
    pub options: Result<Value, Fault>,
    /// When it is to go out.
    pub run_at: DateTime<Utc>,
    /// Seconds until then by the database's clock; negative when past.
    pub due_in_s: i64,
    /// Whether it replies to another job.
    pub follows: bool,
    /// When that job is to go out, while it is open.
    pub predecessor_run_at: Option<DateTime<Utc>>,
    /// That job.
    pub after: Option<i64>,
    /// Handle of the account.
    pub handle: String,
    /// Whether the post that `options` names to reply to went out through crier for this account.
    pub replies_to_own: bool,
    /// Weighted characters that the account may post.
    pub text_limit: u32,
    /// What the account has subscribed to.
    pub tier: Tier,
    /// By which call it publishes.
    pub publisher: Publisher,
    /// Scopes granted; `None` for OAuth 1.0a, which has none.
    pub scopes: Option<Vec<String>>,
    /// `active`, `needs_login`, `paused` or `suspended`.
    pub account_status: String,
    /// The warning that the row has now.
    pub warning: Option<Value>,
    /// Whether its campaign is paused though the job is not.
    pub campaign_paused: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// Nothing to object to; a warning is taken back.
    Fine,
    /// A fault that cannot mend itself, in the form of the column `jobs.error`: the job fails now.
    Fail(Value),
    /// A fault that may be gone by the time the job is due, in the form of the column `jobs.warning`.
    Warn {
        /// The fault.
        warning: Value,
        /// When to look again; `None`: not before an edit.
        again: Option<Duration>,
    },
}

impl Store {
    /// Reads up to `limit` checks that are due. They stay in the inbox until [`Store::settle_checks`].
    pub async fn due_checks(&self, limit: i64) -> Result<Vec<Check>, StoreError> {
        // The limits inside keep the plan to one probe of an index per check, whatever the planner guesses.
        Ok(sqlx::query_as(concat!(
            "-- due_checks
            select c.place, c.next_at, c.job_id as job, to_jsonb(d) as draft,
                   (select true from crier.media_uploads u where u.job_id = c.job_id limit 1) is not null as has_uploads
              from (select ctid::text as place, job_id, next_at from crier.job_checks where next_at <= crier.now()
                     order by next_at limit $1) c
              left join lateral (
"
            , draft!(),
            "
                 where j.id = c.job_id and j.state in ('scheduled', 'paused') limit 1) d on true",
        ))
        .bind(limit)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Acts on what was found, all in one commit. Answers the jobs that failed now.
    pub async fn settle_checks(
        &self,
        findings: &[(&Check, Finding)],
    ) -> Result<Vec<i64>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let mut change: Vec<(&Check, &CheckDraft, &Finding)> = Vec::new();
        for (check, finding) in findings {
            if let Some(draft) = &check.draft
                && (draft.campaign_paused || draft.warning != warning_of(finding))
            {
                change.push((check, draft, finding));
            }
        }
        let mut failed = Vec::new();
        let mut untouched: Vec<i64> = Vec::new();
        if !change.is_empty() {
            let locked = lock(&mut tx, &change).await?;
            untouched = change
                .iter()
                .map(|c| c.0.job)
                .filter(|job| !locked.contains(job))
                .collect();
            change.retain(|c| locked.contains(&c.0.job));
            failed = fail(&mut tx, &change).await?;
            warn(&mut tx, &change).await?;
            sqlx::query(
                "-- settle_checks: the campaign was paused while the row was being inserted
                update crier.jobs_open j set state = 'paused' where j.id = any($1) and j.state = 'scheduled'
                   and exists (select 1 from crier.campaigns m where m.name = j.campaign and m.paused)
                   and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id and l.phase = 'sending')",
            )
            .bind(change.iter().filter(|c| c.1.campaign_paused).map(|c| c.0.job).collect::<Vec<_>>())
            .execute(&mut *tx)
            .await?;
        }
        let (mut places, mut jobs, mut times, mut again) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (check, finding) in findings {
            places.push(check.place.as_str());
            jobs.push(check.job);
            times.push(check.next_at);
            again.push(if untouched.contains(&check.job) {
                Some(micros(SOON))
            } else {
                match finding {
                    Finding::Warn { again, .. } if check.draft.is_some() => again.map(micros),
                    Finding::Fine | Finding::Fail(_) | Finding::Warn { .. } => None,
                }
            });
        }
        // The place alone may have been taken by another row meanwhile.
        sqlx::query(
            "-- settle_checks: leave the inbox
            delete from crier.job_checks c using unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::bigint[]) as x(place, job, at, again)
             where c.ctid = x.place::tid and c.job_id = x.job and c.next_at = x.at and x.again is null",
        )
        .bind(&places)
        .bind(&jobs)
        .bind(&times)
        .bind(&again)
        .execute(&mut *tx)
        .await?;
        if again.iter().any(Option::is_some) {
            sqlx::query(
                "-- settle_checks: look again
                update crier.job_checks c set next_at = crier.now() + x.again * interval '1 microsecond'
                  from unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::bigint[]) as x(place, job, at, again)
                 where c.ctid = x.place::tid and c.job_id = x.job and c.next_at = x.at and x.again is not null",
            )
            .bind(&places)
            .bind(&jobs)
            .bind(&times)
            .bind(&again)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(failed)
    }

    /// Puts a check off that could not be made or acted on, so that it holds up no other.
    pub async fn put_off_check(&self, check: &Check, by: Duration) -> Result<(), StoreError> {
        sqlx::query(
            "-- put_off_check
            update crier.job_checks set next_at = crier.now() + $4 * interval '1 microsecond'
             where ctid = $1::text::tid and job_id = $2 and next_at = $3",
        )
        .bind(&check.place)
        .bind(check.job)
        .bind(check.next_at)
        .bind(micros(by))
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

fn warning_of(finding: &Finding) -> Option<Value> {
    match finding {
        Finding::Fine => None,
        // Whatever the warning was, the row changes.
        Finding::Fail(_) => Some(Value::Null),
        Finding::Warn { warning, .. } => Some(warning.clone()),
    }
}

/// Locks campaigns, then those jobs that are as they were read: the order in which a campaign is paused and resumed.
async fn lock(
    tx: &mut Conn,
    change: &[(&Check, &CheckDraft, &Finding)],
) -> Result<Vec<i64>, StoreError> {
    let paused: Vec<i64> = change
        .iter()
        .filter(|c| c.1.campaign_paused)
        .map(|c| c.0.job)
        .collect();
    if !paused.is_empty() {
        sqlx::query(
            "-- settle_checks: campaigns
            select 1 from crier.campaigns m
             where m.name = any(array(select j.campaign from crier.jobs_open j where j.id = any($1))) order by m.name for share",
        )
        .bind(&paused)
        .execute(&mut *tx)
        .await?;
    }
    Ok(sqlx::query_scalar(
        "-- settle_checks: lock
        select j.id from crier.jobs_open j
         where j.id = any($1) and j.state in ('scheduled', 'paused')
           and (j.id, j.revision) in (select * from unnest($1::bigint[], $2::integer[]))
         order by j.id for update of j skip locked",
    )
    .bind(change.iter().map(|c| c.0.job).collect::<Vec<_>>())
    .bind(change.iter().map(|c| c.1.revision).collect::<Vec<_>>())
    .fetch_all(tx)
    .await?)
}

/// The rows are locked: no worker can begin to send them, and those that have begun are seen.
async fn fail(
    tx: &mut Conn,
    change: &[(&Check, &CheckDraft, &Finding)],
) -> Result<Vec<i64>, StoreError> {
    let (jobs, errors): (Vec<i64>, Vec<&Value>) = change
        .iter()
        .filter_map(|(check, _, finding)| match finding {
            Finding::Fail(error) => Some((check.job, error)),
            Finding::Fine | Finding::Warn { .. } => None,
        })
        .unzip();
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let failed: Vec<i64> = sqlx::query_scalar(
        "-- settle_checks: fail
        update crier.jobs j set state = 'failed', error = x.error, warning = null
          from unnest($1::bigint[], $2::jsonb[]) as x(id, error)
         where j.id = x.id and j.state in ('scheduled', 'paused')
           and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id and l.phase = 'sending')
        returning j.id",
    )
    .bind(&jobs)
    .bind(&errors)
    .fetch_all(&mut *tx)
    .await?;
    // A person's retry begins anew, and what is not ended stays suspect.
    sqlx::query(
        "-- settle_checks: suspects\ndelete from crier.suspects where step = 'checks' and subject = any($1)",
    )
    .bind(&failed)
    .execute(&mut *tx)
    .await?;
    Ok(failed)
}

async fn warn(tx: &mut Conn, change: &[(&Check, &CheckDraft, &Finding)]) -> Result<(), StoreError> {
    let (jobs, warnings): (Vec<i64>, Vec<Option<&Value>>) = change
        .iter()
        .filter_map(|(check, draft, finding)| match finding {
            Finding::Fine => draft.warning.as_ref().map(|_| (check.job, None)),
            Finding::Warn { warning, .. } => Some((check.job, Some(warning))),
            Finding::Fail(_) => None,
        })
        .unzip();
    sqlx::query(
        "-- settle_checks: warn
        update crier.jobs_open j set warning = x.warning from unnest($1::bigint[], $2::jsonb[]) as x(id, warning)
         where j.id = x.id and j.state in ('scheduled', 'paused') and j.warning is distinct from x.warning
           and not exists (select 1 from crier.leases l where l.kind = 'publish' and l.subject = j.id and l.phase = 'sending')",
    )
    .bind(&jobs)
    .bind(&warnings)
    .execute(tx)
    .await?;
    Ok(())
}
