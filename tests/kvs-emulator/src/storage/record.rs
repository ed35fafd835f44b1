//! What stands on disk: MessagePack, one record a stream and one a fragment.

use super::fragment::StoredFragment;
use super::stream::{NewStream, Stream};
use crate::rules::document::{Block, Document, Part};
use crate::rules::ebml::{write_id, write_unknown_size};
use crate::rules::schema::{CLUSTER, Elements};
use crate::rules::stream::Life;
use crate::rules::tracks::Header;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
struct StreamRecord {
    is: NewStream,
    arn: String,
    life: Life,
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct FragmentRecord {
    number: String,
    producer_timestamp_ms: u64,
    server_timestamp_ms: u64,
    length_ms: u64,
    media_ms: u64,
    tags: Vec<(String, String)>,
    header: ByteBuf,
    cluster_ticks: u64,
    blocks: Vec<BlockRecord>,
    connection: u64,
    listed_from_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct BlockRecord {
    track: u64,
    relative_ticks: i16,
    key: bool,
    duration_ticks: Option<u64>,
    data: ByteBuf,
}

/// A record that this version did not write, or that was damaged.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not MessagePack, or other members.
    #[error("{0}")]
    Decode(#[from] rmp_serde::decode::Error),
    /// The fragment's Matroska header does not parse.
    #[error("fragment {number}: its header is damaged")]
    Header {
        /// Fragment number.
        number: String,
    },
}

fn encode(record: &impl Serialize) -> Vec<u8> {
    // Strings, numbers, lists and bytes only: serialising them cannot fail.
    rmp_serde::to_vec(record).unwrap_or_default()
}

pub(super) fn encode_stream(stream: &Stream) -> Vec<u8> {
    let Stream { is, arn, life, version, .. } = stream;
    let (is, arn, life) = (is.clone(), arn.clone(), life.clone());
    encode(&StreamRecord { is, arn, life, version: *version })
}

pub(super) fn decode_stream(bytes: &[u8]) -> Result<Stream, RecordError> {
    let record: StreamRecord = rmp_serde::from_slice(bytes)?;
    let mut stream = Stream::new(record.is, record.arn, record.life);
    stream.version = record.version;
    Ok(stream)
}

pub(super) fn encode_fragment(fragment: &StoredFragment) -> Vec<u8> {
    let mut header = Vec::new();
    fragment.header.write(&mut header);
    let block = |block: &Block| BlockRecord {
        track: block.track,
        relative_ticks: block.relative_ticks,
        key: block.key,
        duration_ticks: block.duration_ticks,
        data: ByteBuf::from(block.data.to_vec()),
    };
    encode(&FragmentRecord {
        number: fragment.number.clone(),
        producer_timestamp_ms: fragment.producer_timestamp_ms,
        server_timestamp_ms: fragment.server_timestamp_ms,
        length_ms: fragment.length_ms,
        media_ms: fragment.media_ms,
        tags: fragment.tags.clone(),
        header: ByteBuf::from(header),
        cluster_ticks: fragment.cluster_ticks,
        blocks: fragment.blocks.iter().map(block).collect(),
        connection: fragment.connection,
        listed_from_ms: fragment.listed_from_ms,
    })
}

pub(super) fn decode_fragment(bytes: &[u8]) -> Result<StoredFragment, RecordError> {
    let record: FragmentRecord = rmp_serde::from_slice(bytes)?;
    let header =
        decode_header(&record.header).ok_or_else(|| RecordError::Header { number: record.number.clone() })?;
    let block = |block: BlockRecord| Block {
        track: block.track,
        relative_ticks: block.relative_ticks,
        key: block.key,
        duration_ticks: block.duration_ticks,
        data: Bytes::from(block.data.into_vec()),
    };
    let blocks: Vec<Block> = record.blocks.into_iter().map(block).collect();
    Ok(StoredFragment {
        number: record.number,
        producer_timestamp_ms: record.producer_timestamp_ms,
        server_timestamp_ms: record.server_timestamp_ms,
        length_ms: record.length_ms,
        media_ms: record.media_ms,
        size_bytes: blocks.iter().map(|block| block.data.len() as u64).sum(),
        tags: record.tags,
        header,
        cluster_ticks: record.cluster_ticks,
        blocks,
        connection: record.connection,
        listed_from_ms: record.listed_from_ms,
    })
}

/// Reads the header as it would be read from a producer whose first Cluster begins now.
fn decode_header(bytes: &[u8]) -> Option<Arc<Header>> {
    let mut document = Document::new(Elements::Matroska, usize::MAX);
    document.push(bytes);
    let mut cluster = Vec::new();
    write_id(CLUSTER, &mut cluster);
    write_unknown_size(&mut cluster);
    document.push(&cluster);
    match document.next() {
        Ok(Some(Part::Header(header))) => Some(header),
        _ => None,
    }
}
