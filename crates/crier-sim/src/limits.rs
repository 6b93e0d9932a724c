//! Limits as X counts them: windows per user and per app, and days beside them (x-api.md 5).
//!
//! Invariant: a call passes only if every window that holds for it has room, and then counts in all
//! of them; a refused call counts in none. A window ends exactly at the second that its reset names.

use std::collections::{BTreeMap, HashMap};

use crate::clock::seconds;
use crate::options::LimitSpec;
use crate::route::{DAY_S, QUARTER_S, Route};

/// Whose window, and which of its kinds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    UserWindow(String, Route),
    UserDay(String, Route),
    AppWindow(String, Route),
    AppDay(String, Route),
    MediaDay(String, Route),
}

#[derive(Debug, Clone, Copy)]
struct Window {
    used: u32,
    /// Second of the Unix epoch at which it starts anew.
    reset_s: i64,
}

/// What a call learns of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Start of the three header names, such as `x-rate-limit`.
    pub(crate) prefix: &'static str,
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    pub(crate) reset_s: i64,
}

impl Standing {
    /// The three headers (x-api.md 5.4).
    pub(crate) fn headers(&self) -> [(String, String); 3] {
        [
            (format!("{}-limit", self.prefix), self.limit.to_string()),
            (
                format!("{}-remaining", self.prefix),
                self.remaining.to_string(),
            ),
            (format!("{}-reset", self.prefix), self.reset_s.to_string()),
        ]
    }
}

/// Whether a call passed, and what to tell it.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) allowed: bool,
    pub(crate) standings: Vec<Standing>,
}

/// All windows and what was set for them.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    windows: HashMap<Key, Window>,
    by_account: HashMap<(String, Route), LimitSpec>,
    app_day: HashMap<(String, Route), u32>,
}

/// Who calls what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) account: &'a str,
    pub(crate) app: &'a str,
    pub(crate) route: Route,
}

struct Rule {
    key: Key,
    prefix: &'static str,
    limit: u32,
    length_s: u64,
}

impl Limits {
    /// Sets what `spec` names for this user, and for the app where it says so.
    pub(crate) fn set(&mut self, caller: Caller<'_>, spec: &LimitSpec) {
        let known = self
            .by_account
            .entry((caller.account.to_owned(), caller.route))
            .or_default();
        known.limit = spec.limit.or(known.limit);
        known.window_s = spec.window_s.or(known.window_s);
        known.user_24h = spec.user_24h.or(known.user_24h);
        known.media_24h = spec.media_24h.or(known.media_24h);
        if let Some(limit) = spec.app_24h {
            self.app_day
                .insert((caller.app.to_owned(), caller.route), limit);
        }
    }

    /// Sets how much is left of the windows that are named, as if the rest had been used just now.
    pub(crate) fn set_remaining(
        &mut self,
        caller: Caller<'_>,
        defaults: &Defaults<'_>,
        remaining: &Remaining,
        now_us: i64,
    ) {
        let mut rules = self.rules(caller, defaults);
        rules.push(self.media_rule(caller, defaults));
        for rule in rules {
            let left = match rule.key {
                Key::UserWindow(..) => remaining.window,
                Key::UserDay(..) => remaining.user_24h,
                Key::AppDay(..) => remaining.app_24h,
                Key::MediaDay(..) => remaining.media_24h,
                Key::AppWindow(..) => None,
            };
            if let Some(left) = left {
                let window = Window {
                    used: rule.limit.saturating_sub(left),
                    reset_s: reset_after(now_us, rule.length_s),
                };
                self.windows.insert(rule.key, window);
            }
        }
    }

    /// Counts a call if it may pass.
    pub(crate) fn take(
        &mut self,
        caller: Caller<'_>,
        defaults: &Defaults<'_>,
        now_us: i64,
    ) -> Taken {
        let rules = self.rules(caller, defaults);
        self.count(&rules, 1, now_us)
    }

    /// Counts pictures if all of them may pass; none asks only.
    pub(crate) fn take_media(
        &mut self,
        caller: Caller<'_>,
        defaults: &Defaults<'_>,
        pictures: u32,
        now_us: i64,
    ) -> Taken {
        let rules = [self.media_rule(caller, defaults)];
        self.count(&rules, pictures, now_us)
    }

    fn count(&mut self, rules: &[Rule], by: u32, now_us: i64) -> Taken {
        for rule in rules {
            let fresh = Window {
                used: 0,
                reset_s: reset_after(now_us, rule.length_s),
            };
            let window = self.windows.entry(rule.key.clone()).or_insert(fresh);
            if window.reset_s <= seconds(now_us) {
                *window = fresh;
            }
        }
        let allowed = rules
            .iter()
            .all(|rule| self.windows[&rule.key].used.saturating_add(by) <= rule.limit);
        let mut standings = Vec::new();
        for rule in rules {
            if let Some(window) = self.windows.get_mut(&rule.key) {
                if allowed {
                    window.used = window.used.saturating_add(by);
                }
                if !rule.prefix.is_empty() {
                    standings.push(Standing {
                        prefix: rule.prefix,
                        limit: rule.limit,
                        remaining: rule.limit.saturating_sub(window.used),
                        reset_s: window.reset_s,
                    });
                }
            }
        }
        Taken { allowed, standings }
    }

    /// The day of pictures (x-api.md 7.1).
    fn media_rule(&self, caller: Caller<'_>, defaults: &Defaults<'_>) -> Rule {
        let Caller { account, route, .. } = caller;
        let own = self.by_account.get(&(account.to_owned(), route));
        let all = defaults.limits.get(route.spec());
        let limit = own
            .and_then(|spec| spec.media_24h)
            .or_else(|| all.and_then(|spec| spec.media_24h))
            .unwrap_or(defaults.media_24h);
        Rule {
            key: Key::MediaDay(account.to_owned(), route),
            prefix: "x-mediaratelimit",
            limit,
            length_s: DAY_S,
        }
    }

    fn rules(&self, caller: Caller<'_>, defaults: &Defaults<'_>) -> Vec<Rule> {
        let Caller {
            account,
            app,
            route,
        } = caller;
        let own = self.by_account.get(&(account.to_owned(), route));
        let all = defaults.limits.get(route.spec());
        let pick = |member: fn(&LimitSpec) -> Option<u32>| {
            own.and_then(member).or_else(|| all.and_then(member))
        };
        let mut rules = Vec::new();
        if let Some(limit) = pick(|spec| spec.limit).or(route.user_limit()) {
            let length_s = own
                .and_then(|spec| spec.window_s)
                .or_else(|| all.and_then(|spec| spec.window_s))
                .unwrap_or(QUARTER_S);
            rules.push(Rule {
                key: Key::UserWindow(account.to_owned(), route),
                prefix: "x-rate-limit",
                limit,
                length_s,
            });
        }
        if let Some(limit) = pick(|spec| spec.user_24h) {
            rules.push(Rule {
                key: Key::UserDay(account.to_owned(), route),
                prefix: "x-user-limit-24hour",
                limit,
                length_s: DAY_S,
            });
        }
        let documented = route.app_limit().filter(|_| defaults.app_limits);
        let app_day = self
            .app_day
            .get(&(app.to_owned(), route))
            .copied()
            .or_else(|| all.and_then(|spec| spec.app_24h))
            .or_else(|| documented.filter(|(_, s)| *s == DAY_S).map(|(n, _)| n));
        if let Some(limit) = app_day {
            rules.push(Rule {
                key: Key::AppDay(app.to_owned(), route),
                prefix: "x-app-limit-24hour",
                limit,
                length_s: DAY_S,
            });
        }
        if let Some((limit, length_s)) = documented.filter(|(_, s)| *s != DAY_S) {
            rules.push(Rule {
                key: Key::AppWindow(app.to_owned(), route),
                prefix: "",
                limit,
                length_s,
            });
        }
        rules
    }
}

/// What holds where nothing was set for the account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults<'a> {
    pub(crate) limits: &'a BTreeMap<String, LimitSpec>,
    /// The documents' limits per app hold too.
    pub(crate) app_limits: bool,
    /// Pictures of v1.1 per user and day.
    pub(crate) media_24h: u32,
}

/// How much to leave of each window.
#[derive(Debug, Default)]
pub(crate) struct Remaining {
    pub(crate) window: Option<u32>,
    pub(crate) user_24h: Option<u32>,
    pub(crate) app_24h: Option<u32>,
    pub(crate) media_24h: Option<u32>,
}

fn reset_after(now_us: i64, length_s: u64) -> i64 {
    seconds(now_us).saturating_add(i64::try_from(length_s).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND_US;

    const NOW: i64 = 1_790_000_000 * SECOND_US;

    fn caller(account: &str) -> Caller<'_> {
        Caller {
            account,
            app: "app",
            route: Route::CreatePost,
        }
    }

    fn none() -> BTreeMap<String, LimitSpec> {
        BTreeMap::new()
    }

    #[test]
    fn the_documents_table_holds_without_any_setting() {
        let (mut limits, nothing) = (Limits::default(), none());
        let defaults = Defaults {
            limits: &nothing,
            app_limits: false,
            media_24h: 2,
        };
        for used in 1..=100 {
            let taken = limits.take(caller("1"), &defaults, NOW);
            assert!(taken.allowed);
            assert_eq!(taken.standings[0].remaining, 100 - used);
            assert_eq!(taken.standings[0].reset_s, 1_790_000_900);
            assert_eq!(taken.standings.len(), 1);
        }
        assert!(!limits.take(caller("1"), &defaults, NOW).allowed);
        assert!(
            limits.take(caller("2"), &defaults, NOW).allowed,
            "another user"
        );
        let last = NOW + 900 * SECOND_US - 1;
        assert!(!limits.take(caller("1"), &defaults, last).allowed);
        let taken = limits.take(caller("1"), &defaults, NOW + 900 * SECOND_US);
        assert!(taken.allowed, "the window ends at its reset");
        assert_eq!(taken.standings[0].remaining, 99);
    }

    #[test]
    fn a_day_can_refuse_while_the_window_has_room_and_then_counts_nothing() {
        let (mut limits, nothing) = (Limits::default(), none());
        let defaults = Defaults {
            limits: &nothing,
            app_limits: false,
            media_24h: 2,
        };
        let spec = LimitSpec {
            limit: Some(5),
            window_s: Some(60),
            user_24h: Some(1),
            app_24h: Some(9),
            media_24h: None,
        };
        limits.set(caller("1"), &spec);
        assert!(limits.take(caller("1"), &defaults, NOW).allowed);
        for _ in 0..3 {
            let taken = limits.take(caller("1"), &defaults, NOW);
            assert!(!taken.allowed);
            let left: Vec<_> = taken
                .standings
                .iter()
                .map(|standing| (standing.prefix, standing.remaining))
                .collect();
            let wanted = [
                ("x-rate-limit", 4),
                ("x-user-limit-24hour", 0),
                ("x-app-limit-24hour", 8),
            ];
            assert_eq!(left, wanted);
        }
        let taken = limits.take(caller("2"), &defaults, NOW);
        assert_eq!(taken.standings[1].remaining, 7, "the app's day is shared");
    }

    #[test]
    fn remaining_can_be_set() {
        let (mut limits, nothing) = (Limits::default(), none());
        let defaults = Defaults {
            limits: &nothing,
            app_limits: false,
            media_24h: 2,
        };
        let remaining = Remaining {
            window: Some(1),
            ..Remaining::default()
        };
        limits.set_remaining(caller("1"), &defaults, &remaining, NOW);
        assert!(limits.take(caller("1"), &defaults, NOW).allowed);
        assert!(!limits.take(caller("1"), &defaults, NOW).allowed);
    }

    #[test]
    fn the_documents_limits_per_app_are_on_request() {
        let (mut limits, nothing) = (Limits::default(), none());
        let defaults = Defaults {
            limits: &nothing,
            app_limits: true,
            media_24h: 2,
        };
        let taken = limits.take(caller("1"), &defaults, NOW);
        assert_eq!(taken.standings[1].prefix, "x-app-limit-24hour");
        assert_eq!(taken.standings[1].limit, 10_000);
    }
}
