//! The studio: the page that `make run` serves, where a person speaks into a session. Its files are inside this binary.
//!
//! | path | what |
//! |---|---|
//! | `/?session=S` | the page; without a session it leads to the first one |
//! | `/studio.js`, `/pcm-worklet.js`, `/studio.css`, `/icon.svg` | its parts |
//! | `GET /events?session=S` | what happens to the session, as server-sent events: the stack's log lines |
//! | `POST /act` `{"session":"S","what":…}` | an [`Act`]: a fault switch, a redrive, the ledger |
//! | `POST /token` `{"session":"S"}` | `{"url","token"}` of the WebSocket; a session that is not there yet begins |
//!
//! It stands in for an application: who may speak is nobody's question on one's own machine. Only pages of this very origin
//! are answered, whatever name a browser was led here by.

mod assets;
mod feed;
mod server;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ingest::message::SessionId;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::broadcast;

pub use server::Studio;

use crate::runtime_api::LogLine;

/// What a page needs to speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Of the WebSocket API, without a token.
    pub url: String,
    /// Opens it for the session's speaker.
    pub token: String,
}

/// Gives a grant for a session, or says why not.
pub type Grants =
    Arc<dyn Fn(SessionId) -> Pin<Box<dyn Future<Output = anyhow::Result<Grant>> + Send>> + Send + Sync>;

/// What a person does to the stack from the page, besides speaking.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase")]
pub enum Act {
    /// The network between the session's pages and the service is gone for so long: the gateway's, and that of tokens.
    DropSocket {
        /// At most [`Act::SECONDS_MAX`].
        seconds: u64,
    },
    /// A worker process is killed, one that is at work if there is one soon.
    KillWorker,
    /// The session's next fragment meets this ErrorId of PutMedia.
    RefusePutMedia {
        /// Such as 4004 or 5001.
        error: u16,
    },
    /// DynamoDB refuses all calls of the functions for so long.
    TakeDynamoDb {
        /// At most [`Act::SECONDS_MAX`].
        seconds: u64,
    },
    /// `kvsw dlq redrive` of the session.
    Redrive,
    /// `kvsw session show` of the session.
    Ledger,
}

impl Act {
    /// The longest outage.
    pub const SECONDS_MAX: u64 = 300;
}

/// Does it, and gives what there is to show.
pub type Acts =
    Arc<dyn Fn(SessionId, Act) -> Pin<Box<dyn Future<Output = anyhow::Result<Value>> + Send>> + Send + Sync>;

/// What the studio is made of.
pub struct StudioConfig {
    /// TCP port on the loopback interface; 0, and where it is taken, gives a free one. A page's settings, and what it could not send
    /// yet, are the browser's by port.
    pub port: u16,
    /// Where the page's WebSocket goes: the one address besides its own that it may talk to.
    pub ws_url: String,
    /// The session of those who name none.
    pub session: String,
    /// Who may speak.
    pub grants: Grants,
    /// What happens in the stack.
    pub lines: broadcast::Sender<Arc<LogLine>>,
    /// What can be done to it.
    pub acts: Acts,
}
