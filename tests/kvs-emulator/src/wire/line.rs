//! A connection's bytes, and what its client has done with the connection.
//!
//! hyper reads only what it has use for: while an answer is under way it does not look whether the client is still
//! there, and never once bytes of a next request have come. So what hyper does not read is read ahead here, within
//! bounds, until the client's end of the connection shows.

use crate::budget::Held;
use bytes::{Buf, BytesMut};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// Most bytes of one connection that are read before hyper asks for them; their memory is that of open fragments.
const AHEAD_BYTES_MAX: usize = 4 << 20;
const READ_BYTES: usize = 16 * 1024;

/// How far a client has closed its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Closed {
    /// It may still send.
    No,
    /// It sends nothing more; that it reads on is possible.
    Sending,
    /// It was reset, or does not take what is sent to it.
    Whole,
}

/// What the client of a connection has done with it.
#[derive(Clone, Debug)]
pub(crate) struct Peer(watch::Receiver<Closed>);

impl Peer {
    /// Waits until the client sends nothing more: closed, half-closed or reset.
    pub(crate) async fn closed(&self) {
        self.wait(Closed::Sending).await;
    }

    /// Waits until the client is known to be gone: reset, or closed while something was sent to it.
    pub(crate) async fn gone(&self) {
        self.wait(Closed::Whole).await;
    }

    async fn wait(&self, how_far: Closed) {
        // Once the connection has ended nobody is there either.
        let _ = self.0.clone().wait_for(|closed| *closed >= how_far).await;
    }
}

/// A connection, shared by hyper and by who watches it.
#[derive(Debug)]
pub(super) struct Line<I>(Arc<Mutex<Shared<I>>>);

#[derive(Debug)]
struct Shared<I> {
    io: I,
    /// Read, but not by hyper yet.
    ahead: BytesMut,
    held: Held,
    /// hyper waits for bytes, so it will see itself what comes.
    awaited: bool,
    /// How reading has ended.
    end: Option<io::ErrorKind>,
    closed: watch::Sender<Closed>,
}

impl<I> Clone for Line<I> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Line<I> {
    /// A connection whose bytes that were read ahead are held as `held`.
    pub(super) fn new(io: I, held: Held) -> (Self, Peer) {
        let (closed, receiver) = watch::channel(Closed::No);
        let shared = Shared { io, ahead: BytesMut::new(), held, awaited: false, end: None, closed };
        (Self(Arc::new(Mutex::new(shared))), Peer(receiver))
    }

    /// Serves the connection to its end, and watches the client meanwhile.
    pub(super) async fn watch<F: Future>(&self, serving: F) -> F::Output {
        let mut serving = pin!(serving);
        poll_fn(|cx| {
            self.lock().awaited = false;
            let served = serving.as_mut().poll(cx);
            if served.is_pending() {
                self.lock().read_ahead(cx);
            }
            served
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Shared<I>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Shared<I> {
    fn read_ahead(&mut self, cx: &mut Context<'_>) {
        let mut bytes = [0; READ_BYTES];
        let before = self.ahead.len();
        while !self.awaited && self.end.is_none() && self.ahead.len() < AHEAD_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut bytes);
            if self.read(cx, &mut buffer).is_pending() {
                break;
            }
            self.ahead.extend_from_slice(buffer.filled());
            if !self.held.set(self.ahead.len() as u64) {
                break;
            }
        }
        if self.ahead.len() > before {
            // hyper may want them by now.
            cx.waker().wake_by_ref();
        }
    }

    /// Reads from the connection, and notes its end.
    fn read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<()> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buffer) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) if buffer.filled().len() > before || buffer.remaining() == 0 => {}
            Poll::Ready(Ok(())) => self.ended(io::ErrorKind::UnexpectedEof, Closed::Sending),
            Poll::Ready(Err(error)) => self.ended(error.kind(), Closed::Whole),
        }
        Poll::Ready(())
    }

    fn ended(&mut self, how: io::ErrorKind, closed: Closed) {
        self.end = self.end.or(Some(how));
        self.closes(closed);
    }

    fn closes(&mut self, closed: Closed) {
        self.closed.send_if_modified(|now| {
            let further = *now < closed;
            *now = closed.max(*now);
            further
        });
    }

    /// Notes that the client does not take what is sent.
    fn sent<T>(&mut self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = outcome {
            self.closes(Closed::Whole);
        }
        outcome
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Line<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut shared = self.lock();
        if !shared.ahead.is_empty() {
            let count = shared.ahead.len().min(buffer.remaining());
            buffer.put_slice(&shared.ahead[..count]);
            shared.ahead.advance(count);
            let left = shared.ahead.len() as u64;
            shared.held.set(left);
            return Poll::Ready(Ok(()));
        }
        if shared.end.is_none() && shared.read(cx, buffer).is_pending() {
            shared.awaited = true;
            return Poll::Pending;
        }
        Poll::Ready(match shared.end {
            None | Some(io::ErrorKind::UnexpectedEof) => Ok(()),
            Some(kind) => Err(kind.into()),
        })
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Line<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut shared = self.lock();
        let outcome = Pin::new(&mut shared.io).poll_write(cx, bytes);
        shared.sent(outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut shared = self.lock();
        let outcome = Pin::new(&mut shared.io).poll_write_vectored(cx, slices);
        shared.sent(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.lock();
        let outcome = Pin::new(&mut shared.io).poll_flush(cx);
        shared.sent(outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.lock();
        Pin::new(&mut shared.io).poll_shutdown(cx)
    }
}
