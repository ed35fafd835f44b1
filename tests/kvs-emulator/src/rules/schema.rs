//! The Matroska elements that may occur, and where (RFC 8794, RFC 9559).
//!
//! The service publishes no list. It is known to take what common muxers write, and to give it back as it came: so
//! [`Elements::Matroska`] has every element of RFC 9559. [`Elements::Generator`] has only those that the generator of the
//! official producers writes (amazon-kinesis-video-streams-pic, src/mkvgen).
//!
//! Masters in which nothing concerns the service (SeekHead, Cues, Colour ...) are rows without children here: they are
//! taken whole, like any other payload.

use serde::{Deserialize, Serialize};

/// Which elements a PutMedia body may contain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Elements {
    /// Those of RFC 9559: anything else is INVALID_MKV_DATA.
    #[default]
    Matroska,
    /// Only those that the official producers write; for a producer that wants to be sure.
    Generator,
}

/// How an element's payload is read (RFC 8794, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Contains elements.
    Master,
    /// Big-endian unsigned integer of 0 to 8 bytes.
    Uint,
    /// IEEE 754 number of 0, 4 or 8 bytes.
    Float,
    /// UTF-8 text.
    Text,
    /// Anything.
    Binary,
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Schema {
    /// Element ID with its length marker, as it stands in the file.
    pub id: u32,
    /// Name as in RFC 9559.
    pub name: &'static str,
    /// ID of the parent; [`ROOT`] at the top; [`ANYWHERE`] for global elements.
    pub parent: u32,
    /// How the payload is read.
    pub kind: Kind,
    /// Most payload bytes taken; a longer one is refused before it is buffered. Unused for masters.
    pub bytes_max: usize,
    /// True if the official generator writes it.
    pub generator: bool,
}

/// Parent of the top elements.
pub const ROOT: u32 = 0;
/// Parent of Void and CRC-32.
pub const ANYWHERE: u32 = u32::MAX;

/// EBML header.
pub const EBML: u32 = 0x1A45_DFA3;
/// EBMLReadVersion.
pub const EBML_READ_VERSION: u32 = 0x42F7;
/// EBMLMaxIDLength.
pub const EBML_MAX_ID_LENGTH: u32 = 0x42F2;
/// EBMLMaxSizeLength.
pub const EBML_MAX_SIZE_LENGTH: u32 = 0x42F3;
/// DocType.
pub const DOC_TYPE: u32 = 0x4282;
/// DocTypeReadVersion.
pub const DOC_TYPE_READ_VERSION: u32 = 0x4285;
/// Segment.
pub const SEGMENT: u32 = 0x1853_8067;
/// Info.
pub const INFO: u32 = 0x1549_A966;
/// TimestampScale, called TimecodeScale by the service.
pub const TIMESTAMP_SCALE: u32 = 0x2A_D7B1;
/// Tracks.
pub const TRACKS: u32 = 0x1654_AE6B;
/// TrackEntry.
pub const TRACK_ENTRY: u32 = 0xAE;
/// TrackNumber.
pub const TRACK_NUMBER: u32 = 0xD7;
/// TrackUID.
pub const TRACK_UID: u32 = 0x73C5;
/// TrackType.
pub const TRACK_TYPE: u32 = 0x83;
/// Name of a track.
pub const TRACK_NAME: u32 = 0x536E;
/// CodecID.
pub const CODEC_ID: u32 = 0x86;
/// Audio.
pub const AUDIO: u32 = 0xE1;
/// SamplingFrequency.
pub const SAMPLING_FREQUENCY: u32 = 0xB5;
/// Channels.
pub const CHANNELS: u32 = 0x9F;
/// BitDepth.
pub const BIT_DEPTH: u32 = 0x6264;
/// Tags.
pub const TAGS: u32 = 0x1254_C367;
/// Tag.
pub const TAG: u32 = 0x7373;
/// SimpleTag.
pub const SIMPLE_TAG: u32 = 0x67C8;
/// TagName.
pub const TAG_NAME: u32 = 0x45A3;
/// TagString.
pub const TAG_STRING: u32 = 0x4487;
/// Targets: what a Tag is about. Muxers write it, the tags of producers do not have it.
pub const TARGETS: u32 = 0x63C0;
/// Cluster: one fragment.
pub const CLUSTER: u32 = 0x1F43_B675;
/// Timestamp of a Cluster, called Timecode by the service.
pub const TIMESTAMP: u32 = 0xE7;
/// SimpleBlock.
pub const SIMPLE_BLOCK: u32 = 0xA3;
/// BlockGroup.
pub const BLOCK_GROUP: u32 = 0xA0;
/// Block.
pub const BLOCK: u32 = 0xA1;
/// BlockDuration.
pub const BLOCK_DURATION: u32 = 0x9B;
/// ReferenceBlock: a block that has one is not a key frame.
pub const REFERENCE_BLOCK: u32 = 0xFB;

const BLOCK_BYTES_MAX: usize = 50_000_000;
const TEXT_BYTES_MAX: usize = 4096;
const WHOLE_BYTES_MAX: usize = 1 << 20;

const fn row(id: u32, name: &'static str, parent: u32, kind: Kind, bytes_max: usize) -> Schema {
    Schema { id, name, parent, kind, bytes_max, generator: false }
}
const fn master(id: u32, name: &'static str, parent: u32) -> Schema {
    row(id, name, parent, Kind::Master, 0)
}
const fn uint(id: u32, name: &'static str, parent: u32) -> Schema {
    row(id, name, parent, Kind::Uint, 8)
}
const fn float(id: u32, name: &'static str, parent: u32) -> Schema {
    row(id, name, parent, Kind::Float, 8)
}
const fn text(id: u32, name: &'static str, parent: u32) -> Schema {
    row(id, name, parent, Kind::Text, TEXT_BYTES_MAX)
}
/// Also masters that are taken whole.
const fn binary(id: u32, name: &'static str, parent: u32) -> Schema {
    row(id, name, parent, Kind::Binary, WHOLE_BYTES_MAX)
}
const fn block(id: u32, name: &'static str, parent: u32) -> Schema {
    row(id, name, parent, Kind::Binary, BLOCK_BYTES_MAX)
}

impl Schema {
    /// The official generator writes it.
    const fn generated(mut self) -> Self {
        self.generator = true;
        self
    }
}

const VIDEO: u32 = 0xE0;

/// The table, by parent.
pub static SCHEMA: &[Schema] = &[
    binary(0xEC, "Void", ANYWHERE),
    binary(0xBF, "CRC-32", ANYWHERE),
    // EBML
    master(EBML, "EBML", ROOT).generated(),
    uint(0x4286, "EBMLVersion", EBML).generated(),
    uint(EBML_READ_VERSION, "EBMLReadVersion", EBML).generated(),
    uint(EBML_MAX_ID_LENGTH, "EBMLMaxIDLength", EBML).generated(),
    uint(EBML_MAX_SIZE_LENGTH, "EBMLMaxSizeLength", EBML).generated(),
    text(DOC_TYPE, "DocType", EBML).generated(),
    uint(0x4287, "DocTypeVersion", EBML).generated(),
    uint(DOC_TYPE_READ_VERSION, "DocTypeReadVersion", EBML).generated(),
    binary(0x4281, "DocTypeExtension", EBML),
    // Segment
    master(SEGMENT, "Segment", ROOT).generated(),
    binary(0x114D_9B74, "SeekHead", SEGMENT),
    binary(0x1C53_BB6B, "Cues", SEGMENT),
    binary(0x1941_A469, "Attachments", SEGMENT),
    binary(0x1043_A770, "Chapters", SEGMENT),
    master(INFO, "Info", SEGMENT).generated(),
    master(TRACKS, "Tracks", SEGMENT).generated(),
    master(TAGS, "Tags", SEGMENT).generated(),
    master(CLUSTER, "Cluster", SEGMENT).generated(),
    // Info
    binary(0x73A4, "SegmentUUID", INFO).generated(),
    text(0x7384, "SegmentFilename", INFO),
    binary(0x3C_B923, "PrevUUID", INFO),
    text(0x3C_83AB, "PrevFilename", INFO),
    binary(0x3E_B923, "NextUUID", INFO),
    text(0x3E_83BB, "NextFilename", INFO),
    binary(0x4444, "SegmentFamily", INFO),
    binary(0x6924, "ChapterTranslate", INFO),
    uint(TIMESTAMP_SCALE, "TimestampScale", INFO).generated(),
    float(0x4489, "Duration", INFO),
    binary(0x4461, "DateUTC", INFO),
    text(0x7BA9, "Title", INFO).generated(),
    text(0x4D80, "MuxingApp", INFO).generated(),
    text(0x5741, "WritingApp", INFO).generated(),
    // Tracks
    master(TRACK_ENTRY, "TrackEntry", TRACKS).generated(),
    uint(TRACK_NUMBER, "TrackNumber", TRACK_ENTRY).generated(),
    uint(TRACK_UID, "TrackUID", TRACK_ENTRY).generated(),
    uint(TRACK_TYPE, "TrackType", TRACK_ENTRY).generated(),
    text(TRACK_NAME, "Name", TRACK_ENTRY).generated(),
    text(CODEC_ID, "CodecID", TRACK_ENTRY).generated(),
    binary(0x63A2, "CodecPrivate", TRACK_ENTRY).generated(),
    uint(0xB9, "FlagEnabled", TRACK_ENTRY),
    uint(0x88, "FlagDefault", TRACK_ENTRY),
    uint(0x55AA, "FlagForced", TRACK_ENTRY),
    uint(0x55AB, "FlagHearingImpaired", TRACK_ENTRY),
    uint(0x55AC, "FlagVisualImpaired", TRACK_ENTRY),
    uint(0x55AD, "FlagTextDescriptions", TRACK_ENTRY),
    uint(0x55AE, "FlagOriginal", TRACK_ENTRY),
    uint(0x55AF, "FlagCommentary", TRACK_ENTRY),
    uint(0x9C, "FlagLacing", TRACK_ENTRY),
    uint(0x6DE7, "MinCache", TRACK_ENTRY),
    uint(0x6DF8, "MaxCache", TRACK_ENTRY),
    uint(0x23_E383, "DefaultDuration", TRACK_ENTRY),
    uint(0x23_4E7A, "DefaultDecodedFieldDuration", TRACK_ENTRY),
    float(0x23_314F, "TrackTimestampScale", TRACK_ENTRY),
    uint(0x537F, "TrackOffset", TRACK_ENTRY),
    uint(0x55EE, "MaxBlockAdditionID", TRACK_ENTRY),
    binary(0x41E4, "BlockAdditionMapping", TRACK_ENTRY),
    text(0x22_B59C, "Language", TRACK_ENTRY),
    text(0x22_B59D, "LanguageBCP47", TRACK_ENTRY),
    text(0x25_8688, "CodecName", TRACK_ENTRY),
    text(0x3A_9697, "CodecSettings", TRACK_ENTRY),
    text(0x3B_4040, "CodecInfoURL", TRACK_ENTRY),
    text(0x26_B240, "CodecDownloadURL", TRACK_ENTRY),
    uint(0xAA, "CodecDecodeAll", TRACK_ENTRY),
    uint(0x7446, "AttachmentLink", TRACK_ENTRY),
    uint(0x6FAB, "TrackOverlay", TRACK_ENTRY),
    uint(0x56AA, "CodecDelay", TRACK_ENTRY),
    uint(0x56BB, "SeekPreRoll", TRACK_ENTRY),
    binary(0x6624, "TrackTranslate", TRACK_ENTRY),
    binary(0xE2, "TrackOperation", TRACK_ENTRY),
    binary(0x6D80, "ContentEncodings", TRACK_ENTRY),
    // Video
    master(VIDEO, "Video", TRACK_ENTRY).generated(),
    uint(0xB0, "PixelWidth", VIDEO).generated(),
    uint(0xBA, "PixelHeight", VIDEO).generated(),
    uint(0x9A, "FlagInterlaced", VIDEO),
    uint(0x9D, "FieldOrder", VIDEO),
    uint(0x53B8, "StereoMode", VIDEO),
    uint(0x53B9, "OldStereoMode", VIDEO),
    uint(0x53C0, "AlphaMode", VIDEO),
    uint(0x54AA, "PixelCropBottom", VIDEO),
    uint(0x54BB, "PixelCropTop", VIDEO),
    uint(0x54CC, "PixelCropLeft", VIDEO),
    uint(0x54DD, "PixelCropRight", VIDEO),
    uint(0x54B0, "DisplayWidth", VIDEO),
    uint(0x54BA, "DisplayHeight", VIDEO),
    uint(0x54B2, "DisplayUnit", VIDEO),
    uint(0x54B3, "AspectRatioType", VIDEO),
    binary(0x2E_B524, "UncompressedFourCC", VIDEO),
    float(0x2F_B523, "GammaValue", VIDEO),
    float(0x23_83E3, "FrameRate", VIDEO),
    binary(0x55B0, "Colour", VIDEO),
    binary(0x7670, "Projection", VIDEO),
    // Audio
    master(AUDIO, "Audio", TRACK_ENTRY).generated(),
    float(SAMPLING_FREQUENCY, "SamplingFrequency", AUDIO).generated(),
    uint(CHANNELS, "Channels", AUDIO).generated(),
    uint(BIT_DEPTH, "BitDepth", AUDIO).generated(),
    float(0x78B5, "OutputSamplingFrequency", AUDIO),
    binary(0x7D7B, "ChannelPositions", AUDIO),
    uint(0x52F1, "Emphasis", AUDIO),
    // Tags
    master(TAG, "Tag", TAGS).generated(),
    binary(TARGETS, "Targets", TAG),
    master(SIMPLE_TAG, "SimpleTag", TAG).generated(),
    binary(SIMPLE_TAG, "SimpleTag", SIMPLE_TAG),
    text(TAG_NAME, "TagName", SIMPLE_TAG).generated(),
    text(TAG_STRING, "TagString", SIMPLE_TAG).generated(),
    binary(0x4485, "TagBinary", SIMPLE_TAG),
    text(0x447A, "TagLanguage", SIMPLE_TAG),
    text(0x447B, "TagLanguageBCP47", SIMPLE_TAG),
    uint(0x4484, "TagDefault", SIMPLE_TAG),
    uint(0x44B4, "TagDefaultBogus", SIMPLE_TAG),
    // Cluster
    uint(TIMESTAMP, "Timestamp", CLUSTER).generated(),
    uint(0xA7, "Position", CLUSTER).generated(),
    uint(0xAB, "PrevSize", CLUSTER),
    binary(0x5854, "SilentTracks", CLUSTER),
    block(SIMPLE_BLOCK, "SimpleBlock", CLUSTER).generated(),
    master(BLOCK_GROUP, "BlockGroup", CLUSTER),
    block(BLOCK, "Block", BLOCK_GROUP),
    uint(BLOCK_DURATION, "BlockDuration", BLOCK_GROUP),
    binary(REFERENCE_BLOCK, "ReferenceBlock", BLOCK_GROUP),
    uint(0xFA, "ReferencePriority", BLOCK_GROUP),
    binary(0xFD, "ReferenceVirtual", BLOCK_GROUP),
    binary(0xA2, "BlockVirtual", BLOCK_GROUP),
    binary(0x75A1, "BlockAdditions", BLOCK_GROUP),
    binary(0xA4, "CodecState", BLOCK_GROUP),
    binary(0x75A2, "DiscardPadding", BLOCK_GROUP),
    binary(0x8E, "Slices", BLOCK_GROUP),
    binary(0xC8, "ReferenceFrame", BLOCK_GROUP),
];

/// True for the elements that hold a frame, whose size is the fragment's.
pub(super) fn is_block(name: &str) -> bool {
    SCHEMA.iter().any(|row| row.name == name && row.bytes_max == BLOCK_BYTES_MAX)
}

impl Elements {
    /// The row of `id` inside `parent`, or another row of `id` if it has none there; `None` if the element is not
    /// allowed at all.
    pub fn find(self, id: u32, parent: u32) -> Option<&'static Schema> {
        let mut rows =
            SCHEMA.iter().filter(|row| row.id == id && (row.generator || self == Elements::Matroska));
        let first = rows.next()?;
        let fitting = [first].into_iter().chain(rows).find(|row| row.fits_in(parent));
        Some(fitting.unwrap_or(first))
    }
}

impl Schema {
    /// True if this element may stand directly inside `parent` ([`ROOT`] for the top).
    pub fn fits_in(&self, parent: u32) -> bool {
        self.parent == parent || (self.parent == ANYWHERE && parent != ROOT)
    }

    /// Only Segment and Cluster may leave their size open, so that a live producer can write them.
    pub fn may_be_unsized(&self) -> bool {
        self.id == SEGMENT || self.id == CLUSTER
    }
}
