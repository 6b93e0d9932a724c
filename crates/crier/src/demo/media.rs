//! The demo's media files, made from nothing: a picture (PNG, RFC 2083) and a film (ISO/IEC 14496-12).
//!
//! **Invariant:** the same bytes each time, and each file is what its first bytes say; the film has an index that tells
//! its length, but no track: it is for uploading, not for watching.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;

/// Columns of the picture.
const WIDTH: u32 = 320;
/// Rows of the picture: with a byte more a row, all of it fits one stored block of deflate (65,535 bytes).
const HEIGHT: u32 = 180;
/// Bytes of the film: more than 32 MiB, and no whole number of segments.
pub(crate) const FILM_BYTES: u64 = 33 * 1024 * 1024 + 4_321;
/// Length of the film in milliseconds, as its index says.
const FILM_MS: u32 = 12_000;

/// Makes both files.
pub(crate) fn make(folder: &Path) -> anyhow::Result<()> {
    let write = |name: &str, fill: &dyn Fn(&mut BufWriter<File>) -> std::io::Result<()>| {
        let path = folder.join(name);
        let made = File::create(&path).and_then(|file| {
            let mut file = BufWriter::new(file);
            fill(&mut file)?;
            file.flush()
        });
        made.with_context(|| format!("cannot write `{}`", path.display()))
    };
    write("picture.png", &|file| file.write_all(&picture()))?;
    write("film.mp4", &|file| film(file))
}

/// Bands of colour in 256 shades.
fn picture() -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = [WIDTH.to_be_bytes(), HEIGHT.to_be_bytes()].concat();
    // 8 bits a pixel, by palette; deflate, no filter, not interlaced.
    header.extend([8, 3, 0, 0, 0]);
    chunk(&mut png, *b"IHDR", &header);
    let palette: Vec<u8> = (0..=255_u8)
        .flat_map(|shade| [shade, shade / 2 + 20, 120 - shade / 3])
        .collect();
    chunk(&mut png, *b"PLTE", &palette);
    let mut rows = Vec::new();
    for y in 0..HEIGHT {
        rows.push(0);
        rows.extend((0..WIDTH).map(|x| {
            let shade = (y * 256 / HEIGHT + (x / 16) % 4 * 5).min(255);
            u8::try_from(shade).unwrap_or(u8::MAX)
        }));
    }
    chunk(&mut png, *b"IDAT", &stored(&rows));
    chunk(&mut png, *b"IEND", &[]);
    png
}

fn chunk(png: &mut Vec<u8>, kind: [u8; 4], content: &[u8]) {
    png.extend(length(content));
    let from = png.len();
    png.extend(kind);
    png.extend(content);
    let sum = crc(&png[from..]);
    png.extend(sum.to_be_bytes());
}

fn length(content: &[u8]) -> [u8; 4] {
    u32::try_from(content.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes()
}

/// One block of zlib that is not compressed (RFC 1950, RFC 1951).
fn stored(content: &[u8]) -> Vec<u8> {
    let size = u16::try_from(content.len()).unwrap_or(u16::MAX);
    let mut zlib = vec![0x78, 0x01, 0x01];
    zlib.extend(size.to_le_bytes());
    zlib.extend((!size).to_le_bytes());
    zlib.extend(content);
    let (mut low, mut high) = (1_u32, 0_u32);
    for byte in content {
        low = (low + u32::from(*byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    zlib.extend((high << 16 | low).to_be_bytes());
    zlib
}

/// CRC-32 of PNG.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 {
                0xEDB8_8320 ^ (sum >> 1)
            } else {
                sum >> 1
            }
        })
    })
}

/// `ftyp`, an index with a length, and data that does not repeat.
fn film(file: &mut impl Write) -> std::io::Result<()> {
    let mut head = Vec::new();
    block(&mut head, *b"ftyp", b"isom\0\0\x02\0isomiso2mp41");
    let mut header = vec![0; 100];
    // Version 0: creation, modification, ticks a second, ticks, speed 1.0, volume 1.0, then a matrix.
    header[12..16].copy_from_slice(&1_000_u32.to_be_bytes());
    header[16..20].copy_from_slice(&FILM_MS.to_be_bytes());
    header[20..24].copy_from_slice(&0x0001_0000_u32.to_be_bytes());
    header[24..26].copy_from_slice(&0x0100_u16.to_be_bytes());
    for (at, one) in [(36, 0x0001_0000_u32), (52, 0x0001_0000), (68, 0x4000_0000)] {
        header[at..at + 4].copy_from_slice(&one.to_be_bytes());
    }
    header[96..100].copy_from_slice(&1_u32.to_be_bytes());
    let mut index = Vec::new();
    block(&mut index, *b"mvhd", &header);
    block(&mut head, *b"moov", &index);
    let used = u64::try_from(head.len()).unwrap_or(u64::MAX);
    let data = u32::try_from(FILM_BYTES.saturating_sub(used)).unwrap_or(u32::MAX);
    head.extend(data.to_be_bytes());
    head.extend(b"mdat");
    file.write_all(&head)?;
    // Numerical Recipes' linear congruence: the same on every machine, and no two segments alike.
    let mut state = 1_u64;
    let mut left = usize::try_from(data.saturating_sub(8)).unwrap_or(usize::MAX);
    while left > 0 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let bytes = state.to_be_bytes();
        let take = left.min(bytes.len());
        file.write_all(&bytes[..take])?;
        left -= take;
    }
    Ok(())
}

fn block(out: &mut Vec<u8>, kind: [u8; 4], content: &[u8]) {
    let size = u32::try_from(content.len() + 8).unwrap_or(u32::MAX);
    out.extend(size.to_be_bytes());
    out.extend(kind);
    out.extend(content);
}

#[cfg(test)]
mod tests {
    use crier_core::media::{MediaKind, sniff};

    use super::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        // RFC 1950 and PNG: the check values of "123456789".
        assert_eq!(crc(b"123456789"), 0xCBF4_3926);
        assert_eq!(stored(b"123456789")[16..], 0x091E_01DE_u32.to_be_bytes());
    }

    #[test]
    fn the_files_are_what_they_say() {
        let png = picture();
        assert_eq!(sniff(&png), Some(MediaKind::Png));
        assert!(png.len() < 65_535 + 2_000);
        let mut mp4 = Vec::new();
        film(&mut mp4).unwrap();
        assert_eq!(sniff(&mp4), Some(MediaKind::Mp4));
        assert_eq!(u64::try_from(mp4.len()).unwrap(), FILM_BYTES);
        let index = mp4.windows(4).position(|name| name == b"mvhd").unwrap() + 4;
        assert_eq!(mp4[index + 16..index + 20], FILM_MS.to_be_bytes());
    }
}
