//! Reads what GetMedia and GetMediaForFragmentList return: one body of many Segments, whose sizes may be unknown, with
//! tags before or after the Clusters that they belong to.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::ebml::{self, ElementHeader, id};
use crate::time::{EpochMs, Samples};

/// Tags that the service adds. GetMediaForFragmentList documents other names for the times than GetMedia.
const NUMBER: &str = "AWS_KINESISVIDEO_FRAGMENT_NUMBER";
const PRODUCER: [&str; 2] =
    ["AWS_KINESISVIDEO_PRODUCER_TIMESTAMP", "AWS_KINESISVIDEO_PRODUCER_SIDE_TIMESTAMP"];
const SERVER: [&str; 2] = ["AWS_KINESISVIDEO_SERVER_TIMESTAMP", "AWS_KINESISVIDEO_SERVER_SIDE_TIMESTAMP"];
/// Tags about the connection, sent after the fragment that they speak of.
const TRAILING: [&str; 2] = ["AWS_KINESISVIDEO_MILLIS_BEHIND_NOW", "AWS_KINESISVIDEO_CONTINUATION_TOKEN"];

const MS_NS: u64 = 1_000_000;

/// Why a body could not be read on. Places are bytes from the body's start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The body ends within an element.
    #[error("the media ends within element {id:#x} that begins at byte {at}; was the answer cut off?")]
    CutShort {
        /// Where the element begins.
        at: usize,
        /// The EBML element ID, 0 if not even that is there.
        id: u32,
    },
    /// An element that may not stand there, or whose size or content is broken.
    #[error("element {id:#x} at byte {at} is not allowed here or its content is broken")]
    BadElement {
        /// Where the element begins.
        at: usize,
        /// The EBML element ID, 0 if not even that can be read.
        id: u32,
    },
    /// A block with lacing, which PCM never has.
    #[error("the block at byte {at} has lacing, which this reader does not take apart")]
    Laced {
        /// Where the block begins.
        at: usize,
    },
}

/// One fragment, read back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadFragment {
    /// The service's fragment number.
    pub number: Option<String>,
    /// The service's record of the producer timestamp.
    pub producer_ms: Option<EpochMs>,
    /// When the service took the fragment.
    pub server_ms: Option<EpochMs>,
    /// The Cluster's own Timestamp.
    pub cluster_ms: EpochMs,
    /// All tags, the service's included.
    pub tags: BTreeMap<String, String>,
    /// Each block's time and bytes.
    pub blocks: Vec<(EpochMs, Vec<u8>)>,
}

impl ReadFragment {
    /// The blocks' samples one after the other (s16le).
    pub fn pcm(&self) -> Vec<i16> {
        let bytes = self.blocks.iter().flat_map(|(_, bytes)| bytes.chunks_exact(2));
        bytes.map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
    }

    /// How many samples the blocks hold.
    pub fn samples(&self) -> Samples {
        self.blocks.iter().map(|(_, bytes)| Samples::from(bytes.len() / 2)).sum()
    }

    fn add_tags(&mut self, tags: BTreeMap<String, String>) {
        let time = |names: [&str; 2]| names.iter().find_map(|&name| epoch_ms(tags.get(name)?));
        self.number = tags.get(NUMBER).cloned().or(self.number.take());
        self.producer_ms = time(PRODUCER).or(self.producer_ms);
        self.server_ms = time(SERVER).or(self.server_ms);
        self.tags.extend(tags);
    }
}

/// Epoch seconds with a decimal point, as the service writes them, to milliseconds.
fn epoch_ms(text: &str) -> Option<EpochMs> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let ms = fraction.bytes().chain(*b"000").take(3);
    let mut ms = ms.map(|digit| digit.is_ascii_digit().then(|| u64::from(digit - b'0')));
    let ms = ms.try_fold(0, |ms, digit| Some(ms * 10 + digit?))?;
    Some(EpochMs(seconds.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(ms)?))
}

/// Reads a body of any number of Segments, each of any number of Clusters, in the order they come in.
///
/// Tags before a Segment's first Cluster belong to the Cluster that follows them, and so do all other tags of such a
/// Segment but those that come last; in a Segment that begins with a Cluster, tags belong to the Cluster before them.
///
/// # Errors
/// [`ReadError`] with the place where the body cannot be read on.
pub fn read_fragments(bytes: &[u8]) -> Result<Vec<ReadFragment>, ReadError> {
    let mut reader = Reader { bytes, at: 0 };
    let mut fragments = Vec::new();
    while reader.at < bytes.len() {
        let header = reader.header()?;
        match header.id {
            id::EBML | id::VOID => {
                reader.content(header)?;
            }
            id::SEGMENT => fragments.extend(Segment::read(&mut reader, header)?),
            _ => return Err(reader.bad(header)),
        }
    }
    Ok(fragments)
}

/// A place in the body.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The header of the element that begins here.
    fn header(&self) -> Result<ElementHeader, ReadError> {
        match ElementHeader::read(&self.bytes[self.at..]) {
            Ok(Some(header)) => Ok(header),
            Ok(None) => Err(ReadError::CutShort { at: self.at, id: 0 }),
            Err(_) => Err(ReadError::BadElement { at: self.at, id: 0 }),
        }
    }

    /// Goes past an element of known size; returns its content.
    fn content(&mut self, header: ElementHeader) -> Result<&'a [u8], ReadError> {
        let end = self.end(header).ok_or(self.bad(header))?;
        let content = self.bytes.get(self.at + header.len..end);
        let content = content.ok_or(ReadError::CutShort { at: self.at, id: header.id })?;
        self.at = end;
        Ok(content)
    }

    /// Skips the header of a master element; returns where that element ends: the body's end if its size is unknown.
    fn enter(&mut self, header: ElementHeader, parent_end: usize) -> Result<usize, ReadError> {
        let end = match header.size {
            None => parent_end,
            Some(_) => self.end(header).ok_or(self.bad(header))?,
        };
        if end > self.bytes.len() {
            return Err(ReadError::CutShort { at: self.at, id: header.id });
        }
        if end > parent_end {
            return Err(self.bad(header));
        }
        self.at += header.len;
        Ok(end)
    }

    fn end(&self, header: ElementHeader) -> Option<usize> {
        usize::try_from(header.size?).ok()?.checked_add(self.at + header.len)
    }

    fn bad(&self, header: ElementHeader) -> ReadError {
        ReadError::BadElement { at: self.at, id: header.id }
    }
}

/// A Segment while it is read.
struct Segment {
    scale_ns: u64,
    parts: Vec<Part>,
}

/// What a Segment holds, in order.
enum Part {
    Tags(BTreeMap<String, String>),
    Cluster(ReadFragment),
}

impl Segment {
    fn read(reader: &mut Reader<'_>, header: ElementHeader) -> Result<Vec<ReadFragment>, ReadError> {
        let end = reader.enter(header, reader.bytes.len())?;
        let mut segment = Self { scale_ns: MS_NS, parts: Vec::new() };
        while reader.at < end {
            let header = reader.header()?;
            match header.id {
                id::EBML | id::SEGMENT => break, // ends a Segment of unknown size
                id::CLUSTER => {
                    let cluster = segment.cluster(reader, header, end)?;
                    segment.parts.push(Part::Cluster(cluster));
                }
                id::TAGS => {
                    let bad = reader.bad(header);
                    segment.parts.push(Part::Tags(tags(reader.content(header)?).ok_or(bad)?));
                }
                id::INFO => {
                    let bad = reader.bad(header);
                    segment.scale_ns = scale(reader.content(header)?).ok_or(bad)?;
                }
                _ => {
                    reader.content(header)?;
                }
            }
        }
        Ok(join(segment.parts))
    }

    fn cluster(
        &self,
        reader: &mut Reader<'_>,
        header: ElementHeader,
        segment_end: usize,
    ) -> Result<ReadFragment, ReadError> {
        let end = reader.enter(header, segment_end)?;
        let (mut fragment, mut time) = (ReadFragment::default(), None);
        while reader.at < end {
            let (at, header) = (reader.at, reader.header()?);
            match header.id {
                id::TIMESTAMP => {
                    let bad = reader.bad(header);
                    let ticks = ebml::uint(reader.content(header)?).ok_or(bad)?;
                    time = Some(ticks);
                    fragment.cluster_ms = self.epoch_ms(ticks.into());
                }
                id::SIMPLE_BLOCK | id::BLOCK_GROUP => {
                    let bad = reader.bad(header);
                    let content = reader.content(header)?;
                    let block = if header.id == id::BLOCK_GROUP { block_of(content) } else { Some(content) };
                    let (Some(block), Some(time)) = (block, time) else {
                        return Err(bad);
                    };
                    let (relative, flags, data) = split_block(block).ok_or(bad)?;
                    if flags & 0x06 != 0 {
                        return Err(ReadError::Laced { at });
                    }
                    let at = self.epoch_ms(i128::from(time) + i128::from(relative));
                    fragment.blocks.push((at, data.to_vec()));
                }
                id::CLUSTER | id::TAGS | id::CUES | id::EBML | id::SEGMENT => break, // ends one of unknown size
                _ => {
                    reader.content(header)?;
                }
            }
        }
        Ok(fragment)
    }

    fn epoch_ms(&self, ticks: i128) -> EpochMs {
        let ms = ticks * i128::from(self.scale_ns) / i128::from(MS_NS);
        EpochMs(u64::try_from(ms.max(0)).unwrap_or(u64::MAX))
    }
}

fn block_of(group: &[u8]) -> Option<&[u8]> {
    ebml::children(group)
        .find_map(|child| child.ok().filter(|&(child_id, _)| child_id == id::BLOCK))
        .map(|(_, b)| b)
}

fn split_block(mut content: &[u8]) -> Option<(i16, u8, &[u8])> {
    ebml::take_vint(&mut content)?;
    let (&[high, low, flags], data) = content.split_first_chunk()?;
    Some((i16::from_be_bytes([high, low]), flags, data))
}

fn scale(info: &[u8]) -> Option<u64> {
    let mut scale = MS_NS;
    for child in ebml::children(info) {
        if let (id::TIMESTAMP_SCALE, value) = child.ok()? {
            scale = ebml::uint(value).filter(|&scale| scale > 0)?;
        }
    }
    Some(scale)
}

fn tags(content: &[u8]) -> Option<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for tag in ebml::children(content) {
        let (id::TAG, tag) = tag.ok()? else { continue };
        for simple_tag in ebml::children(tag) {
            let (id::SIMPLE_TAG, simple_tag) = simple_tag.ok()? else {
                continue;
            };
            let (mut name, mut value) = (None, String::new());
            for field in ebml::children(simple_tag) {
                match field.ok()? {
                    (id::TAG_NAME, text) => name = Some(String::from_utf8_lossy(text).into_owned()),
                    (id::TAG_STRING, text) => value = String::from_utf8_lossy(text).into_owned(),
                    _ => {}
                }
            }
            tags.insert(name?, value);
        }
    }
    Some(tags)
}

/// Gives each Cluster its tags.
fn join(parts: Vec<Part>) -> Vec<ReadFragment> {
    let tags_first = matches!(parts.first(), Some(Part::Tags(_)));
    let (mut fragments, mut waiting): (Vec<ReadFragment>, Vec<_>) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Part::Cluster(mut cluster) => {
                waiting.drain(..).for_each(|tags| cluster.add_tags(tags));
                fragments.push(cluster);
            }
            Part::Tags(tags) => match fragments.last_mut() {
                Some(before) if !tags_first || trail(&tags) => before.add_tags(tags),
                _ => waiting.push(tags),
            },
        }
    }
    if let Some(last) = fragments.last_mut() {
        waiting.into_iter().for_each(|tags| last.add_tags(tags));
    }
    fragments
}

fn trail(tags: &BTreeMap<String, String>) -> bool {
    tags.keys().all(|name| TRAILING.contains(&name.as_str()))
}
