//! Where the bytes of an upload lie while its session is open: one nameless file a session.
//!
//! Invariant: memory holds a buffer a request and never a file. The file has no name once it is
//! open, so the system takes its space back when the session is dropped, however the process ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

/// Bytes gathered before one write.
const BUFFER: usize = 256 << 10;
/// Bytes read at once while hashing.
const READ: usize = 1 << 20;
/// Bytes kept from the front of a file, for its type and the size of a picture.
const HEAD: usize = 64 << 10;

/// A piece of a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// One session's bytes.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    end: Mutex<u64>,
}

impl Spool {
    /// Opens a new file in `folder` and takes its name away.
    pub(crate) fn create(folder: &Path, name: &str) -> io::Result<Arc<Self>> {
        let path = folder.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(Arc::new(Self {
            file,
            end: Mutex::new(0),
        }))
    }

    /// Room for up to `room` bytes of its own, so that segments may arrive side by side.
    pub(crate) fn writer(self: &Arc<Self>, room: u64) -> Writer {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = *end;
        *end = end.saturating_add(room);
        Writer {
            spool: Arc::clone(self),
            offset,
            room,
            written: 0,
            buffer: Vec::new(),
        }
    }
}

/// Writes one piece in order.
#[derive(Debug)]
pub(crate) struct Writer {
    spool: Arc<Spool>,
    offset: u64,
    room: u64,
    written: u64,
    buffer: Vec<u8>,
}

impl Writer {
    /// Takes more bytes; false, and nothing taken, if they exceed the room.
    pub(crate) async fn push(&mut self, bytes: &[u8]) -> io::Result<bool> {
        if self.len().saturating_add(size(bytes)) > self.room {
            return Ok(false);
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER {
            self.flush().await?;
        }
        Ok(true)
    }

    /// Writes what is left and says where the piece lies.
    pub(crate) async fn finish(mut self) -> io::Result<Extent> {
        self.flush().await?;
        Ok(Extent {
            offset: self.offset,
            len: self.written,
        })
    }

    fn len(&self) -> u64 {
        self.written.saturating_add(size(&self.buffer))
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let buffer = std::mem::take(&mut self.buffer);
        let spool = Arc::clone(&self.spool);
        let at = self.offset.saturating_add(self.written);
        self.written = self.written.saturating_add(size(&buffer));
        let write = tokio::task::spawn_blocking(move || {
            spool.file.write_all_at(&buffer, at).map(|()| buffer)
        });
        let mut buffer = write.await.map_err(io::Error::other)??;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }
}

/// What a whole file turned out to be.
#[derive(Debug, Clone)]
pub(crate) struct Digest {
    /// Lower-case hex.
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
    pub(crate) head: Vec<u8>,
    /// Length of an MP4 or `QuickTime` film, if its index could be read.
    pub(crate) duration_ms: Option<u64>,
}

/// Reads the pieces in order. Blocking: for a blocking thread.
pub(crate) fn digest(spool: &Spool, extents: &[Extent]) -> io::Result<Digest> {
    let whole = Whole { spool, extents };
    let mut hash = Sha256::new();
    let mut head = Vec::new();
    let mut bytes = 0;
    let mut buffer = vec![0_u8; READ];
    loop {
        let got = whole.read_at(bytes, &mut buffer)?;
        if got == 0 {
            break;
        }
        let part = &buffer[..got];
        hash.update(part);
        if head.len() < HEAD {
            head.extend_from_slice(&part[..got.min(HEAD - head.len())]);
        }
        bytes += size(part);
    }
    let sha256 = hex(&hash.finalize());
    let duration_ms = crate::film::duration_ms(&whole, bytes);
    Ok(Digest {
        sha256,
        bytes,
        head,
        duration_ms,
    })
}

/// What a picture held in memory turned out to be.
pub(crate) fn digest_of(file: &[u8]) -> Digest {
    Digest {
        sha256: hex(&Sha256::digest(file)),
        bytes: size(file),
        head: file[..file.len().min(HEAD)].to_vec(),
        duration_ms: None,
    }
}

/// The pieces as one file.
#[derive(Debug)]
pub(crate) struct Whole<'a> {
    spool: &'a Spool,
    extents: &'a [Extent],
}

impl Whole<'_> {
    /// Fills `buffer` from `position` on as far as the file goes.
    pub(crate) fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut start = 0_u64;
        let mut filled = 0;
        for extent in self.extents {
            let wanted = position.saturating_add(size(&buffer[..filled]));
            let end = start.saturating_add(extent.len);
            if (start..end).contains(&wanted) {
                let skip = wanted - start;
                let room = size(&buffer[filled..]).min(extent.len - skip);
                let room = usize::try_from(room).unwrap_or(usize::MAX);
                self.spool.file.read_exact_at(
                    &mut buffer[filled..filled + room],
                    extent.offset.saturating_add(skip),
                )?;
                filled += room;
            }
            start = end;
            if filled == buffer.len() {
                break;
            }
        }
        Ok(filled)
    }
}

fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool() -> Arc<Spool> {
        let name = format!(
            "crier-sim-test-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        );
        Spool::create(&std::env::temp_dir(), &name).unwrap()
    }

    async fn write(spool: &Arc<Spool>, bytes: &[u8]) -> Extent {
        let mut writer = spool.writer(size(bytes) + 10);
        assert!(writer.push(bytes).await.unwrap());
        writer.finish().await.unwrap()
    }

    #[tokio::test]
    async fn pieces_written_out_of_order_hash_in_order() {
        let spool = spool();
        let (a, b) = (vec![b'a'; 700_000], vec![b'b'; 900_000]);
        let second = write(&spool, &b).await;
        let first = write(&spool, &a).await;
        let found = digest(&spool, &[first, second]).unwrap();
        let whole: Vec<u8> = [a, b].concat();
        assert_eq!(found.sha256, hex(&Sha256::digest(&whole)));
        assert_eq!(found.bytes, 1_600_000);
        assert_eq!(found.head.len(), HEAD);
    }

    #[tokio::test]
    async fn pieces_may_be_written_side_by_side_and_have_a_bound() {
        let spool = spool();
        let (mut one, mut two) = (spool.writer(4), spool.writer(4));
        for byte in 0..4_u8 {
            assert!(one.push(&[byte]).await.unwrap());
            assert!(two.push(&[byte + 100]).await.unwrap());
        }
        assert!(!one.push(&[9]).await.unwrap(), "beyond its room");
        let (one, two) = (one.finish().await.unwrap(), two.finish().await.unwrap());
        let mut back = [0; 8];
        let extents = [one, two];
        let whole = Whole {
            spool: &spool,
            extents: &extents,
        };
        assert_eq!(whole.read_at(0, &mut back).unwrap(), 8);
        assert_eq!(back, [0, 1, 2, 3, 100, 101, 102, 103]);
    }

    #[tokio::test]
    async fn nothing_is_left_in_the_folder() {
        let folder = std::env::temp_dir().join(format!("crier-sim-spool-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let spool = Spool::create(&folder, "x").unwrap();
        let extent = write(&spool, b"kept without a name").await;
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        assert_eq!(digest(&spool, &[extent]).unwrap().bytes, 19);
        std::fs::remove_dir(&folder).unwrap();
    }
}
