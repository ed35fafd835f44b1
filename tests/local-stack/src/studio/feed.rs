//! What happens to each session, as server-sent events: the stack's log lines, from a while ago on.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use futures::stream::{self, StreamExt};
use serde_json::Value;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::JoinHandle;

use crate::lock::lock;
use crate::runtime_api::LogLine;

/// Lines of all sessions that a page that is opened later is told.
const KEPT: usize = 4_000;
/// A page that falls so many lines behind is told to begin again.
const BEHIND_MAX: usize = 1_024;
/// A line without meaning, so often, shows that the connection is alive.
const ALIVE: Duration = Duration::from_secs(15);

/// A line, and whose it is.
#[derive(Clone)]
struct Line {
    session: Arc<str>,
    event: Bytes,
}

struct Shared {
    kept: Mutex<VecDeque<Line>>,
    live: broadcast::Sender<Line>,
}

/// Collects lines while it lives.
pub(super) struct Feed {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Feed {
    /// Begins to collect.
    pub(super) fn start(mut lines: broadcast::Receiver<Arc<LogLine>>) -> Self {
        let (live, _) = broadcast::channel(BEHIND_MAX);
        let shared = Arc::new(Shared { kept: Mutex::default(), live });
        let collecting = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            loop {
                match lines.recv().await {
                    Ok(line) => line_of(&line.value).into_iter().for_each(|line| collecting.take(line)),
                    Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "the studio lost log lines"),
                    Err(RecvError::Closed) => return,
                }
            }
        });
        Self { shared, task }
    }

    /// All that is known of the session, and then whatever happens to it.
    pub(super) fn of(&self, session: &str) -> Response<Body> {
        let (kept, live) = self.shared.subscribe(session);
        let session: Arc<str> = session.into();
        let live = stream::unfold(live, move |mut live| {
            let session = Arc::clone(&session);
            async move { Some((next(&mut live, &session).await?, live)) }
        });
        let events = stream::iter(kept).chain(live).map(Ok::<_, Infallible>);
        let mut response = Response::new(Body::from_stream(events));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn take(&self, line: Line) {
        let mut kept = lock(&self.kept);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(line.clone());
        let _ = self.live.send(line); // nobody looks
    }

    fn subscribe(&self, session: &str) -> (Vec<Bytes>, broadcast::Receiver<Line>) {
        let kept = lock(&self.kept);
        let own = kept.iter().filter(|line| *line.session == *session).map(|line| line.event.clone());
        (own.collect(), self.live.subscribe())
    }
}

/// The session's next event; `None` ends the answer, and the browser asks again.
async fn next(live: &mut broadcast::Receiver<Line>, session: &str) -> Option<Bytes> {
    loop {
        match tokio::time::timeout(ALIVE, live.recv()).await {
            Ok(Ok(line)) if *line.session == *session => return Some(line.event),
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return None,
            Err(_) => return Some(Bytes::from_static(b":\n\n")),
        }
    }
}

/// A decision about a session, without what only CloudWatch reads.
fn line_of(value: &Value) -> Option<Line> {
    let session = value["sessionId"].as_str().filter(|_| value["event"].is_string())?;
    let mut shown = value.clone();
    shown.as_object_mut()?.remove("_aws");
    Some(Line { session: session.into(), event: format!("data: {shown}\n\n").into() })
}
