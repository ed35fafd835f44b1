//! A plan in words.

use media::time::EpochMs;
use reader::ranges::Ranges;
use reader::text::{count, length, moment};

use super::{GapPlan, Plan, SessionPlan, Unnoted};
use crate::output::{Pen, Show, Tone};

impl Show for Plan {
    fn text(&self, pen: Pen) -> String {
        let mut lines = Vec::new();
        for session in &self.sessions {
            session.write(&mut lines, pen);
        }
        lines.extend(self.unnoted.line(pen));
        let moved = count(self.messages(), "message");
        let gaps = count(self.closing(), "gap");
        let mut total = format!("plan: move {moved}{}, close {gaps}", self.unnoted.in_total());
        if self.parked_again() > 0 {
            total.push_str(&format!("; {} will be parked again", self.parked_again()));
        }
        lines.push(total);
        lines.join("\n")
    }
}

impl Unnoted {
    fn line(&self, pen: Pen) -> Option<String> {
        let many = count(self.messages, "message");
        let fate = match (self.meant, &self.only_of) {
            (false, _) => "left where they are, since they have no reason".to_owned(),
            (true, None) => "moved too; the plan cannot tell where they belong".to_owned(),
            (true, Some(session)) => format!("those of {session} are moved too"),
        };
        let text = format!("{many} in the DLQ without a note, of any session: {fate}");
        (self.messages > 0).then(|| pen.tone(Tone::Warn, &text))
    }

    /// As it stands after the number of messages that are noted.
    fn in_total(&self) -> String {
        match (self.wanted(), &self.only_of) {
            (0, _) => String::new(),
            (n, None) => format!(" and about {n} without a note"),
            (n, Some(session)) => format!(" and those of {session} among about {n} without a note"),
        }
    }
}

/// `chunk 4`, `chunks 4-5`.
fn chunks(chunks: &Ranges) -> String {
    let noun = if chunks.len() == 1 { "chunk" } else { "chunks" };
    format!("{noun} {chunks}")
}

impl SessionPlan {
    fn write(&self, lines: &mut Vec<String>, pen: Pen) {
        lines.push(format!("{} ({}): {}", self.session_id, self.status, count(self.messages, "message")));
        for gap in &self.gaps {
            lines.push(gap.line(pen));
        }
        if let Some(at) = self.older_than_retention {
            let text = format!(
                "  the gap at {} is older than the stream's retention: what is written there may expire at once",
                moment(EpochMs(at))
            );
            lines.push(pen.tone(Tone::Warn, &text));
        }
        if !self.appended.is_empty() {
            lines.push(format!("  {}: join the session's live audio", chunks(&self.appended)));
        }
        if !self.written.is_empty() {
            let text =
                format!("  {}: in no gap, so written already; the writer drops them", chunks(&self.written));
            lines.push(pen.tone(Tone::Faint, &text));
        }
        if self.unforeseen > 0 {
            lines.push(format!("  {} without a chunk index", count(self.unforeseen, "message")));
        }
        for again in &self.parked_again {
            let what = match again.chunks.is_empty() {
                true => count(again.messages, "message"),
                false => chunks(&again.chunks),
            };
            let text = format!("  {what} ({}): will be parked again: {}", again.reason, again.why.why());
            lines.push(pen.tone(Tone::Warn, &text));
        }
    }
}

impl GapPlan {
    fn line(&self, pen: Pen) -> String {
        let gap = Ranges::inclusive(self.chunk_first, self.chunk_last);
        let long = self
            .ends_at
            .map_or(String::new(), |end| format!(" ({})", length(end.saturating_sub(self.begins_at))));
        let place = format!("  gap {gap} at {}{long}", moment(EpochMs(self.begins_at)));
        if self.closes() {
            return format!("{place}: {}", pen.tone(Tone::Good, "will be filled"));
        }
        let mut left = Vec::new();
        if !self.staying.is_empty() {
            left.push(format!("{} stay parked", self.staying));
        }
        if !self.nowhere.is_empty() {
            left.push(format!("{} not noted as parked", self.nowhere));
        }
        let shrinks = format!("{} return, {}", self.returning, left.join(", "));
        format!("{place}: {}", pen.tone(Tone::Warn, &shrinks))
    }
}
