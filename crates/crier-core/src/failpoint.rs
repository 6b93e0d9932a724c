//! Points at which a process may die: each boundary between what is done in memory and what the world sees.
//!
//! The choke points of the layers above say that one is reached: `crier-store` around each statement and commit,
//! `crier-x` around each call. A test may watch them and end the process there. In a release build nothing watches,
//! nothing can, and [`reached`] is empty.
//!
//! **Invariant:** nothing is decided by it: whoever watches may stop time or the process, and change nothing else.

use std::fmt;
#[cfg(debug_assertions)]
use std::sync::OnceLock;

/// On which side of the deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing is done yet.
    Before,
    /// It is done, and nobody knows yet.
    After,
}

/// What is done there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// A request to X and its answer; named by the endpoint's label.
    Call,
    /// The body of such a request on its way to the socket.
    Body,
    /// A statement that is a transaction by itself; named by the comment that it begins with.
    Statement,
    /// The begin of a transaction; named by file and line.
    Begin,
    /// Its commit; likewise.
    Commit,
    /// Something with a file.
    File,
}

/// One point: printed, it is `before commit settle.rs:137`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point<'a> {
    /// On which side.
    pub moment: Moment,
    /// Of what.
    pub deed: Deed,
    /// Of which.
    pub name: &'a str,
}

impl fmt::Display for Point<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = match self.moment {
            Moment::Before => "before",
            Moment::After => "after",
        };
        let deed = match self.deed {
            Deed::Call => "call",
            Deed::Body => "body",
            Deed::Statement => "statement",
            Deed::Begin => "begin",
            Deed::Commit => "commit",
            Deed::File => "file",
        };
        write!(f, "{moment} {deed} {}", self.name)
    }
}

#[cfg(debug_assertions)]
static WATCHER: OnceLock<fn(&Point<'_>)> = OnceLock::new();

/// Has each point told to `watcher` from now on, in every thread; false if there is one already.
#[cfg(debug_assertions)]
pub fn watch(watcher: fn(&Point<'_>)) -> bool {
    WATCHER.set(watcher).is_ok()
}

/// Says that the point before `name` is reached.
#[inline]
pub fn before(deed: Deed, name: &str) {
    reached(Moment::Before, deed, name);
}

/// Says that the point after `name` is reached.
#[inline]
pub fn after(deed: Deed, name: &str) {
    reached(Moment::After, deed, name);
}

/// Says that a point is reached. It returns when the watcher has, if ever.
#[inline]
#[cfg_attr(
    not(debug_assertions),
    expect(unused_variables, reason = "nothing watches a release build")
)]
pub fn reached(moment: Moment, deed: Deed, name: &str) {
    #[cfg(debug_assertions)]
    if let Some(watcher) = WATCHER.get() {
        watcher(&Point { moment, deed, name });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

    #[test]
    fn points_are_told_in_order_to_the_one_who_watches() {
        before(Deed::Call, "nobody hears it");
        let watcher: fn(&Point<'_>) = |point| SEEN.lock().unwrap().push(point.to_string());
        assert!(watch(watcher));
        assert!(!watch(watcher), "one at most");
        before(Deed::Commit, "settle.rs:137");
        after(Deed::Call, "POST /2/tweets");
        assert_eq!(
            *SEEN.lock().unwrap(),
            ["before commit settle.rs:137", "after call POST /2/tweets"]
        );
    }
}
