//! The media folder: what a row's path leads to.
//!
//! **Invariant:** only a regular file that lies below the folder, links followed, is ever read, and opening waits for nothing,
//! whatever is put in the way at that very moment; of its content at most one segment is in memory. **Invariant:** a file
//! is known by its size and both its times: what was written or replaced since, and then dated back, is another file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use crier_core::fault::Fault;
use crier_core::media::{Measure, MediaKind, measure, safe_relative, sniff};

/// So much of a file tells what it is: `sniff` looks no further.
const HEAD_BYTES: usize = 4096;

/// A file as its own bytes describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenFile {
    /// What its first bytes say it is; `None`: nothing that X takes.
    pub kind: Option<MediaKind>,
    /// Its size.
    pub bytes: u64,
    /// What it says of itself.
    pub measure: Measure,
}

/// A file of the media folder or of the spool, open.
#[derive(Debug, Clone)]
pub(crate) struct MediaFile {
    file: Arc<File>,
    /// Where it was opened; `None` in the spool, where nobody else can change it.
    path: Option<PathBuf>,
    /// Size and modification time as it was opened: a file that changed is another file. In the spool, a hash of it.
    pub(crate) stamp: String,
    /// What its bytes say.
    pub(crate) seen: SeenFile,
    /// Its size.
    pub(crate) bytes: u64,
    /// Its first bytes.
    pub(crate) head: Vec<u8>,
}

impl MediaFile {
    /// The file that a row means by `path`. A fault that is not permanent may pass: the file may come yet.
    pub(crate) async fn open(root: &Path, path: &str) -> Result<Self, Fault> {
        let relative = safe_relative(path).map_err(|fault| fault.at_step("media"))?;
        let (root, name) = (root.to_owned(), path.to_owned());
        tokio::task::spawn_blocking(move || open(&root, &relative, &name))
            .await
            .unwrap_or_else(|_| {
                Err(unreadable(
                    path,
                    &io::Error::other("the reading thread died"),
                ))
            })
    }

    /// A file of the spool, complete, known by `stamp`.
    pub(crate) async fn spooled(file: File, bytes: u64, stamp: String) -> io::Result<Self> {
        tokio::task::spawn_blocking(move || {
            let (head, seen) = look(&file, bytes)?;
            Ok(Self {
                file: Arc::new(file),
                path: None,
                stamp,
                seen,
                bytes,
                head,
            })
        })
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the reading thread died")))
    }

    /// The bytes from `from` on, `length` of them.
    pub(crate) async fn read(&self, from: u64, length: usize) -> io::Result<Bytes> {
        let file = Arc::clone(&self.file);
        tokio::task::spawn_blocking(move || {
            let mut segment = vec![0; length];
            file.read_exact_at(&mut segment, from)?;
            Ok(Bytes::from(segment))
        })
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the reading thread died")))
    }

    /// Whether the path still leads to what was opened.
    pub(crate) async fn is_unchanged(&self) -> bool {
        let Some(path) = &self.path else {
            return true;
        };
        let now = tokio::fs::metadata(path).await;
        now.is_ok_and(|now| stamp(&now) == self.stamp)
    }
}

/// What a row's path leads to, by its own bytes. It blocks; only a GIF is read to its end.
///
/// # Errors
/// A fault, passing if the file may still come, permanent if the path can never be good.
pub fn look_at_file(root: &Path, path: &str) -> Result<SeenFile, Fault> {
    let relative = safe_relative(path)?;
    Ok(open(root, &relative, path)?.seen)
}

/// The first bytes of a file, and what all of them say.
fn look(file: &File, bytes: u64) -> io::Result<(Vec<u8>, SeenFile)> {
    let mut head = vec![0; HEAD_BYTES.min(usize::try_from(bytes).unwrap_or(HEAD_BYTES))];
    file.read_exact_at(&mut head, 0)?;
    let kind = sniff(&head);
    let seen = SeenFile {
        kind,
        bytes,
        measure: kind.map_or_else(Measure::default, |kind| measure(kind, file, bytes)),
    };
    Ok((head, seen))
}

fn open(root: &Path, relative: &Path, name: &str) -> Result<MediaFile, Fault> {
    let root = root.canonicalize().map_err(|error| {
        Fault::new(
            "media_missing",
            "the media folder cannot be read",
            format!("`{}`: {error}", root.display()),
            "set `media.root` to the folder that holds the files of the rows",
        )
        .at_step("media")
        .passing()
    })?;
    let path = root
        .join(relative)
        .canonicalize()
        .map_err(|error| missing(name, &error))?;
    if !path.starts_with(&root) {
        return Err(Fault::new(
            "path_unsafe",
            "a path leads out of the media folder",
            format!("`{}` is a link to a file outside", name.escape_debug()),
            "put the file itself into the media folder",
        )
        .at_step("media"));
    }
    let before = path.metadata().map_err(|error| missing(name, &error))?;
    if !before.is_file() {
        return Err(Fault::new(
            "media_no_file",
            "a path leads to something that is not a file",
            format!("`{}` is a folder, a pipe or a device", name.escape_debug()),
            "give the path of a regular file",
        )
        .at_step("media"));
    }
    open_found(&root, path, name)
}

/// Opens what was looked at and lies below the folder; whoever swaps it meanwhile gains nothing.
fn open_found(root: &Path, path: PathBuf, name: &str) -> Result<MediaFile, Fault> {
    let file = open_at_once(&path).map_err(|error| missing(name, &error))?;
    let opened = file.metadata().map_err(|error| unreadable(name, &error))?;
    // A link that was put in the way between looking and opening leads elsewhere.
    let same = path
        .canonicalize()
        .and_then(|path| Ok((path.starts_with(root), path.metadata()?)))
        .is_ok_and(|(inside, now)| {
            inside && (now.dev(), now.ino()) == (opened.dev(), opened.ino())
        });
    // Several links at the right moments pass that, too; the kernel knows where the file lies that is open.
    let inside = place_of(&file).is_none_or(|place| place.starts_with(root));
    if !same || !inside || !opened.is_file() {
        return Err(unreadable(
            name,
            &io::Error::other("it was replaced at this very moment"),
        ));
    }
    let (head, seen) = look(&file, opened.len()).map_err(|error| unreadable(name, &error))?;
    Ok(MediaFile {
        file: Arc::new(file),
        path: Some(path),
        stamp: stamp(&opened),
        seen,
        bytes: opened.len(),
        head,
    })
}

/// Opens a path that has no links left. A pipe that has taken the place of a file would else keep this thread until somebody
/// writes to it, and a link would be followed; neither is a file, which is looked at next.
fn open_at_once(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY)
        .open(path)
}

/// Where an open file lies; `None` where the system does not tell.
fn place_of(file: &File) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

/// Anybody may set the first time, and nobody the second: it is when content, name or rights last changed.
fn stamp(of: &std::fs::Metadata) -> String {
    let ns = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let (written, changed) = (
        ns(of.mtime(), of.mtime_nsec()),
        ns(of.ctime(), of.ctime_nsec()),
    );
    format!("{}:{written}:{changed}", of.len())
}

fn missing(name: &str, error: &io::Error) -> Fault {
    if error.kind() != io::ErrorKind::NotFound {
        return unreadable(name, error);
    }
    Fault::new(
        "media_missing",
        "a file is not there",
        format!("`{}` is not in the media folder", name.escape_debug()),
        "put the file in place before `run_at`, or correct the row's `media`",
    )
    .at_step("media")
    .passing()
}

fn unreadable(name: &str, error: &io::Error) -> Fault {
    Fault::new(
        "media_unreadable",
        "a file cannot be read",
        format!("`{}`: {error}", name.escape_debug()),
        "let the user that crier runs as read it",
    )
    .at_step("media")
    .passing()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("crier-folder-{}", uuid::Uuid::new_v4()));
            std::fs::create_dir_all(path.join("root/sub")).unwrap();
            Self(path)
        }

        fn root(&self) -> PathBuf {
            self.0.join("root")
        }

        async fn fault(&self, path: &str) -> (String, bool) {
            let fault = MediaFile::open(&self.root(), path).await.expect_err(path);
            assert_eq!(&*fault.step, "media");
            (fault.code, fault.permanent)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn a_file_is_read_piece_by_piece_and_known_by_its_stamp() {
        let folder = Folder::new();
        let path = folder.root().join("sub/a.bin");
        std::fs::write(&path, b"0123456789").unwrap();
        symlink(&path, folder.root().join("inside.bin")).unwrap();
        for name in ["sub/a.bin", "./sub/a.bin", "inside.bin"] {
            let file = MediaFile::open(&folder.root(), name).await.unwrap();
            assert_eq!((file.bytes, file.head.as_slice()), (10, &b"0123456789"[..]));
            assert_eq!(file.read(3, 4).await.unwrap(), &b"3456"[..]);
            assert!(file.read(8, 4).await.is_err(), "past its end");
            assert!(file.is_unchanged().await);
        }
        let file = MediaFile::open(&folder.root(), "sub/a.bin").await.unwrap();
        std::fs::write(&path, b"0123456789+").unwrap();
        assert!(!file.is_unchanged().await);
    }

    #[tokio::test]
    async fn a_file_that_was_dated_back_is_another_file() {
        let folder = Folder::new();
        let path = folder.root().join("a.bin");
        std::fs::write(&path, b"judged").unwrap();
        let date = std::fs::metadata(&path).unwrap().modified().unwrap();
        let dated = |path: &Path| {
            let file = OpenOptions::new().write(true).open(path).unwrap();
            file.set_modified(date).unwrap();
        };
        // The clock of a file system moves in steps of some milliseconds.
        let step = || std::thread::sleep(std::time::Duration::from_millis(30));
        let file = MediaFile::open(&folder.root(), "a.bin").await.unwrap();
        step();
        std::fs::write(&path, b"evil!!").unwrap();
        dated(&path);
        assert!(!file.is_unchanged().await, "written over");
        let file = MediaFile::open(&folder.root(), "a.bin").await.unwrap();
        step();
        let other = folder.root().join("other.bin");
        std::fs::write(&other, b"worse!").unwrap();
        dated(&other);
        std::fs::rename(&other, &path).unwrap();
        assert!(!file.is_unchanged().await, "replaced");
        let file = MediaFile::open(&folder.root(), "a.bin").await.unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!file.is_unchanged().await, "gone");
        assert_eq!(file.read(0, 6).await.unwrap(), &b"worse!"[..]);
    }

    #[test]
    fn opening_waits_for_no_writer_and_follows_no_link() {
        let folder = Folder::new();
        let pipe = folder.root().join("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        // What a pipe in the place of a file comes to, that was put there after it was looked at.
        let opened = open_at_once(&pipe).unwrap();
        assert!(!opened.metadata().unwrap().is_file());
        let secret = folder.0.canonicalize().unwrap().join("secret");
        std::fs::write(&secret, b"x").unwrap();
        assert_eq!(place_of(&File::open(&secret).unwrap()), Some(secret));
        symlink(folder.0.join("secret"), folder.root().join("link")).unwrap();
        assert!(open_at_once(&folder.root().join("link")).is_err());
    }

    #[test]
    fn a_folder_that_is_swapped_after_it_was_looked_at_leads_nowhere() {
        let folder = Folder::new();
        let root = folder.root().canonicalize().unwrap();
        std::fs::create_dir(folder.0.join("out")).unwrap();
        for at in ["out/a.bin", "root/sub/a.bin"] {
            std::fs::write(folder.0.join(at), at).unwrap();
        }
        let looked_at = root.join("sub/a.bin").canonicalize().unwrap();
        std::fs::rename(root.join("sub"), folder.0.join("aside")).unwrap();
        symlink(folder.0.join("out"), root.join("sub")).unwrap();
        let opened = open_found(&root, looked_at.clone(), "sub/a.bin");
        assert_eq!(
            opened.err().map(|fault| fault.code).as_deref(),
            Some("media_unreadable")
        );
        std::fs::remove_file(root.join("sub")).unwrap();
        std::fs::rename(folder.0.join("aside"), root.join("sub")).unwrap();
        let opened = open_found(&root, looked_at, "sub/a.bin").unwrap();
        assert_eq!(opened.head, b"root/sub/a.bin");
    }

    #[test]
    fn whatever_is_swapped_while_it_is_opened_nothing_outside_is_read() {
        let folder = Folder::new();
        let root = folder.root();
        std::fs::write(folder.0.join("secret"), b"SECRET").unwrap();
        std::fs::create_dir(folder.0.join("out")).unwrap();
        std::fs::write(folder.0.join("out/a.bin"), b"SECRET").unwrap();
        std::fs::write(root.join("sub/a.bin"), b"inside").unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let (mut read, mut wrong) = (0, None);
        let swap = |make: &dyn Fn(&Path) -> io::Result<()>, at: &Path| {
            let new = folder.0.join(uuid::Uuid::new_v4().to_string());
            make(&new).unwrap();
            // Both at once, so that something is always there.
            let _ = std::fs::rename(&new, at);
        };
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let file = root.join("sub/a.bin");
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    swap(&|new| symlink(folder.0.join("secret"), new), &file);
                    swap(&|new| std::fs::write(new, b"inside"), &file);
                    swap(
                        &|new| Command::new("mkfifo").arg(new).status().map(drop),
                        &file,
                    );
                    swap(&|new| std::fs::write(new, b"inside"), &file);
                    // The folder above it, too.
                    let aside = folder.0.join("aside");
                    std::fs::rename(root.join("sub"), &aside).unwrap();
                    symlink(folder.0.join("out"), root.join("sub")).unwrap();
                    std::fs::remove_file(root.join("sub")).unwrap();
                    std::fs::rename(&aside, root.join("sub")).unwrap();
                }
            });
            let begin = std::time::Instant::now();
            while read < 50 || begin.elapsed() < std::time::Duration::from_millis(700) {
                if let Ok(file) = open(&root, Path::new("sub/a.bin"), "sub/a.bin") {
                    read += 1;
                    if file.head != b"inside" {
                        wrong = Some(file.head);
                        break;
                    }
                }
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(wrong, None);
    }

    #[tokio::test]
    async fn nothing_outside_and_nothing_but_files_is_opened() {
        let folder = Folder::new();
        std::fs::write(folder.0.join("secret"), b"x").unwrap();
        symlink(folder.0.join("secret"), folder.root().join("link")).unwrap();
        symlink(&folder.0, folder.root().join("up")).unwrap();
        symlink("/dev/null", folder.root().join("null")).unwrap();
        symlink("/proc/self/environ", folder.root().join("process")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.root().join("socket")).unwrap();
        for looped in ["one", "two"] {
            let other = if looped == "one" { "two" } else { "one" };
            symlink(other, folder.root().join(looped)).unwrap();
        }
        let pipe = folder.root().join("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        for (path, code) in [
            ("../secret", "path_unsafe"),
            ("/etc/passwd", "path_unsafe"),
            ("link", "path_unsafe"),
            ("up/secret", "path_unsafe"),
            ("sub", "media_no_file"),
            ("pipe", "media_no_file"),
            ("null", "path_unsafe"),
            ("process", "path_unsafe"),
            ("socket", "media_no_file"),
            ("sub/a\0b", "path_unsafe"),
        ] {
            assert_eq!(folder.fault(path).await, (code.to_owned(), true), "{path}");
        }
        let passing = ("media_unreadable".to_owned(), false);
        assert_eq!(folder.fault("one").await, passing, "links in a circle");
    }

    #[tokio::test]
    async fn what_is_not_there_may_come_yet() {
        let folder = Folder::new();
        let passing = |code: &str| (code.to_owned(), false);
        assert_eq!(folder.fault("soon.png").await, passing("media_missing"));
        assert_eq!(
            folder.fault("none/soon.png").await,
            passing("media_missing")
        );
        let nowhere = MediaFile::open(&folder.0.join("nowhere"), "a.png").await;
        assert_eq!(
            nowhere.unwrap_err().title,
            "the media folder cannot be read"
        );
    }
}
