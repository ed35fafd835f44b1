//! The part of a chunk that a piece is.

use media::demux::{Demuxer, Item, RecordingHead};
use media::time::Samples;

use crate::piece::Head;

/// A chunk's own part: all of it, or what lies between the heads that earlier and later fragments hold.
pub(super) struct Own<'a> {
    /// From block to block.
    pub(super) bytes: &'a [u8],
    /// So many packets of the first block are not part of it.
    passed: usize,
    /// So many of the block behind `bytes` are.
    ahead: usize,
    /// What begins with that block.
    behind: &'a [u8],
}

/// What a chunk's own part holds.
pub(super) struct Items {
    pub(super) items: Vec<Item>,
    /// The recording that began in what is passed.
    pub(super) began: Option<RecordingHead>,
    pub(super) is_all: bool,
}

impl<'a> Own<'a> {
    pub(super) fn of(bytes: &'a [u8], from: Option<Head>, to: Option<Head>) -> Self {
        let from = from.unwrap_or_default();
        let to = to.unwrap_or(Head { until: bytes.len(), ..Head::default() });
        let (before, behind) = bytes.split_at(to.until.min(bytes.len()));
        let bytes = before.get(from.until..).unwrap_or_default();
        Self { bytes, passed: from.packets, ahead: to.packets, behind }
    }

    /// What it holds up to `most` audio, and the recording that began in what is passed. A block in which it ends stays with the
    /// demuxer, as if none of it were read. With more audio it is not all looked at: then the demuxer's state is of no use.
    pub(super) fn items(&self, demuxer: &mut Demuxer, most: Samples) -> Items {
        let (mut items, used) = demuxer.push_until(self.bytes, most);
        let is_all = used == self.bytes.len();
        if self.ahead > 0 {
            let (mut block, _) = demuxer.clone().push_until(self.behind, Samples(1));
            block.truncate(end_of_packets(&block, self.ahead));
            items.append(&mut block);
        }
        let passed = items.drain(..end_of_packets(&items, self.passed));
        let began = passed.rev().find_map(|item| match item {
            Item::RecordingStart(head) => Some(head),
            _ => None,
        });
        Items { items, began, is_all }
    }
}

/// Where the first `count` packets end.
fn end_of_packets(items: &[Item], count: usize) -> usize {
    let is_packet = |(_, item): &(usize, &Item)| item.packet().is_some();
    let last = count.checked_sub(1).and_then(|last| items.iter().enumerate().filter(is_packet).nth(last));
    last.map_or(0, |(at, _)| at + 1)
}
