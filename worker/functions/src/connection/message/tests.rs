use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ingest::message::{Entry, Format, Record, parse};
use serde_json::json;

use super::*;

const NOW: EpochMs = EpochMs(1_795_335_950_000);

fn caller(role: &str) -> Caller {
    let session = SessionId::parse("quiet-fox-1").unwrap();
    Caller { connection_id: "Xa1b2cDEoAMCJ5w=".into(), session, role: role.into() }
}

/// A chunk with these fields changed; null removes one.
fn chunk_with(changes: Value) -> String {
    let mut message = json!({
        "action": "audioChunk",
        "sessionId": "quiet-fox-1",
        "audioData": "GkXfo59ChoEB",
        "timestamp": 1_795_335_945_729_u64,
        "format": "webm-opus",
        "chunkIndex": 7,
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => message.as_object_mut().unwrap().remove(name),
            value => message.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    message.to_string()
}

fn refused(role: &str, text: &str) -> (&'static str, Option<u64>) {
    let refusal = read(&caller(role), text, NOW).unwrap_err();
    assert!(!refusal.hint.is_empty() && refusal.message.len() < 512, "{refusal:?}");
    (refusal.code, refusal.chunk_index)
}

fn asked(text: &str) -> Request {
    read(&caller("speaker"), text, NOW).unwrap()
}

fn accepted(text: &str) -> Enqueue {
    match asked(text) {
        Request::Send(enqueue, _) => enqueue,
        other => panic!("{text} is {other:?}, not something to send"),
    }
}

fn ack(text: &str) -> Option<Ack> {
    match asked(text) {
        Request::Send(_, ack) => ack,
        other => panic!("{text} is {other:?}, not something to send"),
    }
}

/// What the writer makes of what was enqueued.
fn as_the_writer_reads(enqueued: &Enqueue) -> Entry {
    let record =
        Record { body: enqueued.body.clone(), group_id: enqueued.group_id.clone(), ..Record::default() };
    parse(record).unwrap().1
}

#[test]
fn a_chunk_is_enqueued_as_the_writer_reads_it() {
    let enqueued = accepted(&chunk_with(json!({})));
    assert_eq!(enqueued.group_id, "quiet-fox-1");
    let Entry::Chunk(chunk) = as_the_writer_reads(&enqueued) else { panic!("{}", enqueued.body) };
    assert_eq!((chunk.index, chunk.captured_at), (7, EpochMs(1_795_335_945_729)));
    assert_eq!(chunk.audio.as_deref().unwrap(), [0x1A, 0x45, 0xDF, 0xA3, 0x9F, 0x42, 0x86, 0x81, 0x01]);
    assert_eq!(chunk.connection_id.as_deref(), Some("Xa1b2cDEoAMCJ5w="));
    let without = accepted(&chunk_with(json!({"sessionId": null})));
    assert_eq!(without, enqueued, "the session is the connection's, whether the message names it or not");
}

#[test]
fn an_empty_blob_is_enqueued_because_its_index_is_taken() {
    let enqueued = accepted(&chunk_with(json!({"audioData": ""})));
    assert!(enqueued.body.contains(r#""chunkIndex":7"#));
}

#[test]
fn what_cannot_be_audio_is_refused_with_its_culprit_and_its_index() {
    let index = Some(7);
    let large = "A".repeat(130 * 1_024);
    let mp4 = "AAAAHGZ0eXBpc281AAACAGlzbzVpc282bXA0MQ==";
    for (text, code, chunk_index) in [
        (chunk_with(json!({"audioData": "%%%"})), "BAD_BASE64", index),
        (chunk_with(json!({"audioData": 5})), "WRONG_TYPE", index),
        (chunk_with(json!({"audioData": null})), "MISSING_FIELD", index),
        (chunk_with(json!({"audioData": large})), "AUDIO_TOO_LARGE", index),
        (chunk_with(json!({"audioData": mp4})), "UNSUPPORTED_FORMAT", index),
        (chunk_with(json!({"audioData": "A".repeat(200_000)})), "BODY_TOO_LARGE", None),
        (chunk_with(json!({"format": "mp3"})), "UNSUPPORTED_FORMAT", index),
        (chunk_with(json!({"format": null})), "MISSING_FIELD", index),
        (chunk_with(json!({"timestamp": "now"})), "WRONG_TYPE", index),
        (chunk_with(json!({"timestamp": -1})), "WRONG_TYPE", index),
        (chunk_with(json!({"chunkIndex": 1.5})), "WRONG_TYPE", None),
        (chunk_with(json!({"chunkIndex": null})), "MISSING_FIELD", None),
        (chunk_with(json!({"sessionId": "other"})), "WRONG_SESSION", index),
        (chunk_with(json!({"sessionId": ["quiet-fox-1"]})), "WRONG_TYPE", index),
        (chunk_with(json!({"action": "writeToStream"})), "UNKNOWN_ACTION", index),
        (chunk_with(json!({"action": null})), "MISSING_FIELD", None),
        ("GkXfo59ChoEB".into(), "NOT_JSON", None),
        ("".into(), "NOT_JSON", None),
        ("[".repeat(100_000), "NOT_JSON", None),
        ("[1,2]".into(), "NOT_AN_OBJECT", None),
        ("null".into(), "NOT_AN_OBJECT", None),
    ] {
        let shown: String = text.chars().take(80).collect();
        assert_eq!(refused("speaker", &text), (code, chunk_index), "{shown}");
    }
}

/// Chunk 0 of a recording whose Tracks name this codec.
fn opening(codec: &str) -> Value {
    let element = |id: &[u8], content: &[u8]| [id, &[0x80 | content.len() as u8], content].concat();
    let track = [element(&[0xd7], &[1]), element(&[0x83], &[2]), element(&[0x86], codec.as_bytes())].concat();
    let tracks = element(b"\x16\x54\xae\x6b", &element(&[0xae], &track));
    let header = element(b"\x1a\x45\xdf\xa3", &element(b"\x42\x82", b"webm"));
    let segment = [&b"\x18\x53\x80\x67\xff"[..], &tracks].concat();
    json!({"audioData": STANDARD.encode([header, segment].concat())})
}

#[test]
fn a_recording_of_another_codec_is_named_to_the_speaker_and_enqueued_for_the_writer_to_refuse() {
    let told = accepted(&chunk_with(opening("A_PCM/FLOAT/IEEE"))).told.expect("the speaker is told");
    assert_eq!((told.code, told.chunk_index), ("UNSUPPORTED_FORMAT", Some(7)));
    assert!(told.message.contains("A_PCM/FLOAT/IEEE"), "{}", told.message);
    assert_eq!(accepted(&chunk_with(opening("A_OPUS"))).told, None);
}

#[test]
fn the_hint_says_what_to_record_or_what_the_page_does_wrong() {
    let hint = |bytes: &[u8]| {
        let text = chunk_with(json!({"audioData": STANDARD.encode(bytes)}));
        read(&caller("speaker"), &text, NOW).unwrap_err().hint
    };
    for foreign in [b"\0\0\0\x64moof....".as_slice(), b"RIFF....WAVEfmt ", b"fLaC....", b"FORM....AIFF"] {
        let hint = hint(foreign);
        assert!(hint.contains("audio/webm;codecs=opus") && hint.contains("pcm-s16le"), "{hint}");
    }
    assert!(hint(b"[object Blob]").contains("arrayBuffer"));
    assert!(hint(b"data:audio/webm;base64,GkXf").contains("base64,"));
    assert!(hint(b"GkXfo59ChoEBQveBAULygQRC").contains("twice"));
}

#[test]
fn an_acknowledgement_is_given_to_those_who_ask_and_changes_nothing_in_the_queue() {
    let asking = chunk_with(json!({"ack": true}));
    let named = Ack::Chunk { index: 7, captured_at: EpochMs(1_795_335_945_729) };
    assert_eq!(ack(&asking), Some(named));
    assert_eq!(accepted(&asking), accepted(&chunk_with(json!({}))));
    for silent in [json!({}), json!({"ack": false}), json!({"ack": null})] {
        assert_eq!(ack(&chunk_with(silent.clone())), None, "{silent}");
    }
    assert_eq!(ack(r#"{"action":"endStream","ack":true}"#), Some(Ack::End));
    assert_eq!(ack(r#"{"action":"endStream"}"#), None);
    assert_eq!(refused("speaker", &chunk_with(json!({"ack": "yes"}))), ("WRONG_TYPE", Some(7)));
}

#[test]
fn a_piece_of_a_blob_tells_the_writer_that_the_blob_goes_on() {
    let piece = accepted(&chunk_with(json!({"continues": true})));
    assert!(piece.body.contains(r#""continues":true"#), "{}", piece.body);
    let Entry::Chunk(chunk) = as_the_writer_reads(&piece) else { panic!("{}", piece.body) };
    assert_eq!(chunk.index, 7);
    for last in [json!({}), json!({"continues": false})] {
        assert!(!accepted(&chunk_with(last)).body.contains("continues"));
    }
    assert_eq!(refused("speaker", &chunk_with(json!({"continues": 1}))), ("WRONG_TYPE", Some(7)));
}

#[test]
fn samples_are_enqueued_as_they_are_and_what_cannot_be_samples_is_named() {
    let pcm = |bytes: &[u8]| chunk_with(json!({"format": "pcm-s16le", "audioData": STANDARD.encode(bytes)}));
    for samples in [&[0; 8_000][..], b"{}", b"", &[0x1a, 0x45, 0xdf, 0xa3]] {
        let Entry::Chunk(chunk) = as_the_writer_reads(&accepted(&pcm(samples))) else { panic!("no chunk") };
        assert_eq!((chunk.format, chunk.audio.as_deref()), (Format::Pcm, Ok(samples)));
    }
    assert_eq!(accepted(&pcm(&[7; 10])).told, None);
    let wav = [b"RIFF\x24\x7d\0\0WAVEfmt ".as_slice(), &[0; 28]].concat();
    for (bytes, code) in [(&[1, 2, 3][..], "HALF_SAMPLE"), (&wav, "UNSUPPORTED_FORMAT")] {
        let refusal = read(&caller("speaker"), &pcm(bytes), NOW).unwrap_err();
        assert_eq!((refusal.code, refusal.chunk_index), (code, Some(7)));
        assert!(refusal.hint.contains("16 kHz, mono"), "{}", refusal.hint);
    }
    assert_eq!(refused("speaker", &pcm(&[0; 100_000])), ("AUDIO_TOO_LARGE", Some(7)));
}

#[test]
fn a_time_with_a_fraction_is_rounded() {
    let rounded = |timestamp: Value| {
        let body = chunk_with(json!({"timestamp": timestamp}));
        match as_the_writer_reads(&accepted(&body)) {
            Entry::Chunk(chunk) => chunk.captured_at.0,
            end => panic!("{body} is {end:?}"),
        }
    };
    assert_eq!(rounded(json!(1_795_335_945_729.4)), 1_795_335_945_729);
    assert_eq!(rounded(json!(1_795_335_945_728.5)), 1_795_335_945_729);
    let asking = chunk_with(json!({"ack": true, "timestamp": 1_795_335_945_728.6}));
    let named = Ack::Chunk { index: 7, captured_at: EpochMs(1_795_335_945_729) };
    assert_eq!(ack(&asking), Some(named), "the acknowledgement names the rounded time");
    let end = accepted(r#"{"action":"endStream","timestamp":1795335949000.7}"#);
    assert!(end.body.contains(r#""timestamp":1795335949001"#), "{}", end.body);
    for wrong in [json!(-0.6), json!(1e300), json!("1795335945729")] {
        assert_eq!(refused("speaker", &chunk_with(json!({"timestamp": wrong}))), ("WRONG_TYPE", Some(7)));
    }
}

#[test]
fn a_page_may_ask_how_things_stand_and_whether_anybody_is_there() {
    assert_eq!(asked(r#"{"action":"status"}"#), Request::Status);
    assert_eq!(asked(r#"{"action":"ping","any":"thing"}"#), Request::Ping);
}

#[test]
fn only_a_speaker_may_send_or_end() {
    for role in ["listener", "", "Speaker"] {
        assert_eq!(refused(role, &chunk_with(json!({}))), ("NOT_SPEAKER", Some(7)));
        assert_eq!(refused(role, r#"{"action":"endStream"}"#), ("NOT_SPEAKER", None));
        assert_eq!(refused(role, "not JSON"), ("NOT_SPEAKER", None), "others learn nothing about the format");
    }
}

#[test]
fn a_resent_chunk_keeps_its_deduplication_id_and_another_chunk_has_another() {
    let id = |changes| accepted(&chunk_with(changes)).deduplication_id;
    assert_eq!(id(json!({})), id(json!({})));
    let different = [
        id(json!({})),
        id(json!({"chunkIndex": 8})),
        id(json!({"timestamp": 1_795_335_945_730_u64})),
        id(json!({"audioData": "GkXfo59ChoEC"})),
    ];
    assert_eq!(different.iter().collect::<BTreeSet<_>>().len(), 4, "{different:?}");
    assert!(different.iter().all(|id| id.len() <= 128));
}

#[test]
fn an_end_carries_the_last_index_and_each_end_of_a_connection_is_its_own() {
    let end = |text: &str| accepted(text);
    let told = end(r#"{"action":"endStream","chunkIndex":41,"timestamp":1795335949000}"#);
    assert!(matches!(as_the_writer_reads(&told), Entry::End { last_index: Some(41), .. }));
    assert!(told.body.contains(r#""timestamp":1795335949000"#));
    let bare = end(r#"{"action":"endStream","sessionId":"quiet-fox-1","chunkIndex":null}"#);
    assert!(matches!(as_the_writer_reads(&bare), Entry::End { last_index: None, .. }));
    let gone = disconnected(&caller("speaker"), NOW);
    assert!(matches!(as_the_writer_reads(&gone), Entry::End { last_index: None, .. }));

    let later = end(r#"{"action":"endStream","chunkIndex":90,"timestamp":1795335999000}"#);
    let ids: BTreeSet<_> = [&told, &bare, &gone, &later].map(|e| &e.deduplication_id).into();
    assert_eq!(ids.len(), 4, "a speaker who goes on after an end can end again");
    assert_eq!(refused("speaker", r#"{"action":"endStream","chunkIndex":"last"}"#), ("WRONG_TYPE", None));
    assert_eq!(refused("speaker", r#"{"action":"endStream","sessionId":"x"}"#), ("WRONG_SESSION", None));
}

#[test]
fn a_timestamp_in_another_unit_or_more_than_a_day_off_is_refused_with_what_is_wrong_with_it() {
    const DAY_MS: u64 = 24 * 3_600_000;
    for (timestamp, hint) in [
        (NOW.0 / 1_000, "seconds"),
        (NOW.0 * 1_000, "microseconds"),
        (73_412, "performance.now()"),
        (0, "since 1970"),
        (1 << 53, "since 1970"),
        (NOW.0 - DAY_MS - 1, "set this device's clock"),
        (NOW.0 + DAY_MS + 1, "set this device's clock"),
    ] {
        let refusal =
            read(&caller("speaker"), &chunk_with(json!({"timestamp": timestamp})), NOW).unwrap_err();
        assert_eq!((refusal.code, refusal.chunk_index), ("BAD_TIMESTAMP", Some(7)), "{timestamp}");
        assert!(refusal.hint.contains(hint), "{timestamp}: {}", refusal.hint);
    }
    for timestamp in [NOW.0 - DAY_MS, NOW.0 + DAY_MS] {
        accepted(&chunk_with(json!({"timestamp": timestamp})));
    }
}
