//! `kvsw dlq redrive`: the plan, the move, the read-back.
//!
//! The move is kvsw's own, because StartMessageMoveTask does not say which deduplication id its copies carry: an id that the queue
//! has seen within five minutes would lose the message without a word. Each copy is named after the DLQ's message, which
//! the queue has never seen; it is deleted from the DLQ only after the queue has taken it. Killed in between, the next run
//! sends it again: within five minutes SQS drops the second copy, later the writer does.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use aws::parked_index::Entry;
use indicatif::ProgressBar;
use reader::text::count;
use serde::Serialize;
use tokio::time::Instant;

use super::message::{DlqMessage, batches};
use super::plan::Plan;
use super::queue::{Dlq, right_queue};
use super::read_back::{self, ReadBack, Sent, read_back};
use super::select::{Goal, Selection, nothing_fits};
use super::survey::{Survey, survey};
use crate::args::Redrive;
use crate::error::{Exit, Result};
use crate::output::{Output, Pen, Show, Tone};
use crate::stop::Stop;
use crate::world::World;

/// What the move did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// Messages sent to the queue and deleted from the DLQ.
    pub moved: usize,
    /// Messages that the queue has not taken, with the reason; they stay in the DLQ.
    pub not_taken: BTreeMap<String, usize>,
    /// Messages that were sent but are still in the DLQ; sending them again does no harm.
    pub not_deleted: usize,
    /// Messages that the plan meant and the move could not reach, by session: they lie behind messages that were not chosen, or
    /// are gone.
    pub not_reached: BTreeMap<String, usize>,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// What the queue took.
    #[serde(skip)]
    pub sent: Sent,
}

impl Moved {
    /// Whether nothing was there to move.
    fn found_nothing(&self) -> bool {
        self.moved == 0 && self.complete()
    }

    /// Whether all that was meant was done.
    pub fn complete(&self) -> bool {
        self.not_taken.is_empty() && self.not_deleted == 0 && self.not_reached.is_empty() && !self.interrupted
    }
}

/// All of a redrive.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Redriven {
    /// What was meant.
    pub plan: Plan,
    /// What was done; `None` in a dry run.
    pub moved: Option<Moved>,
    /// What the stream says; `None` where it was not asked.
    pub read_back: Option<ReadBack>,
}

/// Spreads messages over time.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    per_second: u32,
    sent: u64,
}

impl Pace {
    /// From now on, so many a second.
    pub fn new(per_second: u32) -> Self {
        Self { began: Instant::now(), per_second: per_second.max(1), sent: 0 }
    }

    /// The most that may be sent in one call.
    pub fn most(&self) -> usize {
        self.per_second.min(10) as usize
    }

    /// Waits until `messages` more may be sent.
    pub async fn take(&mut self, messages: usize) {
        let due = Duration::from_secs_f64(self.sent as f64 / f64::from(self.per_second));
        tokio::time::sleep_until(self.began + due).await;
        self.sent += messages as u64;
    }
}

/// The command.
///
/// # Errors
/// Those of the services; what was moved until then stays moved.
pub async fn run(world: &World, output: &Output, args: &Redrive) -> Result<Exit> {
    right_queue(world).await?;
    let Survey { plan, chosen } = survey(world, &args.filter).await?;
    if args.dry_run {
        let closes = plan.parked_again() == 0;
        output.show(&Redriven { plan, moved: None, read_back: None });
        return Ok(if closes { Exit::Fine } else { Exit::Finding });
    }
    output.say(&plan.text(Pen::PLAIN));
    let stop = Stop::listen();
    let moved = move_chosen(world, output, args, (&plan, chosen), &stop).await?;
    let read_back = match args.wait.is_zero() || moved.moved == 0 || moved.interrupted {
        true => None,
        false => {
            let done = read_back::Redrive { plan: &plan, sent: &moved.sent };
            Some(read_back(world, output, done, args.wait, &stop).await?)
        }
    };
    if !args.filter.is_open() && moved.found_nothing() {
        return Err(nothing_fits(&args.filter, &world.notes(None).await?));
    }
    let fine = moved.complete() && read_back.as_ref().is_none_or(ReadBack::all_closed);
    output.show(&Redriven { plan, moved: Some(moved), read_back });
    Ok(if fine { Exit::Fine } else { Exit::Finding })
}

/// The ordered move.
async fn move_chosen(
    world: &World,
    output: &Output,
    args: &Redrive,
    (plan, chosen): (&Plan, Vec<Entry>),
    stop: &Stop,
) -> Result<Moved> {
    let without_note = plan.unnoted.wanted();
    let bar = output.progress((chosen.len() + without_note) as u64, "redriving");
    let goal = Goal::new(chosen, without_note);
    // What is parked from now on is the writer's answer to the redrive itself.
    let selection = Selection { filter: args.filter.clone(), before: world.now(), goal };
    let mut mover = Mover { world, stop, pace: Pace::new(args.rate), bar, moved: Moved::default() };
    let goal =
        Dlq::each(world, selection, stop, async |dlq, messages| mover.take(dlq, &messages).await).await;
    mover.bar.finish_and_clear();
    let mut moved = mover.moved;
    let goal = goal?;
    moved.interrupted |= stop.asked();
    if !moved.interrupted {
        moved.not_reached = goal.not_reached(world).await?;
    }
    Ok(moved)
}

struct Mover<'w> {
    world: &'w World,
    stop: &'w Stop,
    pace: Pace,
    bar: ProgressBar,
    moved: Moved,
}

impl Mover<'_> {
    /// Moves what one receive shows.
    async fn take(&mut self, dlq: &mut Dlq<'_>, messages: &[DlqMessage]) -> Result<ControlFlow<()>> {
        for batch in batches(messages, self.pace.most()) {
            self.moved.interrupted |= self.stop.asked();
            if self.moved.interrupted {
                batch.iter().for_each(|message| dlq.hold(message));
                continue;
            }
            self.pace.take(batch.len()).await;
            let taken = self.send(dlq, batch).await?;
            let left = dlq.remove(&taken).await?;
            self.moved.not_deleted += left;
            self.moved.moved += taken.len() - left;
            self.bar.inc((taken.len() - left) as u64);
        }
        Ok(if self.moved.interrupted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Sends a batch to the queue. Returns what it has taken.
    async fn send<'m>(&mut self, dlq: &mut Dlq<'_>, batch: &'m [DlqMessage]) -> Result<Vec<&'m DlqMessage>> {
        let name = |m: &DlqMessage| (format!("redrive-{}", m.message_id), m.lasting_attributes());
        let mut taken = Vec::new();
        let sent = dlq.send(&self.world.settings.queue_url, batch, name).await?;
        for (message, outcome) in batch.iter().zip(sent) {
            match outcome {
                Ok(id) => {
                    self.moved.sent.entry(message.group_id.clone()).or_default().insert(id);
                    taken.push(message);
                }
                Err(failure) => {
                    *self.moved.not_taken.entry(failure.to_string()).or_default() += 1;
                    dlq.hold(message);
                }
            }
        }
        Ok(taken)
    }
}

impl Show for Redriven {
    fn text(&self, pen: Pen) -> String {
        let Some(moved) = &self.moved else { return self.plan.text(pen) };
        let mut lines = vec![format!("moved {}", count(moved.moved, "message"))];
        let unnoted = moved.moved.saturating_sub(self.plan.messages());
        if unnoted > 0 {
            let many = count(unnoted, "message");
            let text = format!("{many} of them without a note: `kvsw dlq list` shows whether they come back");
            lines.push(pen.tone(Tone::Warn, &text));
        }
        for (why, n) in &moved.not_taken {
            lines.push(pen.tone(Tone::Bad, &format!("{} stayed in the DLQ: {why}", count(*n, "message"))));
        }
        if moved.not_deleted > 0 {
            let many = count(moved.not_deleted, "message");
            let text = format!("{many} sent, but still in the DLQ as well; redriving again does no harm");
            lines.push(pen.tone(Tone::Warn, &text));
        }
        for (session, n) in &moved.not_reached {
            let many = count(*n, "message");
            let text = format!(
                "{many} of {session} not reached: behind messages that were not chosen, in somebody else's hands, or gone"
            );
            lines.push(pen.tone(Tone::Warn, &text));
        }
        if moved.interrupted {
            lines.push(pen.tone(Tone::Warn, "interrupted; run it again to go on"));
        }
        lines.extend(self.read_back.iter().map(|read_back| read_back.text(pen)));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept_whatever_the_batches_are() {
        for (rate, batch) in [(1, 1), (7, 7), (50, 10), (500, 10)] {
            let mut pace = Pace::new(rate);
            assert_eq!(pace.most(), batch);
            let began = Instant::now();
            let mut sent = 0;
            while sent < 1_000 {
                pace.take(batch).await;
                sent += batch;
                let allowed = began.elapsed().as_secs_f64() * f64::from(rate) + batch as f64 + 1.0;
                assert!(sent as f64 <= allowed, "{sent} messages after {:?} at {rate}/s", began.elapsed());
            }
            let took = began.elapsed().as_secs_f64();
            assert!(took <= 1_000.0 / f64::from(rate) + 1.0, "{took} s at {rate}/s is too slow");
        }
    }
}
