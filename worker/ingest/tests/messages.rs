//! Each bad message is refused by a variant that names the culprit; nothing panics.

#![allow(clippy::unwrap_used)]

use ingest::message::{Entry, Record, Rejection, parse};
use proptest::prelude::*;
use serde_json::{Value, json};

fn good() -> Value {
    json!({"action": "writeToStream", "sessionId": "sacred-apostle-367", "audioData": "GkXfow==",
           "timestamp": 1_732_622_783_456_u64, "format": "webm-opus", "chunkIndex": 42})
}

fn refuse(body: &str) -> Rejection {
    let record = Record { body: body.into(), group_id: "sacred-apostle-367".into(), ..Record::default() };
    match parse(record) {
        Err(rejected) => rejected.rejection,
        Ok((_, Entry::Chunk(chunk))) => chunk.audio.clone().expect_err(body),
        Ok((_, end)) => panic!("{body} is {end:?}"),
    }
}

fn with(field: &str, value: Value) -> String {
    let mut message = good();
    message[field] = value;
    message.to_string()
}

#[test]
fn the_message_of_the_contract_is_understood_with_and_without_new_fields() {
    for body in [good().to_string(), with("connectionId", json!("abc=")), with("somethingNew", json!([1, 2]))]
    {
        let record = Record { body, group_id: "sacred-apostle-367".into(), ..Record::default() };
        let (_, Entry::Chunk(chunk)) = parse(record).unwrap() else { panic!("not a chunk") };
        let audio = chunk.audio.as_ref().unwrap();
        assert_eq!((chunk.index, chunk.captured_at.0, audio.len()), (42, 1_732_622_783_456, 4));
    }
}

#[test]
fn every_bad_message_names_its_culprit() {
    let big = "A".repeat(131_072 + 4);
    for (body, code) in [
        ("".to_owned(), "NOT_JSON"),
        ("{\"action\":".to_owned(), "NOT_JSON"),
        ("[1]".to_owned(), "NOT_AN_OBJECT"),
        ("{}".to_owned(), "MISSING_FIELD"),
        (with("sessionId", json!(7)), "WRONG_TYPE"),
        (with("sessionId", json!("no stream name!")), "BAD_SESSION_ID"),
        (with("sessionId", json!("x".repeat(129))), "BAD_SESSION_ID"),
        (with("sessionId", json!("another")), "WRONG_GROUP"),
        (with("action", json!("deleteEverything")), "UNKNOWN_ACTION"),
        (with("audioData", json!("%%%")), "BAD_BASE64"),
        (with("audioData", json!("AAAAA")), "BAD_BASE64"),
        (with("audioData", json!(null)), "WRONG_TYPE"),
        (with("audioData", json!(big)), "AUDIO_TOO_LARGE"),
        (with("padding", json!("x".repeat(200_000))), "BODY_TOO_LARGE"),
        (with("timestamp", json!("yesterday")), "WRONG_TYPE"),
        (with("timestamp", json!(-5)), "WRONG_TYPE"),
        (with("chunkIndex", json!(1.5)), "WRONG_TYPE"),
        (with("chunkIndex", json!(1e300)), "WRONG_TYPE"),
        (with("format", json!("mp3")), "UNSUPPORTED_FORMAT"),
        (with("audioData", json!("AAAAIGZ0eXBpc29tAAACAGlzb21pc28y")), "UNSUPPORTED_FORMAT"), // ftyp
        (with("audioData", json!("AAAAZG1vb2YAAAAQbWZoZAAAAAAAAAAB")), "UNSUPPORTED_FORMAT"), // moof
        (with("audioData", json!("W29iamVjdCBCbG9iXQ==")), "UNSUPPORTED_FORMAT"),             // [object Blob]
    ] {
        assert_eq!(refuse(&body).code(), code, "{}", &body[..body.len().min(120)]);
    }
}

#[test]
fn a_refused_chunk_still_tells_its_index_so_that_nobody_waits_for_it() {
    let record = Record {
        body: with("audioData", json!("%")),
        group_id: "sacred-apostle-367".into(),
        ..Record::default()
    };
    assert_eq!(parse(record).unwrap().1.index(), Some(42));
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(body in ".{0,300}", group_id in ".{0,20}") {
        _ = parse(Record { body, group_id, ..Record::default() });
    }

    #[test]
    fn no_change_to_a_good_message_makes_the_parser_panic(at in 0usize..150, byte in any::<u8>()) {
        let mut body = good().to_string().into_bytes();
        let at = at % body.len();
        body[at] = byte;
        let body = String::from_utf8_lossy(&body).into_owned();
        _ = parse(Record { body, group_id: "sacred-apostle-367".into(), ..Record::default() });
    }
}
