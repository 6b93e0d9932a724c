//! Any file as media: what its bytes say it is, its frame, its length; whatever they are, in a bounded number of reads.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

use std::cell::Cell;
use std::io::{Cursor, Read, Seek, SeekFrom};

use crier_core::media::{Frame, Measure, MediaCategory, MediaKind, check_measure, measure, sniff};
use crier_core::tier::Tier;
use proptest::prelude::*;

/// Counts the bytes that are asked for.
struct Counted<'a>(Cursor<&'a [u8]>, &'a Cell<u64>);

impl Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read(into)?;
        self.1.set(self.1.get() + 1);
        Ok(read)
    }
}

impl Seek for Counted<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.1.set(self.1.get() + 1);
        self.0.seek(to)
    }
}

fn look(kind: MediaKind, file: &[u8]) -> Measure {
    let reads = Cell::new(0);
    let bytes = u64::try_from(file.len()).unwrap();
    let seen = measure(kind, Counted(Cursor::new(file), &reads), bytes);
    assert!(reads.get() <= 8192, "{} reads", reads.get());
    seen
}

fn size(kind: MediaKind, file: &[u8]) -> Option<(u32, u32)> {
    look(kind, file)
        .frame
        .map(|frame| (frame.width, frame.height))
}

fn gif(width: u16, height: u16, frames: usize) -> Vec<u8> {
    let mut file = b"GIF89a".to_vec();
    file.extend(width.to_le_bytes());
    file.extend(height.to_le_bytes());
    // A global palette of two colours.
    file.extend([0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    file.extend(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0");
    for _ in 0..frames {
        file.extend(b"\x21\xf9\x04\0\x0a\0\0\0\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0");
    }
    file.push(b';');
    file
}

fn jpeg(segments: usize) -> Vec<u8> {
    let mut file = b"\xff\xd8".to_vec();
    file.extend(b"\xff\xe1\0\x02".repeat(segments));
    file.extend(b"\xff\xc0\0\x11\x08\x01\xe0\x02\x80\x03\x01\x22\0\x02\x11\x01\x03\x11\x01");
    file
}

#[test]
fn pictures_tell_their_size() {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    png.extend([0, 0, 2, 0x80, 0, 0, 1, 0xE0]);
    assert_eq!(size(MediaKind::Png, &png), Some((640, 480)));
    assert_eq!(size(MediaKind::Jpeg, &jpeg(3)), Some((640, 480)));
    let vp8x = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x7f\x02\0\xdf\x01\0";
    assert_eq!(size(MediaKind::Webp, vp8x), Some((640, 480)));
    let mut bmp = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    bmp.extend(640_i32.to_le_bytes());
    bmp.extend((-480_i32).to_le_bytes());
    assert_eq!(size(MediaKind::Bmp, &bmp), Some((640, 480)));
    let tiff = b"II*\0\x08\0\0\0\x02\0\0\x01\x03\0\x01\0\0\0\x80\x02\0\0\x01\x01\x03\0\x01\0\0\0\xe0\x01\0\0";
    assert_eq!(size(MediaKind::Tiff, tiff), Some((640, 480)));
}

#[test]
fn gifs_are_counted_without_being_decoded() {
    let seen = look(MediaKind::Gif, &gif(640, 480, 351));
    assert_eq!(seen.frames, Some(351));
    let (width, height) = (640, 480);
    assert_eq!(seen.frame, Some(Frame { width, height }));
    // Breaking off in the middle is no number of frames.
    let whole = gif(640, 480, 20);
    let cut = look(MediaKind::Gif, &whole[..whole.len() / 2]);
    assert_eq!((cut.frames, cut.frame), (None, seen.frame));
    // Beyond X's size nothing is read.
    let reads = Cell::new(0);
    let file = gif(1, 1, 1);
    measure(
        MediaKind::Gif,
        Counted(Cursor::new(&file), &reads),
        16 * 1024 * 1024,
    );
    assert_eq!(reads.get(), 0);
}

#[test]
fn files_made_to_keep_us_busy_are_given_up_on() {
    assert_eq!(size(MediaKind::Jpeg, &jpeg(100_000)), None);
    // An index of 65,535 entries, none of them the size.
    let mut tiff = b"II*\0\x08\0\0\0\xff\xff".to_vec();
    tiff.extend(b"\x02\x01\x03\0\x01\0\0\0\0\0\0\0".repeat(65_535));
    assert_eq!(size(MediaKind::Tiff, &tiff), None);
    let big = [
        b"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0".as_slice(),
        &[0xff; 8],
    ]
    .concat();
    assert_eq!(size(MediaKind::Tiff, &big), None);
    let moov = b"\0\0\0\x08moov".repeat(100_000);
    assert_eq!(look(MediaKind::Mp4, &moov), Measure::default());
    // A remark of many megabytes is not kept.
    let mut remark = gif(9, 9, 0);
    remark.pop();
    remark.extend(b"\x21\xff\x0bXMP DataXMP");
    remark.extend([&[255][..], &[7; 255]].concat().repeat(8_000));
    assert_eq!(look(MediaKind::Gif, &remark).frames, None);
}

/// A head that passes for each kind, so that what follows is read as that.
const HEADS: [&[u8]; 10] = [
    b"\xff\xd8\xff\xe0",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"GIF89a\x40\0\x40\0\x80\0\0\0\0\0\xff\xff\xff",
    b"RIFF\x40\0\0\0WEBPVP8X",
    b"BM\x40\0\0\0\0\0\0\0",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
    b"\0\0\0\x0cftypisom",
    b"\0\0\0\x0cftypqt  \0\0\0\x40moov",
    b"\x1a\x45\xdf\xa3webm",
];

proptest! {
    #[test]
    fn any_file_is_measured_without_a_panic(
        head in 0..HEADS.len(),
        tail in proptest::collection::vec(any::<u8>(), 0..2_000),
    ) {
        let file = [HEADS[head], &tail].concat();
        let Some(kind) = sniff(&file) else { return Ok(()) };
        let seen = look(kind, &file);
        for category in [MediaCategory::TweetImage, MediaCategory::TweetGif, MediaCategory::TweetVideo, MediaCategory::AmplifyVideo] {
            for tier in [Tier::Standard, Tier::Premium] {
                for fault in check_measure(category, &seen, tier) {
                    prop_assert!(!fault.detail.is_empty() && !fault.hint.is_empty());
                }
            }
        }
    }

    #[test]
    fn any_boxes_are_measured_without_a_panic(
        boxes in proptest::collection::vec((0_usize..8, any::<Option<u32>>(), proptest::collection::vec(any::<u8>(), 0..120)), 0..12),
        nested in any::<bool>(),
    ) {
        let names = [b"moov", b"mvhd", b"trak", b"tkhd", b"mdia", b"hdlr", b"mvex", b"mehd"];
        let mut file = Vec::new();
        for (name, length, content) in &boxes {
            let honest = u32::try_from(content.len() + 8).unwrap();
            file.extend(length.map_or(honest, |length| length % 200).to_be_bytes());
            file.extend(names[*name]);
            file.extend(content);
        }
        if nested {
            let length = u32::try_from(file.len() + 8).unwrap();
            file = [&length.to_be_bytes()[..], b"moov", &file].concat();
        }
        look(MediaKind::Mp4, &file);
    }

    #[test]
    fn a_gif_with_a_few_bytes_changed_is_measured_without_a_panic(
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..8),
    ) {
        let mut file = gif(640, 480, 5);
        for (at, byte) in changes {
            let at = at % file.len();
            file[at] = byte;
        }
        look(MediaKind::Gif, &file);
    }
}
