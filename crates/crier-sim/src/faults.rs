//! Faults on demand: what to break, on which call, how often.
//!
//! Invariant: a fault fires on exactly the calls that `skip` and `times` say, in the order of
//! arming, at most one a call; and every firing is told in the call's record.

use std::collections::BTreeMap;

use axum::http::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::seconds_us;
use crate::options::{bare, unknown_route};
use crate::reply::Reply;
use crate::route::Route;

/// What a fault does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The connection is closed with nothing done and no byte answered.
    RequestLost,
    /// The deed is done, then the connection is closed with no byte answered.
    AnswerLost,
    /// The given answer in the place of the deed.
    Answer,
    /// The deed is done after `delay_ms`, whether the caller still waits or not.
    Slow,
    /// The deed is done, then the connection is closed in the middle of the answer's body; an
    /// answer without a body is lost whole.
    Cut,
}

impl FaultKind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::RequestLost => "request_lost",
            Self::AnswerLost => "answer_lost",
            Self::Answer => "answer",
            Self::Slow => "slow",
            Self::Cut => "cut",
        }
    }
}

/// A fault to arm, as `POST /_sim/faults` takes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// Route as the spec writes it, or `*` for all.
    pub route: String,
    /// What happens.
    pub kind: FaultKind,
    /// Status of an `answer`.
    #[serde(default)]
    pub status: Option<u16>,
    /// Headers of an `answer`.
    #[serde(default)]
    pub headers: Option<BTreeMap<String, String>>,
    /// Body of an `answer`: a string goes out as `text/html`, anything else as JSON, unless
    /// `headers` name another type; absent is empty.
    #[serde(default)]
    pub body: Option<Value>,
    /// Milliseconds of real time to wait first. `slow` needs it, the others may have it.
    #[serde(default)]
    pub delay_ms: Option<u64>,
    /// Calls to let pass first; 0 if absent.
    #[serde(default)]
    pub skip: Option<u64>,
    /// Calls to hit after that; 1 if absent, or all until the end if `for_s` is given.
    #[serde(default)]
    pub times: Option<u64>,
    /// Hits only this user (handle, with or without `@`).
    #[serde(default)]
    pub account: Option<String>,
    /// Begins so many seconds from now, by the simulator's clock.
    #[serde(default)]
    pub after_s: Option<u64>,
    /// Ends so many seconds after its beginning: an outage by time.
    #[serde(default)]
    pub for_s: Option<u64>,
}

impl FaultSpec {
    /// What types alone cannot say.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.route != "*" && Route::from_spec(&self.route).is_none() {
            return Err(format!("{}, and `*` for all", unknown_route(&self.route)));
        }
        match self.kind {
            FaultKind::Answer if !self.status.is_some_and(|code| (200..=599).contains(&code)) => {
                return Err("an `answer` needs a `status` from 200 to 599".to_owned());
            }
            FaultKind::Slow if self.delay_ms.is_none() => {
                return Err("a `slow` fault needs `delay_ms`".to_owned());
            }
            FaultKind::RequestLost
            | FaultKind::AnswerLost
            | FaultKind::Answer
            | FaultKind::Slow
            | FaultKind::Cut => {}
        }
        if self.kind != FaultKind::Answer
            && (self.status.is_some() || self.headers.is_some() || self.body.is_some())
        {
            return Err(format!(
                "`status`, `headers` and `body` belong to kind `answer`, not to `{}`",
                self.kind.word()
            ));
        }
        if self.times == Some(0) {
            return Err("`times` must be at least 1".to_owned());
        }
        for (name, value) in self.headers.iter().flatten() {
            if HeaderName::from_bytes(name.as_bytes()).is_err()
                || HeaderValue::from_str(value).is_err()
            {
                return Err(format!("`{name}: {value}` is not a header"));
            }
        }
        Ok(())
    }
}

/// What to do to one call.
#[derive(Debug, Clone)]
pub(crate) struct Strike {
    pub(crate) kind: FaultKind,
    pub(crate) delay_ms: u64,
    /// The answer, for kind `answer`.
    pub(crate) reply: Option<Reply>,
}

#[derive(Debug)]
struct Armed {
    id: u64,
    spec: FaultSpec,
    route: Option<Route>,
    account: Option<String>,
    from_us: i64,
    until_us: Option<i64>,
    skip: u64,
    /// Firings left; without end if absent.
    left: Option<u64>,
    fired: u64,
}

/// All faults, in the order of arming.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    armed: Vec<Armed>,
    last_id: u64,
    fired: u64,
}

impl Faults {
    /// Arms a checked fault and gives its id.
    pub(crate) fn arm(&mut self, spec: FaultSpec, now_us: i64) -> u64 {
        self.last_id += 1;
        let from_us = now_us.saturating_add(seconds_us(spec.after_s.unwrap_or(0)));
        let default_times = if spec.for_s.is_some() { None } else { Some(1) };
        self.armed.push(Armed {
            id: self.last_id,
            route: Route::from_spec(&spec.route),
            account: spec
                .account
                .as_deref()
                .map(|name| bare(name).to_ascii_lowercase()),
            from_us,
            until_us: spec.for_s.map(|s| from_us.saturating_add(seconds_us(s))),
            skip: spec.skip.unwrap_or(0),
            left: spec.times.or(default_times),
            fired: 0,
            spec,
        });
        self.last_id
    }

    /// Takes the fault that hits this call, if any, and counts the call for those that skip.
    pub(crate) fn strike(
        &mut self,
        route: Route,
        account: Option<&str>,
        now_us: i64,
    ) -> Option<Strike> {
        for fault in &mut self.armed {
            let here = fault.route.is_none_or(|wanted| wanted == route)
                && fault.account.as_deref().is_none_or(|wanted| {
                    account.is_some_and(|name| name.eq_ignore_ascii_case(wanted))
                })
                && now_us >= fault.from_us
                && fault.until_us.is_none_or(|until| now_us < until)
                && fault.left != Some(0);
            if !here {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            fault.left = fault.left.map(|left| left - 1);
            fault.fired += 1;
            self.fired += 1;
            return Some(Strike {
                kind: fault.spec.kind,
                delay_ms: fault.spec.delay_ms.unwrap_or(0),
                reply: (fault.spec.kind == FaultKind::Answer).then(|| answer(&fault.spec)),
            });
        }
        None
    }

    /// Disarms all and says how many there were.
    pub(crate) fn disarm(&mut self) -> usize {
        std::mem::take(&mut self.armed).len()
    }

    /// Firings since the start.
    pub(crate) fn fired(&self) -> u64 {
        self.fired
    }

    /// All faults as JSON, with what is left of them.
    pub(crate) fn list(&self) -> Vec<Value> {
        self.armed
            .iter()
            .map(|fault| {
                serde_json::json!({
                    "id": fault.id,
                    "route": fault.spec.route,
                    "kind": fault.spec.kind,
                    "account": fault.account,
                    "skip_left": fault.skip,
                    "times_left": fault.left,
                    "fired": fault.fired,
                })
            })
            .collect()
    }
}

fn answer(spec: &FaultSpec) -> Reply {
    let status = spec.status.unwrap_or(500);
    let mut reply = match &spec.body {
        None | Some(Value::Null) => Reply::empty(status),
        Some(Value::String(text)) => Reply::typed(status, "text/html", text.clone()),
        Some(other) => Reply::json(status, other),
    };
    for (name, value) in spec.headers.iter().flatten() {
        if name.eq_ignore_ascii_case("content-type") {
            reply.content_type = Some(value.clone());
        } else {
            reply = reply.with(name, value);
        }
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND_US;

    fn fault(json: &str) -> FaultSpec {
        let spec: FaultSpec = serde_json::from_str(json).unwrap();
        spec.check().unwrap();
        spec
    }

    fn kinds(faults: &mut Faults, calls: usize) -> Vec<Option<&'static str>> {
        (0..calls)
            .map(|_| {
                faults
                    .strike(Route::CreatePost, Some("acme"), 0)
                    .map(|strike| strike.kind.word())
            })
            .collect()
    }

    #[test]
    fn skip_and_times_pick_the_calls() {
        let mut faults = Faults::default();
        faults.arm(
            fault(r#"{"route":"POST /2/tweets","kind":"answer_lost","skip":1,"times":2}"#),
            0,
        );
        assert_eq!(
            kinds(&mut faults, 4),
            [None, Some("answer_lost"), Some("answer_lost"), None]
        );
    }

    #[test]
    fn a_skipping_fault_counts_calls_that_another_takes() {
        let mut faults = Faults::default();
        faults.arm(fault(r#"{"route":"*","kind":"cut","skip":1}"#), 0);
        faults.arm(fault(r#"{"route":"*","kind":"request_lost"}"#), 0);
        assert_eq!(
            kinds(&mut faults, 3),
            [Some("request_lost"), Some("cut"), None]
        );
    }

    #[test]
    fn account_route_and_time_narrow_it() {
        let mut faults = Faults::default();
        faults.arm(
            fault(r#"{"route":"GET /2/users/me","kind":"answer","status":503,"account":"@Acme","after_s":10,"for_s":60}"#),
            0,
        );
        let mut at = |route, account, seconds: i64| {
            faults.strike(route, account, seconds * SECOND_US).is_some()
        };
        assert!(!at(Route::Me, Some("acme"), 9));
        assert!(at(Route::Me, Some("acme"), 10));
        assert!(at(Route::Me, Some("ACME"), 69), "an outage has no count");
        assert!(!at(Route::Me, Some("acme"), 70));
        assert!(!at(Route::Me, Some("other"), 20));
        assert!(!at(Route::Me, None, 20));
        assert!(!at(Route::CreatePost, Some("acme"), 20));
    }

    #[test]
    fn bodies_get_the_type_that_fits() {
        let json = answer(&fault(
            r#"{"route":"*","kind":"answer","status":402,"body":{"title":"CreditsDepleted"}}"#,
        ));
        assert_eq!(
            json.content_type.as_deref(),
            Some("application/json; charset=utf-8")
        );
        let html = answer(&fault(
            r#"{"route":"*","kind":"answer","status":520,"body":"<h1>520</h1>"}"#,
        ));
        assert_eq!(html.content_type.as_deref(), Some("text/html"));
        assert_eq!(html.body, "<h1>520</h1>");
        let named = answer(&fault(
            r#"{"route":"*","kind":"answer","status":500,"body":"{}","headers":{"Content-Type":"application/json"}}"#,
        ));
        assert_eq!(named.content_type.as_deref(), Some("application/json"));
        let empty = answer(&fault(r#"{"route":"*","kind":"answer","status":413}"#));
        assert!(empty.body.is_empty() && empty.content_type.is_none());
    }

    #[test]
    fn senseless_faults_are_refused() {
        for (json, part) in [
            (
                r#"{"route":"POST /2/tweet","kind":"cut"}"#,
                "`POST /2/tweets`",
            ),
            (r#"{"route":"*","kind":"answer"}"#, "`status`"),
            (r#"{"route":"*","kind":"slow"}"#, "`delay_ms`"),
            (
                r#"{"route":"*","kind":"cut","status":500}"#,
                "belong to kind `answer`",
            ),
            (r#"{"route":"*","kind":"cut","times":0}"#, "`times`"),
            (
                r#"{"route":"*","kind":"answer","status":500,"headers":{"a b":"c"}}"#,
                "not a header",
            ),
        ] {
            let spec: FaultSpec = serde_json::from_str(json).unwrap();
            let error = spec.check().unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
