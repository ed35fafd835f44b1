//! PutMedia acknowledgements: JSON objects on the response, one behind the other, cut anywhere (aws-facts 1.3).
//!
//! [`AckParser`] is driven by braces, as the official producer's is: an object ends where its last brace closes,
//! whatever lies between two objects is skipped. Unknown fields and unknown event types are let pass, since the
//! service may add some; what is longer than any acknowledgement, or no acknowledgement at all, is an error, and
//! the parser then stays failed instead of guessing where the next one begins.

use media::time::EpochMs;
use serde_json::{Map, Value};

/// The longest acknowledgement (Kinesis Video Streams quotas: 1,024 characters), and the longest run of other
/// bytes that is skipped between two.
pub const MAX_ACK_BYTES: usize = 1_024;

/// One acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// What happened.
    pub event: AckEvent,
    /// `FragmentTimecode`: the producer timestamp in ABSOLUTE mode. Absent or -1 where the service has none.
    pub timecode: Option<EpochMs>,
    /// `FragmentNumber`. Absent or empty where the service has none.
    pub fragment_number: Option<String>,
}

/// `EventType`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AckEvent {
    /// The fragment's first byte arrived.
    Buffering,
    /// The whole fragment arrived. Not yet safe.
    Received,
    /// The fragment is stored durably: the only point at which it is done.
    Persisted,
    /// The connection is alive, no data is arriving.
    Idle,
    /// The fragment failed.
    Error {
        /// `ErrorId`, 0 where the service sent none.
        id: u32,
        /// `ErrorCode`, empty where the service sent none.
        code: String,
    },
    /// An event type that this version does not know.
    Unknown(String),
}

/// Why the response is not a sequence of acknowledgements.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// An object, or what lies between two, is longer than any acknowledgement.
    #[error("more than {max} bytes without an acknowledgement's end")]
    TooLong {
        /// The bound.
        max: usize,
    },
    /// Braces, but no JSON between them.
    #[error("an acknowledgement is not JSON: {detail}")]
    NotJson {
        /// What the JSON parser said.
        detail: String,
    },
    /// JSON without an `EventType`, such as a proxy's error page.
    #[error("expected an acknowledgement, but the object has no EventType: {text}")]
    NotAnAck {
        /// The object.
        text: String,
    },
}

/// Turns response bytes into acknowledgements, however they are cut.
#[derive(Debug, Default)]
pub struct AckParser {
    object: Vec<u8>,
    depth: u32,
    in_string: bool,
    escaped: bool,
    skipped: usize,
    failed: Option<AckError>,
}

impl AckParser {
    /// Takes the next bytes and appends the acknowledgements that end in them to `acks`; those that came before
    /// an error are appended, too.
    ///
    /// # Errors
    /// Once the bytes are not acknowledgements; every later call then gives the same error.
    pub fn feed(&mut self, bytes: &[u8], acks: &mut Vec<Ack>) -> Result<(), AckError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        for byte in bytes {
            let step =
                self.step(*byte).and_then(|complete| if complete { self.take().map(Some) } else { Ok(None) });
            match step {
                Ok(ack) => acks.extend(ack),
                Err(error) => {
                    self.object = Vec::new();
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Takes one byte; true when it completes an object.
    fn step(&mut self, byte: u8) -> Result<bool, AckError> {
        if self.depth == 0 && byte != b'{' {
            self.skipped += 1;
            return within_bound(self.skipped, false);
        }
        self.object.push(byte);
        let mut complete = false;
        match (self.in_string, byte) {
            (true, _) if self.escaped => self.escaped = false,
            (true, b'\\') => self.escaped = true,
            (_, b'"') => self.in_string = !self.in_string,
            (false, b'{') => self.depth += 1,
            (false, b'}') => {
                self.depth -= 1;
                complete = self.depth == 0;
            }
            _ => {}
        }
        within_bound(self.object.len(), complete)
    }

    fn take(&mut self) -> Result<Ack, AckError> {
        self.skipped = 0;
        let object = std::mem::take(&mut self.object);
        let fields =
            serde_json::from_slice(&object).map_err(|e| AckError::NotJson { detail: e.to_string() })?;
        read(unwrapped(&fields)).ok_or_else(|| AckError::NotAnAck {
            text: String::from_utf8_lossy(&object).chars().take(256).collect(),
        })
    }
}

fn within_bound(bytes: usize, complete: bool) -> Result<bool, AckError> {
    if bytes > MAX_ACK_BYTES { Err(AckError::TooLong { max: MAX_ACK_BYTES }) } else { Ok(complete) }
}

/// The API page shows a wrapper that the service does not send; both are read.
fn unwrapped(fields: &Map<String, Value>) -> &Map<String, Value> {
    fields.get("Acknowledgement").and_then(Value::as_object).unwrap_or(fields)
}

fn read(fields: &Map<String, Value>) -> Option<Ack> {
    let field = |name, alias| fields.get(name).or_else(|| fields.get(alias));
    let event = match field("EventType", "AckEventType")?.as_str()? {
        "BUFFERING" => AckEvent::Buffering,
        "RECEIVED" => AckEvent::Received,
        "PERSISTED" => AckEvent::Persisted,
        "IDLE" => AckEvent::Idle,
        "ERROR" => AckEvent::Error {
            id: field("ErrorId", "ErrorID")
                .and_then(whole)
                .and_then(|id| u32::try_from(id).ok())
                .unwrap_or(0),
            code: fields.get("ErrorCode").and_then(Value::as_str).unwrap_or_default().to_owned(),
        },
        other => AckEvent::Unknown(other.to_owned()),
    };
    let number = fields.get("FragmentNumber").and_then(Value::as_str).filter(|number| !number.is_empty());
    Some(Ack {
        event,
        timecode: field("FragmentTimecode", "FragmentTimeCode").and_then(whole).map(EpochMs),
        fragment_number: number.map(str::to_owned),
    })
}

/// A whole number that is not negative, also where it was sent as text.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NUMBER: &str = "91343852333181432392682062607743920146264094";

    fn parse_in_pieces(bytes: &[u8], cuts: &[usize]) -> (Vec<Ack>, Result<(), AckError>) {
        let (mut parser, mut acks, mut rest) = (AckParser::default(), Vec::new(), bytes);
        for cut in cuts {
            let (piece, behind) = rest.split_at(cut % (rest.len() + 1));
            rest = behind;
            if let Err(error) = parser.feed(piece, &mut acks) {
                return (acks, Err(error));
            }
        }
        let end = parser.feed(rest, &mut acks);
        (acks, end)
    }

    fn parse(text: &str) -> (Vec<Ack>, Result<(), AckError>) {
        parse_in_pieces(text.as_bytes(), &[])
    }

    fn one(text: &str) -> Ack {
        let (mut acks, end) = parse(text);
        assert_eq!((acks.len(), end), (1, Ok(())), "{text}");
        acks.remove(0)
    }

    #[test]
    fn lines_as_the_service_sends_them_are_read() {
        let persisted = one(&format!(
            r#"{{"EventType":"PERSISTED","FragmentTimecode":1711124585823,"FragmentNumber":"{NUMBER}"}}"#
        ));
        assert_eq!(persisted.event, AckEvent::Persisted);
        assert_eq!(persisted.timecode, Some(EpochMs(1_711_124_585_823)));
        assert_eq!(persisted.fragment_number.as_deref(), Some(NUMBER));

        let error = one(
            r#"{"EventType":"ERROR","FragmentTimecode":1597065596575,"FragmentNumber":"9134","ErrorCode":"MAX_FRAGMENT_DURATION_REACHED","ErrorId":4002}"#,
        );
        assert_eq!(error.event, AckEvent::Error { id: 4002, code: "MAX_FRAGMENT_DURATION_REACHED".into() });
    }

    #[test]
    fn what_the_service_leaves_out_is_absent_and_not_zero() {
        let bare = one(r#"{"EventType":"ERROR","ErrorCode":"INVALID_MKV_DATA","ErrorId":4006}"#);
        assert_eq!((bare.timecode, bare.fragment_number), (None, None));
        let marked = one(r#"{"EventType":"ERROR","FragmentTimecode":-1,"FragmentNumber":"","ErrorId":5000}"#);
        assert_eq!((marked.timecode, marked.fragment_number), (None, None));
        assert_eq!(marked.event, AckEvent::Error { id: 5000, code: String::new() });
        assert_eq!(one(r#"{"EventType":"ERROR"}"#).event, AckEvent::Error { id: 0, code: String::new() });
        assert_eq!(one(r#"{"EventType":"IDLE"}"#).event, AckEvent::Idle);
    }

    #[test]
    fn the_documented_shape_and_unknown_additions_are_read_too() {
        let wrapped = one(
            r#"{"Acknowledgement":{"AckEventType":"RECEIVED","FragmentTimeCode":7,"FragmentNumber":"1"}}"#,
        );
        assert_eq!((wrapped.event, wrapped.timecode), (AckEvent::Received, Some(EpochMs(7))));
        let braces = one(r#"{"New":{"a":[{"b":"}{\"\\"}]},"EventType":"BUFFERING"}"#);
        assert_eq!(braces.event, AckEvent::Buffering);
        assert_eq!(one(r#"{"EventType":"THROTTLED"}"#).event, AckEvent::Unknown("THROTTLED".into()));
    }

    #[test]
    fn several_acks_in_one_read_come_out_in_order() {
        let (acks, end) =
            parse("{\"EventType\":\"BUFFERING\"}\r\n{\"EventType\":\"RECEIVED\"}{\"EventType\":\"IDLE\"}\n");
        let events: Vec<_> = acks.into_iter().map(|ack| ack.event).collect();
        assert_eq!(events, [AckEvent::Buffering, AckEvent::Received, AckEvent::Idle]);
        assert_eq!(end, Ok(()));
    }

    #[test]
    fn a_response_of_something_else_is_named() {
        let (_, end) = parse(r#"{"message":"The security token included in the request is expired"}"#);
        assert!(matches!(end, Err(AckError::NotAnAck { text }) if text.contains("expired")));
        assert!(matches!(parse("{EventType:PERSISTED}").1, Err(AckError::NotJson { .. })));
        assert_eq!(parse(&"<html>".repeat(200)).1, Err(AckError::TooLong { max: MAX_ACK_BYTES }));
        assert_eq!(parse(&"{".repeat(2_000)).1, Err(AckError::TooLong { max: MAX_ACK_BYTES }));
        assert!(matches!(
            parse(&format!("{}{}", r#"{"a":"#.repeat(150), "}".repeat(150))).1,
            Err(AckError::NotJson { .. })
        ));
    }

    #[test]
    fn acks_before_the_error_count_and_the_parser_stays_failed() {
        let mut parser = AckParser::default();
        let mut acks = Vec::new();
        assert!(parser.feed(b"{\"EventType\":\"PERSISTED\"}{}", &mut acks).is_err());
        assert_eq!(acks.len(), 1);
        assert!(parser.feed(b"{\"EventType\":\"PERSISTED\"}", &mut acks).is_err());
        assert_eq!(acks.len(), 1, "a parser that lost its place must not find new acknowledgements");
    }

    fn response() -> impl Strategy<Value = Vec<u8>> {
        let ack = prop_oneof![
            Just(r#"{"EventType":"PERSISTED","FragmentTimecode":1,"FragmentNumber":"5"}"#.to_owned()),
            Just(r#"{"EventType":"ERROR","ErrorCode":"a\"}{b","ErrorId":4006}"#.to_owned()),
            Just(r#"{"Acknowledgement":{"EventType":"IDLE"}}"#.to_owned()),
            Just("\r\n".to_owned()),
            Just("{}".to_owned()),
            "[{}\"\\\\a-z:,\n]{0,24}",
        ];
        prop_oneof![
            prop::collection::vec(ack, 0..12).prop_map(|acks| acks.concat().into_bytes()),
            prop::collection::vec(any::<u8>(), 0..4_096),
        ]
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_acks(bytes in response(), cuts in prop::collection::vec(0_usize..64, 0..64)) {
            let whole = parse_in_pieces(&bytes, &[]);
            prop_assert_eq!(&parse_in_pieces(&bytes, &cuts), &whole);
            prop_assert_eq!(&parse_in_pieces(&bytes, &vec![1; bytes.len()]), &whole);
        }

        #[test]
        fn hostile_bytes_keep_the_parser_small(pieces in prop::collection::vec(response(), 0..16)) {
            let (mut parser, mut acks) = (AckParser::default(), Vec::new());
            for piece in pieces {
                let _ = parser.feed(&piece, &mut acks);
                prop_assert!(parser.object.len() <= MAX_ACK_BYTES);
            }
        }
    }
}
