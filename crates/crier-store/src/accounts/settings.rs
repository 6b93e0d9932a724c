//! What a person says of an account: its subscription, and by which call it publishes.
//!
//! **Invariant:** an account never publishes by a call that its credentials cannot sign.

use chrono::{DateTime, Utc};
use crier_core::answer::Endpoint;
use crier_core::text::{LONG_LIMIT, ORDINARY_LIMIT};
use crier_core::tier::Tier;
use crier_core::v1::Publisher;

use crate::{Store, StoreError};

impl Store {
    /// Sets what an account has subscribed to; answers the weighted characters that it may post now.
    pub async fn set_tier(&self, account: i64, tier: Tier) -> Result<i32, StoreError> {
        let limit = match tier {
            Tier::Standard => ORDINARY_LIMIT,
            Tier::Premium => LONG_LIMIT,
        };
        Ok(sqlx::query_scalar(
            "-- set_tier
            update crier.accounts set tier = $2, text_limit = $3, updated_at = crier.now() where id = $1 returning text_limit",
        )
        .bind(account)
        .bind(tier.as_str())
        .bind(i32::try_from(limit).unwrap_or(i32::MAX))
        .fetch_one(&self.pool)
        .await?)
    }

    /// What is left of the account's allowance of a day for an endpoint, and when it begins anew; `None` if X said nothing
    /// that still holds.
    pub async fn day_left(
        &self,
        account: i64,
        endpoint: Endpoint,
    ) -> Result<Option<(i64, DateTime<Utc>)>, StoreError> {
        Ok(sqlx::query_as(
            "-- day_left
            select remaining, resets_at from crier.limit_windows
             where class = 'account' and owner_id = $1 and endpoint = $2 and length = '24h' and remaining is not null and resets_at > crier.now()",
        )
        .bind(account)
        .bind(endpoint.label())
        .fetch_optional(&self.pool)
        .await?)
    }

    /// Sets by which call an account publishes.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the call needs OAuth 1.0a and the account has no such tokens.
    pub async fn set_publisher(
        &self,
        account: i64,
        publisher: Publisher,
    ) -> Result<(), StoreError> {
        let set = sqlx::query(
            "-- set_publisher
            update crier.accounts a set publisher = $2, updated_at = crier.now()
             where a.id = $1 and ($2 = 'v2' or exists (select 1 from crier.credentials c where c.account_id = a.id and c.kind = 'oauth1'))",
        )
        .bind(account)
        .bind(publisher.as_str())
        .execute(&self.pool)
        .await?;
        if set.rows_affected() == 1 {
            return Ok(());
        }
        Err(StoreError::Refused(
            "v1.1 is signed with OAuth 1.0a, and the account has no such tokens".to_owned(),
        ))
    }
}
