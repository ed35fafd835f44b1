//! `kvsw dlq redrive`: the plan, the move, the read-back.
//!
//! The move is kvsw's own, because StartMessageMoveTask does not say which deduplication id its copies carry: an id that the queue
//! has seen within five minutes would lose the message without a word. Each copy is named after the DLQ's message, which
//! the queue has never seen; it is deleted from the DLQ only after the queue has taken it. Killed in between, the next run
//! sends it again: within five minutes SQS drops the second copy, later the writer does.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::ProgressBar;
use reader::text::count;
use serde::Serialize;
use tokio::time::Instant;

use super::message::{DlqMessage, batches};
use super::plan::Plan;
use super::queue::{Dlq, right_queue};
use super::read_back::{self, ReadBack, Sent, SentMessage, read_back};
use super::select::{Selection, not_reached, nothing};
use super::survey::{Survey, survey};
use super::walk::{Acted, walk};
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
    /// Messages that the plan meant and the move could not reach, by session: they are in flight elsewhere, or gone.
    pub not_reached: BTreeMap<String, usize>,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// What the queue took.
    #[serde(skip)]
    pub sent: Sent,
}

impl Moved {
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
    /// What was asked for, where nothing of it is parked.
    #[serde(skip)]
    pub asked: String,
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
    let survey = survey(world, output, &args.filter).await?;
    let asked = nothing(&args.filter);
    if args.dry_run || survey.plan.is_empty() {
        let as_before = survey.plan.parked_again() == 0;
        output.show(&Redriven { plan: survey.plan, moved: None, read_back: None, asked })?;
        return Ok(if as_before { Exit::Fine } else { Exit::Finding });
    }
    output.say(&survey.plan.text(Pen::PLAIN));
    let stop = Stop::listen();
    let moved = move_chosen(world, output, args, &survey, &stop).await?;
    let plan = survey.plan;
    let read_back = match args.wait.is_zero() || moved.moved == 0 || moved.interrupted {
        true => None,
        false => {
            let done = read_back::Redrive { plan: &plan, sent: &moved.sent };
            Some(read_back(world, output, done, args.wait, &stop).await?)
        }
    };
    let fine = moved.complete() && read_back.as_ref().is_none_or(ReadBack::all_closed);
    output.show(&Redriven { plan, moved: Some(moved), read_back, asked })?;
    Ok(if fine { Exit::Fine } else { Exit::Finding })
}

/// The ordered move.
async fn move_chosen(
    world: &World,
    output: &Output,
    args: &Redrive,
    survey: &Survey,
    stop: &Stop,
) -> Result<Moved> {
    let Survey { plan, notes, without_note } = survey;
    // What is parked from now on is the writer's answer to the redrive itself.
    let selection = Selection::new(&args.filter, notes, *without_note, world.now());
    let bar = output.progress((plan.messages() + plan.unnoted.wanted()) as u64, "redriving");
    let mut mover = Mover { world, stop, pace: Pace::new(args.rate), bar, moved: Moved::default() };
    let walked = walk(world, selection, stop, async |dlq, messages| mover.take(dlq, &messages).await).await;
    mover.bar.finish_and_clear();
    let (mut moved, walked) = (mover.moved, walked?);
    moved.interrupted |= walked.interrupted;
    if !moved.interrupted {
        moved.not_reached = walked.goal.not_reached(world).await?;
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
    async fn take(&mut self, dlq: &Dlq<'_>, messages: &[DlqMessage]) -> Result<Acted> {
        let mut acted = Acted::default();
        for batch in batches(messages, self.pace.most()) {
            self.moved.interrupted |= self.stop.asked();
            if self.moved.interrupted {
                acted.ends = true;
                break;
            }
            self.pace.take(batch.len()).await;
            let taken = self.send(dlq, batch).await?;
            let left = dlq.remove(&taken).await?;
            self.moved.not_deleted += left;
            self.moved.moved += taken.len() - left;
            self.bar.inc((taken.len() - left) as u64);
            acted.gone.extend(taken.iter().map(|message| message.message_id.clone()));
        }
        Ok(acted)
    }

    /// Sends a batch to the queue. Returns what it has taken.
    async fn send<'m>(&mut self, dlq: &Dlq<'_>, batch: &'m [DlqMessage]) -> Result<Vec<&'m DlqMessage>> {
        let name = |m: &DlqMessage| (format!("redrive-{}", m.message_id), m.lasting_attributes());
        let mut taken = Vec::new();
        let sent = dlq.send(&self.world.settings.queue_url, batch, name).await?;
        for (message, outcome) in batch.iter().zip(sent) {
            match outcome {
                Ok(id) => {
                    let sent = SentMessage::of(id, message);
                    self.moved.sent.entry(message.group_id.clone()).or_default().push(sent);
                    taken.push(message);
                }
                Err(failure) => *self.moved.not_taken.entry(failure.to_string()).or_default() += 1,
            }
        }
        Ok(taken)
    }
}

impl Show for Redriven {
    fn text(&self, pen: Pen) -> String {
        if self.plan.is_empty() {
            return pen.tone(Tone::Good, &format!("{}; nothing was moved", self.asked));
        }
        let Some(moved) = &self.moved else { return self.plan.text(pen) };
        let mut lines = vec![format!("moved {}", count(moved.moved, "message"))];
        let unnoted = moved.moved.saturating_sub(self.plan.messages());
        if unnoted > 0 {
            lines.push(format!("{} of them had no note", count(unnoted, "message")));
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
            lines.push(pen.tone(Tone::Warn, &not_reached(*n, session)));
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
