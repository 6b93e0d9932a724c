//! Films made of boxes, whole, odd and broken.

use std::io::Cursor;

use super::*;

fn boxed(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).unwrap();
    [&length.to_be_bytes()[..], &kind, content].concat()
}

fn mvhd(scale: u32, length: u32) -> Vec<u8> {
    let mut header = vec![0; 100];
    header[12..16].copy_from_slice(&scale.to_be_bytes());
    header[16..20].copy_from_slice(&length.to_be_bytes());
    boxed(*b"mvhd", &header)
}

fn mvhd_wide(scale: u32, length: u64) -> Vec<u8> {
    let mut header = vec![0; 112];
    header[0] = 1;
    header[20..24].copy_from_slice(&scale.to_be_bytes());
    header[24..32].copy_from_slice(&length.to_be_bytes());
    boxed(*b"mvhd", &header)
}

fn trak(handler: [u8; 4], wide: bool, rotated: bool, width: u32, height: u32) -> Vec<u8> {
    let mut header = vec![0; if wide { 96 } else { 84 }];
    header[0] = u8::from(wide);
    let (matrix, frame) = if wide { (52, 88) } else { (40, 76) };
    if !rotated {
        header[matrix + 1] = 1;
    }
    header[frame..frame + 4].copy_from_slice(&(width << 16).to_be_bytes());
    header[frame + 4..frame + 8].copy_from_slice(&(height << 16).to_be_bytes());
    let hdlr = [&[0; 8][..], &handler, &[0; 12]].concat();
    boxed(
        *b"trak",
        &[
            boxed(*b"tkhd", &header),
            boxed(*b"mdia", &boxed(*b"hdlr", &hdlr)),
        ]
        .concat(),
    )
}

fn film(index: &[Vec<u8>]) -> Vec<u8> {
    [
        boxed(*b"ftyp", b"isom\0\0\0\0"),
        boxed(*b"mdat", &[7; 100]),
        boxed(*b"moov", &index.concat()),
    ]
    .concat()
}

fn look(film: &[u8]) -> (Option<u64>, Option<(u32, u32)>) {
    let seen = measure(Cursor::new(film), u64::try_from(film.len()).unwrap());
    (
        seen.duration_ms,
        seen.frame.map(|frame| (frame.width, frame.height)),
    )
}

#[test]
fn length_and_frame_are_found_in_both_widths() {
    let sound = trak(*b"soun", false, false, 9, 9);
    let plain = film(&[
        mvhd(600, 6_300),
        sound.clone(),
        trak(*b"vide", false, false, 1280, 720),
    ]);
    assert_eq!(look(&plain), (Some(10_500), Some((1280, 720))));
    let wide = film(&[
        mvhd_wide(90_000, 90_000 * 8_000),
        trak(*b"vide", true, false, 1920, 1080),
    ]);
    assert_eq!(look(&wide), (Some(8_000_000), Some((1920, 1080))));
    let turned = film(&[mvhd(1, 3), sound, trak(*b"vide", false, true, 1280, 720)]);
    assert_eq!(look(&turned), (Some(3_000), Some((720, 1280))));
}

#[test]
fn a_film_in_fragments_tells_its_length_elsewhere() {
    let mehd = |length: u32| {
        let content = [&[0; 4][..], &length.to_be_bytes()].concat();
        boxed(*b"mvex", &boxed(*b"mehd", &content))
    };
    assert_eq!(look(&film(&[mvhd(1_000, 0), mehd(2_500)])).0, Some(2_500));
    assert_eq!(look(&film(&[mvhd(1_000, 0), mehd(0)])).0, None);
    assert_eq!(look(&film(&[mvhd(1_000, 0)])).0, None);
}

#[test]
fn what_is_not_said_is_unknown() {
    for odd in [
        film(&[]),
        film(&[mvhd(0, 10)]),
        film(&[mvhd(1_000, u32::MAX)]),
        film(&[mvhd_wide(1_000, u64::MAX)]),
        film(&[mvhd_wide(1, u64::MAX - 1)]),
        film(&[trak(*b"vide", false, false, 0, 720)]),
        film(&[trak(*b"text", false, false, 10, 10)]),
        boxed(*b"moov", &boxed(*b"mvhd", &[0; 3])),
        [&[0, 0, 0, 1][..], b"moov", &[0xff; 8]].concat(),
        [&[0, 0, 0, 7][..], b"moov"].concat(),
    ] {
        assert_eq!(look(&odd), (None, None));
    }
    // A box that reaches to the end of the file.
    let open = [&[0; 4][..], b"moov", &mvhd(1_000, 900)].concat();
    assert_eq!(look(&open).0, Some(900));
}

#[test]
fn a_film_of_nothing_but_boxes_is_given_up_on() {
    let mut boxes = boxed(*b"free", &[]).repeat(5_000);
    boxes.extend(boxed(*b"moov", &mvhd(1_000, 900)));
    assert_eq!(look(&boxes), (None, None));
}
