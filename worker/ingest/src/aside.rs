//! Chunks set aside: acknowledged, and kept in the state until those before them have come.
//!
//! A delivery shows ten records. If these are in disorder (a page sends what it buffered, and the handler's invocations
//! overtake each other) or too short for a fragment, the missing chunks lie behind them in the queue. So all but one of them are
//! stored, listed in the checkpoint and acknowledged; the one that is left brings the next nine at once.

use serde::{Deserialize, Serialize};

use crate::message::{Entry, Record, parse};
use crate::piece::{Piece, Place};
use crate::schema::{FIRST, MAX_ITEM_BYTES, Unreadable, from_msgpack};
use crate::snapshot::{Kind, SnapshotKey};

/// The most chunks set aside at a time: two minutes of 250 ms each.
pub const MAX_CHUNKS: u64 = 500;
/// The most bytes of messages set aside at a time.
pub const MAX_BYTES: u64 = 6 * 1024 * 1024;

/// What is set aside, as the checkpoint lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Aside(Vec<Item>);

/// Some chunks set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Item {
    key: SnapshotKey,
    /// The place of its last chunk.
    last: Place,
    chunks: u64,
    bytes: u64,
}

/// An item as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredItem {
    schema: u32,
    records: Vec<(u32, Record)>,
}

impl Aside {
    /// Whether nothing is set aside.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether more may be set aside.
    pub fn has_room(&self) -> bool {
        let (chunks, bytes) = self.0.iter().fold((0, 0), |(c, b), item| (c + item.chunks, b + item.bytes));
        chunks < MAX_CHUNKS && bytes < MAX_BYTES
    }

    /// How many chunks are listed.
    pub fn chunks(&self) -> u64 {
        self.0.iter().map(|item| item.chunks).sum()
    }

    /// Keys of the items to load.
    pub fn keys(&self) -> impl Iterator<Item = &SnapshotKey> {
        self.0.iter().map(|item| &item.key)
    }

    /// Lists `pieces`; returns the items to store before the checkpoint is.
    pub fn take(&mut self, pieces: &[&Piece]) -> Vec<(SnapshotKey, Vec<u8>)> {
        let mut items = Vec::new();
        let mut rest = pieces;
        while let Some(first) = rest.first() {
            let mut bytes = 0;
            let fits = |piece: &&&Piece| {
                bytes += piece.record.body.len();
                bytes <= MAX_ITEM_BYTES
            };
            let (now, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            rest = later;
            let records = now.iter().map(|piece| (piece.numbering, kept(&piece.record))).collect();
            let stored = rmp_serde::to_vec_named(&StoredItem { schema: FIRST, records })
                .expect("records hold only values that MessagePack has");
            let key = SnapshotKey::of(Kind::Aside, first.place(), &stored);
            let last = now.iter().map(|piece| piece.place()).max().unwrap_or_default();
            let bytes = now.iter().map(|piece| piece.record.body.len() as u64).sum();
            self.0.push(Item { key: key.clone(), last, chunks: now.len() as u64, bytes });
            items.push((key, stored));
        }
        items
    }

    /// Drops an item that is no longer stored.
    pub fn forget(&mut self, key: &SnapshotKey) {
        self.0.retain(|item| item.key != *key);
    }

    /// Drops what lies behind the live audio's place: it is written, or left in a gap.
    pub fn leave_behind(&mut self, live: Place) {
        self.0.retain(|item| item.last >= live);
    }
}

/// A record whose message is about to be deleted: its delivery is over, and it has waited.
fn kept(record: &Record) -> Record {
    Record { receipt_handle: String::new(), receive_count: record.receive_count.max(2), ..record.clone() }
}

/// The chunks of an item.
///
/// # Errors
/// [`Unreadable`]: a later version's, or damaged.
pub fn decode(bytes: &[u8]) -> Result<Vec<Piece>, Unreadable> {
    let stored: StoredItem = from_msgpack(bytes)?;
    let piece = |(numbering, record): (u32, Record)| match parse(record) {
        Ok((_, Entry::Chunk(chunk))) => Some(Piece { set_aside: true, ..Piece::of(numbering, chunk) }),
        _ => None,
    };
    Ok(stored.records.into_iter().filter_map(piece).collect())
}
