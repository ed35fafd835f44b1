//! Faults on a script: what shall go wrong, on which stream, at which call or fragment.
//!
//! A fault sees *opportunities*: requests for the kinds that concern a request, fragments for those that concern a
//! fragment. It counts them per stream, so that a script means the same however the streams interleave, and fires
//! from the `nth` on, each time with `probability`, until it has fired `count` times.

use crate::operation::Operation;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

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

    /// Only so many times in all.
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    fn matches(&self, stream: &str, operation: Operation) -> bool {
        self.operation.is_none_or(|wanted| wanted == operation)
            && self.kind.concerns(operation)
            && glob(&self.stream, stream)
    }
}

/// A fault with its id and how often it fired.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Armed {
    /// Given by [`Faults::add`].
    pub id: u64,
    /// Times it fired.
    pub fired: u64,
    /// What and when.
    #[serde(flatten)]
    pub fault: Fault,
}

const STREAMS_MAX: usize = 100_000;

#[derive(Default)]
struct Script {
    next_id: u64,
    armed: Vec<(Armed, HashMap<String, u64>)>,
}

/// The faults of an emulator. All methods take effect at once.
#[derive(Default)]
pub struct Faults(Mutex<Script>);

impl Faults {
    /// Arms a fault and gives its id.
    pub fn add(&self, fault: Fault) -> u64 {
        let mut script = self.lock();
        script.next_id += 1;
        let id = script.next_id;
        script.armed.push((Armed { id, fired: 0, fault }, HashMap::new()));
        id
    }

    /// Disarms one fault; false if there is none with this id.
    pub fn remove(&self, id: u64) -> bool {
        let mut script = self.lock();
        let before = script.armed.len();
        script.armed.retain(|(armed, _)| armed.id != id);
        script.armed.len() < before
    }

    /// Disarms all.
    pub fn clear(&self) {
        self.lock().armed.clear();
    }

    /// What is armed, and how often each fired.
    pub fn list(&self) -> Vec<Armed> {
        self.lock().armed.iter().map(|(armed, _)| armed.clone()).collect()
    }

    /// Times that fault `id` fired; 0 if there is none.
    pub fn fired(&self, id: u64) -> u64 {
        self.lock().armed.iter().find(|(armed, _)| armed.id == id).map_or(0, |(armed, _)| armed.fired)
    }

    /// What happens to this request.
    pub(crate) fn at_request(&self, stream: &str, operation: Operation) -> Vec<FaultKind> {
        self.fire(stream, operation, false)
    }

    /// What happens to this fragment.
    pub(crate) fn at_fragment(&self, stream: &str) -> Vec<FaultKind> {
        self.fire(stream, Operation::PutMedia, true)
    }

    fn fire(&self, stream: &str, operation: Operation, fragment: bool) -> Vec<FaultKind> {
        let mut kinds = Vec::new();
        for (armed, seen) in &mut self.lock().armed {
            if armed.fault.kind.concerns_fragment() != fragment || !armed.fault.matches(stream, operation) {
                continue;
            }
            // Streams beyond this many share one count, so that made-up names cannot fill the memory.
            let name = if seen.len() < STREAMS_MAX || seen.contains_key(stream) { stream } else { "" };
            let seen = seen.entry(name.to_owned()).or_insert(0);
            *seen += 1;
            if armed.fires(*seen, stream) {
                armed.fired += 1;
                kinds.push(armed.fault.kind.clone());
            }
        }
        kinds
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Armed {
    fn fires(&self, opportunity: u64, stream: &str) -> bool {
        let fault = &self.fault;
        let count = fault.count.or(fault.nth.map(|_| 1));
        opportunity >= fault.nth.unwrap_or(1)
            && count.is_none_or(|count| self.fired < count)
            && fault.probability.is_none_or(|chance| luck(fault.seed, stream, opportunity) < chance)
    }
}

/// A number from 0 to 1 that depends on its arguments alone (FNV-1a, finished by SplitMix64).
fn luck(seed: u64, stream: &str, opportunity: u64) -> f64 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let bytes = stream.bytes().chain(seed.to_le_bytes()).chain(opportunity.to_le_bytes());
    let mut z = bytes.fold(0xcbf2_9ce4_8422_2325, fnv);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 53) as f64
}

/// Matches `*` and `?`, in time proportional to both lengths.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_choose_streams() {
        let cases = [
            ("*", "", true),
            ("*", "session-1", true),
            ("session-?", "session-1", true),
            ("session-?", "session-12", false),
            ("*-1", "session-1", true),
            ("s*n-*2", "session-12", true),
            ("s*x", "session", false),
            ("session", "session-1", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(glob(pattern, text), expected, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn the_nth_opportunity_of_each_stream_fires_once_unless_count_says_more() {
        let faults = Faults::default();
        faults.add(Fault::new(FaultKind::Throttle).operation(Operation::PutMedia).nth(2).count(3));
        let run =
            |stream| (0..4).map(|_| faults.at_request(stream, Operation::PutMedia).len()).collect::<Vec<_>>();
        assert_eq!(run("a"), [0, 1, 1, 1], "from the second on, three times in all");
        assert_eq!(run("b"), [0, 0, 0, 0], "the count is spent");
        assert!(faults.at_request("a", Operation::GetMedia).is_empty(), "another operation is not concerned");
        let id = faults.add(Fault::new(FaultKind::Throttle).nth(2));
        assert_eq!(run("c").iter().sum::<usize>(), 1, "nth alone fires once");
        assert_eq!(faults.fired(id), 1);
        assert!(faults.remove(id) && !faults.remove(id));
    }

    #[test]
    fn chance_depends_on_seed_and_stream_only_not_on_how_streams_interleave() {
        let run = |seed, streams: &[&str]| {
            let faults = Faults::default();
            faults.add(Fault::new(FaultKind::SlowPersist { ms: 1 }).probability(0.3, seed));
            let mut fired = Vec::new();
            for _ in 0..1000 {
                for stream in streams {
                    let fires = !faults.at_fragment(stream).is_empty();
                    if *stream == "a" {
                        fired.push(fires);
                    }
                }
            }
            fired
        };
        let alone = run(7, &["a"]);
        assert_eq!(alone, run(7, &["a", "b", "c"]), "other streams do not change a stream's luck");
        assert_ne!(alone, run(8, &["a"]), "another seed gives another run");
        let hits = alone.iter().filter(|fires| **fires).count();
        assert!((250..350).contains(&hits), "{hits} of 1000 at 0.3");
    }

    #[test]
    fn a_script_in_json_says_the_same_as_one_in_rust() {
        let json = r#"{"stream":"session-*","nth":2,"kind":{"type":"errorAck","id":5001,"at":"persisted"}}"#;
        let at = Point::Persisted;
        let kind = FaultKind::ErrorAck { id: 5001, code: None, at, bare: false, stored: false };
        let fault: Fault = serde_json::from_str(json).unwrap();
        assert_eq!(fault, Fault::new(kind).stream("session-*").nth(2));
        for wrong in [r#"{"kind":{"type":"nonsense"}}"#, r#"{"kindd":1}"#, r#"{"kind":{"type":"delay"}}"#] {
            assert!(serde_json::from_str::<Fault>(wrong).is_err(), "{wrong} is no fault");
        }
    }
}
