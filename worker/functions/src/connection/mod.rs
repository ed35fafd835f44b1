//! connection-handler: what a WebSocket event asks for, done against a [`Backend`].
//!
//! The sessionId is the authorizer's, never the message's. Session and role come with every event of a connection;
//! where they do not, the Connections table has them.

pub mod backend;
pub mod budget;
pub mod ended;
pub mod message;
pub mod refusal;
pub mod status;

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use aws::connections::{Connection, Speaker};
use aws_lambda_events::event::apigw::{
    ApiGatewayWebsocketProxyRequest, ApiGatewayWebsocketProxyRequestContext,
};
use ingest::failure::ServiceFailure;
use ingest::message::SessionId;
use media::time::EpochMs;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use writer::ports::SessionStatus;

use self::message::{Ack, Caller, Enqueue, Request};
use self::refusal::Refusal;
use self::status::Status;

/// How long each of the questions whether its session is active and who speaks for it may hold up a chunk. Without an answer the chunk
/// is taken, and the writer judges it.
const KNOWN_WITHIN: Duration = Duration::from_secs(1);

/// What the handler needs of the world.
pub trait Backend: Send + Sync {
    /// The session's status.
    fn status(&self, session: &SessionId) -> impl Future<Output = Outcome<SessionStatus>> + Send;
    /// Records a connection.
    fn connect(
        &self,
        id: &str,
        connection: &Connection,
        at: EpochMs,
    ) -> impl Future<Output = Outcome<()>> + Send;
    /// Makes a connection its session's speaker, unless a newer one is.
    fn take_over(
        &self,
        session: &SessionId,
        id: &str,
        at: EpochMs,
    ) -> impl Future<Output = Outcome<()>> + Send;
    /// Which connection speaks for a session.
    fn speaker(&self, session: &SessionId) -> impl Future<Output = Outcome<Option<Speaker>>> + Send;
    /// Whose connection it is.
    fn connection(&self, id: &str) -> impl Future<Output = Outcome<Option<Connection>>> + Send;
    /// Forgets a connection and says whose it was.
    fn disconnect(&self, id: &str) -> impl Future<Output = Outcome<Option<Connection>>> + Send;
    /// Whether the session may send another message now; see [`budget`].
    fn may_send(&self, session: &SessionId) -> bool {
        _ = session;
        true
    }
    /// Puts a message into the queue.
    fn send(&self, message: Enqueue) -> impl Future<Output = Outcome<()>> + Send;
    /// The session's checkpoint as the writer stored it, if there is one yet.
    fn checkpoint(&self, session: &SessionId) -> impl Future<Output = Outcome<Option<Vec<u8>>>> + Send;
    /// Now.
    fn now(&self) -> EpochMs;
}

/// What a backend answers.
pub type Outcome<T> = Result<T, ServiceFailure>;

/// The answer to API Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// 200 for every message, refused or not: a route response carries the body to the browser. The handshake is
    /// refused by its status.
    pub status_code: u16,
    /// Goes to the browser; absent if there is no error and no answer was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// Handles one event.
///
/// `trace` is the invocation's own W3C trace context; a message's own comes first.
pub async fn handle(
    backend: &impl Backend,
    event: ApiGatewayWebsocketProxyRequest,
    trace: Option<String>,
) -> Answer {
    let context = &event.request_context;
    let kind = context.event_type.as_deref().unwrap_or_default();
    let outcome = match context.connection_id.as_deref() {
        None => Err(Refusal::not_an_event("connectionId")),
        Some(id) => match kind {
            "CONNECT" => connect(backend, id, context).await.map(|()| None),
            "DISCONNECT" => disconnect(backend, id, context).await.map(|()| None),
            "MESSAGE" => message(backend, id, &event, trace).await,
            _ => Err(Refusal::not_an_event("eventType")),
        },
    };
    let refusal = match outcome {
        Ok(reply) => return Answer { status_code: 200, body: reply.as_ref().map(as_json) },
        Err(refusal) => refusal,
    };
    let session = context.authorizer.fields.get("sessionId").and_then(Value::as_str);
    tracing::warn!(
        sessionId = session, // as the writer's lines have it
        connection_id = context.connection_id,
        event_type = kind,
        code = refusal.code,
        chunk_index = refusal.chunk_index,
        message = refusal.message,
    );
    Answer {
        status_code: if kind == "CONNECT" { refusal.status } else { 200 },
        body: Some(as_json(&refusal)),
    }
}

/// What a message is answered with, besides a refusal.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Reply {
    Named(Named),
    Status(Box<Status>),
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Named {
    #[serde(rename = "ack")]
    Chunk {
        chunk_index: u64,
        timestamp: u64,
    },
    #[serde(rename = "ack")]
    End {
        action: &'static str,
    },
    Pong,
}

impl From<Ack> for Reply {
    fn from(ack: Ack) -> Self {
        Self::Named(match ack {
            Ack::Chunk { index, captured_at } => {
                Named::Chunk { chunk_index: index, timestamp: captured_at.0 }
            }
            Ack::End => Named::End { action: "endStream" },
        })
    }
}

fn as_json(reply: &impl Serialize) -> String {
    serde_json::to_string(reply).expect("strings and numbers are JSON")
}

async fn connect(backend: &impl Backend, id: &str, context: &Context) -> Result<(), Refusal> {
    let caller = caller(id, authorized(context)?)?;
    let status = backend.status(&caller.session).await?;
    ended::check_connection(status, &caller, backend.now())?;
    let connection = Connection { session_id: caller.session.as_str().to_owned(), role: caller.role.clone() };
    backend.connect(id, &connection, backend.now()).await?;
    if caller.is_speaker() {
        backend.take_over(&caller.session, id, happened_at(backend, context)).await?;
    }
    Ok(())
}

/// When API Gateway took the event: an invocation may come later, and overtake another.
fn happened_at(backend: &impl Backend, context: &Context) -> EpochMs {
    u64::try_from(context.request_time_epoch).ok().filter(|ms| *ms > 0).map_or_else(|| backend.now(), EpochMs)
}

/// Whether another connection had taken over as the session's speaker when the event happened. Where nobody can tell, the writer
/// sorts the pages out.
async fn is_replaced(backend: &impl Backend, caller: &Caller, context: &Context) -> bool {
    let happened_at = happened_at(backend, context);
    let replaces = |other: &Speaker| other.connection_id != caller.connection_id && other.since < happened_at;
    let speaker = timeout(KNOWN_WITHIN, backend.speaker(&caller.session)).await;
    matches!(speaker, Ok(Ok(Some(other))) if replaces(&other))
}

/// The end goes into the queue before the connection is forgotten: where that fails, a speaker's connection is
/// still there to be found. Where another one speaks, the stream goes on.
async fn disconnect(backend: &impl Backend, id: &str, context: &Context) -> Result<(), Refusal> {
    let caller = known_caller(backend, id, context).await?;
    if caller.is_speaker() && !is_replaced(backend, &caller, context).await {
        backend.send(message::disconnected(&caller, backend.now())).await?;
    }
    backend.disconnect(id).await?;
    Ok(())
}

async fn message(
    backend: &impl Backend,
    id: &str,
    event: &ApiGatewayWebsocketProxyRequest,
    trace: Option<String>,
) -> Result<Option<Reply>, Refusal> {
    let caller = known_caller(backend, id, &event.request_context).await?;
    if !backend.may_send(&caller.session) {
        return Err(Refusal::too_many());
    }
    if event.is_base64_encoded {
        return Err(Refusal::binary());
    }
    let text = event.body.as_deref().unwrap_or_default();
    match message::read(&caller, text, backend.now())? {
        Request::Send(mut enqueue, ack) => {
            // Each chunk asks both tables: at the same time.
            let status = async {
                enqueue.captured_at?;
                timeout(KNOWN_WITHIN, backend.status(&caller.session)).await.ok()?.ok()
            };
            let (replaced, status) =
                tokio::join!(is_replaced(backend, &caller, &event.request_context), status);
            if replaced {
                return Err(Refusal::replaced().about(message::index_of(text)));
            }
            if let Some((captured_at, status)) = enqueue.captured_at.zip(status) {
                let taken = ended::check(status, &caller, captured_at, backend.now());
                taken.map_err(|refusal| refusal.about(message::index_of(text)))?;
            }
            enqueue.traceparent = enqueue.traceparent.or(trace);
            let told = enqueue.told.take();
            let sent = backend.send(enqueue).await;
            sent.map_err(|failure| Refusal::from(failure).about(message::index_of(text)))?;
            told.map_or(Ok(ack.map(Reply::from)), |told| Err(*told))
        }
        Request::Status => Ok(Some(Reply::Status(Box::new(status(backend, &caller).await?)))),
        Request::Ping => Ok(Some(Reply::Named(Named::Pong))),
    }
}

async fn status(backend: &impl Backend, caller: &Caller) -> Result<Status, Refusal> {
    let session = backend.status(&caller.session).await?;
    let checkpoint = backend.checkpoint(&caller.session).await?;
    Ok(Status::read(checkpoint.as_deref(), session, backend.now())?)
}

type Context = ApiGatewayWebsocketProxyRequestContext;

async fn known_caller(backend: &impl Backend, id: &str, context: &Context) -> Result<Caller, Refusal> {
    match authorized(context) {
        Ok(connection) => caller(id, connection),
        Err(_) => caller(id, backend.connection(id).await?.ok_or_else(Refusal::not_connected)?),
    }
}

/// Session and role, as the authorizer gave them.
fn authorized(context: &Context) -> Result<Connection, Refusal> {
    let fields: &HashMap<String, Value> = &context.authorizer.fields;
    let field = |name| match fields.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        _ => Err(Refusal::unauthorized(name)),
    };
    Ok(Connection { session_id: field("sessionId")?, role: field("role")? })
}

fn caller(id: &str, connection: Connection) -> Result<Caller, Refusal> {
    let session = SessionId::parse(&connection.session_id)?;
    Ok(Caller { connection_id: id.to_owned(), session, role: connection.role })
}

#[cfg(test)]
mod tests;
