//! Kinds that are no WebM or Ogg, by name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What pages send although it cannot be decoded here.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Foreign {
    /// A box of an ISO base media file: what Safari records by default, and Chrome as audio/mp4.
    Mp4,
    /// RIFF WAVE, RF64 or BW64.
    Wav,
    /// Another RIFF file.
    Riff,
    /// AAC in ADTS frames.
    Adts,
    /// MPEG audio frames, layer I to III.
    Mp3,
    /// An ID3 tag, which goes before MP3 or AAC.
    Id3,
    /// FLAC.
    Flac,
    /// Apple's Core Audio Format.
    Caf,
    /// AIFF or AIFF-C.
    Aiff,
    /// Adaptive Multi-Rate.
    Amr,
    /// An MPEG transport stream.
    MpegTs,
    /// Microsoft's ASF: WMA, WMV.
    Asf,
    /// Flash Video.
    Flv,
    /// Sun's AU.
    Au,
    /// Something that was compressed once more: gzip, zip, Zstandard.
    Compressed,
    /// A WebM or Ogg recording's beginning, where something else was promised.
    Recording,
    /// JSON.
    Json,
    /// Base64 of a recording or another audio file: it was encoded twice.
    Base64,
    /// A recording's bytes as hexadecimal digits.
    Hex,
    /// A recording that was read as text: its bytes are lost.
    ReadAsText,
    /// A data: or blob: URL.
    Url,
    /// What JavaScript makes of a blob that is used as a string.
    BlobAsString,
    /// HTML or XML.
    Markup,
    /// Other text.
    Text,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mp4 => "MP4 (an ISO base media box)",
            Self::Wav => "WAV",
            Self::Riff => "a RIFF file other than WAV",
            Self::Adts => "AAC (ADTS frames)",
            Self::Mp3 => "MP3 (MPEG audio frames)",
            Self::Id3 => "MP3 or AAC (an ID3 tag)",
            Self::Flac => "FLAC",
            Self::Caf => "CAF (Core Audio)",
            Self::Aiff => "AIFF",
            Self::Amr => "AMR",
            Self::MpegTs => "an MPEG transport stream",
            Self::Asf => "WMA or WMV (ASF)",
            Self::Flv => "Flash Video",
            Self::Au => "AU",
            Self::Compressed => "compressed once more (gzip, zip or Zstandard)",
            Self::Recording => "a WebM or Ogg recording",
            Self::Json => "JSON",
            Self::Base64 => "base64 text of a recording",
            Self::Hex => "a recording as hexadecimal digits",
            Self::ReadAsText => "a recording that was read as text",
            Self::Url => "a data: or blob: URL",
            Self::BlobAsString => "a blob turned into a string",
            Self::Markup => "HTML or XML",
            Self::Text => "text",
        })
    }
}
