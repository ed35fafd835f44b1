//! Times that follow from a later packet of the same push.

use super::item::{Item, Packet, TimeBasis};

/// Gives packets whose time is not known the one that follows from the first known time behind them. If a recording whose header
/// is missing begins there, they are its beginning: a recording without a header does not begin in the middle of a chunk.
pub(super) fn settle(items: &mut [Item]) {
    let mut run = None;
    let mut last = None;
    for at in 0..items.len() {
        match &items[at] {
            Item::Packet(packet) if !packet.time_basis.is_known() => {
                run.get_or_insert(at);
                last = Some(packet.time.plus(packet.duration));
            }
            Item::Packet(Packet { time, .. }) => {
                if let (Some(first), Some(last)) = (run.take(), last) {
                    let later_ns = time.0.saturating_sub(last.0);
                    settle_run(&mut items[first..at], later_ns);
                }
            }
            Item::RecordingStart(head) if head.headerless => {}
            _ => run = None,
        }
    }
}

fn settle_run(run: &mut [Item], later_ns: i64) {
    for item in run.iter_mut() {
        if let Item::Packet(packet) = item {
            packet.time.0 = packet.time.0.saturating_add(later_ns);
            packet.time_basis = TimeBasis::Known;
        }
    }
    if let Some(Item::RecordingStart(_)) = run.last() {
        run.rotate_right(1);
    }
}
