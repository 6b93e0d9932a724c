//! Users.
//!
//! Invariant: a handle names one user whatever its case, as on X.

use std::collections::HashMap;

/// A user.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) id: String,
    /// As written when it was made, without `@`.
    pub(crate) username: String,
    pub(crate) name: String,
    pub(crate) premium: bool,
    /// Life of this user's access tokens in seconds.
    pub(crate) expires_in: u64,
    /// The app of the newest grant.
    pub(crate) client_id: String,
    pub(crate) standing: Standing,
}

/// How X stands to a user (x-api.md 4.6 and 6.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    #[default]
    Active,
    Suspended,
    /// Until the user has proven to be one.
    Locked,
    /// Reads only.
    ReadOnly,
    /// Posts appear to succeed and are never stored.
    Silenced,
}

/// All users.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    by_id: HashMap<String, Account>,
    by_handle: HashMap<String, String>,
    order: Vec<String>,
}

impl Accounts {
    /// The user of that id.
    pub(crate) fn get(&self, id: &str) -> Option<&Account> {
        self.by_id.get(id)
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Account> {
        self.by_id.get_mut(id)
    }

    /// The user of that handle, written without `@`.
    pub(crate) fn by_handle(&self, handle: &str) -> Option<&Account> {
        let id = self.by_handle.get(&handle.to_ascii_lowercase())?;
        self.by_id.get(id)
    }

    /// The handle of that id; empty if there is none.
    pub(crate) fn handle(&self, id: &str) -> String {
        self.get(id)
            .map(|account| account.username.clone())
            .unwrap_or_default()
    }

    /// Adds a user whose id and handle are both new.
    pub(crate) fn insert(&mut self, account: Account) {
        self.by_handle
            .insert(account.username.to_ascii_lowercase(), account.id.clone());
        self.order.push(account.id.clone());
        self.by_id.insert(account.id.clone(), account);
    }

    /// All users in the order of their making.
    pub(crate) fn list(&self) -> impl Iterator<Item = &Account> {
        self.order.iter().filter_map(|id| self.by_id.get(id))
    }
}
