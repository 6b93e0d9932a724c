//! What can happen, as plain values: a list of them is a test case, and what is printed can be pasted.
//!
//! **Invariant:** a value that points at something counts in what is there when its turn comes, modulo their number; so a
//! list stays meaningful when operations are taken out of it.

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// A person inserts a row.
    Insert(Draft),
    /// The database's clock moves by so many seconds.
    Wait(u16),
    /// Nothing runs for so many days.
    Days(u8),
    /// The database's clock goes back by so many seconds.
    Back(u8),
    /// The store's session fails in the n-th write from now on.
    Cut(u8),
    /// A worker (of three) does something.
    Work(u8, Work),
    /// A scheduler (of two) does something; whether it leads is another matter, since two may believe it.
    Schedule(u8, Schedule),
    /// A person does something.
    Person(Person),
    /// A person does something in a transaction that stays open.
    Long(Long),
    /// Somebody's open transaction holds a row while something is done that must pass over it.
    Held(Row, Passer),
}

/// A row to insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) account: u8,
    pub(crate) text: Text,
    pub(crate) media: u8,
    pub(crate) after: Option<u8>,
    pub(crate) in_s: i16,
    pub(crate) priority: i16,
    pub(crate) campaign: bool,
    pub(crate) key: Option<u8>,
    pub(crate) late_s: Option<u16>,
    pub(crate) most: i16,
}

impl Draft {
    /// A post of text that is due at once.
    pub(crate) const PLAIN: Self = Self {
        account: 0,
        text: Text::Own,
        media: 0,
        after: None,
        in_s: 0,
        priority: 0,
        campaign: false,
        key: None,
        late_s: None,
        most: 8,
    };
}

/// Its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    /// Nobody else's.
    Own,
    /// The same as that of others.
    Common,
    /// One whose check finds a fault that cannot mend itself.
    Bad,
    /// One whose check finds a fault that may pass.
    Odd,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Claims up to so many lanes.
    Claim(u8),
    /// Does the next step of a job in hand.
    Post(u8, Post),
    /// Claims up to so many files.
    ClaimUploads(u8),
    /// Does the next step of a file in hand.
    Upload(u8, Upload),
    /// Claims up to so many searches.
    ClaimLooks(u8),
    /// Does the next step of a search in hand.
    Look(u8, Look),
    /// Takes the right to refresh an account's token.
    Refresh(u8),
    /// Does the next step of a refresh in hand.
    Token(u8, Token),
    /// Asks X, if it is time to, whether what X stopped may go on.
    Probe(Probe),
    /// Renews all its leases.
    Renew,
    /// Dies with all that it holds; another process starts in its place.
    Die,
}

/// How the next step of a job in hand goes, where it may go in several ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Post {
    /// Well.
    Well,
    /// Before the call: another process refreshes the token.
    TokenBusy,
    /// Before the call: the token cannot be had, which costs an attempt.
    TokenFault,
    /// Before the call: the row cannot be sent.
    Broken,
    /// The intent is written, but the worker does not hear of it.
    IntentUnheard,
    /// The call is lost on its way to X.
    RequestLost,
    /// X does it, and the answer is lost.
    AnswerLost,
    /// X does it so many seconds later, and the answer is lost.
    Late(u8),
    /// The call surely did not reach X.
    NotSent,
    /// X refuses for good.
    Refused,
    /// X does not take the media.
    MediaRefused,
    /// X has suspended the account.
    Suspended,
    /// The app has no credits.
    NoCredits,
    /// After the call: the database cannot be reached to write the outcome.
    Cut,
    /// After the call: the outcome is written, but the worker does not hear of it and writes it again.
    SettledUnheard,
}

/// How the next step of a file in hand goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upload {
    /// Well; its media id lives long.
    Well,
    /// Well; its media id lives for some minutes only.
    Short,
    /// Put off at the cost of an attempt, with a new session.
    PutOff,
    /// Put off as a warning.
    Missing,
    /// It can never be posted.
    Failed,
    /// Given back.
    Release,
}

/// How the next step of a search in hand goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Well.
    Well,
    /// X does not answer.
    Unread,
    /// X's limit on reading is used up.
    Limited,
    /// The account may not read.
    Forbidden,
}

/// How the next step of a refresh in hand goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// Well.
    Well,
    /// X does not refresh now.
    Refused,
    /// X does it, and the answer is lost.
    AnswerLost,
    /// The new tokens are kept, but the worker does not hear of it and keeps them again.
    Unheard,
}

/// What X says to a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe {
    Taken,
    Refused,
}

/// What a scheduler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// Applies up to so many signals.
    Signals(u8),
    /// Takes back leases of publishing.
    Expire,
    /// Takes back leases of uploads.
    ExpireUploads,
    /// Takes back leases of searches.
    ExpireLooks,
    /// Ends jobs that are too late.
    Missed,
    /// Reads checks that are due.
    ReadChecks,
    /// Acts on the checks it has read, however long ago.
    ActOnChecks,
    /// Sweeps replies that wait.
    Held,
    /// Sweeps files that are not planned as they should be.
    Uploads,
    /// Sweeps lanes.
    Lanes,
    /// Reads recurring posts that are due.
    ReadRecurring,
    /// Makes jobs of what it has read, however long ago.
    Expand,
    /// Drops history older than so many days.
    Trim(u8),
    /// Folds kept numbers.
    Fold,
    /// Takes or renews leadership.
    Lead,
    /// Gives it back.
    Resign,
}

/// What a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Person {
    Cancel(u8),
    Retry(u8),
    Edit(u8, Edit),
    PauseCampaign,
    ResumeCampaign,
    CancelCampaign,
    PauseAccount(u8),
    ResumeAccount(u8),
    PauseApp(u8),
    /// Logs in anew.
    Login(u8),
    /// Looks at X and settles an unknown job, truthfully.
    Settle(u8),
    /// Deletes the row.
    Delete(u8),
    /// Schedules it again by hand, whatever its state.
    Revive(u8),
    /// Has its post deleted from X.
    Unpublish(u8, Deleted),
    /// Bounds what an account's app may cost a month, in posts.
    Budget(u8, Option<u8>),
    /// Does something to a recurring post (of two).
    Recur(u8, Recur),
}

/// How the deletion of a post goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deleted {
    Well,
    Refused,
    /// X does it, and the answer is lost.
    AnswerLost,
}

/// What a person does to a recurring post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recur {
    /// Inserts it, for an account.
    New(u8),
    /// Changes its text.
    Text,
    /// Changes its times.
    Cron,
    Pause,
    Resume,
    Delete,
}

/// What a person does in a transaction that stays open. Others see nothing of it until it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Long {
    Insert(Draft),
    Do(Person),
    Commit,
    Rollback,
}

/// What a person changes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edit {
    Text,
    RunAt(i16),
    Priority(i16),
    Account(u8),
    Media(u8),
    After(Option<u8>),
    Lateness(Option<u16>),
    Pause,
    Resume,
}

/// A row that somebody holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    Job(u8),
    Lane(u8),
    Upload(u8),
    Search(u8),
    Signal(u8),
    /// Of an upload or a search.
    Lease(u8),
}

/// What must pass over a row that somebody holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passer {
    Claim,
    ClaimUploads,
    ClaimLooks,
    Signals,
    Expire,
    ExpireUploads,
    ExpireLooks,
    Missed,
    Held,
    Uploads,
    Lanes,
}
