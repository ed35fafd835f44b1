//! Bad input: each gets a typed refusal that names the culprit, and the rest of the session goes on unharmed.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt as _, StreamExt as _};
use local_stack::compare::compare;
use local_stack::gateway::Issuer;
use local_stack::replay::recording::{Line, Recording};
use local_stack::replay::speaker::Speaker;
use local_stack::replay::{SessionResult, replay};
use local_stack::resources::SessionStatus;
use local_stack::stack::Stack;
use serde_json::{Map, Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::{SETTLE, beginning};

const CHUNKS: usize = 30;
const SPEED: f64 = 2.0;
/// A resynchronisation costs at most one Cluster, which Chromium begins about every 300 ms, and the packet that was cut.
const RESYNC_SAMPLES_MAX: u64 = 16 * 420;

/// All of it.
pub async fn all(stack: &Stack) {
    tokio::join!(at_the_door(stack), in_the_worker(stack), strangers(stack));
}

fn message(chunk: &Line) -> Map<String, Value> {
    let Line::Message(fields) = chunk else { panic!("shipped recordings hold messages only") };
    fields.clone()
}

/// `chunk` with other fields.
fn changed(chunk: &Line, changes: Value) -> Line {
    let mut fields = message(chunk);
    fields.extend(changes.as_object().unwrap().clone());
    Line::Message(fields)
}

async fn spoken(stack: &Stack, recording: Recording, session_id: &str) -> SessionResult {
    let recording = Arc::new(recording);
    let speaker = Speaker { recording, session_id: session_id.into(), speed: SPEED, delay: Duration::ZERO };
    replay(stack, &[speaker], SETTLE, &()).await.unwrap().remove(0)
}

/// What the door refuses takes no place in the session: each hostile message comes right before the good chunk whose index it claims.
async fn at_the_door(stack: &Stack) {
    let mut recording = beginning("chromium-speech-default", CHUNKS);
    let good = recording.lines.clone();
    let big = STANDARD.encode(vec![0xA3; 130_000]);
    let hostile = [
        (3, Line::Raw("{\"action\":\"audioChunk\",".into()), "NOT_JSON"),
        (4, Line::Raw("[1, 2]".into()), "NOT_AN_OBJECT"),
        (5, changed(&good[5], json!({"audioData": "@@not base64@@"})), "BAD_BASE64"),
        (7, changed(&good[7], json!({"timestamp": "soon"})), "WRONG_TYPE"),
        (8, changed(&good[8], json!({"chunkIndex": -1})), "WRONG_TYPE"),
        (9, changed(&good[9], json!({"audioData": {"0": 26}})), "WRONG_TYPE"),
        (10, changed(&good[10], json!({"audioData": big})), "CLOSED_1009"),
        (13, changed(&good[13], json!({"sessionId": "no stream name!"})), "WRONG_SESSION"),
        (14, changed(&good[14], json!({"format": "mp3"})), "UNSUPPORTED_FORMAT"),
        (
            16,
            changed(&good[16], json!({"audioData": STANDARD.encode(b"RIFF\x24\0\0\0WAVEfmt ")})),
            "UNSUPPORTED_FORMAT",
        ),
        (17, changed(&good[17], json!({"action": "dance"})), "UNKNOWN_ACTION"),
    ];
    for (before, line, _) in hostile.iter().rev() {
        recording.lines.insert(*before, line.clone());
    }
    let result = spoken(stack, recording.clone(), "hostile-door").await;
    let mut codes: Vec<&str> = result.report.refusals.iter().map(|refusal| refusal.code.as_str()).collect();
    let mut expected: Vec<&str> = hostile.iter().map(|(_, _, code)| *code).collect();
    codes.sort_unstable();
    expected.sort_unstable();
    assert_eq!(codes, expected, "every hostile message is refused with its culprit: {:?}", result.report);
    let hints =
        result.report.refusals.iter().all(|refusal| refusal.hint.is_some() && !refusal.reason.is_empty());
    assert!(hints, "a refusal says what is wrong and what to do: {:?}", result.report.refusals);
    let report = &result.report;
    assert_eq!(
        (report.chunks_written, report.chunks_parked),
        (CHUNKS, 0),
        "all good chunks are written: {report:?}"
    );
    assert!(report.is_whole(), "{report:?}");

    let audio = result.audio();
    let comparison = compare(&audio, &recording.reference().unwrap()[..audio.len()]);
    assert!(audio.len() > 16_000 * 8 && comparison.holds(1), "the sound is unharmed: {comparison:?}");
}

/// What looks like a chunk to the door is parked by the worker with its culprit, and the audio goes on behind it.
async fn in_the_worker(stack: &Stack) {
    let mut recording = beginning("chromium-speech-default", CHUNKS);
    let good = recording.lines.clone();
    let mut random = fastrand::Rng::with_seed(2_026);
    let noise: Vec<u8> = (0..3_000).map(|_| random.u8(..)).collect();
    // What a recorder sends that got no audio: 110 bytes, an EBML header and zeros.
    let header = "GkXfo59ChoEBQveBAULygQRC84EIQoKEd2VibUKHgQRChYEC";
    let mut stub = STANDARD.decode(header).unwrap();
    stub.resize(110, 0);
    let hostile = [(8, stub, "UNDECODABLE_AUDIO"), (24, noise, "UNDECODABLE_AUDIO")];
    let mut lines: Vec<Line> = Vec::new();
    for (i, chunk) in good.iter().enumerate() {
        if let Some((_, bytes, _)) = hostile.iter().find(|(before, ..)| *before == i) {
            lines.push(changed(chunk, json!({"audioData": STANDARD.encode(bytes)})));
        }
        lines.push(chunk.clone());
    }
    let numbered = lines.iter().enumerate().map(|(i, line)| changed(line, json!({"chunkIndex": i})));
    recording.lines = numbered.collect();
    let result = spoken(stack, recording, "hostile-worker").await;
    let report = &result.report;
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(report.chunks_refused, 0, "{report:?}");
    assert_eq!(
        report.chunks_parked,
        hostile.len(),
        "what holds no audio is parked, nothing else: {report:?}"
    );
    assert_eq!(report.chunks_written, CHUNKS, "{report:?}");
    for (_, _, code) in &hostile {
        assert!(
            report.park_reasons.iter().any(|reason| reason.contains(code)),
            "{code}: {:?}",
            report.park_reasons
        );
    }
    let undisturbed = ingest_samples(&good);
    let samples: u64 = result.rows.iter().map(|row| row.samples).sum();
    let lost = undisturbed.saturating_sub(samples);
    assert!(
        lost <= hostile.len() as u64 * RESYNC_SAMPLES_MAX,
        "the audio goes on behind what was parked; lost {lost} samples"
    );
}

/// How much audio the chunks hold, by the demuxer in one pass.
fn ingest_samples(chunks: &[Line]) -> u64 {
    let mut demuxer = media::demux::Demuxer::new();
    let bytes =
        chunks.iter().map(|chunk| STANDARD.decode(message(chunk)["audioData"].as_str().unwrap()).unwrap());
    let items: Vec<_> = bytes.flat_map(|bytes| demuxer.push(&bytes)).collect();
    let samples = items.iter().map(|item| match item {
        media::demux::Item::Packet(packet) => packet.duration.0,
        _ => 0,
    });
    samples.sum()
}

/// Who may not speak is told so, at the handshake or at the first word.
async fn strangers(stack: &Stack) {
    stack.put_session("hostile-role", SessionStatus::Active).await.unwrap();
    stack.put_session("hostile-ended", SessionStatus::Ended { at_ms: 1 }).await.unwrap();
    assert_eq!(
        handshake(stack, "sessionId=nobody-knows-it&role=speaker").await,
        Err(403),
        "an unknown session"
    );
    assert_eq!(handshake(stack, "sessionId=hostile-ended&role=speaker").await, Err(403), "an ended session");
    assert_eq!(
        handshake(stack, "sessionId=no%20stream%20name&role=speaker").await,
        Err(403),
        "no stream name"
    );
    assert_eq!(handshake(stack, "role=speaker").await, Err(401), "no session at all");
    assert_eq!(handshake(stack, "sessionId=hostile-role&role=owner").await, Err(403), "no such role");
    let token = stack.issuer().token("hostile-role", "speaker").unwrap();
    assert_eq!(handshake(stack, &format!("token={token}")).await, Ok(()), "a token is enough");
    let elsewhere = format!("token={token}&sessionId=hostile-ended");
    assert_eq!(handshake(stack, &elsewhere).await, Err(403), "a token is for its own session only");
    let stranger = Issuer::start().await.unwrap().token("hostile-role", "speaker").unwrap();
    assert_eq!(handshake(stack, &format!("token={stranger}")).await, Err(403), "another issuer's token");
    assert_eq!(handshake(stack, "token=nonsense").await, Err(403), "no token at all");
    assert_eq!(handshake(stack, "sessionId=hostile-role&role=speaker").await, Ok(()));

    let chunk = &beginning("chromium-speech-default", 1).lines[0];
    let url = format!("{}?sessionId=hostile-role&role=listener", stack.ws_url());
    let (mut listener, _) = connect_async(url).await.unwrap();
    let mut fields = message(&changed(chunk, json!({"action": "audioChunk"})));
    fields.remove("sessionId");
    listener.send(Message::text(Value::Object(fields).to_string())).await.unwrap();
    let answer = listener.next().await.unwrap().unwrap();
    let answer: Value = serde_json::from_str(answer.to_text().unwrap()).unwrap();
    assert_eq!(answer["code"], "NOT_SPEAKER", "{answer}");
    assert_eq!(answer["chunkIndex"], 0, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("listener"), "{answer}");
    listener.close(None).await.unwrap();
}

async fn handshake(stack: &Stack, query: &str) -> Result<(), u16> {
    match connect_async(format!("{}?{query}", stack.ws_url())).await {
        Ok((mut socket, _)) => {
            let _ = socket.close(None).await;
            Ok(())
        }
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(other) => panic!("the handshake ends without an answer: {other}"),
    }
}
