//! The spool: fetched files on their way to X, on disk, where no name leads to them.
//!
//! **Invariant:** a file of the spool loses its name as soon as it is open, so the system frees it when its worker is done
//! or dead, however it died. A name can be left over only by a death between two calls; [`sweep`] removes such names, also
//! beside other workers of the same folder: nobody needs the name of a file that is open.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crier_core::failpoint::{self, Deed};
use uuid::Uuid;

/// What the names of the spool begin with, for as long as they are there.
const PREFIX: &str = "crier-fetch-";
/// What the loss of a name is called as a point at which a process may die.
const UNNAMED: &str = "spool name";

/// A new file of the folder, which is made if it is not there. It blocks.
pub(crate) fn file(folder: &Path) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{PREFIX}{}", Uuid::new_v4()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    failpoint::before(Deed::File, UNNAMED);
    match fs::remove_file(&path) {
        Ok(()) => {}
        // Another worker's sweep was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    failpoint::after(Deed::File, UNNAMED);
    Ok(file)
}

/// Removes names that dead workers left behind; answers how many. It blocks.
pub(crate) fn sweep(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter(|entry| fs::remove_file(entry.path()).is_ok())
        .count()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;

    #[test]
    fn a_spooled_file_has_no_name_and_what_dead_workers_left_is_removed() {
        let folder = std::env::temp_dir().join(format!("crier-spool-{}", Uuid::new_v4()));
        assert_eq!(sweep(&folder), 0, "no folder, nothing to sweep");
        let mut held = file(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        held.write_all(b"bytes").unwrap();
        let left = folder.join(format!("{PREFIX}left"));
        fs::write(&left, b"x").unwrap();
        fs::write(folder.join("of-somebody-else"), b"x").unwrap();
        fs::create_dir(folder.join(format!("{PREFIX}folder"))).unwrap();
        assert_eq!(sweep(&folder), 1);
        assert!(!left.exists());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        let mut text = String::new();
        held.rewind().unwrap();
        held.read_to_string(&mut text).unwrap();
        assert_eq!(text, "bytes", "what is in hand stays");
        fs::remove_dir_all(&folder).unwrap();
    }
}
