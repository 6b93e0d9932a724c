//! The folder of `crier run --embedded`: a Postgres that is kept, its password, and the key that seals tokens.
//!
//! **Invariant:** one process at a time has the folder; what another left behind by dying is stopped or cleared before
//! anything new is started on it.

use std::fs::{File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use base64::Engine;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::user::Owner;
use super::{Server, ServerOptions, binaries, write_private};
use crate::config::{Config, Pooler};
use crate::exit::{Refusal, Refuse};
use crate::processes::{Signal, signal};
use crate::screen::note;

/// Longest wait for a server that a dead process left behind.
const LEFT_OVER: Duration = Duration::from_secs(30);

/// What a private Postgres puts into the settings.
#[derive(Debug, Clone)]
pub(crate) struct Adopted {
    url: SecretString,
    key_file: PathBuf,
}

impl Adopted {
    /// Puts the server, and the key unless one is set, into the settings.
    pub(crate) fn give_to(&self, config: &mut Config) {
        config.database.url = Some(self.url.clone());
        config.database.direct_url = None;
        config.database.direct_url_file = None;
        config.database.pooler = Pooler::None;
        if config.secrets.key.is_none() && config.secrets.key_file.is_none() {
            config.secrets.key_file = Some(self.key_file.clone());
        }
    }
}

/// The folder, and the server that runs on it.
#[derive(Debug)]
pub(crate) struct Home {
    folder: PathBuf,
    server: Server,
    /// Held as long as we live.
    _lock: File,
}

impl Home {
    /// Opens the folder, made if it is not there, and starts its server.
    pub(crate) async fn open(config: &Config, stop: &CancellationToken) -> anyhow::Result<Self> {
        let binaries = binaries::find(&config.environment)?;
        let owner = Owner::find(&config.database.embedded_user)?;
        let folder = &config.database.embedded_folder;
        std::fs::create_dir_all(folder)
            .refused(format!("the folder `{}` cannot be made", folder.display()))?;
        let folder = folder.canonicalize()?;
        let lock = lock(&folder)?;
        let home = folder.join("postgres");
        if !home.exists() {
            std::fs::DirBuilder::new().mode(0o700).create(&home)?;
        }
        owner.give(&home)?;
        owner.check_way(&home)?;
        clear_left_over(&home.join("data")).await?;
        let password = kept(&folder.join("password"), || {
            uuid::Uuid::new_v4().simple().to_string()
        })?;
        kept(&folder.join("secrets.key"), new_key)?;
        let port = std::fs::read_to_string(folder.join("port"))
            .ok()
            .and_then(|port| port.trim().parse().ok());
        let options = ServerOptions {
            bin: &binaries.folder,
            path: &config.environment.path,
            owner: &owner,
            folder: home,
            password,
            port,
            durable: true,
        };
        let server = tokio::select! {
            server = Server::start(&options) => server?,
            () = stop.cancelled() => bail!("stopped before Postgres was ready"),
        };
        write_private(&folder.join("port"), &server.port().to_string())?;
        let home = Self {
            folder,
            server,
            _lock: lock,
        };
        let environment = format!(
            "export DATABASE_URL={}\nexport CRIER__SECRETS__KEY_FILE='{}'\n",
            home.server.url(),
            home.key_file().display()
        );
        write_private(&home.environment_file(), &environment)?;
        Ok(home)
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What a shell reads to reach the server while it runs.
    pub(crate) fn environment_file(&self) -> PathBuf {
        self.folder.join("env")
    }

    fn key_file(&self) -> PathBuf {
        self.folder.join("secrets.key")
    }

    /// What goes into the settings.
    pub(crate) fn adopted(&self) -> Adopted {
        Adopted {
            url: self.server.url().into(),
            key_file: self.key_file(),
        }
    }

    /// Stops the server.
    pub(crate) async fn close(self) {
        let file = self.environment_file();
        self.server.stop().await;
        let _ = std::fs::remove_file(file);
    }
}

/// The lock goes with the process, however it ends: it is never stale.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .refused(format!("`{}` cannot be written", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Refusal::new(format!(
            "another `crier run --embedded` has the folder `{}`",
            folder.display()
        ))
        .hint(format!(
            "use its database: . {}; or set `database.embedded_folder` to another folder",
            folder.join("env").display()
        ))
        .fail(),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("`{}` cannot be locked", path.display()))
        }
    }
}

/// A server that a killed process left running is stopped; a file that names a process of others is cleared away.
async fn clear_left_over(data: &Path) -> anyhow::Result<()> {
    let file = data.join("postmaster.pid");
    let Ok(text) = std::fs::read_to_string(&file) else {
        return Ok(());
    };
    let Some(pid) = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse::<u32>().ok())
    else {
        return Ok(());
    };
    let proc = PathBuf::from(format!("/proc/{pid}"));
    if !Path::new("/proc/self").exists() {
        // Without /proc there is no telling: Postgres itself knows what to do with a file of a dead process.
        return Ok(());
    }
    // A server's working folder is its data folder; of a process that is not ours it cannot be read.
    let is_server = || std::fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd == data);
    if !is_server() {
        if proc.exists() {
            note(&format!(
                "process {pid} is no server of this folder: its number was taken over, and the file that names it is removed"
            ));
        }
        std::fs::remove_file(&file)?;
        return Ok(());
    }
    note(&format!(
        "a server that was left behind (process {pid}) is stopped first"
    ));
    signal(pid, Signal::Int);
    let begin = Instant::now();
    while is_server() {
        if begin.elapsed() > LEFT_OVER {
            return Refusal::new(format!(
                "the server that was left behind, process {pid}, does not stop"
            ))
            .hint(format!("look at it, then end it: kill -QUIT {pid}"))
            .fail();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// What a file holds; made if it is not there.
fn kept(path: &Path, make: impl Fn() -> String) -> anyhow::Result<String> {
    if let Ok(text) = std::fs::read_to_string(path) {
        return Ok(text.trim().to_owned());
    }
    let text = make();
    write_private(path, &text)?;
    Ok(text)
}

/// 32 bytes in base64.
pub(crate) fn new_key() -> String {
    base64::engine::general_purpose::STANDARD.encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Temp(PathBuf);

    impl Temp {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("crier-home-{}", uuid::Uuid::new_v4()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Temp {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn one_process_has_the_folder() {
        let folder = Temp::new();
        let held = lock(&folder.0).unwrap();
        let error = lock(&folder.0).unwrap_err().to_string();
        assert!(error.contains("another"), "{error}");
        drop(held);
        lock(&folder.0).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_names_a_process_of_others_is_cleared_away() {
        let folder = Temp::new();
        let file = folder.0.join("postmaster.pid");
        // This very process is alive and no server.
        std::fs::write(&file, format!("{}\nelse\n", std::process::id())).unwrap();
        clear_left_over(&folder.0).await.unwrap();
        assert!(!file.exists());
        clear_left_over(&folder.0).await.unwrap();
    }

    #[test]
    fn what_was_made_once_is_kept() {
        let folder = Temp::new();
        let path = folder.0.join("secrets.key");
        let key = kept(&path, new_key).unwrap();
        assert_eq!(kept(&path, new_key).unwrap(), key);
        assert!(crier_store::SealKey::from_base64(&key.into()).is_ok());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}
