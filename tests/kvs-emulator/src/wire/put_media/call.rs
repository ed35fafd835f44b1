//! One PutMedia connection, from its first byte to its last acknowledgement.

use super::acks::Acks;
use super::persist::{Instead, Outcome, instead, keep, persist};
use crate::budget::Held;
use crate::faults::{FaultKind, Point};
use crate::recorder::Recording;
use crate::rules::ack::{Ack, ErrorId};
use crate::rules::fragment::{Fragment, PutCall, Refusal, Step, Timecodes};
use crate::rules::quota::Pace;
use crate::server::Server;
use crate::storage::StoredFragment;
use crate::wire::body::Writer;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::sync::Arc;
use tokio::sync::mpsc;

pub(super) type Received = Result<Frame<Bytes>, hyper::Error>;

/// A stream's one PutMedia connection; given back when dropped.
pub(super) struct Slot {
    pub(super) server: Arc<Server>,
    pub(super) stream: String,
    pub(super) arn: String,
    pub(super) connection: u64,
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
    /// When its latest ack is due.
    pub(super) due_ms: u64,
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
    /// An ack is due, or the producer has waited long enough.
    Time,
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
    /// Bytes a second that a fault allows.
    slow: Option<(Pace, u64)>,
    /// Nothing is read before this.
    resume_ms: u64,
    held: Held,
    recording: Recording,
}

impl Call {
    pub(super) fn new(
        slot: Slot,
        timecodes: Timecodes,
        faults: &[FaultKind],
        writer: Writer,
        recording: Recording,
    ) -> Self {
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
        let acks = Acks::new(faults, writer, recording.clone());
        // As many outcomes wait as fragments are pending; PENDING_MAX bounds these.
        let outcomes = mpsc::unbounded_channel();
        let held = server.open.hold();
        let (current, pending, resume_ms) = (None, 0, 0);
        Self {
            server,
            slot,
            put,
            acks,
            current,
            outcomes,
            pending,
            bytes_left,
            store_on_cut,
            keep,
            slow,
            resume_ms,
            held,
            recording,
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
        let has_room = self.pending < PENDING_MAX && (self.pending == 0 || !self.server.open.is_full());
        let due_ms =
            self.acks.due_ms().unwrap_or(u64::MAX).min(if paused { self.resume_ms } else { u64::MAX });
        tokio::select! {
            frame = incoming.frame(), if has_room && !paused => Event::Frame(frame),
            outcome = self.outcomes.1.recv() => Event::Outcome(outcome),
            () = self.acks.gone() => Event::Gone,
            () = now.sleep_until(due_ms), if due_ms < u64::MAX => Event::Time,
            () = now.sleep_until(oldest_ms) => Event::TooOld,
            () = now.sleep_until(idle_ms) => Event::Idle,
        }
    }

    /// The body cannot be read as HTTP; one that just ends was lost, and nobody is there to be told.
    async fn unreadable(&mut self, error: &hyper::Error) -> End {
        let source =
            std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
        if source.is_some_and(|source| source.kind() != std::io::ErrorKind::UnexpectedEof) {
            let timecode_ms = self.put.open_timecode_ms();
            self.refuse(ErrorId::StreamReadError, timecode_ms, &error.to_string()).await;
        }
        End::Cut
    }

    /// Sends the acks that are due.
    async fn send_due(&mut self) {
        while let Some(ack) = self.acks.pop(self.server.now_ms()) {
            self.acks.send(&ack).await;
        }
    }

    /// Sends the acks that are still open. The stream is free for the next connection before the last of them,
    /// so that a producer which waits for it can go on at once.
    async fn answer(&mut self) -> End {
        let server = self.server.clone();
        while self.pending > 0 || self.acks.due_ms().is_some() {
            while let Some(ack) = self.acks.pop(server.now_ms()) {
                if self.pending == 0 && self.acks.due_ms().is_none() {
                    self.release();
                }
                self.acks.send(&ack).await;
            }
            if self.pending == 0 && self.acks.due_ms().is_none() {
                break;
            }
            let due_ms = self.acks.due_ms().unwrap_or(u64::MAX);
            let outcome = tokio::select! {
                outcome = self.outcomes.1.recv(), if self.pending > 0 => outcome,
                () = server.now.sleep_until(due_ms), if due_ms < u64::MAX => continue,
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
        self.recording.edit().media_bytes += data.len() as u64;
        let mut steps = Vec::new();
        let outcome = self.put.push(data, self.server.now_ms() as i64, &mut steps);
        let fragments = steps.iter().filter(|step| matches!(step, Step::Began { .. })).count();
        self.pace(data.len() as u64, fragments as u64);
        self.steps(steps, outcome).await?;
        if self.bytes_left == Some(0) {
            return Err(End::Cut);
        }
        if !self.held.set(self.put.held_bytes()) {
            let why = "the emulator's memory for open fragments is full; raise openBytesMax";
            return Err(self.refuse(ErrorId::InternalError, self.put.open_timecode_ms(), why).await);
        }
        Ok(())
    }

    /// Has the producer wait if it is faster than the stream's quotas, or than a fault allows.
    fn pace(&mut self, bytes: u64, fragments: u64) {
        let now_ms = self.server.now_ms();
        let mut wait_ms = self.server.store().pace(&self.slot.stream, bytes, fragments, now_ms);
        if let Some((pace, per_second)) = &mut self.slow {
            wait_ms = wait_ms.max(pace.take(bytes, *per_second, now_ms));
        }
        self.resume_ms = now_ms.saturating_add(wait_ms);
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
        let due_ms = now_ms.saturating_add(self.server.config.buffering_ms);
        let current = self.current.insert(Current { number, timecode_ms, faults, due_ms });
        match instead(Point::Buffering, current) {
            None => {
                self.acks.push(ack, due_ms);
                self.send_due().await;
            }
            Some(Instead::Cut { .. }) => return Err(End::Cut),
            Some(Instead::Error { ack, .. }) => return Err(self.error(ack).await),
        }
        Ok(())
    }

    async fn complete(&mut self, fragment: Fragment) -> Result<(), End> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        let now_ms = self.server.now_ms();
        let stored = StoredFragment::new(fragment, current.number.clone(), self.slot.connection, now_ms);
        match instead(Point::Received, &current) {
            None => {}
            Some(Instead::Cut { stored: true }) => {
                keep(&self.server, &self.slot.arn, &current, stored, Outcome::Cut).await;
                return Err(End::Cut);
            }
            Some(Instead::Cut { stored: false }) => return Err(End::Cut),
            Some(Instead::Error { ack, .. }) => return Err(self.error(ack).await),
        }
        current.due_ms = current.due_ms.max(now_ms.saturating_add(self.server.config.received_ms));
        self.acks.push(Ack::progress("RECEIVED", current.timecode_ms, &current.number), current.due_ms);
        self.send_due().await;
        if self.keep {
            self.persist(current, stored);
        }
        Ok(())
    }

    fn persist(&mut self, current: Current, fragment: StoredFragment) {
        let (server, arn, outcomes) = (self.server.clone(), self.slot.arn.clone(), self.outcomes.0.clone());
        let stream = &self.slot.stream;
        let retention =
            server.store().stream(stream, server.now_ms()).is_ok_and(|stream| stream.is.retention_hours > 0);
        let mut held = server.open.hold();
        held.set(fragment.size_bytes);
        self.pending += 1;
        tokio::spawn(async move {
            // Nobody waits for the outcome once the connection is gone.
            let _ = outcomes.send(persist(server, arn, current, fragment, retention).await);
            drop(held);
        });
    }

    async fn outcome(&mut self, outcome: Option<Outcome>) -> Result<(), End> {
        match outcome {
            Some(Outcome::Ack(ack)) => {
                self.acks.push(ack, self.server.now_ms());
                self.send_due().await;
            }
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
        // What came before it is answered before it.
        while let Some(due_ms) = self.acks.due_ms() {
            self.server.now.sleep_until(due_ms).await;
            self.send_due().await;
        }
        self.acks.send(&ack).await;
        End::Answer
    }

    /// Stores what has come of the open fragment, if a fault asks for it.
    async fn store_partial(&mut self) {
        if !self.store_on_cut {
            return;
        }
        if let Some((fragment, current)) = self.put.cut().zip(self.current.take()) {
            let now_ms = self.server.now_ms();
            let stored = StoredFragment::new(fragment, current.number.clone(), self.slot.connection, now_ms);
            keep(&self.server, &self.slot.arn, &current, stored, Outcome::Cut).await;
        }
    }
}

/// Fragments of one connection that may wait for being persisted; the body waits beyond that.
const PENDING_MAX: usize = 64;
