//! Files that X would take, in a folder that goes with its test.

use std::fmt::Write;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::support::{Role, Stage};

/// A folder of files for one test.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("crier-media-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The folder, as a setting.
    pub(crate) fn folder(&self) -> String {
        self.0.to_str().unwrap().to_owned()
    }

    /// Writes a file, and answers its SHA-256.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> String {
        std::fs::write(self.0.join(name), content).unwrap();
        Sha256::digest(content)
            .iter()
            .fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").unwrap();
                hex
            })
    }

    pub(crate) fn start(&self, stage: &Stage, role: &str) -> Role {
        self.start_with(stage, role, &[])
    }

    /// A role with settings of its own beside the folder.
    pub(crate) fn start_with(&self, stage: &Stage, role: &str, more: &[(&str, &str)]) -> Role {
        let root = [("CRIER__MEDIA__ROOT", self.0.to_str().unwrap())];
        stage.start_with(role, &[&root, more].concat())
    }

    /// Where a role may keep what it fetches.
    pub(crate) fn spool(&self) -> String {
        let path = self.0.join("spool");
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn png(bytes: usize) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    file.extend([0, 0, 2, 0x80, 0, 0, 1, 0xE0]);
    fill(file, bytes)
}

/// Ten seconds of film by its index, and of that many bytes.
pub(crate) fn mp4(bytes: usize) -> Vec<u8> {
    film(bytes, 10_000, None)
}

/// A film of that many bytes and milliseconds, perhaps with a track of that frame.
pub(crate) fn film(bytes: usize, length_ms: u32, frame: Option<(u32, u32)>) -> Vec<u8> {
    let mut header = vec![0; 12];
    header.extend(1_000_u32.to_be_bytes());
    header.extend(length_ms.to_be_bytes());
    let track = frame.map_or_else(Vec::new, |(width, height)| {
        let mut header = vec![0; 84];
        header[41] = 1;
        header[76..80].copy_from_slice(&(width << 16).to_be_bytes());
        header[80..84].copy_from_slice(&(height << 16).to_be_bytes());
        let hdlr = boxed(b"hdlr", b"\0\0\0\0\0\0\0\0vide\0\0\0\0");
        boxed(
            b"trak",
            &[boxed(b"tkhd", &header), boxed(b"mdia", &hdlr)].concat(),
        )
    });
    let moov = boxed(b"moov", &[boxed(b"mvhd", &header), track].concat());
    let ftyp = boxed(b"ftyp", b"isom\0\0\0\0");
    let data = fill(Vec::new(), bytes - ftyp.len() - moov.len() - 8);
    [ftyp, boxed(b"mdat", &data), moov].concat()
}

/// A GIF of that frame with so many frames.
pub(super) fn gif(width: u16, height: u16, frames: usize) -> Vec<u8> {
    let mut file = b"GIF89a".to_vec();
    file.extend(width.to_le_bytes());
    file.extend(height.to_le_bytes());
    file.extend([0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    for _ in 0..frames {
        file.extend(b"\x21\xf9\x04\0\x0a\0\0\0\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0");
    }
    file.push(b';');
    file
}

fn boxed(kind: &[u8], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).unwrap();
    [&length.to_be_bytes()[..], kind, content].concat()
}

/// Bytes that differ from place to place, so that no segment passes for another.
fn fill(mut file: Vec<u8>, bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    while file.len() < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        file.push(state.to_be_bytes()[0]);
    }
    file
}
