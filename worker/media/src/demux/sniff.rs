//! What a chunk is, from its first bytes.

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

/// Whether a chunk starts a recording: with a complete EBML header of DocType `webm` or `matroska`, or with an Ogg
/// page that begins a stream.
pub fn starts_recording(bytes: &[u8]) -> bool {
    matches!(sniff(bytes), Sniffed::WebM)
        || matches!(bytes, [b'O', b'g', b'g', b'S', 0, flags, ..] if flags & 2 != 0)
}
