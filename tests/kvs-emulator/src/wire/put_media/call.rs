//! One PutMedia connection, from its first byte to its last acknowledgement: what is waited for, and how it ends.

use super::acks::Acks;
use super::late::Late;
use super::persist::Outcome;
use super::steps::Current;
use crate::budget::Held;
use crate::faults::FaultKind;
use crate::recorder::Recording;
use crate::rules::ack::{Ack, ErrorId};
use crate::rules::fragment::Timecodes;
use crate::rules::put_call::PutCall;
use crate::rules::quota::Pace;
use crate::server::Server;
use crate::wire::body::Writer;
use crate::wire::line::Peer;
use crate::wire::slot::PutSlot;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc;

pub(super) type Received = Result<Frame<Bytes>, hyper::Error>;

/// Why nothing more is received.
pub(super) enum End {
    /// The body ended, ERROR was sent, or the connection was idle too long: open acks are still sent.
    Answer,
    /// The rest of the body is lost. A client that still reads gets the open acks, then the connection is cut.
    Lost,
    /// The client is gone, or a fault cuts the connection.
    Cut,
}

enum Event {
    Frame(Option<Received>),
    Outcome(Option<Outcome>),
    /// An ack is due, or the producer has waited long enough.
    Time,
    /// The client sends nothing more.
    Closed,
    Gone,
    Idle,
    TooOld,
}

/// The client's side of a call.
pub(super) struct Line {
    pub(super) writer: Writer,
    pub(super) recording: Recording,
    pub(super) peer: Peer,
}

pub(super) struct Call {
    pub(super) server: Arc<Server>,
    pub(super) slot: PutSlot,
    pub(super) put: PutCall,
    pub(super) acks: Acks,
    pub(super) current: Option<Current>,
    /// The fragment that ended last, for what comes behind it.
    pub(super) ended: Option<(String, Arc<Late>)>,
    pub(super) outcomes: (mpsc::UnboundedSender<Outcome>, mpsc::UnboundedReceiver<Outcome>),
    pub(super) pending: usize,
    pub(super) bytes_left: Option<u64>,
    pub(super) store_on_cut: bool,
    pub(super) keep: bool,
    /// Bytes a second that a fault allows.
    pub(super) slow: Option<(Pace, u64)>,
    /// Nothing is read before this.
    pub(super) resume_ms: u64,
    /// The client sends nothing more, so that there is nobody to slow down.
    pub(super) closed: bool,
    pub(super) held: Held,
    pub(super) recording: Recording,
    peer: Peer,
}

impl Call {
    pub(super) fn new(slot: PutSlot, timecodes: Timecodes, faults: &[FaultKind], line: Line) -> Self {
        let server = slot.server.clone();
        let put = PutCall::new(server.config.rules.clone(), timecodes);
        let (mut bytes_left, mut store_on_cut, mut keep, mut slow) = (None, false, true, None);
        for fault in faults {
            match fault {
                FaultKind::CutAfterBytes { bytes, stored } => {
                    (bytes_left, store_on_cut) = (Some(*bytes), *stored)
                }
                FaultKind::NoAcks { stored } => keep = *stored,
                FaultKind::Slow { bytes_per_second } => slow = Some((Pace::default(), *bytes_per_second)),
                _ => {}
            }
        }
        let Line { writer, recording, peer } = line;
        Self {
            acks: Acks::new(faults, writer, recording.clone()),
            held: server.open.hold(),
            server,
            slot,
            put,
            current: None,
            ended: None,
            // As many outcomes wait as fragments are pending; PENDING_MAX bounds these.
            outcomes: mpsc::unbounded_channel(),
            pending: 0,
            bytes_left,
            store_on_cut,
            keep,
            slow,
            resume_ms: 0,
            closed: false,
            recording,
            peer,
        }
    }

    /// Serves the call to its end; false if the connection is to be cut.
    pub(super) async fn run(mut self, first: Option<Received>, incoming: &mut Incoming) -> bool {
        let end = match self.active().await {
            Err(end) => end,
            Ok(()) => self.receive(first, incoming).await.unwrap_or_else(|end| end),
        };
        let end = match end {
            End::Answer => self.answer().await,
            End::Lost => {
                self.slot.release_cut();
                self.answer().await;
                End::Cut
            }
            End::Cut => End::Cut,
        };
        self.recording.edit().ended = Some(matches!(end, End::Answer));
        if matches!(end, End::Answer) {
            return true;
        }
        self.store_partial().await;
        drop(self.slot);
        self.acks.cut().await;
        false
    }

    /// Whether the service answers a stream that is not active this way is unconfirmed; 4008 is its documented word.
    async fn active(&mut self) -> Result<(), End> {
        let now_ms = self.server.now_ms();
        let active =
            self.server.store().stream(&self.slot.stream, now_ms).is_ok_and(|s| s.takes_media(now_ms));
        if active {
            return Ok(());
        }
        Err(self.refuse(ErrorId::StreamNotActive, None, "the stream is not ACTIVE").await)
    }

    async fn receive(&mut self, first: Option<Received>, incoming: &mut Incoming) -> Result<End, End> {
        let server = self.server.clone();
        let config = &server.config;
        let oldest_ms = server.now_ms().saturating_add(config.connection_ms_max);
        let mut idle_ms = server.now_ms().saturating_add(config.idle_close_ms);
        let mut next_idle_ms = server.now_ms().saturating_add(config.idle_ack_ms);
        let mut first = first.map(|frame| Event::Frame(Some(frame)));
        loop {
            let event = match first.take() {
                Some(event) => event,
                None => self.event(incoming, oldest_ms, idle_ms.min(next_idle_ms)).await,
            };
            match event {
                Event::Frame(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.take(&data).await?;
                        let from_ms = server.now_ms().max(self.resume_ms);
                        idle_ms = from_ms.saturating_add(config.idle_close_ms);
                        next_idle_ms = from_ms.saturating_add(config.idle_ack_ms);
                    }
                }
                Event::Frame(None) => return self.finish().await,
                Event::Frame(Some(Err(error))) => return Ok(self.unreadable(&error).await),
                Event::Gone => return Ok(End::Cut),
                Event::Closed => (self.closed, self.resume_ms) = (true, 0),
                Event::Outcome(outcome) => {
                    self.pending -= 1;
                    self.outcome(outcome).await?;
                }
                Event::Time => self.send_due().await,
                Event::Idle if server.now_ms() >= idle_ms => return Ok(End::Answer),
                Event::Idle => {
                    next_idle_ms = server.now_ms().saturating_add(config.idle_ack_ms);
                    self.acks.send(&Ack::idle()).await;
                }
                Event::TooOld => {
                    let timecode_ms = self.put.open_timecode_ms();
                    let why = "the connection is older than the service allows";
                    return Ok(self.refuse(ErrorId::MaxConnectionDurationReached, timecode_ms, why).await);
                }
            }
        }
    }

    /// The next thing that happens.
    async fn event(&mut self, incoming: &mut Incoming, oldest_ms: u64, idle_ms: u64) -> Event {
        let now = &self.server.now;
        let paused = self.resume_ms > now.ms();
        let has_room =
            self.closed || self.pending < PENDING_MAX && (self.pending == 0 || !self.server.open.is_full());
        let due_ms =
            self.acks.due_ms().unwrap_or(u64::MAX).min(if paused { self.resume_ms } else { u64::MAX });
        tokio::select! {
            frame = incoming.frame(), if has_room && !paused => Event::Frame(frame),
            outcome = self.outcomes.1.recv() => Event::Outcome(outcome),
            () = self.peer.closed(), if !self.closed => Event::Closed,
            () = self.peer.gone() => Event::Gone,
            () = self.acks.gone() => Event::Gone,
            () = now.sleep_until(due_ms), if due_ms < u64::MAX => Event::Time,
            () = now.sleep_until(oldest_ms) => Event::TooOld,
            () = now.sleep_until(idle_ms) => Event::Idle,
        }
    }

    /// The body cannot be read on: it is no HTTP, or the client has closed the connection in the middle of it.
    async fn unreadable(&mut self, error: &hyper::Error) -> End {
        let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
        let is_no_http = |kind| matches!(kind, io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
        if source.is_some_and(|source| is_no_http(source.kind())) {
            let timecode_ms = self.put.open_timecode_ms();
            self.refuse(ErrorId::StreamReadError, timecode_ms, &error.to_string()).await;
        }
        End::Lost
    }

    /// Sends the acks that are due.
    pub(super) async fn send_due(&mut self) {
        while let Some(ack) = self.acks.pop(self.server.now_ms()) {
            self.acks.send(&ack).await;
        }
    }

    /// Sends the acks that are still open. The stream is free for the next connection before the last of them,
    /// so that a producer which waits for it can go on at once; and as soon as the client has closed the connection.
    async fn answer(&mut self) -> End {
        let server = self.server.clone();
        loop {
            if self.closed {
                self.slot.release_cut();
            }
            while let Some(ack) = self.acks.pop(server.now_ms()) {
                if self.is_answered() && !self.acks.silent() {
                    self.slot.release();
                }
                self.acks.send(&ack).await;
            }
            if self.is_answered() {
                break;
            }
            let due_ms = self.acks.due_ms().unwrap_or(u64::MAX);
            let outcome = tokio::select! {
                outcome = self.outcomes.1.recv(), if self.pending > 0 => outcome,
                () = server.now.sleep_until(due_ms), if due_ms < u64::MAX => continue,
                () = self.peer.closed(), if !self.closed => {
                    self.closed = true;
                    continue;
                }
                () = self.peer.gone() => return End::Cut,
                () = self.acks.gone() => return End::Cut,
            };
            self.pending -= 1;
            match outcome {
                Some(Outcome::Ack(ack)) => self.acks.push(ack, server.now_ms()),
                outcome => {
                    if let Err(End::Cut) = self.outcome(outcome).await {
                        return End::Cut;
                    }
                }
            }
        }
        if self.acks.silent() {
            self.peer.closed().await;
            return End::Cut;
        }
        self.slot.release();
        self.acks.flush().await;
        End::Answer
    }

    fn is_answered(&self) -> bool {
        self.pending == 0 && self.acks.due_ms().is_none()
    }
}

/// Fragments of one connection that may wait for being persisted; the body waits beyond that.
const PENDING_MAX: usize = 64;
