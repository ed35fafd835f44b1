//! The studio: the page that `make run` serves, where a person speaks into a session. Its files are inside this binary.
//!
//! | path | what |
//! |---|---|
//! | `/?session=S` | the page; without a session it leads to the first one |
//! | `/studio.js`, `/pcm-worklet.js`, `/studio.css`, `/icon.svg` | its parts |
//! | `POST /token` `{"session":"S"}` | `{"url","token"}` of the WebSocket; a session that is not there yet begins |
//!
//! It stands in for an application: who may speak is nobody's question on one's own machine. Only pages of this very origin
//! are answered, whatever name a browser was led here by.

mod assets;
mod server;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ingest::message::SessionId;

pub use server::Studio;

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

/// What the studio is made of.
#[derive(Clone)]
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
}
