//! One PutMedia connection, from its first byte to its last acknowledgement.

use super::acks::Acks;
use super::persist::{Instead, Outcome, instead, keep, persist};
use crate::faults::{FaultKind, Point};
use crate::rules::ack::{Ack, ErrorId};
use crate::rules::fragment::{Fragment, PutCall, Refusal, Step, Timecodes};
use crate::server::Server;
use crate::storage::StoredFragment;
use crate::wire::body::Writer;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

pub(super) type Received = Result<Frame<Bytes>, hyper::Error>;

/// A stream's one PutMedia connection; given back when dropped.
pub(super) struct Slot {
    pub(super) server: Arc<Server>,
    pub(super) stream: String,
    pub(super) arn: String,
    pub(super) connection: u64,
    pub(super) retention: bool,
    /// True until the call ended as it should.
    pub(super) cut: bool,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let release_ms = if self.cut { self.server.config.cut_release_ms } else { 0 };
        let free_from_ms = self.server.now_ms() + release_ms;
        self.server.store().end_put(&self.stream, self.connection, free_from_ms);
    }
}

/// A fragment from its BUFFERING on.
pub(super) struct Current {
    pub(super) number: String,
    pub(super) timecode_ms: i64,
    pub(super) faults: Vec<FaultKind>,
}

/// Why nothing more is received.
enum End {
    /// The body ended, ERROR was sent, or the connection was idle too long: open acks are still sent.
    Answer,
    /// The client is gone, or a fault cuts the connection.
    Cut,
}

enum Event {
    Frame(Option<Received>),
    Outcome(Option<Outcome>),
    Gone,
    Idle,
    TooOld,
}

pub(super) struct Call {
    server: Arc<Server>,
    slot: Slot,
    put: PutCall,
    acks: Acks,
    current: Option<Current>,
    outcomes: (mpsc::UnboundedSender<Outcome>, mpsc::UnboundedReceiver<Outcome>),
    pending: usize,
    bytes_left: Option<u64>,
    store_on_cut: bool,
    keep: bool,
}

impl Call {
    pub(super) fn new(slot: Slot, timecodes: Timecodes, faults: &[FaultKind], writer: Writer) -> Self {
        let server = slot.server.clone();
        let put = PutCall::new(server.config.rules.clone(), timecodes);
        let (mut bytes_left, mut store_on_cut, mut keep) = (None, false, true);
        for fault in faults {
            match fault {
                FaultKind::CutAfterBytes { bytes, stored } => {
                    (bytes_left, store_on_cut) = (Some(*bytes), *stored)
                }
                FaultKind::NoAcks { stored } => keep = *stored,
                _ => {}
            }
        }
        let acks = Acks::new(faults, writer);
        // As many outcomes wait as fragments are pending; PENDING_MAX bounds these.
        let outcomes = mpsc::unbounded_channel();
        Self { server, slot, put, acks, current: None, outcomes, pending: 0, bytes_left, store_on_cut, keep }
    }

    /// Serves the call to its end; false if the connection is to be cut.
    pub(super) async fn run(mut self, first: Option<Received>, incoming: &mut Incoming) -> bool {
        let end = match self.active().await {
            Err(end) => end,
            Ok(()) => self.receive(first, incoming).await.unwrap_or_else(|end| end),
        };
        let end = match end {
            End::Answer => self.answer().await,
            End::Cut => End::Cut,
        };
        if matches!(end, End::Answer) {
            return true;
        }
        self.store_partial();
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
        let config = &self.server.config;
        let (idle_ack, idle_close) = (millis(config.idle_ack_ms), millis(config.idle_close_ms));
        let oldest = Instant::now() + millis(config.connection_ms_max);
        let mut idle_end = Instant::now() + idle_close;
        let mut next_idle = Instant::now() + idle_ack;
        let mut first = first.map(|frame| Event::Frame(Some(frame)));
        loop {
            let event = match first.take() {
                Some(event) => event,
                None => tokio::select! {
                    frame = incoming.frame(), if self.pending < PENDING_MAX => Event::Frame(frame),
                    outcome = self.outcomes.1.recv() => Event::Outcome(outcome),
                    () = self.acks.gone() => Event::Gone,
                    () = sleep_until(oldest) => Event::TooOld,
                    () = sleep_until(next_idle.min(idle_end)) => Event::Idle,
                },
            };
            match event {
                Event::Frame(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        (idle_end, next_idle) = (Instant::now() + idle_close, Instant::now() + idle_ack);
                        self.take(&data).await?;
                    }
                }
                Event::Frame(None) => return self.finish().await,
                Event::Frame(Some(Err(_))) | Event::Gone => return Ok(End::Cut),
                Event::Outcome(outcome) => {
                    self.pending -= 1;
                    self.outcome(outcome).await?;
                }
                Event::Idle if Instant::now() >= idle_end => return Ok(End::Answer),
                Event::Idle => {
                    next_idle = Instant::now() + idle_ack;
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

    /// Sends the acks that are still open. The stream is free for the next connection before the last of them,
    /// so that a producer which waits for it can go on at once.
    async fn answer(&mut self) -> End {
        while self.pending > 0 {
            let outcome = tokio::select! {
                outcome = self.outcomes.1.recv() => outcome,
                () = self.acks.gone() => return End::Cut,
            };
            self.pending -= 1;
            if self.pending == 0 && !matches!(outcome, Some(Outcome::Cut)) {
                self.release();
            }
            if let Err(End::Cut) = self.outcome(outcome).await {
                return End::Cut;
            }
        }
        self.release();
        self.acks.flush().await;
        if self.acks.silent() {
            self.acks.gone().await;
        }
        End::Answer
    }

    fn release(&mut self) {
        if self.acks.silent() {
            return;
        }
        self.slot.cut = false;
        let now_ms = self.server.now_ms();
        self.server.store().end_put(&self.slot.stream, self.slot.connection, now_ms);
    }

    async fn take(&mut self, data: &[u8]) -> Result<(), End> {
        let data = match &mut self.bytes_left {
            Some(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                *left -= taken as u64;
                &data[..taken]
            }
            None => data,
        };
        let mut steps = Vec::new();
        let outcome = self.put.push(data, self.server.now_ms() as i64, &mut steps);
        self.steps(steps, outcome).await?;
        if self.bytes_left == Some(0) { Err(End::Cut) } else { Ok(()) }
    }

    async fn finish(&mut self) -> Result<End, End> {
        let mut steps = Vec::new();
        let outcome = self.put.finish(self.server.now_ms() as i64, &mut steps);
        self.steps(steps, outcome).await?;
        Ok(End::Answer)
    }

    async fn steps(&mut self, steps: Vec<Step>, outcome: Result<(), Refusal>) -> Result<(), End> {
        for step in steps {
            match step {
                Step::Began { timecode_ms } => self.began(timecode_ms).await?,
                Step::Complete(fragment) => self.complete(*fragment).await?,
            }
        }
        match outcome {
            Ok(()) => Ok(()),
            Err(Refusal { id, timecode_ms, why }) => Err(self.refuse(id, timecode_ms, &why).await),
        }
    }

    async fn began(&mut self, timecode_ms: i64) -> Result<(), End> {
        let now_ms = self.server.now_ms();
        let number = self.server.store().next_number(&self.slot.stream, self.slot.connection, now_ms);
        let Some(number) = number else {
            return Err(self
                .refuse(ErrorId::StreamNotActive, Some(timecode_ms), "the stream was deleted")
                .await);
        };
        let faults = self.server.faults.at_fragment(&self.slot.stream);
        let ack = Ack::progress("BUFFERING", timecode_ms, &number);
        let current = self.current.insert(Current { number, timecode_ms, faults });
        match instead(Point::Buffering, current) {
            None => self.acks.send(&ack).await,
            Some(Instead::Cut { .. }) => return Err(End::Cut),
            Some(Instead::Error { ack, .. }) => return Err(self.error(ack).await),
        }
        Ok(())
    }

    async fn complete(&mut self, fragment: Fragment) -> Result<(), End> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let now_ms = self.server.now_ms();
        let stored = StoredFragment::new(fragment, current.number.clone(), self.slot.connection, now_ms);
        match instead(Point::Received, &current) {
            None => {}
            Some(Instead::Cut { stored: true }) => {
                keep(&self.server, &self.slot.arn, &current, stored, Outcome::Cut);
                return Err(End::Cut);
            }
            Some(Instead::Cut { stored: false }) => return Err(End::Cut),
            Some(Instead::Error { ack, .. }) => return Err(self.error(ack).await),
        }
        self.acks.send(&Ack::progress("RECEIVED", current.timecode_ms, &current.number)).await;
        if self.keep {
            let (server, arn) = (self.server.clone(), self.slot.arn.clone());
            let (outcomes, retention) = (self.outcomes.0.clone(), self.slot.retention);
            self.pending += 1;
            tokio::spawn(async move {
                // Nobody waits for the outcome once the connection is gone.
                let _ = outcomes.send(persist(server, arn, current, stored, retention).await);
            });
        }
        Ok(())
    }

    async fn outcome(&mut self, outcome: Option<Outcome>) -> Result<(), End> {
        match outcome {
            Some(Outcome::Ack(ack)) => self.acks.send(&ack).await,
            Some(Outcome::Error(ack)) => return Err(self.error(ack).await),
            Some(Outcome::Cut) => return Err(End::Cut),
            Some(Outcome::Nothing) | None => {}
        }
        Ok(())
    }

    async fn refuse(&mut self, id: ErrorId, timecode_ms: Option<i64>, why: &str) -> End {
        tracing::warn!(stream = self.slot.stream, code = id.code(), why, "PutMedia refused");
        self.server.store().stats.note_refusal(&self.slot.stream, id.code(), why);
        let number = self.current.as_ref().map(|current| current.number.clone());
        self.error(Ack::error(id.id(), id.code(), timecode_ms, number)).await
    }

    async fn error(&mut self, ack: Ack) -> End {
        let code = ack.error_code.clone().unwrap_or_default();
        *self.server.store().stats.error_acks.entry(code).or_default() += 1;
        self.acks.send(&ack).await;
        End::Answer
    }

    /// Stores what has come of the open fragment, if a fault asks for it.
    fn store_partial(&mut self) {
        if !self.store_on_cut {
            return;
        }
        if let Some((fragment, current)) = self.put.cut().zip(self.current.take()) {
            let now_ms = self.server.now_ms();
            let stored = StoredFragment::new(fragment, current.number.clone(), self.slot.connection, now_ms);
            keep(&self.server, &self.slot.arn, &current, stored, Outcome::Cut);
        }
    }
}

/// Fragments of one connection that may wait for being persisted; the body waits beyond that.
const PENDING_MAX: usize = 64;

fn millis(ms: u64) -> Duration {
    // Far beyond any connection, and still within what tokio's clock can add.
    Duration::from_millis(ms.min(1 << 40))
}
