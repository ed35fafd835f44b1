//! The Matroska elements that may occur, and where (RFC 8794, RFC 9559).
//!
//! The service publishes no list. [`Elements::Generator`] is what the official producer's generator writes
//! (amazon-kinesis-video-streams-pic, src/mkvgen), the only list known to be accepted;
//! [`Elements::Matroska`] adds what ffmpeg's muxer writes on a pipe.

use serde::{Deserialize, Serialize};

/// Which elements a PutMedia body may contain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Elements {
    /// Those of the official producer only: anything else is INVALID_MKV_DATA.
    #[default]
    Generator,
    /// Also SeekHead, Void, Duration, BlockGroup, track flags and others that common muxers write.
    Matroska,
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
    /// ID of the only parent; [`ROOT`] at the top; [`ANYWHERE`] for global elements.
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

const BLOCK_BYTES_MAX: usize = 50_000_000;
const TEXT_BYTES_MAX: usize = 4096;
const SKIPPED_BYTES_MAX: usize = 1 << 20;

const fn master(id: u32, name: &'static str, parent: u32, generator: bool) -> Schema {
    Schema { id, name, parent, kind: Kind::Master, bytes_max: 0, generator }
}
const fn leaf(id: u32, name: &'static str, parent: u32, kind: Kind, generator: bool) -> Schema {
    let bytes_max = match kind {
        Kind::Uint | Kind::Float => 8,
        Kind::Text => TEXT_BYTES_MAX,
        Kind::Binary | Kind::Master => SKIPPED_BYTES_MAX,
    };
    Schema { id, name, parent, kind, bytes_max, generator }
}
const fn block(id: u32, name: &'static str, parent: u32, generator: bool) -> Schema {
    Schema { id, name, parent, kind: Kind::Binary, bytes_max: BLOCK_BYTES_MAX, generator }
}

const VIDEO: u32 = 0xE0;

/// The table. `true` in the last column: the official generator writes it.
pub static SCHEMA: &[Schema] = &[
    master(EBML, "EBML", ROOT, true),
    leaf(0x4286, "EBMLVersion", EBML, Kind::Uint, true),
    leaf(EBML_READ_VERSION, "EBMLReadVersion", EBML, Kind::Uint, true),
    leaf(EBML_MAX_ID_LENGTH, "EBMLMaxIDLength", EBML, Kind::Uint, true),
    leaf(EBML_MAX_SIZE_LENGTH, "EBMLMaxSizeLength", EBML, Kind::Uint, true),
    leaf(DOC_TYPE, "DocType", EBML, Kind::Text, true),
    leaf(0x4287, "DocTypeVersion", EBML, Kind::Uint, true),
    leaf(DOC_TYPE_READ_VERSION, "DocTypeReadVersion", EBML, Kind::Uint, true),
    leaf(0xEC, "Void", ANYWHERE, Kind::Binary, false),
    leaf(0xBF, "CRC-32", ANYWHERE, Kind::Binary, false),
    master(SEGMENT, "Segment", ROOT, true),
    leaf(0x114D_9B74, "SeekHead", SEGMENT, Kind::Binary, false),
    leaf(0x1C53_BB6B, "Cues", SEGMENT, Kind::Binary, false),
    master(INFO, "Info", SEGMENT, true),
    leaf(0x73A4, "SegmentUUID", INFO, Kind::Binary, true),
    leaf(TIMESTAMP_SCALE, "TimestampScale", INFO, Kind::Uint, true),
    leaf(0x7BA9, "Title", INFO, Kind::Text, true),
    leaf(0x4D80, "MuxingApp", INFO, Kind::Text, true),
    leaf(0x5741, "WritingApp", INFO, Kind::Text, true),
    leaf(0x4489, "Duration", INFO, Kind::Float, false),
    leaf(0x4461, "DateUTC", INFO, Kind::Binary, false),
    master(TRACKS, "Tracks", SEGMENT, true),
    master(TRACK_ENTRY, "TrackEntry", TRACKS, true),
    leaf(TRACK_NUMBER, "TrackNumber", TRACK_ENTRY, Kind::Uint, true),
    leaf(TRACK_UID, "TrackUID", TRACK_ENTRY, Kind::Uint, true),
    leaf(TRACK_TYPE, "TrackType", TRACK_ENTRY, Kind::Uint, true),
    leaf(TRACK_NAME, "Name", TRACK_ENTRY, Kind::Text, true),
    leaf(CODEC_ID, "CodecID", TRACK_ENTRY, Kind::Text, true),
    leaf(0x63A2, "CodecPrivate", TRACK_ENTRY, Kind::Binary, true),
    leaf(0x9C, "FlagLacing", TRACK_ENTRY, Kind::Uint, false),
    leaf(0xB9, "FlagEnabled", TRACK_ENTRY, Kind::Uint, false),
    leaf(0x88, "FlagDefault", TRACK_ENTRY, Kind::Uint, false),
    leaf(0x55AA, "FlagForced", TRACK_ENTRY, Kind::Uint, false),
    leaf(0x6DE7, "MinCache", TRACK_ENTRY, Kind::Uint, false),
    leaf(0x23_E383, "DefaultDuration", TRACK_ENTRY, Kind::Uint, false),
    leaf(0x23_314F, "TrackTimestampScale", TRACK_ENTRY, Kind::Float, false),
    leaf(0x55EE, "MaxBlockAdditionID", TRACK_ENTRY, Kind::Uint, false),
    leaf(0x22_B59C, "Language", TRACK_ENTRY, Kind::Text, false),
    leaf(0x22_B59D, "LanguageBCP47", TRACK_ENTRY, Kind::Text, false),
    leaf(0x25_8688, "CodecName", TRACK_ENTRY, Kind::Text, false),
    leaf(0x56AA, "CodecDelay", TRACK_ENTRY, Kind::Uint, false),
    leaf(0x56BB, "SeekPreRoll", TRACK_ENTRY, Kind::Uint, false),
    master(VIDEO, "Video", TRACK_ENTRY, true),
    leaf(0xB0, "PixelWidth", VIDEO, Kind::Uint, true),
    leaf(0xBA, "PixelHeight", VIDEO, Kind::Uint, true),
    leaf(0x9A, "FlagInterlaced", VIDEO, Kind::Uint, false),
    leaf(0x9D, "FieldOrder", VIDEO, Kind::Uint, false),
    leaf(0x54B0, "DisplayWidth", VIDEO, Kind::Uint, false),
    leaf(0x54BA, "DisplayHeight", VIDEO, Kind::Uint, false),
    leaf(0x54B2, "DisplayUnit", VIDEO, Kind::Uint, false),
    leaf(0x55B0, "Colour", VIDEO, Kind::Binary, false),
    master(AUDIO, "Audio", TRACK_ENTRY, true),
    leaf(SAMPLING_FREQUENCY, "SamplingFrequency", AUDIO, Kind::Float, true),
    leaf(CHANNELS, "Channels", AUDIO, Kind::Uint, true),
    leaf(BIT_DEPTH, "BitDepth", AUDIO, Kind::Uint, true),
    leaf(0x78B5, "OutputSamplingFrequency", AUDIO, Kind::Float, false),
    master(TAGS, "Tags", SEGMENT, true),
    master(TAG, "Tag", TAGS, true),
    leaf(0x63C0, "Targets", TAG, Kind::Binary, false),
    master(SIMPLE_TAG, "SimpleTag", TAG, true),
    leaf(TAG_NAME, "TagName", SIMPLE_TAG, Kind::Text, true),
    leaf(TAG_STRING, "TagString", SIMPLE_TAG, Kind::Text, true),
    leaf(0x447A, "TagLanguage", SIMPLE_TAG, Kind::Text, false),
    leaf(0x4484, "TagDefault", SIMPLE_TAG, Kind::Uint, false),
    master(CLUSTER, "Cluster", SEGMENT, true),
    leaf(TIMESTAMP, "Timestamp", CLUSTER, Kind::Uint, true),
    leaf(0xA7, "Position", CLUSTER, Kind::Uint, true),
    leaf(0xAB, "PrevSize", CLUSTER, Kind::Uint, false),
    block(SIMPLE_BLOCK, "SimpleBlock", CLUSTER, true),
    master(BLOCK_GROUP, "BlockGroup", CLUSTER, false),
    block(BLOCK, "Block", BLOCK_GROUP, false),
    leaf(0x9B, "BlockDuration", BLOCK_GROUP, Kind::Uint, false),
    leaf(0xFB, "ReferenceBlock", BLOCK_GROUP, Kind::Binary, false),
    leaf(0x75A2, "DiscardPadding", BLOCK_GROUP, Kind::Binary, false),
];

impl Elements {
    /// The row of `id`, or `None` if the element is not allowed at all.
    pub fn find(self, id: u32) -> Option<&'static Schema> {
        SCHEMA.iter().find(|row| row.id == id).filter(|row| row.generator || self == Elements::Matroska)
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
