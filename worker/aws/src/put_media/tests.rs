use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use ingest::failure::Class;
use tokio::sync::mpsc;

use super::*;
use crate::http_client::single_use_connector;
use crate::test_server::{Server, response};

const AT: EpochMs = EpochMs(1_795_335_945_005);
const BUFFERING: &str = r#"{"EventType":"BUFFERING","FragmentTimecode":1795335945005,"FragmentNumber":"47"}"#;
const RECEIVED: &str = r#"{"EventType":"RECEIVED","FragmentTimecode":1795335945005,"FragmentNumber":"47"}"#;
const PERSISTED: &str = r#"{"EventType":"PERSISTED","FragmentTimecode":1795335945005,"FragmentNumber":"47"}"#;
const IDLE: &str = r#"{"EventType":"IDLE"}"#;

/// A body that grows while it is read; it ends when the sender is dropped, or breaks on an error.
struct Growing(mpsc::UnboundedReceiver<Bytes>);

impl Body for Growing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn growing() -> (mpsc::UnboundedSender<Bytes>, Growing) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Growing(receiver))
}

fn client() -> PutMedia {
    let provider = SharedCredentialsProvider::new(Credentials::new("AKID", "secret", None, None, "test"));
    let credentials = CachedCredentials::new(provider);
    PutMedia::new(single_use_connector(), credentials, "eu-central-1".into(), PayloadSigning::Unsigned)
}

async fn put_to(server: &Server, fragment: Vec<u8>) -> Result<Persisted> {
    client().put(&server.url, "session-a", AT, fragment).await
}

/// Reads the whole body, then answers with these pieces, one read each.
async fn acknowledging(pieces: &'static [&'static str]) -> Server {
    Server::start(move |request: Request<Incoming>| async move {
        request.into_body().collect().await.unwrap();
        let (sender, body) = growing();
        tokio::spawn(async move {
            for piece in pieces {
                let _ = sender.send(Bytes::from_static(piece.as_bytes()));
                tokio::task::yield_now().await;
            }
        });
        Response::new(body.boxed_unsync())
    })
    .await
}

#[tokio::test]
async fn a_fragment_is_done_at_persisted_and_arrives_whole_and_chunked() {
    let seen = Arc::<Mutex<Option<(http::request::Parts, Bytes)>>>::default();
    let log = seen.clone();
    let server = Server::start(move |request: Request<Incoming>| {
        let log = log.clone();
        async move {
            let (head, body) = request.into_parts();
            *log.lock().unwrap() = Some((head, body.collect().await.unwrap().to_bytes()));
            response(200, format!("{BUFFERING}\n{RECEIVED}\r\n{PERSISTED}\n"))
        }
    })
    .await;
    let fragment: Vec<u8> = (0..70_000_u32).map(|i| i as u8).collect();
    let persisted = put_to(&server, fragment.clone()).await.unwrap();
    assert_eq!(persisted.fragment_number, "47");
    assert!(persisted.acknowledged_after_ms.is_some());

    let (head, body) = seen.lock().unwrap().take().unwrap();
    assert_eq!(body, fragment);
    assert_eq!(
        (head.method.as_str(), head.uri.path(), head.version),
        ("POST", "/putMedia", http::Version::HTTP_11)
    );
    assert_eq!(head.headers["transfer-encoding"], "chunked");
    assert_eq!(head.headers["x-amzn-stream-name"], "session-a");
    assert_eq!(head.headers["x-amzn-producer-start-timestamp"], "1795335945.005");
    assert!(!head.headers.contains_key("content-length"));
}

#[tokio::test]
async fn acks_split_in_the_middle_or_merged_into_one_read_are_the_same_acks() {
    for pieces in [
        &["{\"EventTy", "pe\":\"BUFFERING\"}{\"EventType\":\"RECEI", "VED\"}", PERSISTED][..],
        &[BUFFERING, "\r\n", IDLE, RECEIVED, PERSISTED, IDLE],
        &["{\"EventType\":\"PERSISTED\",\"FragmentTimecode\":1795335945005,\"FragmentNumber\":\"4", "7\"}"],
    ] {
        let server = acknowledging(pieces).await;
        assert_eq!(put_to(&server, vec![1; 100]).await.unwrap().fragment_number, "47", "{pieces:?}");
    }
}

#[tokio::test]
async fn an_error_ack_ends_the_call_while_the_body_is_still_open() {
    let server = Server::start(move |request: Request<Incoming>| async move {
        let (sender, answer) = growing();
        tokio::spawn(async move {
            let mut body = request.into_body();
            body.frame().await.unwrap().unwrap();
            let _ = sender.send(BUFFERING.into());
            body.frame().await.unwrap().unwrap();
            let error = r#"{"EventType":"ERROR","FragmentTimecode":-1,"ErrorCode":"INVALID_MKV_DATA","ErrorId":4006}"#;
            let _ = sender.send(error.into());
            std::future::pending::<()>().await; // neither side ends its body
        });
        Response::new(answer.boxed_unsync())
    })
    .await;
    let (media, body) = growing();
    media.send(Bytes::from_static(b"first piece")).unwrap();
    media.send(Bytes::from_static(b"second piece")).unwrap();
    let failure =
        client().send(&server.url, "session-a", AT, SdkBody::from_body_1_x(body)).await.unwrap_err();
    assert_eq!(failure, ServiceFailure::Ack { id: 4006, code: "INVALID_MKV_DATA".into() });
    drop(media);
}

#[tokio::test]
async fn a_response_that_ends_before_persisted_leaves_the_outcome_unknown() {
    let server = acknowledging(&[BUFFERING, RECEIVED]).await;
    let failure = put_to(&server, vec![1; 100]).await.unwrap_err();
    assert!(
        matches!(&failure, ServiceFailure::Disconnected { detail, .. } if detail.contains("Received")),
        "{failure}"
    );
    assert!(failure.outcome_unknown());
}

#[tokio::test]
async fn a_connection_that_is_cut_leaves_the_outcome_unknown() {
    // A raw socket that says 200, one acknowledgement in half, and goes.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 4_096];
        let _ = socket.read(&mut request).await.unwrap();
        socket
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{\"EventType\":\"PE\r\n")
            .await
            .unwrap();
    });
    let failure = client().put(&url, "session-a", AT, vec![1; 100]).await.unwrap_err();
    assert!(matches!(failure, ServiceFailure::Disconnected { .. }), "{failure}");
    assert!(failure.outcome_unknown());
}

#[tokio::test]
async fn nobody_listening_is_a_broken_connection() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let failure = client().put(&url, "session-a", AT, vec![1; 100]).await.unwrap_err();
    assert!(matches!(failure, ServiceFailure::Disconnected { .. }), "{failure}");
}

#[tokio::test]
async fn an_http_error_is_typed_by_either_header_or_the_body_and_not_by_its_status() {
    let cases = [
        (
            400,
            Some(("x-amzn-ErrorType", "ConnectionLimitExceededException:http://internal/")),
            "{}",
            "ConnectionLimitExceededException",
            Class::Passing,
        ),
        (
            400,
            Some(("x-amz-ErrorType", "ClientLimitExceededException")),
            "{}",
            "ClientLimitExceededException",
            Class::Passing,
        ),
        (
            400,
            None,
            r#"{"__type":"com.amazonaws.kinesisvideo#InvalidArgumentException"}"#,
            "InvalidArgumentException",
            Class::Lasting,
        ),
        (
            401,
            Some(("x-amzn-ErrorType", "NotAuthorizedException")),
            "{}",
            "NotAuthorizedException",
            Class::Lasting,
        ),
        (
            403,
            None,
            r#"{"message":"The security token included in the request is expired"}"#,
            "",
            Class::Lasting,
        ),
        (
            404,
            Some(("x-amzn-ErrorType", "ResourceNotFoundException")),
            "{}",
            "ResourceNotFoundException",
            Class::Passing,
        ),
        (503, None, "<html>busy</html>", "", Class::Passing),
    ];
    for (status, header, body, code, class) in cases {
        let server = Server::start(move |_| async move {
            let mut response = response(status, body);
            if let Some((name, value)) = header {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        })
        .await;
        let failure = put_to(&server, vec![1; 100]).await.unwrap_err();
        let ServiceFailure::Service { operation, status: told, code: found, .. } = &failure else {
            panic!("{failure}");
        };
        assert_eq!(
            (operation.as_str(), *told, found.as_str(), failure.class()),
            ("PutMedia", status, code, class)
        );
    }
}

#[tokio::test]
async fn what_is_no_acknowledgement_or_acknowledges_another_fragment_makes_no_sense() {
    for answer in
        [r#"{"message":"no ack"}"#, r#"{"EventType":"PERSISTED","FragmentTimecode":5,"FragmentNumber":"47"}"#]
    {
        let server = Server::start(move |_| async move { response(200, answer) }).await;
        let failure = put_to(&server, vec![1; 100]).await.unwrap_err();
        assert!(matches!(failure, ServiceFailure::Garbled { .. }), "{failure}");
        assert!(failure.outcome_unknown(), "the fragment may be stored nevertheless");
    }
}

#[tokio::test]
async fn the_connection_is_closed_before_the_call_returns_so_that_the_stream_is_free() {
    let (closed, mut is_closed) = mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
            request.into_body().collect().await.unwrap();
            Ok::<_, Infallible>(response(200, PERSISTED))
        });
        let connection = hyper::server::conn::http1::Builder::new();
        let _ = connection.serve_connection(hyper_util::rt::TokioIo::new(socket), service).await;
        closed.send(()).unwrap();
    });
    client().put(&url, "session-a", AT, vec![1; 100]).await.unwrap();
    // A connection kept for reuse would keep the server waiting for the next request.
    timeout(Duration::from_secs(5), is_closed.recv()).await.expect("the connection stayed open").unwrap();
}

#[tokio::test]
async fn idle_acks_behind_persisted_do_not_hold_the_call() {
    let server = Server::start(move |request: Request<Incoming>| async move {
        request.into_body().collect().await.unwrap();
        let (sender, body) = growing();
        tokio::spawn(async move {
            let _ = sender.send(PERSISTED.into());
            let _ = sender.send(IDLE.into());
            sender.closed().await; // holds the response open until the client goes
        });
        Response::new(body.boxed_unsync())
    })
    .await;
    let put =
        timeout(Duration::from_secs(5), put_to(&server, vec![1; 100])).await.expect("waited for the end");
    assert_eq!(put.unwrap().fragment_number, "47");
}
