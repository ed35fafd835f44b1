//! PutMedia over TLS, with what an endpoint may offer by ALPN: the SDK's connector takes HTTP/2 where it can, and has no option for it. On
//! both versions the fragment streams out, acknowledgements come in meanwhile, and the connection is closed behind it.

use std::convert::Infallible;
use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::http_client::single_use_connector_that_trusts;

/// A certificate for 127.0.0.1 that nothing but this test trusts, and its key.
const CERTIFICATE: &[u8] = include_bytes!("loopback-cert.pem");
const KEY: &[u8] = include_bytes!("loopback-key.pem");
const AT: EpochMs = EpochMs(1_795_335_945_005);

/// What happens to a connection, in order.
#[derive(Debug, PartialEq)]
enum Seen {
    Request(Version),
    Body(usize),
    Closed,
}

fn acceptor(offers: &[&str]) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    let mut config = config.unwrap();
    config.alpn_protocols = offers.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

type Answer = Response<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>>;

/// Says BUFFERING at the body's first bytes, PERSISTED at its end, and never ends the response by itself.
fn acknowledge(request: Request<Incoming>, seen: mpsc::UnboundedSender<Seen>) -> Answer {
    let _ = seen.send(Seen::Request(request.version()));
    let (acks, answer) = futures::channel::mpsc::unbounded::<&'static str>();
    tokio::spawn(async move {
        let (mut body, mut bytes) = (request.into_body(), 0);
        while let Some(Ok(frame)) = body.frame().await {
            if bytes == 0 {
                acks.unbounded_send(r#"{"EventType":"BUFFERING","FragmentTimecode":1795335945005}"#).unwrap();
            }
            bytes += frame.data_ref().map_or(0, Bytes::len);
        }
        let _ = seen.send(Seen::Body(bytes));
        let persisted = r#"{"EventType":"PERSISTED","FragmentTimecode":1795335945005,"FragmentNumber":"47"}"#;
        acks.unbounded_send(persisted).unwrap();
        std::future::pending::<()>().await;
    });
    let frames = answer.map(|ack| Ok(Frame::data(Bytes::from_static(ack.as_bytes()))));
    Response::new(StreamBody::new(frames).boxed_unsync())
}

/// Serves one connection, with the version that was agreed on; ends when it is closed.
async fn serve(listener: TcpListener, acceptor: TlsAcceptor, seen: mpsc::UnboundedSender<Seen>) {
    let (socket, _) = listener.accept().await.unwrap();
    let tls = acceptor.accept(socket).await.unwrap();
    let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let log = seen.clone();
    let service = service_fn(move |request| {
        let answer = acknowledge(request, log.clone());
        async move { Ok::<_, Infallible>(answer) }
    });
    let socket = TokioIo::new(tls);
    let _ = match is_h2 {
        true => http2::Builder::new(TokioExecutor::new()).serve_connection(socket, service).await,
        false => http1::Builder::new().serve_connection(socket, service).await,
    };
    let _ = seen.send(Seen::Closed);
}

#[tokio::test]
async fn a_fragment_streams_over_http_1_1_and_over_http_2_and_its_connection_is_closed() {
    let cases: [(&[&str], Version); 3] = [
        (&["h2", "http/1.1"], Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11), // an endpoint that knows no ALPN
    ];
    for (offers, version) in cases {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("https://{}", listener.local_addr().unwrap());
        let (sender, mut seen) = mpsc::unbounded_channel();
        let server = tokio::spawn(serve(listener, acceptor(offers), sender));

        let roots = TrustStore::empty().with_pem_certificate(CERTIFICATE);
        let context = TlsContext::builder().with_trust_store(roots).build().unwrap();
        let provider = SharedCredentialsProvider::new(Credentials::new("AKID", "secret", None, None, "test"));
        let put_media = PutMedia::new(
            single_use_connector_that_trusts(context),
            CachedCredentials::new(provider),
            "eu-central-1".into(),
            PayloadSigning::Unsigned,
        );
        let persisted = put_media.put(&endpoint, "session-a", AT, vec![7; 300_000]).await;
        assert_eq!(persisted.unwrap().fragment_number, "47", "{offers:?}: the fragment is not stored");
        for expected in [Seen::Request(version), Seen::Body(300_000), Seen::Closed] {
            let next = timeout(Duration::from_secs(20), seen.recv()).await;
            assert_eq!(next.unwrap(), Some(expected), "{offers:?}: the stream's one place stays taken");
        }
        server.await.unwrap();
    }
}
