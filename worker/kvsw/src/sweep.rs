//! `kvsw sweep`: the scheduled function's sweep, by hand.

use reader::text::{count, length};
use sweep::{Limits, Swept, sweep};

use crate::args::Sweep;
use crate::error::{Exit, Result};
use crate::output::{Output, Pen, Show, Tone, table};
use crate::world::World;

/// The command.
///
/// # Errors
/// Those of [`sweep`].
pub async fn run(world: &World, output: &Output, args: &Sweep) -> Result<Exit> {
    let (silent_for, max) = (args.silent_for, args.max as usize);
    let limits = Limits { dry_run: args.dry_run, silent_for, max, deadline: None };
    let swept = sweep(&sweep::World::new(&world.config, world.settings.clone()), &limits).await;
    // The chunk queue is the only one that a sweep asks.
    let swept = swept.map_err(|failure| world.queue_error(&world.settings.queue_url, failure))?;
    output.show(&swept)?;
    Ok(exit(&swept))
}

/// Whether something is left undone.
fn exit(swept: &Swept) -> Exit {
    if swept.more || swept.held_back.is_some() { Exit::Finding } else { Exit::Fine }
}

impl Show for Swept {
    fn text(&self, pen: Pen) -> String {
        let mut lines = Vec::new();
        let (ended, deleted) = match self.dry_run {
            true => ("would be ended", "would be deleted"),
            false => ("ended", "deleted"),
        };
        if !self.ended.is_empty() {
            let rows = self.ended.iter().map(|s| [s.session_id.clone(), length(s.silent_ms)]);
            lines.push(table(["SESSION", "SILENT FOR"], rows));
        }
        if !self.deleted.is_empty() {
            let rows = self.deleted.iter().map(|s| [s.stream.clone(), length(s.expired_ms)]);
            lines.push(table(["STREAM", "EMPTY FOR"], rows));
        }
        lines.push(format!(
            "{} {ended}, {} {deleted}",
            count(self.ended.len(), "silent session"),
            count(self.deleted.len(), "expired stream")
        ));
        for (n, what, fate) in [
            (self.never_spoke, "active session", "never sent a chunk (left alone)"),
            (self.kept_for_parked, "stream", "kept: messages of the session are parked"),
            (self.unknown, "stream", "of no known session (left alone)"),
        ] {
            if n > 0 {
                lines.push(pen.tone(Tone::Faint, &format!("{} {fate}", count(n, what))));
            }
        }
        if let Some(held) = &self.held_back {
            let text = format!(
                "{} not ended: {} in the chunk queue, and nothing was written for {}. Does the writer run? `kvsw doctor` looks",
                count(held.sessions, "silent session"),
                count(held.queued, "message"),
                length(held.unwritten_ms)
            );
            lines.push(pen.tone(Tone::Bad, &text));
        }
        if self.more {
            lines.push(pen.tone(Tone::Warn, "there is more to do; run it again"));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use sweep::HeldBack;

    use super::*;

    #[test]
    fn a_writer_that_stands_still_is_told() {
        let held_back = Some(HeldBack { sessions: 2, queued: 3, unwritten_ms: 2_400_000 });
        let swept = Swept { held_back, ..Swept::default() };
        assert_eq!(exit(&swept), Exit::Finding);
        let text = swept.text(Pen::PLAIN);
        assert!(text.contains("2 silent sessions not ended: 3 messages in the chunk queue"), "{text}");
    }
}
