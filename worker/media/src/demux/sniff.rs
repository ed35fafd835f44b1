//! What a chunk is, from its first bytes.

use super::{ogg, webm};

/// What a chunk's first bytes say it is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Sniffed {
    /// An EBML header: WebM or Matroska.
    WebM,
    /// An Ogg page.
    Ogg,
    /// An ISO base media file (what Safari records).
    Mp4,
    /// A RIFF WAVE file.
    Wav,
    /// None of these: the continuation of a recording, or noise.
    Unknown,
}

/// Tells what a chunk is from its first bytes.
pub fn sniff(bytes: &[u8]) -> Sniffed {
    match bytes {
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Sniffed::WebM,
        [b'O', b'g', b'g', b'S', ..] => Sniffed::Ogg,
        [_, _, _, _, b'f' | b's', b't', b'y', b'p', ..] => Sniffed::Mp4,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Sniffed::Wav,
        _ => Sniffed::Unknown,
    }
}

/// Whether a chunk starts a recording: with a complete EBML header of DocType `webm` or `matroska`, or with a whole
/// Ogg page that begins a stream.
pub fn starts_recording(bytes: &[u8]) -> bool {
    match sniff(bytes) {
        Sniffed::WebM => matches!(webm::ebml_header(bytes), Ok(Some(_))),
        Sniffed::Ogg => ogg::Page::claims_to_begin(bytes) && matches!(ogg::Page::read(bytes), Ok(Some(_))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_containers_are_known_by_name() {
        assert_eq!(sniff(b"\0\0\0\x1cftypiso5"), Sniffed::Mp4);
        assert_eq!(sniff(b"RIFF\x24\0\0\0WAVEfmt "), Sniffed::Wav);
        assert_eq!(sniff(b"\xa3\x45\x0a\x81"), Sniffed::Unknown);
        assert_eq!(sniff(b""), Sniffed::Unknown);
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
