//! What comes out of the demuxer.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::hash::Fnv;
use crate::opus::OutputGain;
use crate::time::{MediaTime, OpusTicks, Samples};

/// One thing that a chunk completed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Item {
    /// A recorder run begins; the packets that follow belong to it.
    RecordingStart(RecordingHead),
    /// An Opus packet.
    Packet(Packet),
    /// Bytes that could not be used, and why.
    Skipped(Skipped),
}

impl Item {
    /// The packet, if it is one.
    pub fn packet(&self) -> Option<&Packet> {
        match self {
            Self::Packet(packet) => Some(packet),
            _ => None,
        }
    }
}

/// The container format of a recording.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Container {
    /// WebM, the browsers' profile of Matroska (RFC 9559).
    WebM,
    /// Ogg (RFC 3533, RFC 7845).
    Ogg,
}

/// What a recording's header says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingHead {
    /// The container format.
    pub container: Container,
    /// 16 hex digits: a hash of the header bytes, which hold the recorder's random track UID (WebM) or stream
    /// serial number (Ogg). The same header gives the same id in every process.
    pub id: String,
    /// Channels of the source, 1 or 2; what is decoded is mono.
    pub channels: u8,
    /// What to drop at the start of the decoded sound: OpusHead's pre-skip, or CodecDelay where OpusHead is absent.
    pub pre_skip: OpusTicks,
    /// Whether the recording's own header was lost and this head made up after a resynchronisation.
    pub headerless: bool,
    /// What the decoder is to do with the volume.
    #[serde(default, skip_serializing_if = "OutputGain::is_none")]
    pub gain: OutputGain,
    /// The codecs of the tracks beside the one that is decoded, the first Opus track. Their blocks are passed over.
    #[serde(default, skip_serializing_if = "<[String]>::is_empty")]
    pub beside: Box<[String]>,
}

impl RecordingHead {
    /// The head of a recording whose own was lost; `hash` is of what was found of it first.
    pub(super) fn made_up(container: Container, hash: Fnv, stereo: bool) -> Self {
        Self {
            container,
            id: hash.to_string(),
            channels: if stereo { 2 } else { 1 },
            pre_skip: OpusTicks(0),
            headerless: true,
            gain: OutputGain::default(),
            beside: Box::default(),
        }
    }
}

/// An Opus packet with its place in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// When it begins, on the recording's own timeline (1 ms steps in WebM, not shifted by pre-skip).
    pub time: MediaTime,
    /// How far that can be trusted.
    pub time_basis: TimeBasis,
    /// How long it lasts, from its TOC; none if the packet is malformed and cannot be decoded.
    pub duration: Samples,
    /// The packet.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
    /// How much of its decoded end is to be dropped (Matroska DiscardPadding, Ogg end trimming).
    pub discard_end: Samples,
}

/// How far a packet's time can be trusted.
///
/// A block's time counts from its Cluster's Timestamp, and that may be among missing bytes. Times that are not known hold until the
/// next Timestamp; all of them are off by the same, and the first known time behind them shows by how much, since nothing
/// lies between.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeBasis {
    /// The container says so.
    #[default]
    Known,
    /// As if no Cluster had begun in what is missing; if one did, it is later.
    SameCluster,
    /// A Cluster did begin in what is missing. This is the earliest that it can be.
    NotBefore,
}

impl TimeBasis {
    /// Whether the container says so.
    pub fn is_known(&self) -> bool {
        *self == Self::Known
    }
}

/// A run of bytes that gave no packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The bytes, at most [`Skipped::MAX_KEPT`] of them, from the run's start.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// How many there were.
    pub total: u64,
    /// What was wrong with them.
    pub reason: SkipReason,
}

impl Skipped {
    /// The most bytes that are handed out.
    pub const MAX_KEPT: usize = 64 * 1024;

    /// A skipped run; keeps its start.
    pub fn new(bytes: &[u8], reason: SkipReason) -> Self {
        let kept = &bytes[..bytes.len().min(Self::MAX_KEPT)];
        Self { bytes: kept.to_vec(), total: bytes.len() as u64, reason }
    }
}

/// Why bytes were skipped. The text says to a person what was wrong with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum SkipReason {
    /// The start of an element or page whose remainder never came.
    #[error("the bytes that follow these are missing")]
    BytesMissing,
    /// Bytes between a loss and the place where the recording could be taken up again.
    #[error("bytes after a loss, before the next place that shows where the recording goes on")]
    Resync,
    /// The start of an element or page that a new recording cut off.
    #[error("a new recording began before this element was complete")]
    CutShort,
    /// An empty recorder's stub, or bytes that are neither WebM nor Ogg.
    #[error("no WebM or Ogg audio: an empty recorder's stub, or not media at all")]
    NotMedia,
    /// An element that may not stand here, or whose size or content breaks the format.
    #[error("element {id:#x} is not allowed here or its content is broken")]
    BadElement {
        /// The EBML element ID, 0 if not even that can be read.
        id: u32,
    },
    /// An element larger than anything a recorder writes.
    #[error("element {id:#x} claims {bytes} bytes, more than the limit")]
    TooLarge {
        /// The EBML element ID.
        id: u32,
        /// The size that it claims.
        bytes: u64,
    },
    /// A block whose header or lacing is broken, or an Ogg page with a packet that is too long.
    #[error("a block or page whose packets cannot be taken apart")]
    BadPacket,
    /// An encrypted block: there is no key.
    #[error("an encrypted block; record without encryption")]
    Encrypted,
    /// A block of a track that the header does not declare.
    #[error("a block of track {0}, which the header does not declare")]
    UnknownTrack(u64),
    /// The first page of a stream beside the one that is heard. Nothing is lost with it.
    #[error("a stream beside the one that is heard: {0}")]
    Beside(String),
    /// An Ogg page whose version or checksum is wrong.
    #[error("an Ogg page with a wrong checksum")]
    BadPage,
    /// More packets in one chunk than a recorder can have made.
    #[error("more packets in one chunk than a recorder can have made")]
    TooManyPackets,
    /// A recording without an Opus track that can be decoded.
    #[error("no Opus audio that can be decoded: {0}; record audio/webm;codecs=opus or audio/ogg;codecs=opus")]
    UnsupportedCodec(String),
}
