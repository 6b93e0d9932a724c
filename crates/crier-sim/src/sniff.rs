//! What a file is by its own bytes: type and, for pictures, width and height.
//!
//! Invariant: only the bytes count. X refuses at finalize what it cannot recognise as the type that
//! was announced ("media type unrecognized", x-api.md 3.5).

/// A type by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Jpeg,
    Png,
    Gif,
    Webp,
    Bmp,
    Tiff,
    /// MP4 and `QuickTime` share the form of their boxes.
    Film,
    Webm,
    TransportStream,
    Vtt,
    /// Plain text with a subtitle's arrow.
    Srt,
    Gltf,
    Zip,
}

impl Kind {
    /// The type of these bytes, the front of a file.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        let at =
            |from: usize, wanted: &[u8]| head.get(from..).is_some_and(|b| b.starts_with(wanted));
        let kind = if at(0, &[0xFF, 0xD8, 0xFF]) {
            Self::Jpeg
        } else if at(0, b"\x89PNG\r\n\x1a\n") {
            Self::Png
        } else if at(0, b"GIF87a") || at(0, b"GIF89a") {
            Self::Gif
        } else if at(0, b"RIFF") && at(8, b"WEBP") {
            Self::Webp
        } else if at(0, b"II*\0") || at(0, b"MM\0*") {
            Self::Tiff
        } else if [&b"ftyp"[..], b"moov", b"mdat", b"wide", b"free", b"skip"]
            .iter()
            .any(|mark| at(4, mark))
        {
            Self::Film
        } else if at(0, &[0x1A, 0x45, 0xDF, 0xA3]) {
            Self::Webm
        } else if at(0, b"WEBVTT") || at(0, b"\xEF\xBB\xBFWEBVTT") {
            Self::Vtt
        } else if at(0, b"glTF") {
            Self::Gltf
        } else if at(0, b"PK\x03\x04") {
            Self::Zip
        } else if at(0, b"BM") {
            Self::Bmp
        } else if at(0, b"G") && at(188, b"G") {
            Self::TransportStream
        } else if head.windows(3).any(|window| window == b"-->") && is_text(head) {
            Self::Srt
        } else {
            return None;
        };
        Some(kind)
    }

    /// Whether the announced type is this one.
    pub(crate) fn is(self, media_type: &str) -> bool {
        match self {
            Self::Jpeg => matches!(media_type, "image/jpeg" | "image/pjpeg"),
            Self::Png => media_type == "image/png",
            Self::Gif => media_type == "image/gif",
            Self::Webp => media_type == "image/webp",
            Self::Bmp => media_type == "image/bmp",
            Self::Tiff => media_type == "image/tiff",
            Self::Film => matches!(media_type, "video/mp4" | "video/quicktime"),
            Self::Webm => media_type == "video/webm",
            Self::TransportStream => media_type == "video/mp2t",
            Self::Vtt => media_type == "text/vtt",
            Self::Srt => media_type == "text/srt",
            Self::Gltf => media_type == "model/gltf-binary",
            Self::Zip => media_type == "model/vnd.usdz+zip",
        }
    }

    /// The type's usual name.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
            Self::Bmp => "image/bmp",
            Self::Tiff => "image/tiff",
            Self::Film => "video/mp4",
            Self::Webm => "video/webm",
            Self::TransportStream => "video/mp2t",
            Self::Vtt => "text/vtt",
            Self::Srt => "text/srt",
            Self::Gltf => "model/gltf-binary",
            Self::Zip => "model/vnd.usdz+zip",
        }
    }
}

/// UTF-8, save for a character that the end of the head may have cut.
fn is_text(head: &[u8]) -> bool {
    std::str::from_utf8(head).map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// Width and height of a picture, where its header is simple enough to read.
pub(crate) fn size(head: &[u8]) -> Option<(u32, u32)> {
    match Kind::of(head)? {
        Kind::Png => Some((
            u32::from_be_bytes(take(head, 16)?),
            u32::from_be_bytes(take(head, 20)?),
        )),
        Kind::Gif => Some((
            u32::from(u16::from_le_bytes(take(head, 6)?)),
            u32::from(u16::from_le_bytes(take(head, 8)?)),
        )),
        Kind::Bmp => Some((
            u32::from_le_bytes(take(head, 18)?),
            i32::from_le_bytes(take(head, 22)?).unsigned_abs(),
        )),
        Kind::Jpeg => jpeg_size(head),
        Kind::Webp => webp_size(head),
        Kind::Tiff
        | Kind::Film
        | Kind::Webm
        | Kind::TransportStream
        | Kind::Vtt
        | Kind::Srt
        | Kind::Gltf
        | Kind::Zip => None,
    }
}

/// The first frame header (SOF0 to SOF15 without DHT, JPG and DAC; ITU-T T.81 table B.1).
fn jpeg_size(head: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        let [mark, kind] = take(head, at)?;
        if mark != 0xFF {
            return None;
        }
        if (0xC0..=0xCF).contains(&kind) && !matches!(kind, 0xC4 | 0xC8 | 0xCC) {
            let height = u16::from_be_bytes(take(head, at + 5)?);
            let width = u16::from_be_bytes(take(head, at + 7)?);
            return Some((u32::from(width), u32::from(height)));
        }
        let len = u16::from_be_bytes(take(head, at + 2)?);
        at += 2 + usize::from(len);
    }
}

fn webp_size(head: &[u8]) -> Option<(u32, u32)> {
    match &take::<4>(head, 12)? {
        b"VP8X" => {
            let three =
                |at| take::<3>(head, at).map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]) + 1);
            Some((three(24)?, three(27)?))
        }
        b"VP8L" => {
            let bits = u32::from_le_bytes(take(head, 21)?);
            Some(((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1))
        }
        _ => {
            let side = |at| take(head, at).map(|b| u32::from(u16::from_le_bytes(b) & 0x3FFF));
            Some((side(26)?, side(28)?))
        }
    }
}

fn take<const N: usize>(head: &[u8], at: usize) -> Option<[u8; N]> {
    head.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_decide_the_type() {
        let mut stream = vec![0; 200];
        stream[0] = b'G';
        stream[188] = b'G';
        for (head, kind) in [
            (&b"\xFF\xD8\xFF\xE0"[..], Kind::Jpeg),
            (b"\x89PNG\r\n\x1a\nxxxx", Kind::Png),
            (b"GIF89a..", Kind::Gif),
            (b"RIFF....WEBPVP8 ", Kind::Webp),
            (b"\0\0\0\x18ftypisom", Kind::Film),
            (b"\x1A\x45\xDF\xA3", Kind::Webm),
            (&stream, Kind::TransportStream),
            (b"WEBVTT\n", Kind::Vtt),
            (b"1\n00:00:00,000 --> 00:00:01,000\nhi\n", Kind::Srt),
        ] {
            assert_eq!(Kind::of(head), Some(kind));
            assert!(kind.is(kind.media_type()));
        }
        assert_eq!(Kind::of(b"hello"), None);
        assert!(!Kind::Png.is("image/jpeg"));
    }

    #[test]
    fn pictures_tell_their_size() {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        png.extend([0, 0, 2, 0x80, 0, 0, 1, 0xE0]);
        assert_eq!(size(&png), Some((640, 480)));
        assert_eq!(size(b"GIF89a\x10\0\x20\0"), Some((16, 32)));
        let jpeg = b"\xFF\xD8\xFF\xE0\0\x04ab\xFF\xC2\0\x11\x08\x01\xE0\x02\x80";
        assert_eq!(size(jpeg), Some((640, 480)));
        let vp8x = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x7f\x02\0\xdf\x01\0";
        assert_eq!(size(vp8x), Some((640, 480)));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_a_panic(
            mark in 0..8_usize,
            tail in proptest::collection::vec(proptest::num::u8::ANY, 0..64),
        ) {
            let marks: [&[u8]; 8] = [
                b"", b"\xFF\xD8\xFF", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF....WEBPVP8X",
                b"RIFF....WEBPVP8L", b"BM", b"RIFF....WEBPVP8 ",
            ];
            size(&[marks[mark], &tail].concat());
        }
    }

    #[test]
    fn short_heads_are_no_panic() {
        for whole in [
            &b"\x89PNG\r\n\x1a\n"[..],
            b"\xFF\xD8\xFF\xE0\xFF",
            b"RIFF....WEBPVP8L",
        ] {
            for len in 0..=whole.len() {
                assert_eq!(size(&whole[..len]), None);
            }
        }
    }
}
