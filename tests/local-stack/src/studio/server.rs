//! The studio's HTTP side.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use ingest::message::SessionId;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::assets::ASSETS;
use super::feed::Feed;
use super::{Act, Grant, StudioConfig};

/// The longest question for a token.
const BODY_BYTES_MAX: usize = 1_024;

/// A running studio.
pub struct Studio {
    address: SocketAddr,
    server: JoinHandle<()>,
}

struct Shared {
    config: StudioConfig,
    policy: HeaderValue,
    hosts: [String; 2],
    feed: Feed,
}

impl Studio {
    /// Starts it on the loopback interface.
    ///
    /// # Errors
    /// The operating system's, when there is no port at all.
    pub async fn start(config: StudioConfig) -> std::io::Result<Self> {
        let listener = match TcpListener::bind(("127.0.0.1", config.port)).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                TcpListener::bind(("127.0.0.1", 0)).await?
            }
            bound => bound?,
        };
        let address = listener.local_addr()?;
        let hosts = [address.to_string(), format!("localhost:{}", address.port())];
        let policy = HeaderValue::from_str(&content_security_policy(&config.ws_url));
        let policy = policy.map_err(std::io::Error::other)?;
        let feed = Feed::start(config.lines.subscribe());
        let shared = Arc::new(Shared { config, policy, hosts, feed });
        let router = Router::new().fallback(answer).layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
        let router = router.with_state(shared);
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, server })
    }

    /// Where a browser opens it.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Drop for Studio {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Nothing from elsewhere, nothing inline, and no network but this server and the WebSocket.
fn content_security_policy(ws_url: &str) -> String {
    let authority = ws_url.split('/').take(3).collect::<Vec<_>>().join("/");
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {authority}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let is_ours = |host: &str| shared.hosts.iter().any(|own| own == host);
    if !text(header::HOST).is_some_and(is_ours) {
        return plain(StatusCode::MISDIRECTED_REQUEST, "this server has another name");
    }
    match (method, uri.path()) {
        (Method::GET, "/") if uri.query().is_none() => to_session(&shared.config.session),
        (Method::GET, "/events") => events(&shared.feed, uri.query().unwrap_or_default()),
        (Method::GET, path) => asset(path, &shared.policy),
        (Method::POST, path @ ("/token" | "/act")) => {
            let origin = text(header::ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
            if !origin.is_some_and(is_ours) {
                return plain(StatusCode::FORBIDDEN, "only the studio's own page may ask for that");
            }
            let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
            let session = match SessionId::parse(asked["session"].as_str().unwrap_or_default()) {
                Ok(session) => session,
                Err(rejection) => return plain(StatusCode::BAD_REQUEST, &rejection.to_string()),
            };
            if path == "/token" {
                token(&shared.config, session).await
            } else {
                act(&shared.config, session, asked).await
            }
        }
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, "GET a page or /events, POST /token or /act"),
    }
}

fn events(feed: &Feed, query: &str) -> Response<Body> {
    let session = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "session");
    match session.map(|(_, session)| SessionId::parse(&session)) {
        Some(Ok(session)) => feed.of(session.as_str()),
        Some(Err(rejection)) => plain(StatusCode::BAD_REQUEST, &rejection.to_string()),
        None => plain(StatusCode::BAD_REQUEST, "of which session? /events?session=S"),
    }
}

fn asset(path: &str, policy: &HeaderValue) -> Response<Body> {
    let Some(asset) = ASSETS.iter().find(|asset| asset.path == path) else {
        return plain(StatusCode::NOT_FOUND, "there is no such file");
    };
    let mut response = Response::new(Body::from(asset.body));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, asset.media_type),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        (
            header::HeaderName::from_static("permissions-policy"),
            "microphone=(self), camera=(), geolocation=()",
        ),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    response
}

fn to_session(session: &str) -> Response<Body> {
    let mut response = plain(StatusCode::SEE_OTHER, "");
    if let Ok(location) = HeaderValue::from_str(&format!("/?session={session}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

async fn token(config: &StudioConfig, session: SessionId) -> Response<Body> {
    match (config.grants)(session).await {
        Ok(Grant { url, token }) => json_response(&json!({"url": url, "token": token})),
        Err(error) => {
            tracing::warn!(%error, "the studio could not give a token");
            plain(StatusCode::SERVICE_UNAVAILABLE, "no token could be made; the stack's log says why")
        }
    }
}

async fn act(config: &StudioConfig, session: SessionId, asked: Value) -> Response<Body> {
    let act: Act = match serde_json::from_value(asked) {
        Ok(act) => act,
        Err(error) => return plain(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if let Act::DropSocket { seconds } | Act::TakeDynamoDb { seconds } = act
        && !(1..=Act::SECONDS_MAX).contains(&seconds)
    {
        return plain(StatusCode::BAD_REQUEST, &format!("seconds: 1 to {}", Act::SECONDS_MAX));
    }
    match (config.acts)(session, act).await {
        Ok(value) => json_response(&value),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}")),
    }
}

fn json_response(value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
