//! One WebSocket connection, from the upgrade to its `$disconnect`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite;

use super::GatewayConfig;
use super::event::{Identity, internal_server_error};
use super::server::{Outages, is_cut};
use super::witness::Witness;
use crate::runtime_api::{Function, InFlight, InvokeError};

/// Close codes of RFC 6455, 7.4.1.
const GOING_AWAY: u16 = 1001;
const UNSUPPORTED_DATA: u16 = 1003;
const NO_CLOSE_FRAME: u16 = 1006;
const MESSAGE_TOO_BIG: u16 = 1009;

/// How long a client may take to read the close frame. A socket that is dropped with unread data in it is reset, and the frame is lost.
const CLOSE_LINGER: Duration = Duration::from_secs(1);

/// An accepted connection.
pub(super) struct Connection {
    pub(super) identity: Identity,
    pub(super) function: Function,
    pub(super) config: GatewayConfig,
    /// Turns true when the gateway ends; held to the very end, which is what the gateway waits for.
    pub(super) closing: watch::Receiver<bool>,
    /// Changes when a session's network is cut.
    pub(super) outages: watch::Receiver<Outages>,
    pub(super) witness: Witness,
}

/// Why the connection ends.
struct Ending {
    code: u16,
    reason: String,
    /// Whether the client has not said it and must be told.
    ours: bool,
}

impl Ending {
    fn ours(code: u16, reason: &str) -> Self {
        Self { code, reason: reason.to_owned(), ours: true }
    }

    fn theirs(frame: Option<CloseFrame>) -> Self {
        match frame {
            Some(frame) => Self { code: frame.code, reason: frame.reason.to_string(), ours: false },
            None => Self { code: NO_CLOSE_FRAME, reason: String::new(), ours: false },
        }
    }
}

impl Connection {
    /// Serves the connection to its end, the `$disconnect` event included.
    pub(super) async fn run(mut self, mut socket: WebSocket) {
        let session_id = self.identity.session_id.clone();
        self.witness.connection("connected", &session_id);
        let ending = self.serve(&mut socket).await;
        self.witness.connection("disconnected", &session_id);
        let event = self.identity.disconnect(ending.code, &ending.reason);
        let disconnect = self.function.invoke(event.to_string().into());
        let ((), disconnected) = tokio::join!(say_good_bye(socket, &ending), disconnect);
        if let Err(error) = disconnected {
            tracing::warn!(%error, connection = self.identity.connection_id, "$disconnect failed");
        }
    }

    async fn serve(&mut self, socket: &mut WebSocket) -> Ending {
        let end_of_life = Instant::now() + self.config.connection_duration_max;
        let permits = Arc::new(Semaphore::new(self.config.in_flight_per_connection));
        // A message is in flight until its reply is written, so the channel never fills.
        let (replies, mut outgoing) = mpsc::channel(self.config.in_flight_per_connection);
        let mut closing = self.closing.clone();
        let closed = async move {
            let _ = closing.wait_for(|closing| *closing).await;
        };
        tokio::pin!(closed);
        let mut outages = self.outages.clone();
        loop {
            let idle = tokio::time::sleep(self.config.idle_timeout);
            tokio::select! {
                (permit, received) = next_in_turn(&permits, socket) => match received {
                    Some(Ok(Message::Text(body))) => self.dispatch(&body, permit, &replies).await,
                    Some(Ok(Message::Binary(_))) => {
                        return Ending::ours(UNSUPPORTED_DATA, "Binary frames are not supported");
                    }
                    Some(Ok(Message::Close(frame))) => return Ending::theirs(frame),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Err(error)) => return ending_of(error),
                    None => return Ending::theirs(None),
                },
                Some(Reply { text, _in_flight }) = outgoing.recv() => {
                    self.witness.reply(&self.identity.session_id, &text);
                    if socket.send(Message::Text(text.into())).await.is_err() {
                        return Ending::theirs(None);
                    }
                }
                () = idle => return Ending::ours(GOING_AWAY, "Idle timeout"),
                () = tokio::time::sleep_until(end_of_life) => {
                    return Ending::ours(GOING_AWAY, "Connection duration limit");
                }
                Ok(()) = outages.changed() => if is_cut(&outages.borrow(), &self.identity.session_id) {
                    return Ending::theirs(None);
                },
                () = &mut closed => return Ending::ours(GOING_AWAY, "Going away"),
            }
        }
    }

    /// Starts the handling of a message, in the order of arrival; its end is not waited for.
    async fn dispatch(&self, body: &str, permit: Permit, replies: &mpsc::Sender<Reply>) {
        self.witness.message(&self.identity.session_id, body);
        let (event, request_id) = self.identity.message(body);
        let begun = self.function.begin(event.to_string().into()).await;
        let connection_id = self.identity.connection_id.clone();
        let replies = replies.clone();
        tokio::spawn(async move {
            let reply = reply_of(begun).await.unwrap_or_else(|error| {
                tracing::warn!(%error, connection_id, "a route failed");
                Some(internal_server_error(&connection_id, &request_id))
            });
            if let Some(text) = reply {
                // The connection may have ended meanwhile.
                let _ = replies.send(Reply { text, _in_flight: permit }).await;
            }
        });
    }
}

/// Reads the next message, once there is room for one more in flight.
async fn next_in_turn(
    permits: &Arc<Semaphore>,
    socket: &mut WebSocket,
) -> (Permit, Option<Result<Message, axum::Error>>) {
    let permit = Arc::clone(permits).acquire_owned().await;
    (permit.ok(), socket.recv().await)
}

/// Held by a message in flight. The semaphore is never closed, so it is always there.
type Permit = Option<OwnedSemaphorePermit>;

/// A route response on its way to the client.
struct Reply {
    text: String,
    _in_flight: Permit,
}

/// Why a route has no proper answer.
#[derive(Debug, thiserror::Error)]
enum RouteError {
    #[error(transparent)]
    Invoke(#[from] InvokeError),
    #[error("the function's answer is not a proxy response: {0}")]
    NotAProxyResponse(String),
}

/// The route response: the `body` of the function's proxy response, if it has one.
async fn reply_of(begun: Result<InFlight, InvokeError>) -> Result<Option<String>, RouteError> {
    let answer = begun?.answer().await?;
    let malformed =
        || RouteError::NotAProxyResponse(String::from_utf8_lossy(&answer).chars().take(200).collect());
    let response: Value = serde_json::from_slice(&answer).map_err(|_| malformed())?;
    if response["statusCode"].as_u64().is_none() {
        return Err(malformed());
    }
    match &response["body"] {
        Value::Null => Ok(None),
        Value::String(body) => Ok(Some(body.clone()).filter(|body| !body.is_empty())),
        _ => Err(malformed()),
    }
}

fn ending_of(error: axum::Error) -> Ending {
    match error.into_inner().downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => Ending::ours(MESSAGE_TOO_BIG, "Message too long"),
        _ => Ending::theirs(None),
    }
}

async fn say_good_bye(mut socket: WebSocket, ending: &Ending) {
    if ending.ours {
        let frame = CloseFrame { code: ending.code, reason: ending.reason.as_str().into() };
        let _ = socket.send(Message::Close(Some(frame))).await;
        let until_closed = async { while let Some(Ok(_)) = socket.recv().await {} };
        let _ = tokio::time::timeout(CLOSE_LINGER, until_closed).await;
        if ending.code == MESSAGE_TOO_BIG {
            tokio::time::sleep(CLOSE_LINGER).await;
        }
    }
}
