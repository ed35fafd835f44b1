//! A PutMedia body as a sequence of clusters, blocks and tags: exactly one EBML header and one Segment,
//! Info and Tracks before the first Cluster, each Cluster's Timestamp before its blocks.
//!
//! Everything is kept as it was sent, byte for byte, because readers get it back so.

use super::blocks::{self, Frame};
use super::ebml::{EbmlError, ElementReader, Item, Node};
use super::opening::Opening;
use super::schema::{self, Elements, Schema};
use super::tags::Tags;
use super::tracks::{Header, HeaderError, check_ebml};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// Why a body is refused. All but the size of a block or Cluster and the number of tracks are INVALID_MKV_DATA.
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
    #[error("a Cluster of {bytes} bytes, at most {max} are taken")]
    ClusterTooLarge { bytes: u64, max: u64 },
}

/// What the body brings, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// All that stands before the first Cluster; comes once, before it.
    Header {
        /// Tracks and timebase.
        header: Arc<Header>,
        /// The bytes, for readers.
        opening: Opening,
    },
    /// A Cluster began.
    ClusterStart,
    /// The Cluster's Timestamp, in ticks.
    Timestamp(u64),
    /// A frame.
    Frame(Frame),
    /// The Cluster ended.
    ClusterEnd {
        /// True if it ended by its own size, false if something else had to come to end it.
        sized: bool,
        /// The whole Cluster as it was sent.
        media: Bytes,
    },
    /// Tags outside the clusters.
    Tags(Tags),
    /// The tag that ends a fragment.
    EndOfFragment,
    /// Any other element behind the first Cluster, as it was sent.
    Other(Bytes),
}

/// Bytes of one header element or Tags element, and of all that comes before the first Cluster.
const TREE_BYTES_MAX: usize = 1 << 20;
/// What a node weighs beside its payload, so that a million empty elements are refused too.
const NODE_BYTES: usize = 64;
/// A Segment whose end is not known, as live producers write it.
const OPEN_SEGMENT: [u8; 12] = [0x18, 0x53, 0x80, 0x67, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];

/// Reads a body that arrives in any pieces.
#[derive(Debug)]
pub struct Document {
    reader: ElementReader,
    tracks_max: usize,
    cluster_bytes_max: u64,
    /// Masters that are being read, outermost first; none of them is a Segment or a Cluster.
    tree: Vec<Node>,
    tree_bytes: usize,
    /// The bytes of the outermost of them.
    tree_raw: Vec<u8>,
    ebml_seen: bool,
    info: Option<Node>,
    tracks: Option<Node>,
    opening: Opening,
    segment_seen: bool,
    header_done: bool,
    /// The Cluster that is open.
    cluster: Option<OpenCluster>,
    ready: VecDeque<Part>,
}

#[derive(Debug, Default)]
struct OpenCluster {
    media: Vec<u8>,
    /// Bytes of its head and of all children that are whole.
    whole: usize,
    timestamp_seen: bool,
    /// Where the payload of a Block begins that stands in an open BlockGroup.
    block_at: usize,
}

impl Document {
    /// A reader that allows `elements`, at most `tracks_max` tracks, and at most `cluster_bytes_max` in a Cluster.
    pub fn new(elements: Elements, tracks_max: usize, cluster_bytes_max: u64) -> Self {
        Self {
            reader: ElementReader::new(elements),
            tracks_max,
            cluster_bytes_max,
            tree: Vec::new(),
            tree_bytes: 0,
            tree_raw: Vec::new(),
            ebml_seen: false,
            info: None,
            tracks: None,
            opening: Opening::default(),
            segment_seen: false,
            header_done: false,
            cluster: None,
            ready: VecDeque::new(),
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
        while self.ready.is_empty() {
            let Some(item) = self.reader.next()? else { return Ok(None) };
            self.item(item)?;
        }
        Ok(self.ready.pop_front())
    }

    /// The parts that the end of the body completes; call until `None`.
    ///
    /// # Errors
    /// The body ends inside an element, or before there was anything to end.
    pub fn finish(&mut self) -> Result<Option<Part>, DocumentError> {
        while self.ready.is_empty() {
            let Some(item) = self.reader.finish()? else { return Ok(None) };
            self.item(item)?;
        }
        Ok(self.ready.pop_front())
    }

    /// What has come of the Cluster that is open, to its last whole element, as a Cluster of unknown size.
    pub fn cut_cluster(&mut self) -> Bytes {
        let Some(OpenCluster { mut media, whole, .. }) = self.cluster.take() else { return Bytes::new() };
        media.truncate(whole);
        let size_at = size_of_val(&schema::CLUSTER);
        let length = media[size_at].leading_zeros() as usize + 1;
        media[size_at..size_at + length].fill(0xFF);
        media[size_at] >>= length - 1;
        shrunk(media)
    }

    /// Bytes that wait for the rest of their element, of their Cluster, or of the header.
    pub fn held_bytes(&self) -> u64 {
        let cluster = self.cluster.as_ref().map_or(0, |cluster| cluster.media.len());
        (self.reader.buffered() + self.tree_bytes + self.tree_raw.len() + cluster + self.opening.len()) as u64
    }

    fn item(&mut self, item: Item) -> Result<(), DocumentError> {
        match item {
            Item::Open { schema, sized, raw } => self.open(schema, sized, &raw),
            Item::Leaf { schema, raw, payload, offset } => self.leaf(schema, &raw, payload, offset),
            Item::Close { schema, sized } => self.close(schema, sized),
        }
    }

    fn open(&mut self, schema: &'static Schema, sized: bool, raw: &Bytes) -> Result<(), DocumentError> {
        match schema.id {
            schema::SEGMENT => return self.segment(sized, raw),
            schema::CLUSTER => return self.open_cluster(raw),
            schema::EBML if self.ebml_seen => return Err(HeaderError::Twice("EBML header").into()),
            schema::INFO if self.info.is_some() || self.header_done => {
                return Err(HeaderError::Twice("Info").into());
            }
            schema::TRACKS if self.tracks.is_some() || self.header_done => {
                return Err(HeaderError::Twice("Tracks").into());
            }
            _ => {}
        }
        self.keep(raw)?;
        self.tree.push(Node::master(schema.id, Vec::new()));
        self.grow(schema.name, NODE_BYTES)
    }

    /// A Segment's size is that of the producer's whole body; readers get one for each fragment, without it.
    fn segment(&mut self, sized: bool, raw: &Bytes) -> Result<(), DocumentError> {
        if self.segment_seen {
            return Err(HeaderError::Twice("Segment").into());
        }
        if !self.ebml_seen {
            return Err(DocumentError::NoEbmlHeader);
        }
        self.segment_seen = true;
        self.opening.add(if sized { &OPEN_SEGMENT } else { raw });
        Ok(())
    }

    fn open_cluster(&mut self, raw: &Bytes) -> Result<(), DocumentError> {
        if !self.header_done {
            let info = self.info.take().ok_or(HeaderError::Missing("Info"))?;
            let tracks = self.tracks.take().ok_or(HeaderError::Missing("Tracks"))?;
            let header = Arc::new(Header::read(&info, &tracks, self.tracks_max)?);
            self.header_done = true;
            let opening = std::mem::take(&mut self.opening);
            self.ready.push_back(Part::Header { header, opening });
        }
        let whole = raw.len();
        self.cluster = Some(OpenCluster { media: raw.to_vec(), whole, ..OpenCluster::default() });
        self.ready.push_back(Part::ClusterStart);
        Ok(())
    }

    fn leaf(
        &mut self,
        schema: &'static Schema,
        raw: &Bytes,
        payload: Bytes,
        offset: u64,
    ) -> Result<(), DocumentError> {
        let at = self.cluster.as_ref().map_or(0, |cluster| cluster.media.len()) + raw.len() - payload.len();
        self.keep(raw)?;
        if let Some(parent) = self.tree.last_mut() {
            parent.children.push(Node::leaf(schema.id, payload.clone()));
            return match (schema.id, &mut self.cluster) {
                (schema::BLOCK, Some(cluster)) => {
                    cluster.block_at = at;
                    Ok(())
                }
                _ => self.grow(schema.name, payload.len() + NODE_BYTES),
            };
        }
        match &mut self.cluster {
            Some(cluster) => {
                if let Some(part) = cluster.leaf(schema, &payload, at, offset)? {
                    self.ready.push_back(part);
                }
                Ok(())
            }
            None => self.top_level(),
        }
    }

    /// An element of the Segment is complete that is of no concern to the service.
    fn top_level(&mut self) -> Result<(), DocumentError> {
        let raw = std::mem::take(&mut self.tree_raw);
        if self.header_done {
            self.ready.push_back(Part::Other(shrunk(raw)));
            return Ok(());
        }
        self.opening.add(&raw);
        self.check_opening()
    }

    fn check_opening(&self) -> Result<(), DocumentError> {
        if self.opening.len() > TREE_BYTES_MAX {
            return Err(DocumentError::TooMuch { name: "the header", max: TREE_BYTES_MAX });
        }
        Ok(())
    }

    fn close(&mut self, schema: &'static Schema, sized: bool) -> Result<(), DocumentError> {
        if schema.id == schema::CLUSTER {
            let media = self.cluster.take().map_or(Bytes::new(), |cluster| shrunk(cluster.media));
            self.ready.push_back(Part::ClusterEnd { sized, media });
            return Ok(());
        }
        let Some(node) = self.tree.pop() else { return Ok(()) };
        if let Some(parent) = self.tree.last_mut() {
            parent.children.push(node);
            return Ok(());
        }
        self.tree_bytes = 0;
        if let Some(cluster) = &mut self.cluster {
            return cluster.block_group(&node, self.reader.offset()).map(|block| self.ready.push_back(block));
        }
        match schema.id {
            schema::TAGS => return self.tags(&node),
            schema::EBML => {
                check_ebml(&node)?;
                self.ebml_seen = true;
            }
            schema::INFO => self.info = Some(node),
            _ => self.tracks = Some(node),
        }
        self.top_level()
    }

    fn tags(&mut self, node: &Node) -> Result<(), DocumentError> {
        let tags = Tags::read(node, std::mem::take(&mut self.tree_raw))?;
        let ends = tags.end_fragment;
        if !self.header_done {
            self.opening.add_tags(&tags);
            self.check_opening()?;
        }
        self.ready.push_back(Part::Tags(tags));
        if ends {
            self.ready.push_back(Part::EndOfFragment);
        }
        Ok(())
    }

    /// Keeps bytes of the Cluster, or of the element of the Segment, that is open.
    fn keep(&mut self, raw: &Bytes) -> Result<(), DocumentError> {
        let Some(cluster) = &mut self.cluster else {
            self.tree_raw.extend_from_slice(raw);
            return Ok(());
        };
        cluster.media.extend_from_slice(raw);
        let (bytes, max) = (cluster.media.len() as u64, self.cluster_bytes_max);
        if bytes > max { Err(DocumentError::ClusterTooLarge { bytes, max }) } else { Ok(()) }
    }

    fn grow(&mut self, name: &'static str, bytes: usize) -> Result<(), DocumentError> {
        self.tree_bytes += bytes;
        if self.tree_bytes > TREE_BYTES_MAX {
            return Err(DocumentError::TooMuch { name, max: TREE_BYTES_MAX });
        }
        Ok(())
    }
}

impl OpenCluster {
    fn leaf(
        &mut self,
        schema: &'static Schema,
        payload: &Bytes,
        at: usize,
        offset: u64,
    ) -> Result<Option<Part>, DocumentError> {
        self.whole = self.media.len();
        match schema.id {
            schema::TIMESTAMP if self.timestamp_seen => Err(DocumentError::TwoTimestamps),
            schema::TIMESTAMP => {
                self.timestamp_seen = true;
                Ok(Some(Part::Timestamp(Node::leaf(schema.id, payload.clone()).uint())))
            }
            schema::SIMPLE_BLOCK if !self.timestamp_seen => {
                Err(DocumentError::BlockBeforeTimestamp { offset })
            }
            schema::SIMPLE_BLOCK => blocks::read(payload, at, offset).map(|block| Some(Part::Frame(block))),
            _ => Ok(None),
        }
    }

    fn block_group(&mut self, group: &Node, offset: u64) -> Result<Part, DocumentError> {
        self.whole = self.media.len();
        if !self.timestamp_seen {
            return Err(DocumentError::BlockBeforeTimestamp { offset });
        }
        blocks::read_group(group, self.block_at, offset).map(Part::Frame)
    }
}

/// Without the room that a growing buffer leaves at its end.
fn shrunk(bytes: Vec<u8>) -> Bytes {
    Bytes::from(bytes.into_boxed_slice())
}
