//! A pass-through between the functions and SQS or DynamoDB that breaks calls on demand.
//!
//! It stands only where a chaos run asks for it. Every call is shown to a [`Saboteur`], which lets it pass or chooses its fault. The
//! mapping does not go through it: in AWS the poller is not the function's.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A call on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `AmazonSQS`, `DynamoDB_20120810`.
    pub service: String,
    /// `SendMessage`, `PutItem`, …
    pub operation: String,
}

/// What happens to a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// It passes.
    #[default]
    None,
    /// It passes after this time.
    Delay(Duration),
    /// It is refused with this HTTP status and error code, and never reaches the service.
    Refuse {
        /// HTTP status, e.g. 400 or 503.
        status: u16,
        /// The error's name, e.g. `ThrottlingException`.
        code: String,
    },
    /// It never reaches the service, and the caller hears nothing for this long.
    Hang(Duration),
    /// The service carries it out, and the connection breaks before the answer.
    LoseAnswer,
}

/// Chooses the fault of each call.
pub type Saboteur = Arc<dyn Fn(&Call) -> Fault + Send + Sync>;

/// A running proxy. Dropping it ends it.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    client: Client<HttpConnector, Full<Bytes>>,
    saboteur: Mutex<Option<Saboteur>>,
    faults: AtomicU64,
}

/// The call was broken on purpose: hyper closes the connection when a service fails.
#[derive(Debug, thiserror::Error)]
#[error("connection cut by the fault proxy")]
struct Cut;

impl Proxy {
    /// Starts a proxy for the service at `upstream` (`http://127.0.0.1:PORT`).
    ///
    /// # Errors
    /// The operating system's, when no port is free.
    pub async fn start(upstream: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: upstream.trim_end_matches('/').to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            saboteur: Mutex::default(),
            faults: AtomicU64::new(0),
        });
        let server = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, server })
    }

    /// Its own URL, for the functions.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on `saboteur` chooses what happens to each call; `None` lets all pass.
    pub fn sabotage(&self, saboteur: Option<Saboteur>) {
        *self.shared.saboteur.lock().unwrap_or_else(PoisonError::into_inner) = saboteur;
    }

    /// Calls that were broken or delayed so far.
    pub fn faults(&self) -> u64 {
        self.shared.faults.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(serve(stream, Arc::clone(&shared)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { shared.handle(request).await }
    });
    // A connection that ends in an error is the client's or a fault's doing.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Shared {
    async fn handle(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Cut> {
        let saboteur = self.saboteur.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let call = call_of(&request);
        let fault = saboteur.map(|choose| choose(&call)).unwrap_or_default();
        tracing::debug!(service = call.service, operation = call.operation, ?fault, "call");
        if fault != Fault::None {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        match fault {
            Fault::None => Ok(self.forward(request).await),
            Fault::Delay(delay) => {
                tokio::time::sleep(delay).await;
                Ok(self.forward(request).await)
            }
            Fault::Refuse { status, code } => Ok(refusal(status, &code)),
            Fault::Hang(time) => {
                tokio::time::sleep(time).await;
                Err(Cut)
            }
            Fault::LoseAnswer => {
                self.forward(request).await;
                Err(Cut)
            }
        }
    }

    /// Sends the call on and brings the whole answer back; a service that cannot be reached is 502.
    async fn forward(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let forwarded = async {
            let (mut head, body) = request.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
            let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
            head.uri =
                format!("{}{path}", self.upstream).parse::<Uri>().map_err(|error| error.to_string())?;
            // The body's length is known now.
            head.headers.remove(http::header::TRANSFER_ENCODING);
            let request = Request::from_parts(head, Full::new(body));
            let (mut head, body) =
                self.client.request(request).await.map_err(|error| error.to_string())?.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
            head.headers.remove(http::header::TRANSFER_ENCODING);
            head.headers.remove(http::header::CONNECTION);
            Ok::<_, String>(Response::from_parts(head, Full::new(body)))
        };
        forwarded.await.unwrap_or_else(|reason| {
            tracing::warn!(reason, "the fault proxy cannot reach the service");
            refusal(StatusCode::BAD_GATEWAY.as_u16(), "BadGateway")
        })
    }
}

fn call_of(request: &Request<Incoming>) -> Call {
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
    let (service, operation) = target.and_then(|target| target.split_once('.')).unwrap_or_default();
    Call { service: service.to_owned(), operation: operation.to_owned() }
}

fn refusal(status: u16, code: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({"__type": code, "message": "refused by the fault proxy"}).to_string();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.0"));
    if let Ok(code) = HeaderValue::from_str(code) {
        headers.insert("x-amzn-errortype", code);
    }
    response
}
