//! What a body's bytes bring about: fragments begin and end, are acknowledged, stored, refused.

use super::call::{Call, End};
use super::late::Late;
use super::persist::{Instead, Outcome, instead, keep, persist};
use crate::faults::{FaultKind, Point};
use crate::rules::ack::{Ack, ErrorId};
use crate::rules::fragment::{Behind, Fragment, Refusal, Step};
use crate::storage::StoredFragment;
use std::sync::Arc;

/// A fragment from its BUFFERING on.
pub(super) struct Current {
    pub(super) number: String,
    pub(super) timecode_ms: i64,
    pub(super) faults: Vec<FaultKind>,
    /// When its latest ack is due.
    pub(super) due_ms: u64,
}

impl Call {
    pub(super) async fn take(&mut self, data: &[u8]) -> Result<(), End> {
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
        if !self.closed {
            self.resume_ms = now_ms.saturating_add(wait_ms);
        }
    }

    pub(super) async fn finish(&mut self) -> Result<End, End> {
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
                Step::Behind(behind) => self.behind(behind),
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
                keep(&self.server, &self.slot.arn, &current, stored, &Late::default(), Outcome::Cut).await;
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
        let late = Arc::new(Late::default());
        self.ended = Some((current.number.clone(), late.clone()));
        tokio::spawn(async move {
            // Nobody waits for the outcome once the connection is gone.
            let _ = outcomes.send(persist(server, arn, current, fragment, late, retention).await);
            drop(held);
        });
    }

    /// Adds what came behind a fragment that has ended: before it is stored, or to what is stored.
    fn behind(&mut self, behind: Behind) {
        let Some((number, late)) = &self.ended else { return };
        let Some(behind) = late.add(behind) else { return };
        let changed = self.server.store().add_behind(&self.slot.arn, number, behind);
        if let Some(fragment) = changed {
            // Its PERSISTED was sent; nobody is told of this one.
            drop(self.server.disk.put(&self.slot.arn, &fragment));
        }
    }

    pub(super) async fn outcome(&mut self, outcome: Option<Outcome>) -> Result<(), End> {
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

    pub(super) async fn refuse(&mut self, id: ErrorId, timecode_ms: Option<i64>, why: &str) -> End {
        tracing::warn!(stream = self.slot.stream, code = id.code(), why, "PutMedia refused");
        self.server.store().stats.note_refusal(&self.slot.stream, id.code(), why);
        let number = self.current.as_ref().map(|current| current.number.clone());
        self.error(Ack::error(id.id(), id.code(), timecode_ms, number)).await
    }

    /// Ends the call with ERROR: its stream is free at once, whatever is still to be acknowledged.
    async fn error(&mut self, ack: Ack) -> End {
        let code = ack.error_code.clone().unwrap_or_default();
        *self.server.store().stats.error_acks.entry(code).or_default() += 1;
        self.slot.release();
        // What came before it is answered before it.
        while let Some(due_ms) = self.acks.due_ms() {
            tokio::select! {
                () = self.server.now.sleep_until(due_ms) => {}
                () = self.acks.gone() => return End::Cut,
            }
            self.send_due().await;
        }
        self.acks.send(&ack).await;
        End::Answer
    }

    /// Stores what has come of the open fragment, if a fault asks for it.
    pub(super) async fn store_partial(&mut self) {
        if !self.store_on_cut {
            return;
        }
        if let Some((fragment, current)) = self.put.cut().zip(self.current.take()) {
            let now_ms = self.server.now_ms();
            let stored = StoredFragment::new(fragment, current.number.clone(), self.slot.connection, now_ms);
            keep(&self.server, &self.slot.arn, &current, stored, &Late::default(), Outcome::Cut).await;
        }
    }
}
