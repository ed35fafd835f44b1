//! Acknowledgements, as they stand on the wire: one JSON object a line, no wrapper.

use serde::{Deserialize, Serialize};

/// Why a fragment, and with it the call, failed. Ids and codes are the service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // the codes are the documentation
pub enum ErrorId {
    StreamReadError,
    MaxFragmentSizeReached,
    MaxFragmentDurationReached,
    MaxConnectionDurationReached,
    FragmentTimecodeLesserThanPrevious,
    MoreThanAllowedTracksFound,
    InvalidMkvData,
    InvalidProducerTimestamp,
    StreamNotActive,
    FragmentMetadataLimitReached,
    TrackNumberMismatch,
    FramesMissingForTrack,
    InternalError,
    ArchivalError,
    MinFragmentDurationReached,
}

impl ErrorId {
    /// ErrorId on the wire. The one for the minimum duration is made up: the service documents none.
    pub fn id(self) -> u16 {
        match self {
            ErrorId::StreamReadError => 4000,
            ErrorId::MaxFragmentSizeReached => 4001,
            ErrorId::MaxFragmentDurationReached => 4002,
            ErrorId::MaxConnectionDurationReached => 4003,
            ErrorId::FragmentTimecodeLesserThanPrevious => 4004,
            ErrorId::InvalidMkvData => 4006,
            ErrorId::InvalidProducerTimestamp => 4007,
            ErrorId::StreamNotActive => 4008,
            ErrorId::FragmentMetadataLimitReached => 4009,
            ErrorId::TrackNumberMismatch => 4010,
            ErrorId::FramesMissingForTrack => 4011,
            ErrorId::MoreThanAllowedTracksFound => 4012,
            ErrorId::MinFragmentDurationReached => 4013,
            ErrorId::InternalError => 5000,
            ErrorId::ArchivalError => 5001,
        }
    }

    /// ErrorCode on the wire.
    pub fn code(self) -> &'static str {
        error_code(self.id()).unwrap_or("INTERNAL_ERROR")
    }
}

/// The ErrorCode that belongs to an id, also for ids that only faults produce.
pub fn error_code(id: u16) -> Option<&'static str> {
    Some(match id {
        4000 => "STREAM_READ_ERROR",
        4001 => "MAX_FRAGMENT_SIZE_REACHED",
        4002 => "MAX_FRAGMENT_DURATION_REACHED",
        4003 => "MAX_CONNECTION_DURATION_REACHED",
        4004 => "FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS",
        4005 | 4012 => "MORE_THAN_ALLOWED_TRACKS_FOUND",
        4006 => "INVALID_MKV_DATA",
        4007 => "INVALID_PRODUCER_TIMESTAMP",
        4008 => "STREAM_NOT_ACTIVE",
        4009 => "FRAGMENT_METADATA_LIMIT_REACHED",
        4010 => "TRACK_NUMBER_MISMATCH",
        4011 => "FRAMES_MISSING_FOR_TRACK",
        4013 => "MIN_FRAGMENT_DURATION_REACHED",
        4500 => "KMS_KEY_ACCESS_DENIED",
        4501 => "KMS_KEY_DISABLED",
        4502 => "KMS_KEY_VALIDATION_ERROR",
        4503 => "KMS_KEY_UNAVAILABLE",
        4504 => "KMS_KEY_INVALID_USAGE",
        4505 => "KMS_KEY_INVALID_STATE",
        4506 => "KMS_KEY_NOT_FOUND",
        4507 => "STREAM_DELETED",
        5000 => "INTERNAL_ERROR",
        5001 => "ARCHIVAL_ERROR",
        _ => return None,
    })
}

/// One acknowledgement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ack {
    /// BUFFERING, RECEIVED, PERSISTED, ERROR or IDLE.
    pub event_type: String,
    /// Epoch milliseconds (ABSOLUTE) or milliseconds after the start header (RELATIVE).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fragment_timecode: Option<i64>,
    /// 47 digits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fragment_number: Option<String>,
    /// Set on ERROR.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error_id: Option<u16>,
    /// Set on ERROR.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error_code: Option<String>,
}

impl Ack {
    /// An acknowledgement of a fragment's progress.
    pub fn progress(event_type: &str, timecode: i64, number: &str) -> Self {
        Self {
            event_type: event_type.to_owned(),
            fragment_timecode: Some(timecode),
            fragment_number: Some(number.to_owned()),
            ..Self::default()
        }
    }

    /// The connection lives, no data arrives.
    pub fn idle() -> Self {
        Self { event_type: "IDLE".to_owned(), ..Self::default() }
    }

    /// A refusal; before a fragment's timecode is known both it and the number are missing.
    pub fn error(id: u16, code: &str, timecode: Option<i64>, number: Option<String>) -> Self {
        Self {
            event_type: "ERROR".to_owned(),
            fragment_timecode: timecode,
            fragment_number: number,
            error_id: Some(id),
            error_code: Some(code.to_owned()),
        }
    }

    /// The line as it is sent, with its line end.
    pub fn line(&self) -> String {
        // Strings and integers only: serialising them cannot fail.
        serde_json::to_string(self).unwrap_or_default() + "\r\n"
    }
}
