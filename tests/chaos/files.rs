//! Files that X would take, each with bytes of its own.

use std::fmt::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

/// Writes the files that the plan names; the same name has the same bytes in every run.
pub(crate) fn write(folder: &Path, name: &str, bytes: usize) {
    let salt = Sha256::digest(name);
    let content = if Path::new(name).extension().is_some_and(|end| end == "mp4") {
        mp4(bytes, &salt)
    } else {
        png(bytes, &salt)
    };
    std::fs::write(folder.join(name), content).unwrap();
}

/// The hash of a file of the plan, as X shows it.
pub(crate) fn sha256(folder: &Path, name: &str) -> String {
    let content = std::fs::read(folder.join(name)).unwrap();
    Sha256::digest(content)
        .iter()
        .fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
}

fn png(bytes: usize, salt: &[u8]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    file.extend([0, 0, 2, 0x80, 0, 0, 1, 0xE0]);
    file.extend(fill(bytes, salt));
    file
}

/// Bytes that differ from place to place, so that no segment passes for another.
fn fill(bytes: usize, salt: &[u8]) -> Vec<u8> {
    let at = |place: usize| salt[place % salt.len()] ^ (place / 251 % 256).to_le_bytes()[0];
    (0..bytes)
        .map(|place| at(place) ^ (place / 65_521).to_le_bytes()[0])
        .collect()
}

/// Ten seconds of film by its index.
fn mp4(bytes: usize, salt: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 12];
    header.extend(1_000_u32.to_be_bytes());
    header.extend(10_000_u32.to_be_bytes());
    let moov = boxed(*b"moov", &boxed(*b"mvhd", &header));
    [
        boxed(*b"ftyp", b"isom\0\0\0\0"),
        moov,
        boxed(*b"mdat", &fill(bytes, salt)),
    ]
    .concat()
}

fn boxed(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).unwrap();
    [&length.to_be_bytes()[..], &kind, content].concat()
}
