//! Refreshed tokens between X's answer and the database.
//!
//! **Invariant:** from the moment that X's answer is read until the database has it, it is held: in memory by the process,
//! which tries again as long as it lives, and in a file of the rescue folder. A file is sealed as in the database, readable
//! for its owner alone, whole or not there, and changes nothing unless it fits.
//!
//! Why a file, and before the first try rather than after a failed one: X gives the pair once and has spent the old one, so
//! whoever dies between the answer and the commit takes the grant along. The commit takes as long as the network and the
//! database like, minutes if it is down; the file takes milliseconds of a disk that is here. A refresh comes once in two
//! hours, so that its cost does not count. What it does not help against is losing the machine in that very moment.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use crier_core::failpoint::{self, Deed};
use crier_store::{Lease, Rotation, Store, StoreError};
use uuid::Uuid;

/// What the names of the files begin with.
const PREFIX: &str = "crier-tokens-";
/// What they end with.
const SUFFIX: &str = ".sealed";
/// No file of ours is larger.
const MOST_BYTES: u64 = 64 * 1024;
/// What writing one is called as a point at which a process may die.
const RESCUED: &str = "refreshed tokens";
/// Longest wait between two tries to make refreshed tokens durable.
const SAVE_PAUSE: Duration = Duration::from_secs(5);

/// Tokens that X has given and the database has not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Handle of the account.
    pub handle: String,
    /// Where they are kept beside the memory of this process.
    pub file: Option<PathBuf>,
}

/// The folder, and what this process holds. Clones share it.
#[derive(Debug, Clone)]
pub struct Rescue {
    folder: PathBuf,
    held: Arc<Mutex<BTreeMap<i64, Held>>>,
}

impl Rescue {
    /// With its folder, which need not be there.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            held: Arc::default(),
        }
    }

    /// What the database has not taken yet.
    pub fn held(&self) -> Vec<Held> {
        self.lock().values().cloned().collect()
    }

    pub(crate) fn holds(&self, account: i64) -> bool {
        self.lock().contains_key(&account)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<i64, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes refreshed tokens durable: a file first, then the database, again and again as long as this process lives.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if another grant was brought meanwhile: it stays, and these tokens are dropped.
    pub(crate) async fn keep(
        &self,
        store: &Store,
        lease: &Lease,
        rotation: &Rotation,
    ) -> Result<(), StoreError> {
        let held = |file| Held {
            handle: rotation.handle.clone(),
            file,
        };
        self.lock().insert(lease.account, held(None));
        let file = self.write(store, rotation).await;
        self.lock().insert(lease.account, held(file.clone()));
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(SAVE_PAUSE)
            .without_max_times()
            .build();
        let kept = loop {
            match store
                .finish_refresh(lease, rotation.spent, &rotation.tokens)
                .await
            {
                Err(error @ (StoreError::Database(_) | StoreError::Connect(_))) => tracing::warn!(
                    account_id = lease.account,
                    code = error.code(),
                    "the refreshed tokens of `{}` could not be kept, trying again: {error}",
                    rotation.handle
                ),
                ended => break ended,
            }
            tokio::time::sleep(pauses.next().unwrap_or(SAVE_PAUSE)).await;
        };
        match &kept {
            Ok(()) | Err(StoreError::LeaseLost { .. }) => {
                self.lock().remove(&lease.account);
                if let Some(file) = file {
                    self.forget(&file).await;
                }
            }
            Err(_) => {}
        }
        if let Err(error) = &kept {
            tracing::error!(
                account_id = lease.account,
                code = error.code(),
                "refreshed tokens of `{}` were not kept: {error}",
                rotation.handle
            );
        }
        kept
    }

    /// Writes a rotation into the folder; none if that cannot be.
    async fn write(&self, store: &Store, rotation: &Rotation) -> Option<PathBuf> {
        let folder = self.folder.clone();
        let (account, name) = (rotation.account, file_name(rotation.account));
        let sealed = store.seal_rotation(rotation).map_err(io::Error::other);
        let written = tokio::task::spawn_blocking(move || put(&folder, &name, &sealed?)).await;
        match written.unwrap_or_else(|crash| Err(io::Error::other(crash))) {
            Ok(path) => Some(path),
            Err(error) => {
                tracing::warn!(
                    account_id = account,
                    "refreshed tokens are in memory alone until the database has them, since `{}` cannot be written: {error}; set `secrets.rescue_dir`",
                    self.folder.display()
                );
                None
            }
        }
    }

    /// What lies in the folder and opens.
    pub(crate) async fn found(&self, store: &Store) -> Vec<(PathBuf, Rotation)> {
        let folder = self.folder.clone();
        let files = tokio::task::spawn_blocking(move || files(&folder)).await;
        let mut found = Vec::new();
        for (path, bytes) in files.unwrap_or_default() {
            match store.open_rotation(&bytes) {
                Ok(rotation) => found.push((path, rotation)),
                Err(error) => tracing::warn!(
                    code = error.code(),
                    "`{}` holds refreshed tokens that cannot be read here: {error}",
                    path.display()
                ),
            }
        }
        found
    }

    /// Removes a file.
    pub(crate) async fn forget(&self, file: &Path) {
        let path = file.to_owned();
        let removed = tokio::task::spawn_blocking(move || fs::remove_file(path)).await;
        if let Ok(Err(error)) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("`{}` cannot be removed: {error}", file.display());
        }
    }
}

fn file_name(account: i64) -> String {
    format!("{PREFIX}{account}-{}{SUFFIX}", Uuid::new_v4().simple())
}

/// A file under its name only once all of it is on the disk.
fn put(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    failpoint::before(Deed::File, RESCUED);
    fs::create_dir_all(folder)?;
    let path = folder.join(name);
    let begun = folder.join(format!("{name}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&begun)?;
    // What a command of root leaves is for the service to find, which runs as the owner of the folder.
    let (owner, ours) = (fs::metadata(folder)?, file.metadata()?);
    if owner.uid() != ours.uid() {
        let _ = fchown(&file, Some(owner.uid()), Some(owner.gid()));
    }
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&begun, &path));
    if let Err(error) = written {
        let _ = fs::remove_file(&begun);
        return Err(error);
    }
    // The name, too; not every file system can.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    failpoint::after(Deed::File, RESCUED);
    Ok(path)
}

/// Every file of the folder that looks like ours. Others may write there: only plain files of some bytes are read.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let ours = |name: &str| name.starts_with(PREFIX) && name.ends_with(SUFFIX);
    entries
        .flatten()
        .filter(|entry| ours(&entry.file_name().to_string_lossy()))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter_map(|entry| {
            let mut bytes = Vec::new();
            let file = File::open(entry.path())
                .inspect_err(|error| {
                    tracing::warn!(
                        "`{}` may hold refreshed tokens and cannot be read: {error}",
                        entry.path().display()
                    );
                })
                .ok()?;
            file.take(MOST_BYTES + 1).read_to_end(&mut bytes).ok()?;
            (u64::try_from(bytes.len()).is_ok_and(|bytes| bytes <= MOST_BYTES))
                .then(|| (entry.path(), bytes))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_whole_and_private_and_nothing_else_is_read() {
        let folder = std::env::temp_dir().join(format!("crier-rescue-{}", Uuid::new_v4()));
        assert_eq!(files(&folder), [], "no folder, nothing there");
        let name = file_name(7);
        let path = put(&folder, &name, b"sealed").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(
            put(&folder, &name, b"other").is_ok(),
            "a name is taken over whole"
        );
        fs::write(folder.join(format!("{PREFIX}begun{SUFFIX}.new")), b"ha").unwrap();
        fs::write(folder.join("of-somebody-else"), b"x").unwrap();
        fs::create_dir(folder.join(format!("{PREFIX}folder{SUFFIX}"))).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.join(format!("{PREFIX}1{SUFFIX}"))).unwrap();
        let large = vec![0; usize::try_from(MOST_BYTES).unwrap() + 1];
        fs::write(folder.join(format!("{PREFIX}2{SUFFIX}")), large).unwrap();
        assert_eq!(files(&folder), [(path, b"other".to_vec())]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_root_leaves_is_for_the_owner_of_the_folder() {
        let folder = std::env::temp_dir().join(format!("crier-rescue-{}", Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        // Only root may; whoever else runs this owns both.
        let _ = std::os::unix::fs::chown(&folder, Some(12_345), Some(23_456));
        let owner = fs::metadata(&folder).unwrap();
        let path = put(&folder, &file_name(7), b"sealed").unwrap();
        let left = fs::metadata(path).unwrap();
        assert_eq!((left.uid(), left.gid()), (owner.uid(), owner.gid()));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_is_an_error_and_leaves_nothing() {
        assert!(put(Path::new("/dev/null/folder"), "name", b"x").is_err());
    }
}
