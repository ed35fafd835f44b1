//! Going through the DLQ for certain messages, however far back in their sessions they lie.
//!
//! SQS gives the head of a message group, ten messages at most, and no more of a group while some of it is in flight. What lies
//! behind shows only once the head is gone. So where something is wanted behind it, the head is *turned*: sent to the end of its
//! own group and then deleted, message by message in order, until the first that was turned comes by again. After the turn the
//! group is in the order in which it was. A turn that has begun is finished, also when the program is asked to stop. Killed
//! outright, the program leaves the group turned halfway: order within a group decides nothing, since the writer sorts.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::message::{DlqMessage, batches, by_group};
use super::queue::Dlq;
use super::select::{Goal, Selection};
use crate::error::Result;
use crate::stop::Stop;
use crate::world::World;

/// How long a received message stays hidden. If this program is killed, so long does it take until it is seen again.
const HOLD_SECONDS: u32 = 60;
/// When held messages are hidden again.
const RENEW_AFTER: Duration = Duration::from_secs(25);
/// Empty receives in a row that are taken for the end.
const EMPTY_RECEIVES: u32 = 2;
/// The same where messages are known to be there: somebody else may have them in hand for a moment.
const DOUBTFUL_RECEIVES: u32 = 6;
/// Messages of one SendMessageBatch.
const MAX_TURNED: usize = 10;

/// What a command did with chosen messages.
#[derive(Debug, Default)]
pub struct Acted {
    /// Ids of those that are no longer in the DLQ, or will be seen again by themselves.
    pub gone: BTreeSet<String>,
    /// Nothing more is to be done.
    pub ends: bool,
}

/// How a walk ended.
#[derive(Debug)]
pub struct Walked {
    /// What was not met.
    pub goal: Goal,
    /// Somebody asked to stop before the end.
    pub interrupted: bool,
}

/// Goes through the DLQ until the selection's goal is reached, nothing more comes, `stop` is asked for, or `act` ends it. Of each
/// receive `act` is given the chosen messages, in order within each group. What stays is held, or turned where the selection
/// says so. Whatever happens, all that is held is visible again at the end.
///
/// # Errors
/// Those of SQS, and those of `act`.
pub async fn walk(
    world: &World,
    selection: Selection,
    stop: &Stop,
    act: impl AsyncFnMut(&Dlq, Vec<DlqMessage>) -> Result<Acted>,
) -> Result<Walked> {
    let mut walk = Walk {
        dlq: Dlq::new(world),
        selection,
        run: format!("{:016x}", unique()),
        turning: BTreeSet::new(),
        held: Vec::new(),
        renewed_at: Instant::now(),
    };
    let outcome = walk.go(stop, act).await;
    walk.dlq.hide(&walk.held, 0).await?;
    Ok(Walked { interrupted: outcome?, goal: walk.selection.goal })
}

struct Walk<'w> {
    dlq: Dlq<'w>,
    selection: Selection,
    /// Names this walk's turns.
    run: String,
    /// Groups whose turn has begun and is not over.
    turning: BTreeSet<String>,
    held: Vec<String>,
    renewed_at: Instant,
}

impl Walk<'_> {
    /// Returns whether it was interrupted.
    async fn go(
        &mut self,
        stop: &Stop,
        mut act: impl AsyncFnMut(&Dlq, Vec<DlqMessage>) -> Result<Acted>,
    ) -> Result<bool> {
        let (mut ends, mut interrupted) = (false, false);
        loop {
            interrupted |= stop.asked() && !ends;
            if (ends || interrupted) && self.turning.is_empty() {
                return Ok(interrupted);
            }
            let received = self.receive().await?;
            if received.is_empty() {
                return Ok(interrupted);
            }
            for messages in by_group(received) {
                let (mut fresh, seen) = self.split(messages);
                if !(ends || interrupted) {
                    let chosen: Vec<DlqMessage> =
                        fresh.iter().filter(|m| self.selection.chooses(m)).cloned().collect();
                    if !chosen.is_empty() {
                        let acted = act(&self.dlq, chosen).await?;
                        fresh.retain(|message| !acted.gone.contains(&message.message_id));
                        ends |= acted.ends;
                    }
                }
                self.keep(fresh, &seen, ends || interrupted).await?;
            }
        }
    }

    /// The messages of one group that this walk has not turned, and those that it has.
    fn split(&self, mut messages: Vec<DlqMessage>) -> (Vec<DlqMessage>, Vec<DlqMessage>) {
        let turned = messages.iter().position(|message| message.was_turned_by(&self.run));
        let seen = messages.split_off(turned.unwrap_or(messages.len()));
        (messages, seen)
    }

    /// Turns or holds what stays of one group's messages. `seen` are those that come by again.
    async fn keep(&mut self, fresh: Vec<DlqMessage>, seen: &[DlqMessage], ends: bool) -> Result<()> {
        if let Some(group) = fresh.first().map(|message| message.group_id.clone()) {
            let wanted = self.selection.turns && !ends && self.selection.goal.wants_more_of(&group);
            if wanted || self.turning.contains(&group) {
                self.turning.insert(group);
                self.turn(&fresh).await?;
            } else {
                self.hold(&fresh);
            }
        }
        if let Some(message) = seen.first() {
            self.turning.remove(&message.group_id);
            self.hold(seen);
        }
        Ok(())
    }

    /// Sends messages of one group to its end and deletes the originals.
    async fn turn(&self, messages: &[DlqMessage]) -> Result<()> {
        let name = |m: &DlqMessage| (m.turned_id(&self.run), m.attributes.clone());
        for batch in batches(messages, MAX_TURNED) {
            let sent = self.dlq.send(&self.dlq.world.settings.dlq_url, batch, name).await?;
            sent.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
            self.dlq.delete(&batch.iter().collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    fn hold(&mut self, messages: &[DlqMessage]) {
        self.held.extend(messages.iter().map(|message| message.receipt_handle.clone()));
    }

    /// The next messages; none means that the goal is reached, or that nothing more can be.
    async fn receive(&mut self) -> Result<Vec<DlqMessage>> {
        if self.renewed_at.elapsed() >= RENEW_AFTER {
            self.renewed_at = Instant::now();
            self.dlq.hide(&self.held, HOLD_SECONDS).await?;
        }
        let goal = &self.selection.goal;
        if goal.is_reached() && self.turning.is_empty() {
            return Ok(Vec::new());
        }
        let doubtful = goal.misses_some() || !self.turning.is_empty();
        for _ in 0..if doubtful { DOUBTFUL_RECEIVES } else { EMPTY_RECEIVES } {
            let messages = self.dlq.receive(HOLD_SECONDS).await?;
            if !messages.is_empty() {
                messages.iter().for_each(|message| self.selection.goal.meet(message.original_id()));
                return Ok(messages);
            }
        }
        Ok(Vec::new())
    }
}

/// A number that no other run has.
fn unique() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}
