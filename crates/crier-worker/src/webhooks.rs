//! Delivers webhooks from the outbox.
//!
//! **Invariant:** a delivery is made at least once under one id; a receiver that hangs or lies has a share of the places, so that
//! it keeps no other waiting, and costs publishing nothing: these are places of their own.

use std::sync::Arc;
use std::time::Duration;

use crier_core::fault::Fault;
use crier_core::webhook::{Form, body, next_try};
use crier_metrics::HookEnd;
use crier_store::{Delivery, StoreError};
use crier_x::{Hook, HookClient};
use serde_json::json;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Worker;

/// Deliveries at once.
const AT_ONCE: u8 = 16;
/// Of these to one webhook at most, and fewer where there are more than four: those that hang leave places to the others.
const SHARE: u8 = 4;
/// A delivery is this worker's for so much longer than a try may take.
const MARGIN: Duration = Duration::from_secs(30);

impl Worker {
    /// Delivers until `stop`, then waits for the tries in flight.
    pub(crate) async fn webhooks(mut self, stop: CancellationToken) {
        let mut client = self.hook_client();
        let places = Arc::new(Semaphore::new(AT_ONCE.into()));
        let running = TaskTracker::new();
        // What a webhook has in hand bounds what is claimed for it.
        let freed = Arc::new(Notify::new());
        while !stop.is_cancelled() {
            if self.take_up() {
                client = self.hook_client();
            }
            let free = i64::try_from(places.available_permits()).unwrap_or(0);
            if free == 0 {
                tokio::select! {
                    place = places.acquire() => drop(place),
                    () = stop.cancelled() => {}
                }
                continue;
            }
            let ttl = self.options.webhook_timeout + MARGIN;
            match self
                .store
                .claim_deliveries(self.id, free, (AT_ONCE, SHARE), ttl)
                .await
            {
                Ok(claimed) => {
                    let full = i64::try_from(claimed.len()).is_ok_and(|count| count == free);
                    for delivery in claimed {
                        // Only this loop takes places, so as many as were asked for are free.
                        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                            continue;
                        };
                        let (worker, client) = (self.clone(), client.clone());
                        let freed = Arc::clone(&freed);
                        running.spawn(async move {
                            tokio::select! {
                                () = worker.deliver(&client, &delivery) => {}
                                // Another worker tells it once more, under the same id.
                                () = worker.quit.hurried() => {}
                            }
                            drop(place);
                            freed.notify_one();
                        });
                    }
                    if full {
                        continue;
                    }
                }
                Err(error) => {
                    if self.metrics.db_error("webhooks") {
                        tracing::warn!(
                            code = error.code(),
                            "webhooks could not be claimed, trying again: {error}"
                        );
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.options.poll) => {}
                () = freed.notified() => {}
                () = stop.cancelled() => {}
            }
        }
        running.close();
        running.wait().await;
    }

    fn hook_client(&self) -> HookClient {
        HookClient::new(
            self.options.webhook_rules.clone(),
            self.options.webhook_timeout,
        )
    }

    /// One try of one delivery, and what came of it.
    async fn deliver(&self, client: &HookClient, delivery: &Delivery) {
        let told = match self.try_delivery(client, delivery).await {
            Ok(status) => {
                self.metrics.webhook(HookEnd::Delivered);
                self.store.delivered(self.id, delivery, status).await
            }
            Err((status, fault)) => self.failed(delivery, status, &fault).await,
        };
        if let Err(error) = told {
            self.metrics.db_error("webhooks");
            // It is delivered once more, under the same id.
            tracing::warn!(
                webhook = delivery.webhook,
                delivery = %delivery.id,
                code = error.code(),
                "the end of a delivery could not be written: {error}"
            );
        }
    }

    async fn try_delivery(
        &self,
        client: &HookClient,
        delivery: &Delivery,
    ) -> Result<u16, (Option<u16>, Fault)> {
        let target = match &delivery.target {
            Ok(target) => target,
            Err(error) => return Err((None, unopened(error))),
        };
        let id = delivery.id.to_string();
        let text = body(
            Form::parse(&target.form).unwrap_or_default(),
            &id,
            &delivery.event,
            &delivery.created_at.to_rfc3339(),
            &delivery.data,
        );
        client
            .post(&Hook {
                url: &target.url,
                secret: &target.secret,
                id: &id,
                timestamp_s: delivery.now.timestamp(),
                body: &text,
                span: delivery.trace.map(|trace| trace.span(self.chance)),
            })
            .await
    }

    async fn failed(
        &self,
        delivery: &Delivery,
        status: Option<u16>,
        fault: &Fault,
    ) -> Result<(), StoreError> {
        let after = next_try(delivery.tries, (self.chance)());
        self.metrics.webhook(if after.is_some() {
            HookEnd::Failed
        } else {
            HookEnd::Dead
        });
        tracing::warn!(
            webhook = delivery.webhook,
            delivery = %delivery.id,
            tries = delivery.tries,
            code = fault.code,
            "the webhook `{}` was not told of `{}`{}: {}",
            delivery.webhook,
            delivery.event,
            if after.is_some() { "" } else { ", and will not be" },
            fault.detail
        );
        self.store
            .not_delivered(self.id, delivery, after, status, &json!(fault))
            .await
    }
}

fn unopened(error: &StoreError) -> Fault {
    Fault::new(
        "webhook_sealed",
        "the address of a webhook does not open",
        error.to_string(),
        "give the processes the key that it was sealed with, or remove the webhook and add it anew",
    )
    .at_step("webhook")
    .passing()
}
