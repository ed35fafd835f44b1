//! What Info and blocks hold.

use super::super::item::{Item, Packet, SkipReason};
use super::block::Block;
use super::state::{LARGE_BLOCK, Webm};
use crate::ebml::{self, id};
use crate::opus::packet_samples;
use crate::time::{MediaTime, Samples};

const MAX_SCALE_NS: u64 = 1_000_000_000;

/// An Info element's TimestampScale, in nanoseconds per tick.
pub(super) fn timestamp_scale(info: &[u8]) -> Result<Option<u64>, SkipReason> {
    let mut scale_ns = None;
    for child in ebml::children(info) {
        let (child_id, value) = child.map_err(|_| SkipReason::BadElement { id: id::INFO })?;
        if child_id == id::TIMESTAMP_SCALE {
            let scale = ebml::uint(value).filter(|scale| (1..=MAX_SCALE_NS).contains(scale));
            scale_ns = Some(scale.ok_or(SkipReason::BadElement { id: child_id })?);
        }
    }
    Ok(scale_ns)
}

/// Turns a block of the Opus track into packets; a declared track beside it is passed over. A packet that is malformed has no
/// duration; a block that is large and all malformed is broken.
pub(super) fn read_block(
    webm: &mut Webm,
    block_id: u32,
    content: &[u8],
    cluster_time: u64,
    out: &mut Vec<Item>,
) -> Result<(), SkipReason> {
    let (content, discard_end) = opened(block_id, content).ok_or(SkipReason::BadPacket)?;
    let block = Block::read(content).ok_or(SkipReason::BadPacket)?;
    let Some(track) = &webm.track else { return Ok(()) };
    if block.track != track.number {
        let declared = track.others.contains(&block.track);
        return if declared { Ok(()) } else { Err(SkipReason::UnknownTrack(block.track)) };
    }
    if content.len() > LARGE_BLOCK && block.frames().iter().all(|frame| packet_samples(frame).is_err()) {
        return Err(SkipReason::BadPacket);
    }
    let time_basis = webm.cluster.as_ref().map(|cluster| cluster.basis).unwrap_or_default();
    let mut time = block_time(cluster_time, block.relative, webm.scale_ns);
    webm.latest = Some(time);
    webm.first.meet(content);
    let first = out.len();
    for frame in block.frames() {
        let duration = packet_samples(frame).unwrap_or_default();
        let discard_end = Samples::ZERO;
        out.push(Item::Packet(Packet { time, time_basis, duration, data: frame.to_vec(), discard_end }));
        time = time.plus(duration);
    }
    discard(&mut out[first..], discard_end);
    Ok(())
}

/// Spreads a block's DiscardPadding over its packets, from the last one on. One that is longer than the block says nothing:
/// GStreamer writes such for short packets.
fn discard(block: &mut [Item], mut padding: Samples) {
    let length: Samples = block.iter().filter_map(Item::packet).map(|packet| packet.duration).sum();
    if padding == Samples::ZERO || length < padding {
        return;
    }
    for item in block.iter_mut().rev() {
        if let Item::Packet(packet) = item {
            packet.discard_end = padding.min(packet.duration);
            padding = padding.saturating_sub(packet.duration);
        }
    }
}

/// The content of a SimpleBlock, or of a BlockGroup's Block with its DiscardPadding (positive: at the end).
pub(super) fn opened(block_id: u32, content: &[u8]) -> Option<(&[u8], Samples)> {
    if block_id == id::SIMPLE_BLOCK {
        return Some((content, Samples::ZERO));
    }
    let (mut block, mut discard_ns) = (None, 0);
    for child in ebml::children(content) {
        match child.ok()? {
            (id::BLOCK, value) => block = Some(value),
            (id::DISCARD_PADDING, value) => discard_ns = ebml::int(value)?,
            _ => {}
        }
    }
    Some((block?, MediaTime(discard_ns).since(MediaTime(0))))
}

/// When a block begins, by its Cluster's Timestamp and its own place after that, in ticks.
pub(super) fn block_time(cluster_time: u64, relative: i16, scale_ns: u64) -> MediaTime {
    let ns = (i128::from(cluster_time) + i128::from(relative)) * i128::from(scale_ns);
    MediaTime(ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
}

/// Whether a packet begins where the one before ends, if that was as long. Recorders stamp packets by a clock of their own.
pub(super) fn is_next(before: MediaTime, duration: Samples, time: MediaTime, tick_ns: u64) -> bool {
    let off = time.0.saturating_sub(before.plus(duration).0);
    off.saturating_abs() <= jitter_ns(duration, tick_ns)
}

/// By how much a packet's time may differ from where the one before ends: Chromium's packets of 60 ms come up to 18 ms early or
/// late.
pub(super) fn jitter_ns(duration: Samples, tick_ns: u64) -> i64 {
    MediaTime(0).plus(duration).0 / 3 + 2_000_000 + tick_ns as i64
}
