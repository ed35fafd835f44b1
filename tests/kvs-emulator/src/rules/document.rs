//! A PutMedia body as a sequence of clusters, blocks and tags: exactly one EBML header and one Segment,
//! Info and Tracks before the first Cluster, each Cluster's Timestamp before its blocks.

use super::ebml::{EbmlError, ElementReader, Item, Node};
use super::schema::{self, Elements, Schema};
use super::tracks::{Header, HeaderError, check_ebml};
use bytes::Bytes;
use std::sync::Arc;

/// Why a body is refused. All but the size of a block and the number of tracks are INVALID_MKV_DATA.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum DocumentError {
    #[error(transparent)]
    Ebml(#[from] EbmlError),
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("the body does not begin with an EBML header")]
    NoEbmlHeader,
    #[error("byte {offset}: a block comes before its Cluster's Timestamp")]
    BlockBeforeTimestamp { offset: u64 },
    #[error("a Cluster has two Timestamps")]
    TwoTimestamps,
    #[error("byte {offset}: a block of {bytes} bytes has no whole header")]
    ShortBlock { offset: u64, bytes: usize },
    #[error("byte {offset}: a laced block; the service's producers write one frame in a block")]
    Laced { offset: u64 },
    #[error("a BlockGroup without Block")]
    EmptyBlockGroup,
    #[error("a SimpleTag without TagName, or with text that is not UTF-8")]
    BadTag,
    #[error("{name} is larger than {max} bytes in all")]
    TooMuch { name: &'static str, max: usize },
}

/// A frame of a track as it came.
#[derive(Clone, PartialEq)]
pub struct Block {
    /// Track number.
    pub track: u64,
    /// Ticks after the Cluster's Timestamp; may be negative.
    pub relative_ticks: i16,
    /// True if the block is a key frame.
    pub key: bool,
    /// BlockDuration in ticks, where a BlockGroup states one.
    pub duration_ticks: Option<u64>,
    /// The frame.
    pub data: Bytes,
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Block { track, relative_ticks, key, duration_ticks, data } = self;
        write!(f, "Block {{ track {track}, {relative_ticks} ticks, key {key}, ")?;
        write!(f, "duration {duration_ticks:?}, {} bytes }}", data.len())
    }
}

/// What the body brings, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// The header is complete; comes once, before the first Cluster.
    Header(Arc<Header>),
    /// A Cluster began.
    ClusterStart,
    /// The Cluster's Timestamp, in ticks.
    Timestamp(u64),
    /// A frame.
    Block(Block),
    /// The Cluster ended; `sized` if by its own size.
    ClusterEnd {
        /// False if something else had to come to end it.
        sized: bool,
    },
    /// A tag outside the clusters.
    Tag {
        /// TagName.
        name: String,
        /// TagString.
        value: String,
    },
}

/// Bytes of one header element or Tags element, in all.
const TREE_BYTES_MAX: usize = 1 << 20;
/// What a node weighs beside its payload, so that a million empty elements are refused too.
const NODE_BYTES: usize = 64;

/// Reads a body that arrives in any pieces.
#[derive(Debug)]
pub struct Document {
    reader: ElementReader,
    tracks_max: usize,
    tree: Vec<Node>,
    tree_bytes: usize,
    ebml: Option<Node>,
    info: Option<Node>,
    tracks: Option<Node>,
    header_done: bool,
    segment_seen: bool,
    timestamp_seen: bool,
    tags: Vec<Part>,
}

impl Document {
    /// A reader that allows `elements` and at most `tracks_max` tracks.
    pub fn new(elements: Elements, tracks_max: usize) -> Self {
        Self {
            reader: ElementReader::new(elements),
            tracks_max,
            tree: Vec::new(),
            tree_bytes: 0,
            ebml: None,
            info: None,
            tracks: None,
            header_done: false,
            segment_seen: false,
            timestamp_seen: false,
            tags: Vec::new(),
        }
    }

    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
    }

    /// The next part, or `None` until more bytes come.
    ///
    /// # Errors
    /// The first thing the service cannot take; nothing may be read after it.
    #[allow(clippy::should_implement_trait)] // a Result<Option>, as a parser says it
    pub fn next(&mut self) -> Result<Option<Part>, DocumentError> {
        loop {
            if let Some(tag) = self.tags.pop() {
                return Ok(Some(tag));
            }
            let Some(item) = self.reader.next()? else { return Ok(None) };
            if let Some(part) = self.item(item)? {
                return Ok(Some(part));
            }
        }
    }

    /// The parts that the end of the body completes; call until `None`.
    ///
    /// # Errors
    /// The body ends inside an element, or before there was anything to end.
    pub fn finish(&mut self) -> Result<Option<Part>, DocumentError> {
        while let Some(item) = self.reader.finish()? {
            if let Some(part) = self.item(item)? {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// Bytes that wait for the rest of their element, or of the header.
    pub fn held_bytes(&self) -> u64 {
        (self.reader.buffered() + self.tree_bytes) as u64
    }

    /// Bytes read so far, to the end of an element.
    pub fn offset(&self) -> u64 {
        self.reader.offset()
    }

    fn item(&mut self, item: Item) -> Result<Option<Part>, DocumentError> {
        match item {
            Item::Open { schema, .. } => self.open(schema),
            Item::Leaf { schema, payload, offset } => self.leaf(schema, payload, offset),
            Item::Close { schema, sized } => self.close(schema, sized),
        }
    }

    fn open(&mut self, schema: &'static Schema) -> Result<Option<Part>, DocumentError> {
        match schema.id {
            schema::SEGMENT if self.segment_seen => Err(HeaderError::Twice("Segment").into()),
            schema::SEGMENT if self.ebml.is_none() => Err(DocumentError::NoEbmlHeader),
            schema::SEGMENT => {
                self.segment_seen = true;
                Ok(None)
            }
            schema::EBML if self.ebml.is_some() => Err(HeaderError::Twice("EBML header").into()),
            schema::INFO if self.info.is_some() || self.header_done => Err(HeaderError::Twice("Info").into()),
            schema::TRACKS if self.tracks.is_some() || self.header_done => {
                Err(HeaderError::Twice("Tracks").into())
            }
            schema::CLUSTER => self.cluster(),
            _ => {
                self.grow(schema.name, NODE_BYTES)?;
                self.tree.push(Node::master(schema.id, Vec::new()));
                Ok(None)
            }
        }
    }

    fn cluster(&mut self) -> Result<Option<Part>, DocumentError> {
        self.timestamp_seen = false;
        if self.header_done {
            return Ok(Some(Part::ClusterStart));
        }
        let ebml = self.ebml.clone().ok_or(HeaderError::Missing("EBML header"))?;
        let info = self.info.take().ok_or(HeaderError::Missing("Info"))?;
        let tracks = self.tracks.take().ok_or(HeaderError::Missing("Tracks"))?;
        let header = Header::read(ebml, info, tracks, self.tracks_max)?;
        self.header_done = true;
        self.tags.push(Part::ClusterStart);
        Ok(Some(Part::Header(Arc::new(header))))
    }

    fn leaf(
        &mut self,
        schema: &'static Schema,
        payload: Bytes,
        offset: u64,
    ) -> Result<Option<Part>, DocumentError> {
        if let Some(parent) = self.tree.last_mut() {
            parent.children.push(Node::leaf(schema.id, payload.clone()));
            if schema.id != schema::BLOCK {
                self.grow(schema.name, payload.len() + NODE_BYTES)?;
            }
            return Ok(None);
        }
        match schema.id {
            schema::TIMESTAMP if self.timestamp_seen => Err(DocumentError::TwoTimestamps),
            schema::TIMESTAMP => {
                self.timestamp_seen = true;
                Ok(Some(Part::Timestamp(Node::leaf(schema.id, payload).uint())))
            }
            schema::SIMPLE_BLOCK if !self.timestamp_seen => {
                Err(DocumentError::BlockBeforeTimestamp { offset })
            }
            schema::SIMPLE_BLOCK => self.block(payload, offset, None).map(|block| Some(Part::Block(block))),
            _ => Ok(None),
        }
    }

    fn close(&mut self, schema: &'static Schema, sized: bool) -> Result<Option<Part>, DocumentError> {
        if schema.id == schema::CLUSTER {
            return Ok(Some(Part::ClusterEnd { sized }));
        }
        let Some(node) = self.tree.pop() else { return Ok(None) };
        if let Some(parent) = self.tree.last_mut() {
            parent.children.push(node);
            return Ok(None);
        }
        self.tree_bytes = 0;
        match schema.id {
            schema::EBML => {
                check_ebml(&node)?;
                self.ebml = Some(node);
            }
            schema::INFO => self.info = Some(node),
            schema::TRACKS => self.tracks = Some(node),
            schema::TAGS => self.read_tags(&node)?,
            schema::BLOCK_GROUP => return self.block_group(&node).map(Some),
            _ => {}
        }
        Ok(None)
    }

    fn grow(&mut self, name: &'static str, bytes: usize) -> Result<(), DocumentError> {
        self.tree_bytes += bytes;
        if self.tree_bytes > TREE_BYTES_MAX {
            return Err(DocumentError::TooMuch { name, max: TREE_BYTES_MAX });
        }
        Ok(())
    }

    /// Block header: track number as EBML number, 16-bit relative time, flags (RFC 9559, section 10.1).
    fn block(&self, payload: Bytes, offset: u64, duration: Option<u64>) -> Result<Block, DocumentError> {
        let short = DocumentError::ShortBlock { offset, bytes: payload.len() };
        let first = *payload.first().ok_or(short.clone())?;
        let length = first.leading_zeros() as usize + 1;
        if length > 8 || payload.len() < length + 3 {
            return Err(short);
        }
        let raw = payload[..length].iter().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
        let flags = payload[length + 2];
        if flags & 0x06 != 0 {
            return Err(DocumentError::Laced { offset });
        }
        Ok(Block {
            track: raw & ((1u64 << (7 * length)) - 1),
            relative_ticks: i16::from_be_bytes([payload[length], payload[length + 1]]),
            key: flags & 0x80 != 0,
            duration_ticks: duration,
            data: payload.slice(length + 3..),
        })
    }

    fn block_group(&self, group: &Node) -> Result<Part, DocumentError> {
        let offset = self.reader.offset();
        if !self.timestamp_seen {
            return Err(DocumentError::BlockBeforeTimestamp { offset });
        }
        let block = group.child(schema::BLOCK).ok_or(DocumentError::EmptyBlockGroup)?;
        let duration = group.child(0x9B).map(Node::uint);
        let mut block = self.block(block.payload.clone(), offset, duration)?;
        // In a BlockGroup the key flag is the absence of a reference.
        block.key = group.child(0xFB).is_none();
        Ok(Part::Block(block))
    }

    /// Puts the tags on the pile, last first.
    fn read_tags(&mut self, tags: &Node) -> Result<(), DocumentError> {
        for simple in tags.all(schema::TAG).flat_map(|tag| tag.all(schema::SIMPLE_TAG)) {
            let name = simple.child(schema::TAG_NAME).and_then(Node::text).ok_or(DocumentError::BadTag)?;
            let value = match simple.child(schema::TAG_STRING) {
                Some(value) => value.text().ok_or(DocumentError::BadTag)?,
                None => "",
            };
            self.tags.push(Part::Tag { name: name.to_owned(), value: value.to_owned() });
        }
        self.tags.reverse();
        Ok(())
    }
}
