//! What a later decoder must have heard.

use media::opus::{PRE_ROLL, packet_samples, pre_roll_with};
use media::time::Samples;

use super::folded::Step;
use crate::snapshot::Heard;

/// Remembers what the decoder hears of `steps`, no longer than a later one needs: as long as the most demanding packet asks for.
pub(super) fn hear(pre_roll: &mut Vec<Heard>, steps: &[Step]) {
    let begins = steps.iter().rposition(|step| *step == Step::Reset);
    if begins.is_some() {
        pre_roll.clear();
    }
    let mut window = Window::over(pre_roll);
    for step in &steps[begins.unwrap_or(0)..] {
        let heard = match step {
            Step::Reset | Step::Gain(_) | Step::Pcm(_) => continue,
            Step::Decode { packet, .. } => Heard::Packet(serde_bytes::ByteBuf::from(packet.clone())),
            Step::Conceal(lost) => Heard::Lost(*lost),
        };
        window.push(length(&heard), needs(&heard));
        pre_roll.push(heard);
    }
    pre_roll.drain(..window.from);
}

/// The part of the pre-roll that is kept, with its sums: each packet is counted once.
struct Window {
    /// Length and demand of each.
    heard: Vec<(Samples, Samples)>,
    /// What lies before is dropped.
    from: usize,
    total: Samples,
    needed: Samples,
}

impl Window {
    fn over(pre_roll: &[Heard]) -> Self {
        let heard: Vec<_> = pre_roll.iter().map(|heard| (length(heard), needs(heard))).collect();
        let total = heard.iter().map(|(length, _)| *length).sum();
        let needed = heard.iter().map(|(_, needs)| *needs).max().unwrap_or_default();
        Self { heard, from: 0, total, needed }
    }

    fn push(&mut self, length: Samples, needs: Samples) {
        self.heard.push((length, needs));
        self.total += length;
        self.needed = self.needed.max(needs);
        let mut dropped_the_most_demanding = false;
        while let Some((oldest, needs)) = self.heard.get(self.from)
            && self.total.saturating_sub(*oldest) >= self.needed
        {
            self.total = self.total.saturating_sub(*oldest);
            dropped_the_most_demanding |= *needs == self.needed;
            self.from += 1;
        }
        if dropped_the_most_demanding {
            // Demands come in two or three sizes: mostly the next one in line has the same, and this ends at once.
            let needed = self.needed;
            let rest = &self.heard[self.from..];
            let same = rest.iter().any(|(_, needs)| *needs == needed);
            if !same {
                self.needed = rest.iter().map(|(_, needs)| *needs).max().unwrap_or_default();
            }
        }
    }
}

fn needs(heard: &Heard) -> Samples {
    match heard {
        Heard::Packet(packet) => pre_roll_with(packet),
        Heard::Lost(_) => PRE_ROLL,
    }
}

fn length(heard: &Heard) -> Samples {
    match heard {
        Heard::Packet(packet) => packet_samples(packet).unwrap_or_default(),
        Heard::Lost(samples) => *samples,
    }
}
