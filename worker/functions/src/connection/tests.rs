use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::json;

use super::*;

/// Sessions `live` and `over`, and what was recorded and sent.
#[derive(Default)]
struct Memory {
    connections: Mutex<BTreeMap<String, Connection>>,
    speaker: Mutex<Option<Speaker>>,
    queue: Mutex<Vec<Enqueue>>,
    checkpoint: Option<Vec<u8>>,
    failing: Option<ServiceFailure>,
    sessions: Option<Away>,
    connections_silent: bool,
}

/// How the Sessions table is away.
#[derive(Clone, Copy, Debug)]
enum Away {
    Refusing,
    Silent,
}

impl Backend for Memory {
    async fn status(&self, session: &SessionId) -> Outcome<SessionStatus> {
        match self.sessions {
            Some(Away::Refusing) => {
                return Err(ServiceFailure::TimedOut { operation: "GetItem".into(), waited_ms: 5_000 });
            }
            Some(Away::Silent) => std::future::pending().await,
            None => {}
        }
        Ok(match session.as_str() {
            "live" => SessionStatus::Active,
            "over" => SessionStatus::Ended { at: Some(EpochMs(1_795_335_900_000)) },
            "long-over" => SessionStatus::Ended { at: Some(EpochMs(1_795_249_500_000)) },
            "over-some-day" => SessionStatus::Ended { at: None },
            _ => SessionStatus::Unknown,
        })
    }

    async fn connect(&self, id: &str, connection: &Connection, _: EpochMs) -> Outcome<()> {
        self.failing.clone().map_or(Ok(()), Err)?;
        self.connections.lock().unwrap().insert(id.to_owned(), connection.clone());
        Ok(())
    }

    async fn take_over(&self, _: &SessionId, id: &str, at: EpochMs) -> Outcome<()> {
        *self.speaker.lock().unwrap() = Some(Speaker { connection_id: id.to_owned(), since: at });
        Ok(())
    }

    async fn speaker(&self, _: &SessionId) -> Outcome<Option<Speaker>> {
        if self.connections_silent {
            std::future::pending::<()>().await;
        }
        self.failing.clone().map_or(Ok(()), Err)?;
        Ok(self.speaker.lock().unwrap().clone())
    }

    async fn connection(&self, id: &str) -> Outcome<Option<Connection>> {
        Ok(self.connections.lock().unwrap().get(id).cloned())
    }

    async fn disconnect(&self, id: &str) -> Outcome<Option<Connection>> {
        Ok(self.connections.lock().unwrap().remove(id))
    }

    async fn send(&self, message: Enqueue) -> Outcome<()> {
        self.failing.clone().map_or(Ok(()), Err)?;
        self.queue.lock().unwrap().push(message);
        Ok(())
    }

    async fn checkpoint(&self, session: &SessionId) -> Outcome<Option<Vec<u8>>> {
        self.failing.clone().map_or(Ok(()), Err)?;
        assert_eq!(session.as_str(), "live", "a page learns of no other session");
        Ok(self.checkpoint.clone())
    }

    fn now(&self) -> EpochMs {
        EpochMs(1_795_335_950_000)
    }
}

impl Memory {
    fn failing(code: &str) -> Self {
        let failure = ServiceFailure::Service {
            operation: "SendMessage".into(),
            status: 400,
            code: code.into(),
            message: "arn:aws:sqs:eu-central-1:123456789012:chunks.fifo".into(),
        };
        Self { failing: Some(failure), ..Self::default() }
    }

    async fn event(&self, kind: &str, authorizer: Value, body: Option<&str>) -> (u16, Value) {
        let event = json!({
            "requestContext": {
                "routeKey": format!("${}", kind.to_lowercase()),
                "authorizer": authorizer,
                "messageId": null,
                "eventType": kind,
                "extendedRequestId": "Zfj4vHN_FiAFiXQ=",
                "requestTime": "22/Nov/2026:09:05:45 +0000",
                "messageDirection": "IN",
                "stage": "live",
                "connectedAt": 1_795_335_945_000_u64,
                "requestTimeEpoch": 1_795_335_945_001_u64,
                "identity": {"sourceIp": "127.0.0.1"},
                "requestId": "Zfj4vHN_FiAFiXQ=",
                "domainName": "id.execute-api.eu-central-1.amazonaws.com",
                "connectionId": "Xa1b2cDEoAMCJ5w=",
                "apiId": "id",
            },
            "body": body,
            "isBase64Encoded": false,
        });
        let answer = handle(self, serde_json::from_value(event).unwrap(), Some(INVOCATION.into())).await;
        let body = answer.body.map(|body| serde_json::from_str(&body).unwrap()).unwrap_or_default();
        (answer.status_code, body)
    }

    async fn connect_as(&self, session: &str, role: &str) -> (u16, Value) {
        self.event("CONNECT", as_authorized(session, role), None).await
    }
}

/// API Gateway gives the authorizer's context with its own fields beside.
fn as_authorized(session: &str, role: &str) -> Value {
    json!({"sessionId": session, "role": role, "principalId": "user", "integrationLatency": 29})
}

const CHUNK: &str = r#"{"action":"audioChunk","audioData":"GkXfo59C","timestamp":1795335945729,"format":"webm-opus","chunkIndex":3}"#;
const NOBODY: Value = Value::Null;
const INVOCATION: &str = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01";
const PAGE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn a_messages_own_trace_goes_into_the_queue_and_the_invocations_where_it_has_none_that_makes_sense() {
    let memory = Memory::default();
    let with = |context: Value| {
        let mut chunk: Value = serde_json::from_str(CHUNK).unwrap();
        chunk["traceparent"] = context;
        chunk.to_string()
    };
    for (context, expected) in [(json!(PAGE), PAGE), (json!("nonsense"), INVOCATION), (json!(7), INVOCATION)]
    {
        memory.event("MESSAGE", as_authorized("live", "speaker"), Some(&with(context))).await;
        let sent = memory.queue.lock().unwrap().pop().unwrap();
        assert_eq!(sent.traceparent.as_deref(), Some(expected));
        assert!(!sent.body.contains("traceparent"), "what is sent again must stay the same message");
    }
}

#[tokio::test]
async fn a_recording_without_opus_is_answered_with_an_error_and_the_writer_sees_it_too() {
    let memory = Memory::default();
    // EBML header, Segment, Tracks with one track of A_AAC
    let audio = "GkXfo4dCgoR3ZWJtGFOAZ/8WVK5rj66N14EBg4EChoVBX0FBQw==";
    let chunk = CHUNK.replace("GkXfo59C", audio);
    let (status, answer) = memory.event("MESSAGE", as_authorized("live", "speaker"), Some(&chunk)).await;
    assert_eq!(
        (status, &answer["code"], &answer["chunkIndex"]),
        (200, &json!("UNSUPPORTED_FORMAT"), &json!(3))
    );
    assert!(answer["message"].as_str().unwrap().contains("A_AAC"), "{answer}");
    assert_eq!(
        memory.queue.lock().unwrap().len(),
        1,
        "what follows it is refused by the writer, for the same reason"
    );
}

#[tokio::test]
async fn a_connection_is_recorded_used_and_forgotten_with_an_end_in_the_queue() {
    let memory = Memory::default();
    assert_eq!(memory.connect_as("live", "speaker").await, (200, Value::Null));
    assert_eq!(
        memory.event("MESSAGE", as_authorized("live", "speaker"), Some(CHUNK)).await,
        (200, Value::Null)
    );
    assert_eq!(memory.event("DISCONNECT", as_authorized("live", "speaker"), None).await, (200, Value::Null));
    assert!(memory.connections.lock().unwrap().is_empty());
    let queue = memory.queue.lock().unwrap();
    assert!(queue[0].body.contains("writeToStream") && queue[1].body.contains("endStream"), "{queue:?}");
    assert!(queue.iter().all(|message| message.group_id == "live"));
}

#[tokio::test]
async fn where_an_event_lacks_the_authorizers_context_the_table_knows_the_caller() {
    let memory = Memory::default();
    memory.connect_as("live", "speaker").await;
    assert_eq!(memory.event("MESSAGE", NOBODY, Some(CHUNK)).await, (200, Value::Null));
    assert_eq!(memory.event("DISCONNECT", json!({"principalId": "user"}), None).await, (200, Value::Null));
    assert_eq!(memory.queue.lock().unwrap().len(), 2);
    let (_, refusal) = memory.event("MESSAGE", NOBODY, Some(CHUNK)).await;
    assert_eq!(refusal["code"], "NOT_CONNECTED");
}

#[tokio::test]
async fn a_handshake_is_refused_by_its_status_and_leaves_nothing_behind() {
    let memory = Memory::default();
    for (authorizer, status, code) in [
        (NOBODY, 403, "UNAUTHORIZED"),
        (json!({"sessionId": "live"}), 403, "UNAUTHORIZED"),
        (json!({"sessionId": "", "role": "speaker"}), 403, "UNAUTHORIZED"),
        (json!({"sessionId": 5, "role": "speaker"}), 403, "UNAUTHORIZED"),
        (as_authorized("no such stream/name", "speaker"), 400, "BAD_SESSION_ID"),
        (as_authorized("never-started", "speaker"), 403, "SESSION_UNKNOWN"),
        (as_authorized("long-over", "speaker"), 403, "SESSION_ENDED"),
        (as_authorized("over-some-day", "speaker"), 403, "SESSION_ENDED"),
    ] {
        let (told, body) = memory.event("CONNECT", authorizer.clone(), None).await;
        assert_eq!((told, &body["code"]), (status, &json!(code)), "{authorizer}");
    }
    assert!(memory.connections.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_error_comes_back_as_a_message_with_a_code_a_hint_and_the_chunk() {
    let memory = Memory::default();
    let (status, body) = memory.event("MESSAGE", as_authorized("live", "listener"), Some(CHUNK)).await;
    assert_eq!(status, 200);
    assert_eq!(
        body,
        json!({
            "type": "error",
            "code": "NOT_SPEAKER",
            "message": "only the role speaker may send audio; this connection's role is \"listener\"",
            "hint": "connect with a speaker's token",
            "chunkIndex": 3,
        })
    );
    for (text, code) in
        [(None, "NOT_JSON"), (Some("{"), "NOT_JSON"), (Some(r#"{"action":"x"}"#), "UNKNOWN_ACTION")]
    {
        let (_, body) = memory.event("MESSAGE", as_authorized("live", "speaker"), text).await;
        assert_eq!((&body["type"], &body["code"]), (&json!("error"), &json!(code)), "{text:?}");
    }
    assert!(memory.queue.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_page_that_goes_on_after_the_end_is_told_and_its_audio_is_not_enqueued() {
    let memory = Memory::default(); // "over" ended before CHUNK was captured
    let (status, answer) = memory.event("MESSAGE", as_authorized("over", "speaker"), Some(CHUNK)).await;
    assert_eq!((status, &answer["code"], &answer["chunkIndex"]), (200, &json!("SESSION_ENDED"), &json!(3)));
    let (_, answer) = memory.event("MESSAGE", as_authorized("forgotten", "speaker"), Some(CHUNK)).await;
    assert_eq!(answer["code"], "SESSION_UNKNOWN");
    assert!(memory.queue.lock().unwrap().is_empty(), "4 messages a second would be parked for 2 hours");

    let page = memory.connect_as("over", "speaker").await;
    assert_eq!(page, (200, Value::Null), "a page that was offline at the end could not bring what it kept");
    let said_before = CHUNK.replace("1795335945729", "1795335899000");
    let taken = memory.event("MESSAGE", as_authorized("over", "speaker"), Some(&said_before)).await;
    assert_eq!(taken, (200, Value::Null), "audio of before the end may come late");
    let end =
        memory.event("MESSAGE", as_authorized("over", "speaker"), Some(r#"{"action":"endStream"}"#)).await;
    assert_eq!(end, (200, Value::Null), "an end is never too late");
    assert_eq!(memory.queue.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_sessions_table_that_fails_or_is_silent_holds_up_no_audio() {
    for away in [Away::Refusing, Away::Silent] {
        let memory = Memory { sessions: Some(away), ..Memory::default() };
        let taken = memory.event("MESSAGE", as_authorized("live", "speaker"), Some(CHUNK)).await;
        assert_eq!(taken, (200, Value::Null), "{away:?}");
        assert_eq!(memory.queue.lock().unwrap().len(), 1, "{away:?}: the writer judges it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_connections_table_holds_up_a_chunk_for_a_second_and_the_chunk_is_taken() {
    let memory = Memory { connections_silent: true, ..replaced_after(-20) };
    let began = tokio::time::Instant::now();
    let taken = memory.event("MESSAGE", as_authorized("live", "speaker"), Some(CHUNK)).await;
    assert_eq!(taken, (200, Value::Null), "nobody can tell who speaks: the writer sorts the pages out");
    assert_eq!(began.elapsed(), KNOWN_WITHIN, "the page's next chunks wait behind this one");
    assert_eq!(memory.queue.lock().unwrap().len(), 1, "the chunk is lost");
    memory.event("DISCONNECT", as_authorized("live", "speaker"), None).await;
    assert_eq!(memory.queue.lock().unwrap().len(), 2, "the end of the stream is lost");
}

#[tokio::test]
async fn a_listener_who_leaves_does_not_end_the_speakers_stream() {
    let memory = Memory::default();
    memory.connect_as("live", "listener").await;
    memory.event("DISCONNECT", as_authorized("live", "listener"), None).await;
    assert!(memory.queue.lock().unwrap().is_empty() && memory.connections.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_throttled_queue_asks_for_the_same_chunk_again_and_a_denied_one_does_not() {
    let speaker = as_authorized("live", "speaker");
    let (status, body) =
        Memory::failing("ThrottlingException").event("MESSAGE", speaker.clone(), Some(CHUNK)).await;
    assert_eq!((status, &body["code"], &body["chunkIndex"]), (200, &json!("RETRY"), &json!(3)));
    let (_, body) =
        Memory::failing("AccessDeniedException").event("MESSAGE", speaker.clone(), Some(CHUNK)).await;
    assert_eq!(body["code"], "INTERNAL");
    assert!(!body.to_string().contains("arn:"), "the browser learns no resource names: {body}");
    let (status, _) = Memory::failing("ThrottlingException").event("CONNECT", speaker, None).await;
    assert_eq!(status, 503);
}

#[tokio::test]
async fn an_end_that_could_not_be_enqueued_leaves_the_connection_to_be_found() {
    let memory = Memory::failing("ThrottlingException");
    let speaker = Connection { session_id: "live".into(), role: "speaker".into() };
    memory.connections.lock().unwrap().insert("Xa1b2cDEoAMCJ5w=".into(), speaker);
    memory.event("DISCONNECT", NOBODY, None).await;
    assert_eq!(memory.connections.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_ack_comes_once_the_queue_has_the_chunk_and_not_when_it_has_not() {
    let chunk = CHUNK.replace(r#""chunkIndex":3"#, r#""chunkIndex":3,"ack":true"#);
    let speaker = as_authorized("live", "speaker");
    let memory = Memory::default();
    let answer = memory.event("MESSAGE", speaker.clone(), Some(&chunk)).await;
    let ack = json!({"type": "ack", "chunkIndex": 3, "timestamp": 1_795_335_945_729_u64});
    assert_eq!(answer, (200, ack.clone()));
    assert_eq!(memory.event("MESSAGE", speaker.clone(), Some(&chunk)).await.1, ack, "sent again: told again");
    let end = memory.event("MESSAGE", speaker.clone(), Some(r#"{"action":"endStream","ack":true}"#)).await;
    assert_eq!(end.1, json!({"type": "ack", "action": "endStream"}));
    assert_eq!(memory.queue.lock().unwrap().len(), 3);

    let failing = Memory::failing("ThrottlingException");
    let (_, body) = failing.event("MESSAGE", speaker, Some(&chunk)).await;
    assert_eq!((&body["type"], &body["chunkIndex"]), (&json!("error"), &json!(3)));
}

#[tokio::test]
async fn a_ping_is_answered_and_puts_nothing_into_the_queue() {
    let memory = Memory::default();
    let ping = Some(r#"{"action":"ping"}"#);
    let answer = memory.event("MESSAGE", as_authorized("live", "speaker"), ping).await;
    assert_eq!(answer, (200, json!({"type": "pong"})));
    assert!(memory.queue.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_status_is_of_the_connections_own_session_and_a_listener_gets_none() {
    let ask = Some(r#"{"action":"status","sessionId":"other"}"#);
    let memory = Memory::default();
    let (_, body) = memory.event("MESSAGE", as_authorized("live", "speaker"), ask).await;
    assert_eq!((&body["type"], &body["session"]), (&json!("status"), &json!("active")));
    let (_, body) = memory.event("MESSAGE", as_authorized("live", "listener"), ask).await;
    assert_eq!(body["code"], "NOT_SPEAKER");

    let damaged = Memory { checkpoint: Some(b"{".to_vec()), ..Memory::default() };
    let (status, body) = damaged.event("MESSAGE", as_authorized("live", "speaker"), ask).await;
    assert_eq!((status, &body["code"]), (200, &json!("STATUS_UNKNOWN")));
    let away = Memory::failing("ThrottlingException");
    let (_, body) = away.event("MESSAGE", as_authorized("live", "speaker"), ask).await;
    assert_eq!(body["code"], "RETRY");
}

/// Another page has connected `ms` after the event's time.
fn replaced_after(ms: i64) -> Memory {
    let since = EpochMs(1_795_335_945_001_u64.saturating_add_signed(ms));
    let speaker = Speaker { connection_id: "another page".into(), since };
    Memory { speaker: Mutex::new(Some(speaker)), ..Memory::default() }
}

#[tokio::test]
async fn who_connects_last_speaks_and_the_older_page_is_told() {
    let speaker = as_authorized("live", "speaker");
    let memory = replaced_after(-20);
    let (status, body) = memory.event("MESSAGE", speaker.clone(), Some(CHUNK)).await;
    assert_eq!((status, &body["code"], &body["chunkIndex"]), (200, &json!("REPLACED"), &json!(3)));
    memory.event("DISCONNECT", speaker.clone(), None).await;
    assert!(memory.queue.lock().unwrap().is_empty(), "the older page's end would cut the newer one's audio");

    memory.connect_as("live", "speaker").await;
    assert_eq!(memory.event("MESSAGE", speaker, Some(CHUNK)).await, (200, Value::Null), "it connected again");
    memory.connect_as("live", "listener").await;
    let speaks = memory.speaker.lock().unwrap().clone().unwrap();
    assert_eq!(speaks.since, EpochMs(1_795_335_945_001), "a listener takes nothing over");
}

#[tokio::test]
async fn what_the_older_page_sent_before_it_was_replaced_is_taken_and_so_is_all_while_nobody_can_tell() {
    let speaker = as_authorized("live", "speaker");
    let memory = replaced_after(20);
    assert_eq!(memory.event("MESSAGE", speaker.clone(), Some(CHUNK)).await, (200, Value::Null));
    assert_eq!(memory.queue.lock().unwrap().len(), 1, "it was on its way when the other page connected");
    let ping = Some(r#"{"action":"ping"}"#);
    let (_, body) = replaced_after(-20).event("MESSAGE", speaker, ping).await;
    assert_eq!(body["type"], "pong", "only audio is refused");
}
