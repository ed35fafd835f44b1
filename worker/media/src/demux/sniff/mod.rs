//! What a chunk is, from its first bytes.
//!
//! A chunk may also be the middle of a recording, which can begin with any bytes. So what names a kind must be long enough never
//! to come up in Opus by chance: at least 28 bits, in formats of frames three in a row.

mod foreign;
mod frames;

pub use foreign::Foreign;

use super::{ogg, webm};

/// What a chunk's first bytes say it is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Sniffed {
    /// An EBML header: WebM or Matroska.
    WebM,
    /// An Ogg page.
    Ogg,
    /// Something that is no part of a WebM or Ogg recording.
    Foreign(Foreign),
    /// None of these: the continuation of a recording, or noise.
    Unknown,
}

/// Tells what a chunk is from its first bytes.
pub fn sniff(bytes: &[u8]) -> Sniffed {
    match bytes {
        // An EBML header as UTF-8: each byte taken for a character, or what is no UTF-8 replaced.
        [0x1a, b'E', 0xc3, 0x9f, 0xc2, 0xa3, ..] | [0x1a, b'E', 0xdf, 0xa3, 0xef, 0xbf, 0xbd, ..] => {
            Sniffed::Foreign(Foreign::ReadAsText)
        }
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Sniffed::WebM,
        [b'O', b'g', b'g', b'S', ..] => Sniffed::Ogg,
        _ => foreign(bytes).map_or(Sniffed::Unknown, Sniffed::Foreign),
    }
}

fn foreign(bytes: &[u8]) -> Option<Foreign> {
    let is = |at: usize, signature: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(signature));
    let any = |at: usize, signatures: &[&[u8]]| signatures.iter().any(|signature| is(at, signature));
    if is_mp4_box(bytes) {
        Some(Foreign::Mp4)
    } else if any(0, &[b"RIFF", b"RF64", b"BW64"]) && is(8, b"WAVE") {
        Some(Foreign::Wav)
    } else if is(0, b"RIFF") && any(8, &[b"AVI ", b"WEBP", b"RMID"]) {
        Some(Foreign::Riff)
    } else if is(0, b"fLaC") {
        Some(Foreign::Flac)
    } else if is(0, b"caff\0\x01\0\0") {
        Some(Foreign::Caf)
    } else if is(0, b"FORM") && any(8, &[b"AIFF", b"AIFC"]) {
        Some(Foreign::Aiff)
    } else if is(0, b"#!AMR") {
        Some(Foreign::Amr)
    } else if is(0, &[0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11]) {
        Some(Foreign::Asf)
    } else if any(0, &[b"FLV\x01\x01", b"FLV\x01\x04", b"FLV\x01\x05"]) {
        Some(Foreign::Flv)
    } else if is(0, b".snd\0\0\0") {
        Some(Foreign::Au)
    } else if is_compressed(bytes) {
        Some(Foreign::Compressed)
    } else if is_id3(bytes) {
        Some(Foreign::Id3)
    } else {
        frames::of(bytes).or_else(|| text(bytes))
    }
}

/// Tells what plain samples cannot be. They can be anything, a few of them any text; so only a whole header counts, and no frames:
/// a steady tone repeats itself as they do.
pub fn sniff_pcm(bytes: &[u8]) -> Option<Foreign> {
    const LEAST: usize = 32;
    if starts_recording(bytes) {
        return Some(Foreign::Recording);
    }
    let is_frames = |kind: &Foreign| matches!(kind, Foreign::Adts | Foreign::Mp3 | Foreign::MpegTs);
    foreign(bytes).filter(|kind| bytes.len() >= LEAST && !is_frames(kind))
}

/// A box begins with its size, which is 8 or more, 1 (a longer size follows) or 0 (up to the end), and its type.
fn is_mp4_box(bytes: &[u8]) -> bool {
    const TYPES: [&[u8; 4]; 18] = [
        b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"sidx", b"emsg", b"free", b"skip", b"mfra", b"prft",
        b"uuid", b"wide", b"pdin", b"ssix", b"meta", b"udta", b"mvhd",
    ];
    let Some((size, rest)) = bytes.split_first_chunk::<4>() else { return false };
    let size = u32::from_be_bytes(*size);
    let sane = matches!(size, 0 | 1) || (8..1 << 28).contains(&size);
    sane && TYPES.iter().any(|kind| rest.starts_with(*kind))
}

/// An ID3v2 tag: a version that exists, and a size of four bytes below 128.
fn is_id3(bytes: &[u8]) -> bool {
    matches!(bytes, [b'I', b'D', b'3', 2..=4, revision, flags, size @ ..]
        if *revision < 0xff && flags & 0x0f == 0 && size.len() >= 4 && size[..4].iter().all(|byte| *byte < 0x80))
}

/// gzip (RFC 1952: deflate, no reserved flags, a speed and system that there are), zip, Zstandard.
fn is_compressed(bytes: &[u8]) -> bool {
    match bytes {
        [0x1f, 0x8b, 8, flags, _, _, _, _, speed, system, ..] => {
            flags & 0xe0 == 0 && matches!(speed, 0 | 2 | 4) && matches!(system, 0..=13 | 255)
        }
        _ => bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]),
    }
}

/// Text of any kind. What has neither a blank nor a known beginning may be a piece of cover art in an Ogg comment: that is
/// base64.
fn text(bytes: &[u8]) -> Option<Foreign> {
    const LEAST: usize = 16;
    let is_text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..);
    let all = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // The last character may be cut off.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let text = bytes.iter().all(is_text).then(|| all.trim_start_matches('\u{feff}').trim())?;
    let begins = |any: &[&str]| any.iter().any(|start| text.starts_with(start));
    if matches!(text, "null" | "undefined" | "NaN" | "true" | "false") || begins(&["[object "]) {
        return Some(Foreign::BlobAsString);
    }
    if begins(&["data:", "blob:"]) {
        return Some(Foreign::Url);
    }
    // WebM, Ogg, RIFF, ID3, FLAC, MP4 in base64.
    let is_mp4 = text.starts_with("AAAA") && text.get(5..).is_some_and(|rest| rest.starts_with("GZ0eX"));
    if is_mp4 || begins(&["GkXf", "T2dnUw", "UklGR", "SUQzB", "ZkxhQ"]) {
        return Some(Foreign::Base64);
    }
    if begins(&["1a45dfa3", "1A45DFA3", "4f676753", "4F676753"]) {
        return Some(Foreign::Hex);
    }
    if is_json(text) && (text.len() >= LEAST || text.ends_with('}')) {
        return Some(Foreign::Json);
    }
    if text.len() < LEAST {
        return None;
    }
    let is_markup = |next: char| next.is_ascii_alphabetic() || "!?/".contains(next);
    if text.strip_prefix('<').is_some_and(|rest| rest.starts_with(is_markup)) {
        return Some(Foreign::Markup);
    }
    let numbers = text.contains(',') && text.bytes().all(|byte| byte == b',' || byte.is_ascii_digit());
    (numbers || text.contains(char::is_whitespace)).then_some(Foreign::Text)
}

/// Whether text begins as an object or a list of JSON does. A video's samples may be any letter over and over.
fn is_json(text: &str) -> bool {
    let follows = |open: char, next: &[char]| {
        text.strip_prefix(open).is_some_and(|rest| rest.trim_start().starts_with(next))
    };
    let digits = ['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '"', '[', '{', ']'];
    follows('{', &['"', '}']) || follows('[', &digits)
}

/// Whether a chunk starts a recording: with a complete EBML header of DocType `webm` or `matroska`, or with a whole
/// Ogg page that begins a stream.
pub fn starts_recording(bytes: &[u8]) -> bool {
    match bytes {
        [0x1a, ..] => matches!(webm::ebml_header(bytes), Ok(Some(_))),
        _ => ogg::Page::claims_to_begin(bytes) && matches!(ogg::Page::read(bytes), Ok(Some(_))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(bytes: &[u8]) -> Option<Foreign> {
        match sniff(bytes) {
            Sniffed::Foreign(kind) => Some(kind),
            _ => None,
        }
    }

    /// Frames of a header and some bytes.
    fn frames(header: &[u8], length: usize, count: usize) -> Vec<u8> {
        let frame = [header, &vec![0x5a; length - header.len()]].concat();
        frame.repeat(count)
    }

    #[test]
    fn every_kind_is_known_by_its_first_bytes() {
        let mp4_box = |kind: &[u8; 4]| [&[0, 0, 0, 0x64], &kind[..], &[7; 92]].concat();
        for name in [b"ftyp", b"styp", b"moof", b"mdat", b"sidx", b"emsg", b"moov", b"free"] {
            assert_eq!(kind(&mp4_box(name)), Some(Foreign::Mp4), "{name:?}");
        }
        let adts = [0xff, 0xf1, 0x50, 0x80, 0x0c, 0x9f, 0xfc]; // 100 bytes
        let mp3 = [0xff, 0xfb, 0x90, 0x00]; // 128 kb/s at 44.1 kHz: 417 bytes
        let mp3_24 = [0xff, 0xf3, 0x84, 0x00]; // MPEG-2, 64 kb/s at 24 kHz: 192 bytes
        let known: [(&[u8], Foreign); 37] = [
            (b"RIFF\x24\0\0\0WAVEfmt ", Foreign::Wav),
            (b"RF64\xff\xff\xff\xffWAVEds64", Foreign::Wav),
            (b"RIFF\x24\0\0\0AVI LIST", Foreign::Riff),
            (b"fLaC\0\0\0\x22", Foreign::Flac),
            (b"caff\0\x01\0\0desc", Foreign::Caf),
            (b"FORM\0\0\0\x24AIFFCOMM", Foreign::Aiff),
            (b"#!AMR\n", Foreign::Amr),
            (b"ID3\x04\0\0\0\0\x0f\x76", Foreign::Id3),
            (&frames(&adts, 100, 3), Foreign::Adts),
            (&frames(&mp3, 417, 3), Foreign::Mp3),
            (&frames(&mp3_24, 192, 3), Foreign::Mp3),
            (&frames(&[0x47, 0x40], 188, 5), Foreign::MpegTs),
            (&[0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11, 0xa6, 0xd9], Foreign::Asf),
            (b"FLV\x01\x04\0\0\0\x09", Foreign::Flv),
            (b".snd\0\0\0\x18\0\0\0\0", Foreign::Au),
            (&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xed], Foreign::Compressed),
            (b"PK\x03\x04\x14\0\0\0", Foreign::Compressed),
            (&[0x28, 0xb5, 0x2f, 0xfd, 4, 0x50], Foreign::Compressed),
            (b"UklGRiQAAABXQVZFZm10IBAAAAABAAEA", Foreign::Base64),
            (b"AAAAIGZ0eXBpc29tAAACAGlzb21pc28y", Foreign::Base64),
            (b"SUQzBAAAAAAAI1RTU0UAAAAPAAADTGF2", Foreign::Base64),
            (b"1a45dfa39f4286810142f7810142f281", Foreign::Hex),
            (b"4F67675300020000000000000000", Foreign::Hex),
            (b"\xef\xbb\xbf{\"audio\": \"GkXf\"}", Foreign::Json),
            (b"[ -0.25, 0.5, 0.125, 0.25 ]", Foreign::Json),
            (b"{\"a\":1}", Foreign::Json),
            (b"<?xml version=\"1.0\"?>", Foreign::Markup),
            ("Die Aufnahme l\u{e4}uft noch, sagt \u{e4}".as_bytes().split_last().unwrap().1, Foreign::Text),
            (br#"{"type":"Buffer","data":[26,69,223]}"#, Foreign::Json),
            (b"{}", Foreign::Json),
            (b"[26,69,223,163,159,66,134]", Foreign::Json),
            (b"26,69,223,163,159,66,134,129", Foreign::Text),
            (b"data:audio/webm;codecs=opus;base64,GkXfo59ChoEB", Foreign::Url),
            (b"GkXfo59ChoEBQveBAULygQRC84EIQoKEd2VibQ==", Foreign::Base64),
            (b"[object Blob]", Foreign::BlobAsString),
            (b"<!DOCTYPE html><html></html>", Foreign::Markup),
            ("Die Aufnahme l\u{e4}uft noch.".as_bytes(), Foreign::Text),
        ];
        for (bytes, expected) in known {
            assert_eq!(kind(bytes), Some(expected), "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(kind("\u{1a}E\u{df}\u{a3}\u{9f}B".as_bytes()), Some(Foreign::ReadAsText));
        assert_eq!(
            kind(String::from_utf8_lossy(b"\x1aE\xdf\xa3\x9fB").as_bytes()),
            Some(Foreign::ReadAsText)
        );
    }

    #[test]
    fn what_may_be_the_middle_of_a_recording_passes() {
        let adts_once = frames(&[0xff, 0xf1, 0x50, 0x80, 0x0c, 0x9f, 0xfc], 100, 1);
        let passing: [&[u8]; 14] = [
            b"",
            b"\xa3\x45\x0a\x81\0\0\x80\xfb",
            &[0xff; 600], // an Opus packet's padding
            &[0; 600],
            &adts_once,
            b"\0\0\0\x04moof", // no box is that small
            b"ID3\x09\0\0\0\0\0\0",
            b"kD1NbFJlJU1mZBq5T2dnU2tGa0ZrRmtG", // base64 of cover art
            &[0x47; 700],
            &[b'<'; 700], // a video's samples
            &[b'{'; 700],
            &[b'1'; 700],
            &[0x1f, 0x8b, 8, 0xff, 0, 0, 0, 0, 0, 3],
            b"{x}",
        ];
        for bytes in passing {
            assert_eq!(kind(bytes), None, "{bytes:02x?}");
        }
    }

    #[test]
    fn samples_are_foreign_only_where_a_header_says_so() {
        let wav = [b"RIFF\x24\x7d\0\0WAVEfmt ".as_slice(), &[0; 28]].concat();
        assert_eq!(sniff_pcm(&wav), Some(Foreign::Wav));
        let webm = b"\x1a\x45\xdf\xa3\x87\x42\x82\x84webm";
        assert_eq!(sniff_pcm(webm), Some(Foreign::Recording));
        let tone = [[0xff, 0xf3, 0x84, 0x00].as_slice(), &[0x5a; 188]].concat().repeat(8);
        assert_eq!(kind(&tone), Some(Foreign::Mp3), "as a chunk of a recording it would be");
        for samples in [tone.as_slice(), b"", b"{}", b"null", &[0; 8_000], &[0x1a, 0x45, 0xdf, 0xa3]] {
            assert_eq!(sniff_pcm(samples), None, "{samples:02x?}");
        }
    }

    #[test]
    fn only_a_whole_header_of_the_right_kind_starts_a_recording() {
        let webm = b"\x1a\x45\xdf\xa3\x87\x42\x82\x84webm";
        assert!(starts_recording(webm));
        assert!(
            !starts_recording(&webm[..webm.len() - 1]),
            "a header cut off could be the end of another chunk"
        );
        assert!(!starts_recording(b"\x1a\x45\xdf\xa3\x87\x42\x82\x84weba"));
        assert!(!starts_recording(b"OggS\0\x02"), "a page cut off proves nothing");
    }
}
