//! The studio's server: what it serves, and to whom.
#![allow(clippy::unwrap_used)] // a test may

use std::sync::Arc;

use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use local_stack::runtime_api::LogLine;
use local_stack::studio::{Act, Grant, Studio, StudioConfig};
use serde_json::{Value, json};
use tokio::sync::broadcast;

async fn studio() -> Studio {
    studio_of(broadcast::channel(16).0).await
}

async fn studio_of(lines: broadcast::Sender<Arc<LogLine>>) -> Studio {
    let config = StudioConfig {
        port: 0,
        ws_url: "ws://127.0.0.1:4567/local".into(),
        session: "quiet-fox-1".into(),
        grants: Arc::new(|session| {
            Box::pin(async move {
                anyhow::ensure!(session.as_str() != "broken", "DynamoDB is away");
                Ok(Grant { url: "ws://127.0.0.1:4567/local".into(), token: format!("token-of-{session}") })
            })
        }),
        lines,
        acts: Arc::new(|session, act| {
            Box::pin(async move {
                anyhow::ensure!(act != Act::KillWorker, "there is no worker to kill");
                Ok(json!({"session": session.as_str(), "did": format!("{act:?}")}))
            })
        }),
    };
    Studio::start(config).await.unwrap()
}

/// Asks it; the headers come after its own Host.
async fn ask(
    studio: &Studio,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, Response<()>, String) {
    let uri = format!("{}{}", studio.url().trim_end_matches('/'), path);
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let (parts, body) = client.request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, Response::from_parts(parts, ()), String::from_utf8(body.to_vec()).unwrap())
}

fn header(response: &Response<()>, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn the_page_is_whole_small_and_talks_to_nobody_else() {
    let studio = studio().await;
    let (status, response, page) = ask(&studio, Method::GET, "/?session=a", &[], "").await;
    assert_eq!(status, StatusCode::OK);
    let policy = header(&response, "content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
    assert!(policy.contains("connect-src 'self' ws://127.0.0.1:4567;"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    let is_inline =
        |word: &&str| word.starts_with("style=") || (word.starts_with("on") && word.contains("=\""));
    assert_eq!(
        page.split_whitespace().find(is_inline),
        None,
        "the policy forbids inline styles and handlers"
    );

    let mut bytes = page.len();
    for reference in page
        .split('"')
        .filter(|text| text.ends_with(".js") || text.ends_with(".css") || text.ends_with(".svg"))
    {
        let (status, _, part) = ask(&studio, Method::GET, &format!("/{reference}"), &[], "").await;
        assert_eq!(status, StatusCode::OK, "{reference}");
        bytes += part.len();
    }
    let (status, _, worklet) = ask(&studio, Method::GET, "/pcm-worklet.js", &[], "").await;
    assert_eq!(status, StatusCode::OK);
    bytes += worklet.len();
    println!("the studio is {bytes} bytes");
    assert!(bytes <= 60_000, "the page with the module is {bytes} bytes");
}

#[tokio::test]
async fn who_names_no_session_is_led_to_the_first() {
    let (status, response, _) = ask(&studio().await, Method::GET, "/", &[], "").await;
    assert_eq!(
        (status, header(&response, "location").as_str()),
        (StatusCode::SEE_OTHER, "/?session=quiet-fox-1")
    );
}

#[tokio::test]
async fn its_own_page_is_given_a_token_for_each_session() {
    let studio = studio().await;
    let origin = studio.url().trim_end_matches('/').to_owned();
    let own = [("origin", origin.as_str())];
    for session in ["fox", "owl.2"] {
        let body = json!({ "session": session }).to_string();
        let (status, response, answer) = ask(&studio, Method::POST, "/token", &own, &body).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(header(&response, "cache-control"), "no-store");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let expected = json!({"url": "ws://127.0.0.1:4567/local", "token": format!("token-of-{session}")});
        assert_eq!(answer, expected);
    }
    for (body, status) in [
        (r#"{"session":"no such name"}"#, StatusCode::BAD_REQUEST),
        ("{", StatusCode::BAD_REQUEST),
        (r#"{"session":"broken"}"#, StatusCode::SERVICE_UNAVAILABLE),
        (&"x".repeat(2_000), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let (told, _, text) = ask(&studio, Method::POST, "/token", &own, body).await;
        assert_eq!(told, status, "{text}");
        assert!(!text.contains("DynamoDB"), "{text}");
    }
}

#[tokio::test]
async fn other_pages_and_other_names_get_nothing() {
    let studio = studio().await;
    let body = r#"{"session":"fox"}"#;
    for headers in [&[][..], &[("origin", "http://evil.example")], &[("origin", "null")]] {
        let (status, _, _) = ask(&studio, Method::POST, "/token", headers, body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{headers:?}");
    }
    let renamed = [("host", "evil.example")];
    let (status, _, _) = ask(&studio, Method::GET, "/?session=a", &renamed, "").await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST, "a name that was pointed here");
    let (status, _, _) = ask(&studio, Method::GET, "/../Cargo.toml", &[], "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _, _) = ask(&studio, Method::DELETE, "/", &[], "").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn its_own_page_may_act_on_the_stack_and_hears_why_not() {
    let studio = studio().await;
    let origin = studio.url().trim_end_matches('/').to_owned();
    let own = [("origin", origin.as_str())];
    for (body, did) in [
        (json!({"what": "dropSocket", "seconds": 5}), "DropSocket { seconds: 5 }"),
        (json!({"what": "refusePutMedia", "error": 4004}), "RefusePutMedia { error: 4004 }"),
        (json!({"what": "takeDynamoDb", "seconds": 300}), "TakeDynamoDb { seconds: 300 }"),
        (json!({"what": "redrive"}), "Redrive"),
        (json!({"what": "ledger"}), "Ledger"),
    ] {
        let mut body = body;
        body["session"] = json!("fox");
        let (status, _, answer) = ask(&studio, Method::POST, "/act", &own, &body.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(serde_json::from_str::<Value>(&answer).unwrap(), json!({"session": "fox", "did": did}));
    }
    for (body, status, why) in [
        (
            r#"{"session":"fox","what":"killWorker"}"#,
            StatusCode::INTERNAL_SERVER_ERROR,
            "there is no worker to kill",
        ),
        (r#"{"session":"fox","what":"dropSocket","seconds":301}"#, StatusCode::BAD_REQUEST, "1 to 300"),
        (r#"{"session":"fox","what":"dropTable"}"#, StatusCode::BAD_REQUEST, "dropTable"),
        (r#"{"what":"redrive"}"#, StatusCode::BAD_REQUEST, "sessionId"),
    ] {
        let (told, _, text) = ask(&studio, Method::POST, "/act", &own, body).await;
        assert_eq!(told, status, "{text}");
        assert!(text.contains(why), "{text} does not say {why}");
    }
    let (status, _, _) = ask(&studio, Method::POST, "/act", &[("origin", "http://evil.example")], "{}").await;
    assert_eq!(status, StatusCode::FORBIDDEN, "another page must not break the stack");
}

/// Reads a session's events until `count` have come.
async fn events(studio: &Studio, session: &str, count: usize, meanwhile: impl FnOnce()) -> Vec<Value> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let uri = format!("{}events?session={session}", studio.url());
    let mut body = client.get(uri.parse().unwrap()).await.unwrap().into_body();
    meanwhile();
    let mut text = String::new();
    while text.matches("\n\n").count() < count {
        let frame = body.frame().await.expect("the feed goes on").unwrap();
        text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    let data = text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    data.map(|json| serde_json::from_str(json).unwrap()).collect()
}

#[tokio::test]
async fn a_page_is_told_what_happened_to_its_session_and_what_happens() {
    let (lines, _kept) = broadcast::channel(16);
    let studio = studio_of(lines.clone()).await;
    let tell = |session: &str, event: &str| {
        let value = json!({"event": event, "sessionId": session, "_aws": {"Timestamp": 1}});
        let line = LogLine { function: "f".into(), environment: 1, pid: 1, value };
        lines.send(Arc::new(line)).unwrap();
    };
    tell("fox", "chunkSent");
    tell("owl", "chunkSent");
    tell("fox", "deferred");
    let own = |event: &str| json!({"event": event, "sessionId": "fox"});
    let told = events(&studio, "fox", 3, || {
        tell("owl", "parked");
        tell("fox", "fragmentWritten");
    });
    assert_eq!(told.await, [own("chunkSent"), own("deferred"), own("fragmentWritten")]);
    let again = events(&studio, "fox", 3, || {}).await;
    assert_eq!(again.len(), 3, "a page that is opened later is told all of it");
    let (status, _, _) = ask(&studio, Method::GET, "/events", &[], "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}
