//! What a file says of itself beyond its kind: frame, length, number of frames.
//!
//! Pictures are read by `imagesize`, GIFs by `gif` (of the `image` project) without decoding a pixel, films by our own
//! [`film`](super::film).
//!
//! **Invariant:** whatever the bytes are, reading ends after [`PATIENCE`] reads with a few kilobytes in memory; what cannot
//! be read is unknown: X will say what it thinks of such a file.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::num::NonZeroU64;

use imagesize::ImageType;

use super::{MOST_GIF_BYTES, MediaKind, film};

/// Reads and jumps before giving up on a file made to keep us busy. The largest GIF takes a quarter of them.
const PATIENCE: u32 = 8192;
/// Bytes that a GIF's remarks may take in memory.
const REMARKS: NonZeroU64 = NonZeroU64::new(256 * 1024).expect("not zero");

/// Width and height in pixels, as shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// What a file says of itself; `None` is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measure {
    /// Its frame.
    pub frame: Option<Frame>,
    /// Length of a film in milliseconds.
    pub duration_ms: Option<u64>,
    /// Frames of a GIF.
    pub frames: Option<u32>,
}

/// Measures a file of `bytes` bytes.
pub fn measure<R: Read + Seek>(kind: MediaKind, reader: R, bytes: u64) -> Measure {
    let mut reader = Patient {
        reader,
        left: PATIENCE,
    };
    match kind {
        MediaKind::Jpeg => picture(ImageType::Jpeg, reader),
        MediaKind::Png => picture(ImageType::Png, reader),
        MediaKind::Webp => {
            // It expects to stand at the name of the first chunk.
            if reader.seek(SeekFrom::Start(12)).is_err() {
                return Measure::default();
            }
            picture(ImageType::Webp, reader)
        }
        MediaKind::Bmp => picture(ImageType::Bmp, reader),
        MediaKind::Tiff => picture(ImageType::Tiff, reader),
        // A larger one is refused for its size.
        MediaKind::Gif if bytes <= MOST_GIF_BYTES => animation(reader),
        MediaKind::Mp4 | MediaKind::QuickTime => film::measure(reader, bytes),
        MediaKind::Gif | MediaKind::Webm | MediaKind::Mp2t => Measure::default(),
    }
}

fn picture<R: Read + Seek>(kind: ImageType, reader: R) -> Measure {
    let size = kind.reader_size(&mut BufReader::with_capacity(512, reader));
    let frame = size.ok().and_then(|size| {
        Some(Frame {
            width: u32::try_from(size.width).ok()?,
            height: match u32::try_from(size.height).ok()? {
                // Rows from top to bottom make it negative in a Windows bitmap.
                height if kind == ImageType::Bmp => height.cast_signed().unsigned_abs(),
                height => height,
            },
        })
    });
    Measure {
        frame: frame.filter(|frame| frame.width > 0 && frame.height > 0),
        ..Measure::default()
    }
}

/// The whole file is read, but not decoded; one that breaks off has no number of frames.
fn animation<R: Read>(reader: R) -> Measure {
    let mut options = gif::DecodeOptions::new();
    options.skip_frame_decoding(true);
    options.set_memory_limit(gif::MemoryLimit::Bytes(REMARKS));
    let Ok(mut decoder) = options.read_info(reader) else {
        return Measure::default();
    };
    let frame = Frame {
        width: decoder.width().into(),
        height: decoder.height().into(),
    };
    let mut frames = 0_u32;
    let frames = loop {
        match decoder.next_frame_info() {
            Ok(Some(_)) => frames += 1,
            Ok(None) => break Some(frames),
            Err(_) => break None,
        }
    };
    Measure {
        frame: (frame.width > 0 && frame.height > 0).then_some(frame),
        duration_ms: None,
        frames,
    }
}

/// A reader that fails after so many reads and jumps.
struct Patient<R> {
    reader: R,
    left: u32,
}

impl<R> Patient<R> {
    fn spend(&mut self) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("the file takes too many reads"))?;
        Ok(())
    }
}

impl<R: Read> Read for Patient<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.spend()?;
        self.reader.read(into)
    }
}

impl<R: Seek> Seek for Patient<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.spend()?;
        self.reader.seek(to)
    }
}
