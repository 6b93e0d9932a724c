//! Where Postgres' server programs are.
//!
//! **Invariant:** what is found is version 15 or newer; a folder that the user named is used or refused, never passed
//! over.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::config::Environment;
use crate::exit::Refusal;

/// crier's tables need what this version brought.
const OLDEST: u32 = 15;
/// Where Debian and Ubuntu put them, by version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Server programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binaries {
    /// Their folder.
    pub(crate) folder: PathBuf,
    /// What they say they are, such as `PostgreSQL 15.8`.
    pub(crate) version: String,
}

/// In `CRIER_PG_BIN`, then in `PATH`, then where Debian puts them, the highest version first.
pub(crate) fn find(environment: &Environment) -> anyhow::Result<Binaries> {
    if let Some(named) = &environment.pg_bin {
        return match usable(named) {
            Some(found) => Ok(found),
            None => Refusal::new(format!(
                "`CRIER_PG_BIN` is `{}`, which has no initdb and postgres of version {OLDEST} or newer",
                named.display()
            ))
            .hint("unset it, or name the folder of the server programs, such as /usr/lib/postgresql/15/bin")
            .fail(),
        };
    }
    let found = candidates(&environment.path)
        .iter()
        .find_map(|folder| usable(folder));
    match found {
        Some(found) => Ok(found),
        None => Refusal::new(format!("no PostgreSQL server programs of version {OLDEST} or newer were found"))
            .hint("`apt-get install postgresql` brings them; elsewhere CRIER_PG_BIN names the folder with initdb and postgres")
            .fail(),
    }
}

fn candidates(path: &OsStr) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for folder in std::env::split_paths(path).filter(|folder| folder.join("initdb").exists()) {
        // The programs look for their libraries beside what the link leads to.
        if let Ok(real) = folder.join("initdb").canonicalize()
            && let Some(real) = real.parent()
        {
            folders.push(real.to_owned());
        }
        folders.push(folder);
    }
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    folders.extend(versions.into_iter().map(|(_, folder)| folder));
    folders
}

fn usable(folder: &Path) -> Option<Binaries> {
    if !folder.join("initdb").is_file() {
        return None;
    }
    let said = Command::new(folder.join("postgres"))
        .arg("-V")
        .output()
        .ok()?;
    let (number, version) = parse(&String::from_utf8_lossy(&said.stdout))?;
    (number >= OLDEST).then_some(Binaries {
        folder: folder.canonicalize().ok()?,
        version,
    })
}

/// `postgres (PostgreSQL) 15.8 (Debian …)`.
fn parse(said: &str) -> Option<(u32, String)> {
    let version = said.trim().strip_prefix("postgres (PostgreSQL) ")?;
    let version = version.split_whitespace().next()?;
    let major: String = version.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, format!("PostgreSQL {version}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_in_every_form() {
        for (said, wanted) in [
            (
                "postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)\n",
                Some((15, "PostgreSQL 15.8")),
            ),
            (
                "postgres (PostgreSQL) 18beta1\n",
                Some((18, "PostgreSQL 18beta1")),
            ),
            ("postgres: not here", None),
            ("postgres (PostgreSQL) \n", None),
        ] {
            assert_eq!(
                parse(said),
                wanted.map(|(n, v)| (n, v.to_owned())),
                "{said}"
            );
        }
    }

    #[test]
    fn a_named_folder_is_used_or_refused() {
        let environment = Environment {
            pg_bin: Some("/nowhere".into()),
            ..Environment::default()
        };
        let error = find(&environment).unwrap_err().to_string();
        assert!(error.contains("`/nowhere`"), "{error}");
    }
}
