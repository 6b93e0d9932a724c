//! The piece of work that calls belong to: each call is a part of it, under an id of its own.
//!
//! **Invariant:** what is told of a call is its route and how it ended: no address, no body, no words of X.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use crier_core::answer::{CallFault, Endpoint};
use crier_core::trace::{Fact, Finished, Kind, Sink, Span};

use crate::reply::Received;

/// What calls are a part of, and who is told of them.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) span: Span,
    pub(crate) chance: fn() -> f64,
    pub(crate) sink: Option<Arc<dyn Sink>>,
}

impl Work {
    /// A call begins.
    pub(crate) fn begin(&self) -> Part {
        Part {
            span: self.span.part(self.chance),
            sink: self.sink.clone().map(|sink| (sink.now(), sink)),
        }
    }
}

/// A call under way.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) span: Span,
    sink: Option<(DateTime<Utc>, Arc<dyn Sink>)>,
}

impl Part {
    pub(crate) fn end(self, endpoint: Endpoint, answer: &Result<Received, CallFault>) {
        let Some((began, sink)) = self.sink else {
            return;
        };
        let (status, failed) = match answer {
            Ok(received) => (Some(received.status), None),
            Err(CallFault::Refused(answer)) => {
                (Some(answer.status), Some(answer.status.to_string()))
            }
            Err(CallFault::NotSent { .. }) => (None, Some("not_sent".to_owned())),
            Err(CallFault::NoAnswer { .. }) => (None, Some("no_answer".to_owned())),
        };
        let (method, route) = endpoint.label().split_once(' ').unwrap_or_default();
        let mut facts = vec![
            ("http.request.method", Fact::Text(method.to_owned())),
            ("url.template", Fact::Text(route.to_owned())),
        ];
        facts.extend(
            status.map(|status| ("http.response.status_code", Fact::Number(status.into()))),
        );
        facts.extend(
            failed
                .clone()
                .map(|failed| ("error.type", Fact::Text(failed))),
        );
        sink.take(Finished {
            span: self.span,
            name: endpoint.label().to_owned(),
            kind: Kind::Client,
            began,
            ended: sink.now(),
            facts,
            failed,
        });
    }
}
