//! The element IDs that this crate reads or writes (RFC 8794 section 11, RFC 9559 section 5).
#![allow(missing_docs)]

pub(crate) const EBML: u32 = 0x1a45_dfa3;
pub(crate) const EBML_VERSION: u32 = 0x4286;
pub(crate) const EBML_READ_VERSION: u32 = 0x42f7;
pub(crate) const EBML_MAX_ID_LENGTH: u32 = 0x42f2;
pub(crate) const EBML_MAX_SIZE_LENGTH: u32 = 0x42f3;
pub(crate) const DOC_TYPE: u32 = 0x4282;
pub(crate) const DOC_TYPE_VERSION: u32 = 0x4287;
pub(crate) const DOC_TYPE_READ_VERSION: u32 = 0x4285;
pub(crate) const VOID: u32 = 0xec;
pub(crate) const CRC_32: u32 = 0xbf;

pub(crate) const SEGMENT: u32 = 0x1853_8067;
pub(crate) const SEEK_HEAD: u32 = 0x114d_9b74;
pub(crate) const CUES: u32 = 0x1c53_bb6b;
pub(crate) const CHAPTERS: u32 = 0x1043_a770;
pub(crate) const ATTACHMENTS: u32 = 0x1941_a469;

pub(crate) const INFO: u32 = 0x1549_a966;
pub(crate) const SEGMENT_UID: u32 = 0x73a4;
pub(crate) const TIMESTAMP_SCALE: u32 = 0x2a_d7b1;
pub(crate) const MUXING_APP: u32 = 0x4d80;
pub(crate) const WRITING_APP: u32 = 0x5741;

pub(crate) const TRACKS: u32 = 0x1654_ae6b;
pub(crate) const TRACK_ENTRY: u32 = 0xae;
pub(crate) const TRACK_NUMBER: u32 = 0xd7;
pub(crate) const TRACK_UID: u32 = 0x73c5;
pub(crate) const TRACK_TYPE: u32 = 0x83;
pub(crate) const NAME: u32 = 0x536e;
pub(crate) const CODEC_ID: u32 = 0x86;
pub(crate) const CODEC_PRIVATE: u32 = 0x63a2;
pub(crate) const CODEC_DELAY: u32 = 0x56aa;
pub(crate) const CONTENT_ENCODINGS: u32 = 0x6d80;
pub(crate) const AUDIO: u32 = 0xe1;
pub(crate) const SAMPLING_FREQUENCY: u32 = 0xb5;
pub(crate) const CHANNELS: u32 = 0x9f;
pub(crate) const BIT_DEPTH: u32 = 0x6264;

pub(crate) const TAGS: u32 = 0x1254_c367;
pub(crate) const TAG: u32 = 0x7373;
pub(crate) const SIMPLE_TAG: u32 = 0x67c8;
pub(crate) const TAG_NAME: u32 = 0x45a3;
pub(crate) const TAG_STRING: u32 = 0x4487;

pub(crate) const CLUSTER: u32 = 0x1f43_b675;
pub(crate) const TIMESTAMP: u32 = 0xe7;
pub(crate) const SILENT_TRACKS: u32 = 0x5854;
pub(crate) const POSITION: u32 = 0xa7;
pub(crate) const PREV_SIZE: u32 = 0xab;
pub(crate) const SIMPLE_BLOCK: u32 = 0xa3;
pub(crate) const BLOCK_GROUP: u32 = 0xa0;
pub(crate) const BLOCK: u32 = 0xa1;
pub(crate) const DISCARD_PADDING: u32 = 0x75a2;
pub(crate) const ENCRYPTED_BLOCK: u32 = 0xaf;
