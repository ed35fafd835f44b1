//! What stands on disk: MessagePack, one record a stream and one a fragment.

use super::fragment::StoredFragment;
use super::stream::{NewStream, Stream};
use crate::rules::blocks::{Block, Frame};
use crate::rules::document::{Document, Part};
use crate::rules::schema::Elements;
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
    opening: ByteBuf,
    media: ByteBuf,
    behind: ByteBuf,
    connection: u64,
    listed_from_ms: u64,
}

/// A record that this version did not write, or that was damaged.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not MessagePack, or other members.
    #[error("{0}")]
    Decode(#[from] rmp_serde::decode::Error),
    /// The fragment's header or Cluster does not parse.
    #[error("fragment {number}: its media is damaged")]
    Media {
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
    let bytes = |bytes: &Bytes| ByteBuf::from(bytes.to_vec());
    encode(&FragmentRecord {
        number: fragment.number.clone(),
        producer_timestamp_ms: fragment.producer_timestamp_ms,
        server_timestamp_ms: fragment.server_timestamp_ms,
        length_ms: fragment.length_ms,
        media_ms: fragment.media_ms,
        tags: fragment.tags.clone(),
        opening: bytes(&fragment.opening),
        media: bytes(&fragment.media),
        behind: bytes(&fragment.behind),
        connection: fragment.connection,
        listed_from_ms: fragment.listed_from_ms,
    })
}

pub(super) fn decode_fragment(bytes: &[u8]) -> Result<StoredFragment, RecordError> {
    let record: FragmentRecord = rmp_serde::from_slice(bytes)?;
    let bytes = |bytes: ByteBuf| Bytes::from(bytes.into_vec());
    let (opening, media) = (bytes(record.opening), bytes(record.media));
    let (header, cluster_ticks, blocks) =
        read(&opening, &media).ok_or_else(|| RecordError::Media { number: record.number.clone() })?;
    let mut fragment = StoredFragment {
        number: record.number,
        producer_timestamp_ms: record.producer_timestamp_ms,
        server_timestamp_ms: record.server_timestamp_ms,
        length_ms: record.length_ms,
        media_ms: record.media_ms,
        size_bytes: 0,
        tags: record.tags,
        header,
        cluster_ticks,
        blocks,
        opening,
        media,
        behind: bytes(record.behind),
        connection: record.connection,
        listed_from_ms: record.listed_from_ms,
    };
    fragment.measure();
    Ok(fragment)
}

/// Reads header, time and frames as they were read from the producer, or as far as they came from one that was cut off.
fn read(opening: &Bytes, media: &Bytes) -> Option<(Arc<Header>, u64, Vec<Block>)> {
    let mut document = Document::new(Elements::Matroska, usize::MAX, u64::MAX);
    document.push(opening);
    document.push(media);
    let (mut header, mut ticks, mut frames) = (None, None, Vec::<Frame>::new());
    while let Some(part) = document.next().ok()? {
        match part {
            Part::Header { header: read, .. } => header = Some(read),
            Part::Timestamp(read) => ticks = Some(read),
            Part::Frame(frame) => frames.push(frame),
            _ => {}
        }
    }
    let blocks = frames.into_iter().map(|frame| frame.in_cluster(media)).collect();
    Some((header?, ticks?, blocks))
}
