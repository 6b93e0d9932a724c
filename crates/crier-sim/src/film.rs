//! How long an MP4 or `QuickTime` film is, from its index (ISO/IEC 14496-12, boxes `moov` and `mvhd`).
//!
//! Invariant: bytes that are no film, or a film without an index, have no length; they are never an
//! error here, for X too only learns it later.

use crate::spool::Whole;

/// Boxes looked at before giving up on a file made to keep us busy.
const PATIENCE: usize = 10_000;

/// One box: its type, where its content starts and where it ends.
struct Block {
    kind: [u8; 4],
    content: u64,
    end: u64,
}

/// The length in milliseconds, if the file says it.
pub(crate) fn duration_ms(file: &Whole<'_>, bytes: u64) -> Option<u64> {
    let index = find(file, *b"moov", 0, bytes)?;
    let header = find(file, *b"mvhd", index.content, index.end)?;
    let version = read::<1>(file, header.content)?[0];
    let (scale_at, duration) = if version == 1 {
        (20, u64::from_be_bytes(read(file, header.content + 24)?))
    } else {
        (
            12,
            u64::from(u32::from_be_bytes(read(file, header.content + 16)?)),
        )
    };
    let scale = u32::from_be_bytes(read(file, header.content + scale_at)?);
    duration.checked_mul(1_000)?.checked_div(u64::from(scale))
}

fn find(file: &Whole<'_>, kind: [u8; 4], from: u64, to: u64) -> Option<Block> {
    let mut at = from;
    for _ in 0..PATIENCE {
        let block = block(file, at, to)?;
        if block.kind == kind {
            return Some(block);
        }
        at = block.end;
    }
    None
}

fn block(file: &Whole<'_>, at: u64, to: u64) -> Option<Block> {
    let short = u64::from(u32::from_be_bytes(read(file, at)?));
    let kind = read(file, at.checked_add(4)?)?;
    let (header, len) = match short {
        0 => (8, to.checked_sub(at)?),
        1 => (16, u64::from_be_bytes(read(file, at.checked_add(8)?)?)),
        len => (8, len),
    };
    let end = at.checked_add(len)?;
    (len >= header && end <= to).then_some(Block {
        kind,
        content: at + header,
        end,
    })
}

fn read<const N: usize>(file: &Whole<'_>, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (file.read_at(at, &mut bytes).ok()? == N).then_some(bytes)
}
