//! Uploads that accounts lend each other.
//!
//! **Invariant:** an upload is lent only to an account that its owner named to X, for an item that is the same but for
//! `shared` and `additional_owners` (alt text and subtitles belong to the upload), and while it outlives the borrower's
//! time by a margin; never again to a job whose media X has refused.

use super::Upload;
use crate::{Store, StoreError};

/// What there is of an upload that another account lends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lent {
    /// Nothing: the file is to be uploaded.
    None,
    /// Its owner is about to have it ready.
    Coming,
    /// It can be used.
    Ready {
        /// X's media id.
        media_id: String,
        /// For how many seconds.
        expires_in_s: u64,
    },
}

impl Store {
    /// The upload of the same file, known by `file_stamp`, that another account lends to the account of `upload`.
    pub async fn lent_upload(&self, upload: &Upload, file_stamp: &str) -> Result<Lent, StoreError> {
        let found: Option<(bool, Option<String>, Option<i64>)> = sqlx::query_as(
            "-- lent_upload
            select u.state = 'ready', u.media_id, floor(extract(epoch from u.expires_at - crier.now()))::bigint
              from crier.media_uploads m
              join crier.accounts a on a.id = m.account_id
              join crier.media_uploads u on u.item ? 'additional_owners'
               and coalesce(u.item ->> 'path', u.item ->> 'url') = coalesce(m.item ->> 'path', m.item ->> 'url')
             where m.id = $1 and u.account_id <> m.account_id
               and jsonb_typeof(u.item -> 'additional_owners') = 'array' and u.item -> 'additional_owners' ? a.x_user_id
               and u.item - 'shared' - 'additional_owners' = m.item - 'shared' - 'additional_owners'
               and not exists (select 1 from crier.attempts t where t.job_id = m.job_id and t.step = 'publish' and t.code = 'media_invalid')
               and case when u.state = 'ready'
                        then u.media_id is not null and u.file_stamp = $2
                             and u.expires_at > greatest(crier.now(), $3) + interval '10 minutes'
                        when u.state = 'failed' then false
                        -- In hand, or about to be taken.
                        else u.next_at is null or u.next_at <= crier.now() + interval '5 seconds' end
             order by u.state = 'ready' desc, u.id limit 1",
        )
        .bind(upload.lease.subject)
        .bind(file_stamp)
        .bind(upload.run_at)
        .fetch_optional(&self.pool)
        .await?;
        Ok(match found {
            Some((true, Some(media_id), Some(life_s))) => Lent::Ready {
                media_id,
                expires_in_s: u64::try_from(life_s).unwrap_or(0),
            },
            Some((false, ..)) => Lent::Coming,
            Some((true, ..)) | None => Lent::None,
        })
    }
}
