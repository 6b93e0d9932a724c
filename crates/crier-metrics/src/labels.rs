//! The closed sets of label values, as enums.
//!
//! **Invariant:** a value that is not in its set cannot be recorded, so each series exists, at 0, from the first
//! scrape on and a dashboard never mistakes "none yet" for "no data".

use crier_core::answer::Endpoint;
use crier_core::price::Priced;

/// A closed set of label values.
pub trait Label: Copy + Eq + Send + Sync + 'static {
    /// Every value, in the order in which documentation lists them.
    const ALL: &'static [Self];

    /// The word in the exposition and in the tables.
    fn as_str(self) -> &'static str;

    /// The value whose word this is, for words read from the database.
    fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|value| value.as_str() == word)
    }
}

impl Label for Endpoint {
    const ALL: &'static [Self] = &Self::ALL;

    fn as_str(self) -> &'static str {
        self.label()
    }
}

impl Label for Priced {
    const ALL: &'static [Self] = &Self::ALL;

    fn as_str(self) -> &'static str {
        self.as_str()
    }
}

macro_rules! labels {
    ($(
        $(#[doc = $doc:literal])+
        $vis:vis $name:ident {
            $( $(#[doc = $value_doc:literal])+ $value:ident = $word:literal ),+ $(,)?
        }
    )+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis enum $name {
            $( $(#[doc = $value_doc])+ $value ),+
        }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$value),+];

            fn as_str(self) -> &'static str {
                match self {
                    $( Self::$value => $word ),+
                }
            }
        }
    )+};
}

labels! {
    /// How a job ended.
    pub JobEnd {
        /// X has the post.
        Published = "published",
        /// It was given up for good.
        Failed = "failed",
        /// A person took it back.
        Cancelled = "cancelled",
        /// It came later than its `max_lateness` allows.
        Missed = "missed",
    }

    /// The state of a job that has not ended.
    pub OpenState {
        /// Waiting for its time.
        Scheduled = "scheduled",
        /// Held back with its campaign.
        Paused = "paused",
        /// The create call left and no trustworthy answer came back.
        Unknown = "unknown",
    }

    /// How one attempt to publish ended.
    pub AttemptEnd {
        /// X has the post.
        Published = "published",
        /// Put off without costing an attempt.
        Snoozed = "snoozed",
        /// To be tried again, at the cost of an attempt.
        Retry = "retry",
        /// Given up for good.
        Failed = "failed",
        /// To be reconciled.
        Unknown = "unknown",
    }

    /// How staging one file ended.
    pub UploadEnd {
        /// X has the media and has processed it.
        Ready = "ready",
        /// X or crier refused the file for good.
        Failed = "failed",
        /// Put off: a limit, a file not there yet, a shutdown.
        Snoozed = "snoozed",
    }

    /// How a refresh of an access token ended.
    pub RefreshEnd {
        /// The new tokens are durable.
        Ok = "ok",
        /// Another worker was at it.
        Busy = "busy",
        /// X said for good that the grant is gone.
        Dead = "dead",
        /// No answer that decides.
        Error = "error",
    }

    /// What the holder of a lease was doing.
    pub LeasePhase {
        /// Nothing has left for X.
        Claimed = "claimed",
        /// The create call may have left.
        Sending = "sending",
        /// Media is being uploaded.
        Staging = "staging",
        /// An unknown outcome is being looked up.
        Reconciling = "reconciling",
        /// Tokens are being refreshed.
        Refreshing = "refreshing",
    }

    /// What settled an unknown outcome.
    pub UnknownEnd {
        /// The post was found in the account's own posts.
        Found = "found",
        /// It was looked for long enough and is not there.
        Absent = "absent",
        /// A person said so.
        Operator = "operator",
        /// X refused a later try as duplicate content.
        Duplicate = "duplicate",
    }

    /// What the early check of a new job found.
    pub CheckEnd {
        /// Nothing to object to.
        Ok = "ok",
        /// A fault that may still mend itself.
        Warning = "warning",
        /// A fault that cannot mend itself.
        Failed = "failed",
    }

    /// Tables that change much, and get slow when Postgres cannot clean up.
    pub HotTable {
        /// Lanes.
        Lanes = "lanes",
        /// Leases.
        Leases = "leases",
        /// Jobs that have not ended.
        JobsOpen = "jobs_open",
        /// The ledger.
        Attempts = "attempts",
        /// Uploads.
        MediaUploads = "media_uploads",
        /// The inbox of the scheduler.
        LaneSignals = "lane_signals",
    }

    /// A folder that crier needs room in.
    pub Folder {
        /// Files that rows name.
        Media = "media",
        /// Files of the web on their way to X.
        Spool = "spool",
    }

    /// How one try of a webhook ended.
    pub HookEnd {
        /// The receiver took it.
        Delivered = "delivered",
        /// It did not, and is told again later.
        Failed = "failed",
        /// It did not, and was given up.
        Dead = "dead",
    }

    /// What came of reading the settings anew.
    pub(crate) ReloadEnd {
        /// What may change while the process runs has changed.
        Ok = "ok",
        /// They cannot be used: everything stayed as it was.
        Refused = "refused",
    }

    /// What became of one slot of a recurring post.
    pub SlotEnd {
        /// A job was inserted.
        Created = "created",
        /// The slot was left out.
        Skipped = "skipped",
        /// The job was already there.
        Duplicate = "duplicate",
    }

    /// Whether crier may publish for an account.
    pub AccountStatus {
        /// It may.
        Active = "active",
        /// Its grant is dead: a person must log in again.
        NeedsLogin = "needs_login",
        /// A person paused it.
        Paused = "paused",
        /// X suspended or locked it.
        Suspended = "suspended",
    }

    /// Whether crier may publish through a developer app.
    pub AppStatus {
        /// It may.
        Active = "active",
        /// X's answers stopped it: no money, not enrolled, suspended, a wrong secret.
        Paused = "paused",
        /// Its monthly budget is spent.
        BudgetSpent = "budget_spent",
    }

    /// What a connection of the pool is doing.
    pub(crate) PoolState {
        /// Nothing.
        Idle = "idle",
        /// Serving a query.
        Used = "used",
    }
}
