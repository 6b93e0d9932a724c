//! Length and frame of an MP4 or `QuickTime` film, from the few boxes of its index that hold them (ISO/IEC 14496-12: `moov`
//! with `mvhd`, `mvex/mehd`, and for each track `tkhd` and `mdia/hdlr`).
//!
//! Our own reader, since no crate that was looked at does it in bounded memory: `re_mp4` and `mp4` read every table of
//! samples, `mp4parse` is not released any more and under another licence, `nom-exif` brings a logger, a regular expression
//! engine and geometry for two numbers. Length and frame of `WebM` and MPEG-TS stay unknown: X judges them.
//!
//! **Invariant:** whatever the bytes are, at most [`PATIENCE`] boxes are looked at, with a few dozen bytes in memory; what
//! cannot be read is unknown, and never an error.

use std::io::{Read, Seek, SeekFrom};

use super::measure::{Frame, Measure};

/// Boxes looked at before giving up on a file made to keep us busy.
const PATIENCE: u32 = 4096;

/// One box: its type, where its content starts and where it ends.
#[derive(Debug, Clone, Copy)]
struct Block {
    kind: [u8; 4],
    content: u64,
    end: u64,
}

/// A film that is read.
struct Film<R> {
    reader: R,
    left: u32,
}

/// What the index says; nothing of it if there is none.
pub(super) fn measure<R: Read + Seek>(reader: R, bytes: u64) -> Measure {
    let mut film = Film {
        reader,
        left: PATIENCE,
    };
    let Some(index) = film.find(*b"moov", 0, bytes) else {
        return Measure::default();
    };
    Measure {
        frame: film.frame(index),
        duration_ms: film.duration_ms(index),
        frames: None,
    }
}

impl<R: Read + Seek> Film<R> {
    fn duration_ms(&mut self, index: Block) -> Option<u64> {
        let header = self.find(*b"mvhd", index.content, index.end)?;
        let wide = self.is_wide(header)?;
        let (scale_at, length_at) = if wide { (20, 24) } else { (12, 16) };
        let scale = u32::from_be_bytes(self.read(header, scale_at)?);
        let mut length = self.length(header, length_at, wide)?;
        if length == 0 {
            // A film in fragments says it elsewhere, if at all.
            let more = self.find(*b"mvex", index.content, index.end)?;
            let header = self.find(*b"mehd", more.content, more.end)?;
            let wide = self.is_wide(header)?;
            length = self.length(header, 4, wide)?;
        }
        (length > 0)
            .then_some(length)?
            .checked_mul(1_000)?
            .checked_div(u64::from(scale))
    }

    /// The frame of the first track of pictures that has one, as it is shown.
    fn frame(&mut self, index: Block) -> Option<Frame> {
        let mut at = index.content;
        while let Some(block) = self.block(at, index.end) {
            at = block.end;
            if block.kind == *b"trak"
                && let Some(frame) = self.track(block)
            {
                return Some(frame);
            }
        }
        None
    }

    fn track(&mut self, track: Block) -> Option<Frame> {
        let media = self.find(*b"mdia", track.content, track.end)?;
        let handler = self.find(*b"hdlr", media.content, media.end)?;
        if self.read::<4>(handler, 8)? != *b"vide" {
            return None;
        }
        let header = self.find(*b"tkhd", track.content, track.end)?;
        let (matrix_at, frame_at) = if self.is_wide(header)? {
            (52, 88)
        } else {
            (40, 76)
        };
        // Whole pixels of numbers with 16 bits after the point.
        let mut side = |at| Some(u32::from_be_bytes(self.read(header, at)?) >> 16);
        let (width, height) = (side(frame_at)?, side(frame_at + 4)?);
        let upright = self.read::<4>(header, matrix_at)? != [0; 4];
        let (width, height) = if upright {
            (width, height)
        } else {
            (height, width)
        };
        (width > 0 && height > 0).then_some(Frame { width, height })
    }

    /// Whether a box has its numbers in 64 bits.
    fn is_wide(&mut self, block: Block) -> Option<bool> {
        self.read::<1>(block, 0).map(|[version]| version == 1)
    }

    /// A length in ticks; 0 where it is said to be unknown.
    fn length(&mut self, block: Block, at: u64, wide: bool) -> Option<u64> {
        Some(if wide {
            match u64::from_be_bytes(self.read(block, at)?) {
                u64::MAX => 0,
                length => length,
            }
        } else {
            match u32::from_be_bytes(self.read(block, at)?) {
                u32::MAX => 0,
                length => length.into(),
            }
        })
    }

    fn find(&mut self, kind: [u8; 4], from: u64, to: u64) -> Option<Block> {
        let mut at = from;
        loop {
            let block = self.block(at, to)?;
            if block.kind == kind {
                return Some(block);
            }
            at = block.end;
        }
    }

    fn block(&mut self, at: u64, to: u64) -> Option<Block> {
        self.left = self.left.checked_sub(1)?;
        let whole = Block {
            kind: [0; 4],
            content: at,
            end: to,
        };
        let short = u32::from_be_bytes(self.read(whole, 0)?);
        let kind = self.read(whole, 4)?;
        let (header, length) = match short {
            0 => (8, to.checked_sub(at)?),
            1 => (16, u64::from_be_bytes(self.read(whole, 8)?)),
            short => (8, u64::from(short)),
        };
        let end = at.checked_add(length)?;
        (length >= header && end <= to).then_some(Block {
            kind,
            content: at + header,
            end,
        })
    }

    /// Bytes of a box, none beyond its end.
    fn read<const N: usize>(&mut self, of: Block, at: u64) -> Option<[u8; N]> {
        let from = of.content.checked_add(at)?;
        let to = from.checked_add(u64::try_from(N).ok()?)?;
        if to > of.end {
            return None;
        }
        let mut bytes = [0; N];
        self.reader.seek(SeekFrom::Start(from)).ok()?;
        self.reader.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests;
