//! Who runs the private Postgres: ourselves, or, since Postgres refuses root, another user.
//!
//! **Invariant:** what runs as another user has none of root's groups and none of our settings of libpq.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use anyhow::Context;
use tokio::process::Command;

use crate::exit::Refusal;

/// Settings of libpq, which are meant for another server.
const LIBPQ: [&str; 13] = [
    "PGDATA",
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGUSER",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGDATABASE",
    "PGOPTIONS",
    "PGSERVICE",
    "PGSSLMODE",
    "PGSSLROOTCERT",
    "PGTZ",
];

/// Who runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Another user and its group, if we are root.
    other: Option<(u32, u32)>,
}

impl Owner {
    /// Ourselves, or the user of this name if we are root.
    pub(crate) fn find(name: &str) -> anyhow::Result<Self> {
        if id(&["-u"])? != Some(0) {
            return Ok(Self { other: None });
        }
        match (id(&["-u", name])?, id(&["-g", name])?) {
            (Some(0), _) => Refusal::new("Postgres refuses to run as root")
                .hint("set `database.embedded_user` to a user without rights, such as `nobody`")
                .fail(),
            (Some(user), Some(group)) => Ok(Self {
                other: Some((user, group)),
            }),
            _ => Refusal::new(format!("there is no user `{name}` to run Postgres as"))
                .hint("set `database.embedded_user` to one that exists")
                .fail(),
        }
    }

    /// A command that runs as the owner, away from the caller's folder, which the owner may not enter.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/");
        for name in LIBPQ {
            command.env_remove(name);
        }
        if let Some((user, group)) = self.other {
            command.gid(group).uid(user);
        }
        command
    }

    /// Makes a file or folder the owner's.
    pub(crate) fn give(&self, path: &Path) -> anyhow::Result<()> {
        if let Some((user, group)) = self.other {
            chown(path, Some(user), Some(group))
                .with_context(|| format!("`{}` cannot be given to another user", path.display()))?;
        }
        Ok(())
    }

    /// Whether the owner can get to a folder: Postgres' own words about it name no cause.
    pub(crate) fn check_way(&self, folder: &Path) -> anyhow::Result<()> {
        if self.other.is_none() {
            return Ok(());
        }
        let closed = folder.ancestors().skip(1).find(|above| {
            std::fs::metadata(above).is_ok_and(|of| {
                of.permissions().mode() & 0o001 == 0
                    && self.other.map(|(user, _)| user) != Some(of.uid())
            })
        });
        match closed {
            None => Ok(()),
            Some(above) => Refusal::new(format!(
                "Postgres refuses to run as root, and the user it would run as may not enter `{}`",
                above.display()
            ))
            .hint("set `database.embedded_folder` to a folder that all may enter, such as /var/lib/crier, or run crier as an ordinary user")
            .fail(),
        }
    }
}

/// What `id` says, or nothing if it knows no such user.
fn id(words: &[&str]) -> anyhow::Result<Option<u32>> {
    let output = std::process::Command::new("id")
        .args(words)
        .output()
        .context("the program `id` cannot be started")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
}
