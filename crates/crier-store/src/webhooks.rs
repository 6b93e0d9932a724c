//! Webhooks: who is told what, and the outbox from which it is delivered.
//!
//! **Invariant:** what is to be told is written in the commit that makes it so, by triggers; it is delivered at least once, under an
//! id that stays, and a try is one worker's until its time is over. A try that came too late writes nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use crier_core::trace::Trace;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::claim::micros;
use crate::retention::PAGE;
use crate::{Store, StoreError};

/// What a webhook is sealed for.
pub(crate) fn webhook_purpose(name: &str) -> String {
    format!("webhook:{name}")
}

/// So many deliveries of a webhook are counted for people, the newest.
const MOST_COUNTED: i64 = 10_000;

/// A webhook to be.
#[derive(Debug)]
pub struct NewWebhook<'a> {
    /// Its name, for people.
    pub name: &'a str,
    /// Where to.
    pub url: &'a SecretString,
    /// What signs it.
    pub secret: &'a SecretString,
    /// Host of the address, shown to people.
    pub host: &'a str,
    /// What it is told.
    pub events: &'a [String],
    /// In which form.
    pub form: &'a str,
    /// Only of this campaign.
    pub campaign: Option<&'a str>,
}

/// A webhook as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct WebhookRow {
    /// Its name.
    pub name: String,
    /// Host of its address.
    pub host: String,
    /// What it is told.
    pub events: Vec<String>,
    /// In which form.
    pub form: String,
    /// Only of this campaign.
    pub campaign: Option<String>,
    /// Whether it is told nothing for now.
    pub paused: bool,
    /// Deliveries that are still to be made.
    pub waiting: i64,
    /// Deliveries that were given up.
    pub dead: i64,
    /// When one was last taken.
    pub delivered_at: Option<DateTime<Utc>>,
    /// Why the last try failed that did, if any waits or is dead; the form of `jobs.error`.
    pub error: Option<Value>,
}

/// A webhook, opened.
#[derive(Debug, Clone)]
pub struct OpenedWebhook {
    /// Where to.
    pub url: SecretString,
    /// What signs it.
    pub secret: SecretString,
    /// In which form.
    pub form: String,
}

/// One delivery in hand.
#[derive(Debug)]
pub struct Delivery {
    /// The same at every try.
    pub id: Uuid,
    /// Name of the webhook.
    pub webhook: String,
    /// Where to and how, or why that does not open.
    pub target: Result<OpenedWebhook, StoreError>,
    /// What happened.
    pub event: String,
    /// What is told of it.
    pub data: Value,
    /// The trace of the job that it is about.
    pub trace: Option<Trace>,
    /// When it happened.
    pub created_at: DateTime<Utc>,
    /// Number of this try; 1 is the first.
    pub tries: u32,
    /// The database's time.
    pub now: DateTime<Utc>,
}

/// A delivery as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct DeliveryRow {
    /// Its id.
    pub id: Uuid,
    /// Name of the webhook.
    pub webhook: String,
    /// What happened.
    pub event: String,
    /// The job that it is about.
    pub job_id: Option<i64>,
    /// `waiting`, `delivered` or `dead`.
    pub state: String,
    /// Tries so far.
    pub attempts: i16,
    /// When it is tried next.
    pub next_at: Option<DateTime<Utc>>,
    /// The last HTTP status.
    pub http_status: Option<i16>,
    /// Why the last try failed; the form of `jobs.error`.
    pub error: Option<Value>,
    /// When it happened.
    pub created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    webhook: String,
    form: String,
    sealed: Vec<u8>,
    key_id: String,
    event: String,
    data: Value,
    created_at: DateTime<Utc>,
    trace: Option<String>,
    attempts: i16,
    now: DateTime<Utc>,
}

impl Store {
    /// Adds a webhook; its address and secret are sealed.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if there is one of this name.
    pub async fn add_webhook(&self, new: &NewWebhook<'_>) -> Result<(), StoreError> {
        let key = self.key()?;
        let plain = json!({"url": new.url.expose_secret(), "secret": new.secret.expose_secret()});
        let sealed = key.seal(&webhook_purpose(new.name), plain.to_string().as_bytes())?;
        let added = sqlx::query(
            "-- add_webhook
            insert into crier.webhooks (name, events, form, campaign, host, sealed, key_id) values ($1, $2, $3, $4, $5, $6, $7)
            on conflict (name) do nothing",
        )
        .bind(new.name)
        .bind(new.events)
        .bind(new.form)
        .bind(new.campaign)
        .bind(new.host)
        .bind(sealed)
        .bind(key.id())
        .execute(&self.pool)
        .await?
        .rows_affected();
        if added == 0 {
            return Err(StoreError::Refused(format!(
                "there is a webhook `{}` already; remove it first",
                new.name
            )));
        }
        Ok(())
    }

    /// The webhooks, by name.
    pub async fn webhooks(&self) -> Result<Vec<WebhookRow>, StoreError> {
        Ok(sqlx::query_as(
            "-- webhooks
            select w.name, w.host, w.events, w.form, w.campaign, w.paused,
                   (select count(*) from (select 1 from crier.webhook_deliveries d where d.webhook_id = w.id and d.next_at is not null limit $1) s) as waiting,
                   (select count(*) from (select 1 from crier.webhook_deliveries d where d.webhook_id = w.id and d.state = 'dead' limit $1) s) as dead,
                   (select max(d.ended_at) from (select * from crier.webhook_deliveries d where d.webhook_id = w.id order by d.created_at desc limit $1) d
                     where d.state = 'delivered') as delivered_at,
                   (select d.error from (select * from crier.webhook_deliveries d where d.webhook_id = w.id order by d.created_at desc limit $1) d
                     where d.state <> 'delivered' and d.error is not null order by d.created_at desc limit 1) as error
              from crier.webhooks w
             order by w.name",
        )
        .bind(MOST_COUNTED)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Where a webhook leads; none if there is none of this name.
    pub async fn open_webhook(&self, name: &str) -> Result<Option<OpenedWebhook>, StoreError> {
        let row: Option<(String, Vec<u8>, String)> = sqlx::query_as(
            "-- open_webhook\nselect form, sealed, key_id from crier.webhooks where name = $1",
        )
        .bind(name)
        .fetch_optional(&self.pool)
        .await?;
        row.map(|(form, sealed, key_id)| self.opened(name, form, &key_id, &sealed))
            .transpose()
    }

    /// Removes a webhook with all that was to be told to it. False if there is none of this name. Broken off, it leaves a webhook
    /// that is paused, with less to tell.
    pub async fn remove_webhook(&self, name: &str) -> Result<bool, StoreError> {
        let there: Option<i64> = sqlx::query_scalar(
            "-- remove_webhook: pause\nupdate crier.webhooks set paused = true where name = $1 returning id",
        )
        .bind(name)
        .fetch_optional(&self.pool)
        .await?;
        let Some(id) = there else {
            return Ok(false);
        };
        // By pages, since there may be many.
        loop {
            let page = sqlx::query(
                "-- remove_webhook: deliveries
                delete from crier.webhook_deliveries where webhook_id = $1 and ctid = any(array(
                  select ctid from crier.webhook_deliveries where webhook_id = $1 limit $2))",
            )
            .bind(id)
            .bind(PAGE)
            .execute(&self.pool)
            .await?;
            if page.rows_affected() == 0 {
                break;
            }
        }
        let gone = sqlx::query("-- remove_webhook\ndelete from crier.webhooks where id = $1")
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(gone.rows_affected() == 1)
    }

    /// Stops telling a webhook, or goes on; what happens while it is stopped is never told, what waits is told afterwards. False
    /// if there is none.
    pub async fn pause_webhook(&self, name: &str, paused: bool) -> Result<bool, StoreError> {
        let done =
            sqlx::query("-- pause_webhook\nupdate crier.webhooks set paused = $2 where name = $1")
                .bind(name)
                .bind(paused)
                .execute(&self.pool)
                .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Takes up to `limit` due deliveries, each of which is this worker's for `ttl`. Of its `places` this worker fills `share` at most with one webhook, and
    /// fewer if there are so many webhooks that some would get none; the ones with the fewest in hand come first. A webhook that
    /// is paused keeps what waits for it.
    pub async fn claim_deliveries(
        &self,
        worker: Uuid,
        limit: i64,
        (places, share): (u8, u8),
        ttl: Duration,
    ) -> Result<Vec<Delivery>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "-- claim_deliveries
            with due as materialized (
              select first.id from crier.webhooks w cross join lateral (
                select count(*) as n from crier.webhook_deliveries h where h.webhook_id = w.id and h.worker = $1 and h.next_at > crier.now()) held
                cross join lateral (
                select d.id, d.next_at, row_number() over (order by d.next_at) as place from (
                  select d.id, d.next_at from crier.webhook_deliveries d where d.webhook_id = w.id and d.next_at <= crier.now() order by d.next_at
                   limit greatest(least($4, greatest($5 / (select count(*) from crier.webhooks o where not o.paused), 1)) - held.n, 0)
                     for update skip locked) d) first
               where not w.paused order by held.n + first.place, first.next_at limit $2)
            update crier.webhook_deliveries d
               set worker = $1, attempts = least(d.attempts + 1, 32000), next_at = crier.now() + $3 * interval '1 microsecond'
              from due, crier.webhooks w where d.id = due.id and w.id = d.webhook_id
            returning d.id, w.name as webhook, w.form, w.sealed, w.key_id, d.event, d.data, d.created_at, d.attempts, crier.now() as now,
                   (select crier.trace_of(j.id, j.created_at, j.trace) from crier.jobs j where j.id = d.job_id limit 1) as trace",
        )
        .bind(worker)
        .bind(limit)
        .bind(micros(ttl))
        .bind(i64::from(share))
        .bind(i64::from(places))
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Delivery {
                id: row.id,
                target: self.opened(&row.webhook, row.form, &row.key_id, &row.sealed),
                webhook: row.webhook,
                event: row.event,
                data: row.data,
                trace: row.trace.as_deref().and_then(Trace::parse),
                created_at: row.created_at,
                tries: u32::try_from(row.attempts).unwrap_or(1),
                now: row.now,
            })
            .collect())
    }

    /// A receiver took it.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the try is this worker's no more: it is made once more, under the same id.
    pub async fn delivered(
        &self,
        worker: Uuid,
        delivery: &Delivery,
        status: u16,
    ) -> Result<(), StoreError> {
        self.end_try(worker, delivery, "delivered", None, Some(status), None)
            .await
    }

    /// A try failed: it is made again after so long, or the delivery is dead.
    ///
    /// # Errors
    /// As [`Store::delivered`].
    pub async fn not_delivered(
        &self,
        worker: Uuid,
        delivery: &Delivery,
        after: Option<Duration>,
        status: Option<u16>,
        error: &Value,
    ) -> Result<(), StoreError> {
        let state = if after.is_some() { "waiting" } else { "dead" };
        self.end_try(worker, delivery, state, after, status, Some(error))
            .await
    }

    async fn end_try(
        &self,
        worker: Uuid,
        delivery: &Delivery,
        state: &str,
        after: Option<Duration>,
        status: Option<u16>,
        error: Option<&Value>,
    ) -> Result<(), StoreError> {
        let done = sqlx::query(
            "-- end_try
            update crier.webhook_deliveries
               set state = $4, next_at = crier.now() + $5 * interval '1 microsecond', worker = null, http_status = $6, error = $7,
                   ended_at = case when $4 <> 'waiting' then crier.now() end
             where id = $1 and worker = $2 and attempts = $3 and state = 'waiting'",
        )
        .bind(delivery.id)
        .bind(worker)
        .bind(i32::try_from(delivery.tries).unwrap_or(i32::MAX))
        .bind(state)
        .bind(after.map(micros))
        .bind(status.and_then(|status| i16::try_from(status).ok()))
        .bind(error)
        .execute(&self.pool)
        .await?;
        if done.rows_affected() == 1 {
            return Ok(());
        }
        Err(StoreError::Refused(format!(
            "the delivery {} is another worker's by now",
            delivery.id
        )))
    }

    /// The latest deliveries, of one webhook or of all, in one state or in any.
    pub async fn deliveries(
        &self,
        webhook: Option<&str>,
        state: Option<&str>,
        limit: i64,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        Ok(sqlx::query_as(
            "-- deliveries
            select d.id, w.name as webhook, d.event, d.job_id, d.state, d.attempts, d.next_at, d.http_status, d.error, d.created_at
              from crier.webhook_deliveries d join crier.webhooks w on w.id = d.webhook_id
             where ($1::text is null or w.name = $1) and ($2::text is null or d.state = $2) order by d.created_at desc limit $3",
        )
        .bind(webhook)
        .bind(state)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Delivers dead ones after all, of one webhook or of all, or one by its id. Answers how many.
    pub async fn redeliver(
        &self,
        webhook: Option<&str>,
        id: Option<Uuid>,
    ) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "-- redeliver
            update crier.webhook_deliveries d set state = 'waiting', next_at = crier.now(), attempts = 0, ended_at = null
              from crier.webhooks w
             where w.id = d.webhook_id and ($1::text is null or w.name = $1)
               and case when $2::uuid is null then d.state = 'dead' else d.id = $2 and d.state <> 'waiting' end",
        )
        .bind(webhook)
        .bind(id)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    /// Removes deliveries that ended so many days ago; dead ones stay four times as long; and what waits for a webhook
    /// that was removed meanwhile. Answers how many.
    pub async fn trim_deliveries(&self, days: u32) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let page = sqlx::query(
                "-- trim_deliveries
                delete from crier.webhook_deliveries d
                 -- What somebody has just set waiting again stays.
                 where (d.ended_at < crier.now() - make_interval(days => $1) or not exists (select 1 from crier.webhooks w where w.id = d.webhook_id))
                   and d.ctid = any(array(
                  (select ctid from crier.webhook_deliveries where ended_at < crier.now() - make_interval(days => 4 * $1) limit $2)
                  union all
                  (select ctid from crier.webhook_deliveries
                    where ended_at < crier.now() - make_interval(days => $1) and ended_at >= crier.now() - make_interval(days => 4 * $1)
                      and state = 'delivered' limit $2)
                  union all
                  (select ctid from crier.webhook_deliveries d
                    where d.next_at is not null and not exists (select 1 from crier.webhooks w where w.id = d.webhook_id) limit $2)))",
            )
            .bind(i32::try_from(days.min(10_000)).unwrap_or(10_000))
            .bind(PAGE)
            .execute(&self.pool)
            .await?;
            if page.rows_affected() == 0 {
                return Ok(removed);
            }
            removed += page.rows_affected();
        }
    }

    fn opened(
        &self,
        name: &str,
        form: String,
        key_id: &str,
        sealed: &[u8],
    ) -> Result<OpenedWebhook, StoreError> {
        let plain = self.open_sealed(&webhook_purpose(name), key_id, sealed, || {
            format!("the address of the webhook `{name}`")
        })?;
        let text = |key: &str, value: &Value| -> Result<SecretString, StoreError> {
            let text = value[key].as_str().map(str::to_owned);
            let text = text.ok_or_else(|| StoreError::Inconsistent {
                table: "webhooks",
                detail: format!("no {key}"),
            })?;
            Ok(text.into())
        };
        let value: Value =
            serde_json::from_slice(&plain).map_err(|error| StoreError::Inconsistent {
                table: "webhooks",
                detail: error.to_string(),
            })?;
        Ok(OpenedWebhook {
            url: text("url", &value)?,
            secret: text("secret", &value)?,
            form,
        })
    }
}
