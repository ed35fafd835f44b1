//! The listening side: `$connect`, the upgrade, and the end of the gateway.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::GatewayConfig;
use super::connection::Connection;
use super::door::{Door, asked};
use super::event::{Identity, STAGE, connection_id};
use super::witness::Witness;
use crate::runtime_api::Function;

/// A running WebSocket API.
pub struct Gateway {
    address: SocketAddr,
    server: JoinHandle<()>,
    closing: watch::Sender<bool>,
    outages: watch::Sender<Outages>,
}

/// Sessions whose network is away, and until when.
pub(super) type Outages = BTreeMap<String, Instant>;

/// Whether this session's is.
pub(super) fn is_cut(outages: &Outages, session_id: &str) -> bool {
    outages.get(session_id).is_some_and(|until| Instant::now() < *until)
}

#[derive(Clone)]
struct Shared {
    function: Function,
    door: Option<Arc<Door>>,
    config: GatewayConfig,
    closing: watch::Sender<bool>,
    outages: watch::Sender<Outages>,
    witness: Witness,
}

impl Gateway {
    /// Starts it on the loopback interface, with `function` behind every route and the `door` before `$connect`. The `witness` tells of
    /// every chunk.
    ///
    /// # Errors
    /// The operating system's, when the port is taken.
    pub async fn start(
        function: Function,
        door: Option<Arc<Door>>,
        witness: Witness,
        config: GatewayConfig,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", config.port)).await?;
        let address = listener.local_addr()?;
        let (closing, _) = watch::channel(false);
        let (outages, _) = watch::channel(Outages::new());
        let shared =
            Shared { function, door, config, closing: closing.clone(), outages: outages.clone(), witness };
        let shared = Arc::new(shared);
        let router = Router::new().fallback(connect).with_state(shared);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, service).await;
        });
        Ok(Self { address, server, closing, outages })
    }

    /// Where clients connect: `ws://127.0.0.1:PORT/local`; they add `?sessionId=…&role=…`.
    pub fn url(&self) -> String {
        format!("ws://{}/{STAGE}", self.address)
    }

    /// The network between a session's pages and here is gone for so long: their connections break without a word, and none is made.
    pub fn cut(&self, session_id: &str, length: Duration) {
        let now = Instant::now();
        self.outages.send_modify(|outages| {
            outages.retain(|_, until| *until > now);
            outages.insert(session_id.to_owned(), now + length);
        });
    }

    /// Whether a session's network is away; may be asked for as long as anybody likes.
    pub fn is_away(&self) -> impl Fn(&str) -> bool + Send + Sync + use<> {
        let outages = self.outages.clone();
        move |session_id| is_cut(&outages.borrow(), session_id)
    }

    /// Closes all connections (1001), and returns when their `$disconnect` has been handled.
    pub async fn shutdown(self) {
        self.server.abort();
        self.closing.send_replace(true);
        // Each connection holds a receiver until it has ended.
        self.closing.closed().await;
    }
}

impl Shared {
    /// Who connects: by the door, or, where there is none, as the query says.
    async fn admit(
        &self,
        query: &[(String, String)],
        headers: &HeaderMap,
        source_ip: String,
    ) -> Result<Identity, StatusCode> {
        let (session_id, role) = match &self.door {
            Some(door) => door.admit(query, &source_ip).await?,
            None => asked(query, "sessionId")
                .zip(asked(query, "role"))
                .map(|(session_id, role)| (session_id.to_owned(), role.to_owned()))
                .ok_or(StatusCode::UNAUTHORIZED)?,
        };
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let header = |name: &str| header(name).unwrap_or_default().to_owned();
        Ok(Identity {
            connection_id: connection_id(),
            connected_at: SystemTime::now(),
            session_id,
            role,
            host: header("host"),
            source_ip,
            user_agent: header("user-agent"),
        })
    }
}

async fn connect(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let query: Vec<(String, String)> =
        form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let source_ip = peer.ip().to_string();
    let identity = match shared.admit(&query, &headers, source_ip).await {
        Ok(identity) => identity,
        Err(status) => {
            return refused(status, "not admitted: the query string needs a token, or sessionId and role");
        }
    };
    if is_cut(&shared.outages.borrow(), &identity.session_id) {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "the network was cut on purpose");
    }
    let headers = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let event = identity.connect(&query, &headers.collect::<Vec<_>>());
    if let Err(status) = accepted(&shared.function, &event).await {
        return refused(status, "the $connect route refused the connection");
    }
    let GatewayConfig { message_bytes_max, frame_bytes_max, .. } = shared.config;
    let connection = Connection {
        identity,
        function: shared.function.clone(),
        config: shared.config,
        closing: shared.closing.subscribe(),
        outages: shared.outages.subscribe(),
        witness: shared.witness.clone(),
    };
    let upgrade = upgrade.max_message_size(message_bytes_max).max_frame_size(frame_bytes_max);
    upgrade.on_upgrade(|socket| connection.run(socket))
}

/// Asks the `$connect` route. A status other than 2xx is the handshake's answer; a failed integration is 502.
async fn accepted(function: &Function, event: &Value) -> Result<(), StatusCode> {
    let answer = function.invoke(event.to_string().into()).await.map_err(|error| {
        tracing::warn!(%error, "$connect failed");
        StatusCode::BAD_GATEWAY
    })?;
    let answer: Value = serde_json::from_slice(&answer).map_err(|_| StatusCode::BAD_GATEWAY)?;
    let status = answer["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
    let status =
        status.and_then(|status| StatusCode::from_u16(status).ok()).ok_or(StatusCode::BAD_GATEWAY)?;
    if status.is_success() { Ok(()) } else { Err(status) }
}

fn refused(status: StatusCode, message: &str) -> Response {
    (status, serde_json::json!({ "message": message }).to_string()).into_response()
}
