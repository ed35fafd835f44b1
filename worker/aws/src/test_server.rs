//! A loopback HTTP server for tests: a service that answers as the test says.

use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A response body, streaming or not.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Ends with the test.
pub(crate) struct Server {
    pub(crate) url: String,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers every request with `answer`.
    pub(crate) async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let answer = answer.clone();
                let service = service_fn(move |request| {
                    let answered = answer(request);
                    async move { Ok::<_, Infallible>(answered.await) }
                });
                // A client that goes away in the middle is what some tests are about.
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        Self { url, task }
    }

    /// The configuration that sends every client here.
    pub(crate) fn config(&self) -> SdkConfig {
        let credentials = Credentials::new("AKID", "secret", None, None, "test");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .endpoint_url(&self.url)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(crate::http_client::LazyHttpClient::default())
            .build()
    }
}

/// The calls that a [`json_service`] got: operation, body.
pub(crate) type Calls = Arc<Mutex<Vec<(String, Value)>>>;

/// A service of the JSON protocols. `answer` gets the operation (from `X-Amz-Target`, or the path) and the body,
/// and gives status and body; a body with `__type` is an error.
pub(crate) async fn json_service(
    answer: impl Fn(&str, &Value) -> (u16, Value) + Clone + Send + 'static,
) -> (Server, Calls) {
    let calls = Calls::default();
    let log = calls.clone();
    let server = Server::start(move |request: Request<Incoming>| {
        let (answer, log) = (answer.clone(), log.clone());
        async move {
            let (head, body) = request.into_parts();
            let target = head.headers.get("x-amz-target").map(|target| target.to_str().unwrap().to_owned());
            let operation = target.unwrap_or_else(|| head.uri.path().trim_start_matches('/').to_owned());
            let operation = operation.rsplit('.').next().unwrap_or_default().to_owned();
            let body = body.collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let (status, answered) = answer(&operation, &body);
            log.lock().unwrap().push((operation, body));
            let mut response = response(status, answered.to_string());
            if let Some(error_type) = answered["__type"].as_str() {
                response.headers_mut().insert("x-amzn-errortype", error_type.parse().unwrap());
            }
            response
        }
    })
    .await;
    (server, calls)
}

/// A response of one piece.
pub(crate) fn response(status: u16, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}
