//! Faults on a script: what shall go wrong, on which stream, at which call or fragment.
//!
//! A fault sees *opportunities*: requests for the kinds that concern a request, fragments for those that concern a
//! fragment. It counts them per stream, so that a script means the same however the streams interleave, and fires
//! from the `nth` on, each time with `probability`, until it has fired `count` times.

mod glob;
mod script;

pub use script::{Armed, Faults};

use crate::operation::Operation;
use serde::{Deserialize, Serialize};

/// Something that shall go wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Stream names; `*` stands for any characters, `?` for one.
    #[serde(default = "any_stream")]
    pub stream: String,
    /// The operation; `None` is PutMedia for the kinds that only PutMedia knows, any operation for the others.
    #[serde(default)]
    pub operation: Option<Operation>,
    /// First opportunity on a stream that can fire, counted from 1.
    #[serde(default)]
    pub nth: Option<u64>,
    /// Chance of each opportunity, 0 to 1; `None` is always.
    #[serde(default)]
    pub probability: Option<f64>,
    /// Chooses the run of luck; the same seed gives the same run on each stream.
    #[serde(default)]
    pub seed: u64,
    /// How many times it fires in all; `None` is once with `nth`, else without end.
    #[serde(default)]
    pub count: Option<u64>,
    /// What happens.
    pub kind: FaultKind,
}

fn any_stream() -> String {
    "*".to_owned()
}

/// Where in a fragment's life something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Point {
    /// In place of BUFFERING.
    Buffering,
    /// In place of RECEIVED, the fragment being whole.
    Received,
    /// In place of PERSISTED.
    Persisted,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum FaultKind {
    /// Fragment: an ERROR ack ends the call.
    ErrorAck {
        /// ErrorId.
        id: u16,
        /// ErrorCode; `None` takes the documented one.
        #[serde(default)]
        code: Option<String>,
        /// Which ack it takes the place of.
        at: Point,
        /// Leaves timecode and number out, as the service sometimes does.
        #[serde(default)]
        bare: bool,
        /// Stores the fragment all the same (only with `at: persisted`).
        #[serde(default)]
        stored: bool,
    },
    /// Fragment: the connection is cut in place of the ack.
    Cut {
        /// Which ack is not sent.
        at: Point,
        /// Stores the fragment first: with `at: persisted` this is the lost acknowledgement.
        #[serde(default)]
        stored: bool,
    },
    /// Fragment: takes this much longer to persist.
    SlowPersist {
        /// Milliseconds on top.
        ms: u64,
    },
    /// Fragment: takes this much longer to appear in ListFragments.
    ListLag {
        /// Milliseconds on top.
        ms: u64,
    },
    /// PutMedia or GetMedia: the connection is cut after so many bytes of media, wherever that is.
    CutAfterBytes {
        /// Bytes of the request's body (PutMedia) or of the answer's (GetMedia).
        bytes: u64,
        /// PutMedia: stores what has come of the open fragment.
        #[serde(default)]
        stored: bool,
    },
    /// PutMedia: no ack is ever sent and the answer never ends; fragments are stored if `stored`.
    NoAcks {
        /// Stores the fragments.
        #[serde(default)]
        stored: bool,
    },
    /// PutMedia: each byte of an ack is sent by itself.
    SplitAcks,
    /// PutMedia: acks are held back and sent in one piece with the next PERSISTED, ERROR or IDLE.
    MergeAcks,
    /// PutMedia: each ack but ERROR and IDLE comes this much later.
    HoldAcks {
        /// Milliseconds on top.
        ms: u64,
    },
    /// PutMedia, GetMedia, GetMediaForFragmentList: media flows no faster than this.
    Slow {
        /// Bytes a second.
        bytes_per_second: u64,
    },
    /// GetMedia, GetMediaForFragmentList: an error is told in the media, in place of a fragment; GetMedia ends there.
    ReadError {
        /// AWS_KINESISVIDEO_ERROR_ID, or the code of GetMediaForFragmentList's exception.
        id: u16,
        /// The text beside it; `None` takes the documented one.
        #[serde(default)]
        code: Option<String>,
        /// Fragments that are given before.
        #[serde(default)]
        after: u64,
    },
    /// Any operation: an HTTP error.
    HttpError {
        /// Status.
        status: u16,
        /// `x-amzn-ErrorType`, such as `ResourceNotFoundException`.
        error_type: String,
        /// `Message` in the body.
        #[serde(default)]
        message: String,
    },
    /// Any operation: ClientLimitExceededException.
    Throttle,
    /// Any operation: answered this much later.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// Any operation: the connection is closed without an answer.
    NoAnswer {
        /// Does what was asked first (not for media operations).
        #[serde(default)]
        done: bool,
    },
}

impl FaultKind {
    /// True if its opportunities are fragments, not requests.
    pub fn concerns_fragment(&self) -> bool {
        use FaultKind::*;
        matches!(self, ErrorAck { .. } | Cut { .. } | SlowPersist { .. } | ListLag { .. })
    }

    fn concerns(&self, operation: Operation) -> bool {
        use FaultKind::*;
        match self {
            NoAcks { .. } | SplitAcks | MergeAcks | HoldAcks { .. } => operation == Operation::PutMedia,
            CutAfterBytes { .. } => matches!(operation, Operation::PutMedia | Operation::GetMedia),
            Slow { .. } => operation.carries_media(),
            ReadError { .. } => operation.carries_media() && operation != Operation::PutMedia,
            _ if self.concerns_fragment() => operation == Operation::PutMedia,
            _ => true,
        }
    }
}

impl Fault {
    /// Happens at every opportunity on every stream, until narrowed.
    pub fn new(kind: FaultKind) -> Self {
        Self {
            stream: any_stream(),
            operation: None,
            nth: None,
            probability: None,
            seed: 0,
            count: None,
            kind,
        }
    }

    /// Only on streams whose name matches the glob.
    pub fn stream(mut self, glob: &str) -> Self {
        self.stream = glob.to_owned();
        self
    }

    /// Only on this operation.
    pub fn operation(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only from the nth opportunity of a stream on, counted from 1; once, unless `count` says otherwise.
    pub fn nth(mut self, nth: u64) -> Self {
        self.nth = Some(nth);
        self
    }

    /// Only by chance.
    pub fn probability(mut self, probability: f64, seed: u64) -> Self {
        (self.probability, self.seed) = (Some(probability), seed);
        self
    }

    /// Maximum number of times in all.
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    fn matches(&self, stream: &str, operation: Operation) -> bool {
        self.operation.is_none_or(|wanted| wanted == operation)
            && self.kind.concerns(operation)
            && glob::matches(&self.stream, stream)
    }
}
