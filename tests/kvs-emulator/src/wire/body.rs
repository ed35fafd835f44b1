//! Answers' bodies: whole, or written while they are sent.

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// The body of every answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A body that is known in full.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A body that is written by [`Writer`].
pub(crate) fn channel() -> (Writer, Body) {
    // One piece at a time: what the client does not read, the writer must wait for.
    let (sender, receiver) = mpsc::channel(1);
    (Writer { sender }, Written { receiver, cutting: false }.boxed_unsync())
}

/// Reads on for a moment after the answer ended early: a connection closed on unread bytes is reset, and a reset
/// can take the answer away from a client that is still sending.
pub(crate) async fn drain(mut incoming: Incoming) {
    const LINGER: Duration = Duration::from_secs(1);
    let _ = tokio::time::timeout(LINGER, async { while let Some(Ok(_)) = incoming.frame().await {} }).await;
}

enum Piece {
    Data(Bytes),
    Cut,
}

/// Writes a body; dropping it ends the body properly.
#[derive(Clone)]
pub(crate) struct Writer {
    sender: mpsc::Sender<Piece>,
}

impl Writer {
    /// Sends bytes as one piece; false once the client is gone.
    pub(crate) async fn send(&self, bytes: impl Into<Bytes>) -> bool {
        self.sender.send(Piece::Data(bytes.into())).await.is_ok()
    }

    /// Cuts the connection after all that was sent.
    pub(crate) async fn cut(&self) {
        let _ = self.sender.send(Piece::Cut).await;
    }

    /// Waits until the client is gone.
    pub(crate) async fn gone(&self) {
        self.sender.closed().await;
    }
}

struct Written {
    receiver: mpsc::Receiver<Piece>,
    cutting: bool,
}

impl HttpBody for Written {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.cutting {
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        match self.receiver.poll_recv(cx) {
            Poll::Ready(Some(Piece::Data(bytes))) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Poll::Ready(Some(Piece::Cut)) => {
                // Once around, so that hyper flushes what was sent before.
                self.cutting = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}
