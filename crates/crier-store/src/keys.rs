//! Which key seals what, and the way from one key to the next.
//!
//! **Invariant:** sealing anew changes how a value is kept and never the value: a row is written only if it is byte for byte
//! as it was read, so that whoever refreshes meanwhile wins; its version stays. A kill leaves rows under the one key or the
//! other, and both open.

use crate::accounts::{app_purpose, purpose};
use crate::webhooks::webhook_purpose;
use crate::{Store, StoreError};

/// How much is sealed with a key.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SealedCount {
    /// Name of the key.
    pub key_id: String,
    /// Grants of OAuth 2.0.
    pub oauth2: i64,
    /// Grants of OAuth 1.0a.
    pub oauth1: i64,
    /// Secrets of apps.
    pub apps: i64,
    /// Addresses of webhooks.
    pub webhooks: i64,
    /// Processes seen in the last seconds that seal with it.
    pub processes: i64,
    /// Their machines.
    pub hosts: Vec<String>,
}

impl SealedCount {
    /// All values that are sealed with it.
    pub const fn values(&self) -> i64 {
        self.oauth2 + self.oauth1 + self.apps + self.webhooks
    }
}

/// A sealed value that is not under the current key.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SealedRow {
    /// `oauth2`, `oauth1`, `app` or `webhook`.
    pub kind: String,
    /// Number of the account, app or webhook.
    pub id: i64,
    /// Handle of the account, client id of the app, or name of the webhook.
    pub name: String,
    /// Name of its key.
    pub key_id: String,
    sealed: Vec<u8>,
}

/// What became of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resealed {
    /// It is under the current key.
    Done,
    /// Somebody wrote it meanwhile: look again.
    Changed,
}

impl Store {
    /// Names of the keys that this process knows, the one that seals first.
    pub fn key_ids(&self) -> Vec<String> {
        let ring = self.key.iter();
        ring.flat_map(|ring| ring.keys().map(|key| key.id().to_owned()))
            .collect()
    }

    /// How much is sealed with each key, and by how many processes that were seen in the last `seconds`.
    pub async fn sealed_counts(&self, seconds: u32) -> Result<Vec<SealedCount>, StoreError> {
        Ok(sqlx::query_as(
            "-- sealed_counts
            select key_id, count(*) filter (where kind = 'oauth2') as oauth2, count(*) filter (where kind = 'oauth1') as oauth1,
                   count(*) filter (where kind = 'app') as apps, count(*) filter (where kind = 'webhook') as webhooks, count(*) filter (where kind = 'process') as processes,
                   coalesce(array_agg(distinct host order by host) filter (where kind = 'process'), '{}') as hosts
              from (select key_id, kind, null as host from crier.credentials
                    union all select key_id, 'app', null from crier.apps where key_id is not null
                    union all select key_id, 'webhook', null from crier.webhooks
                    union all select key_id, 'process', host from crier.workers
                     where key_id is not null and seen_at > crier.now() - $1 * interval '1 second') s
             group by key_id order by key_id",
        )
        .bind(i64::from(seconds))
        .fetch_all(&self.pool)
        .await?)
    }

    /// Up to `limit` values that are not under the current key, after the one named.
    pub async fn sealed_elsewhere(
        &self,
        after: Option<(&str, i64)>,
        limit: i64,
    ) -> Result<Vec<SealedRow>, StoreError> {
        let (kind, id) = after.unwrap_or(("", 0));
        Ok(sqlx::query_as(
            "-- sealed_elsewhere
            select kind, id, name, key_id, sealed from (
              select c.kind, c.account_id as id, a.handle as name, c.key_id, c.sealed
                from crier.credentials c join crier.accounts a on a.id = c.account_id
              union all
              select 'app', p.id, p.client_id, p.key_id, p.sealed_secret from crier.apps p where p.sealed_secret is not null
              union all
              select 'webhook', w.id, w.name, w.key_id, w.sealed from crier.webhooks w) s
             where key_id <> $1 and (kind, id) > ($2, $3) order by kind, id limit $4",
        )
        .bind(self.key()?.id())
        .bind(kind)
        .bind(id)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Seals one value with the current key.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] if it does not open.
    pub async fn reseal(&self, row: &SealedRow) -> Result<Resealed, StoreError> {
        let (purpose, sql) = if row.kind == "app" {
            (
                app_purpose(&row.name),
                "-- reseal: app
                update crier.apps set sealed_secret = $3, key_id = $4
                 where id = $1 and sealed_secret = $2 and key_id = $5 and $6 = 'app'",
            )
        } else if row.kind == "webhook" {
            (
                webhook_purpose(&row.name),
                "-- reseal: webhook
                update crier.webhooks set sealed = $3, key_id = $4
                 where id = $1 and sealed = $2 and key_id = $5 and $6 = 'webhook'",
            )
        } else {
            (
                purpose(row.id, &row.kind),
                "-- reseal
                update crier.credentials set sealed = $3, key_id = $4
                 where account_id = $1 and sealed = $2 and key_id = $5 and kind = $6",
            )
        };
        let plain = self.open_sealed(&purpose, &row.key_id, &row.sealed, || match &*row.kind {
            "app" => format!("the client secret of the app `{}`", row.name),
            "webhook" => format!("the address of the webhook `{}`", row.name),
            "oauth1" => format!("the OAuth 1.0a tokens of `{}`", row.name),
            _ => format!("the tokens of `{}`", row.name),
        })?;
        let key = self.key()?;
        let sealed = key.seal(&purpose, &plain)?;
        let done = sqlx::query(sql)
            .bind(row.id)
            .bind(&row.sealed)
            .bind(&sealed)
            .bind(key.id())
            .bind(&row.key_id)
            .bind(&row.kind)
            .execute(&self.pool)
            .await?
            .rows_affected();
        Ok(if done == 1 {
            Resealed::Done
        } else {
            Resealed::Changed
        })
    }
}
