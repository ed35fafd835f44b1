//! EBML elements out of bytes that arrive in any pieces, and back into bytes (RFC 8794).
//!
//! * An element is ID, size, payload. ID and size are numbers whose first byte's leading zeros give their length;
//!   the ID keeps that marker, the size loses it (sections 4 and 5).
//! * A size of all ones is unknown; such a master ends where an element comes that cannot be inside it (section 6.2).
//! * Only leaves are buffered, each up to its row's limit in the schema, so memory stays bounded.

use super::schema::{Elements, Kind, ROOT, Schema};
use bytes::{Bytes, BytesMut};

/// Why bytes are not the Matroska document that the service wants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum EbmlError {
    #[error("byte {offset}: {byte:#04x} starts no element ID; the body is not Matroska from here on")]
    BadId { offset: u64, byte: u8 },
    #[error("byte {offset}: {byte:#04x} starts no element size")]
    BadSize { offset: u64, byte: u8 },
    #[error("byte {offset}: element {id:#x} is none that the service is known to accept")]
    UnknownElement { offset: u64, id: u32 },
    #[error("byte {offset}: {name} may not stand inside {parent}")]
    Misplaced { offset: u64, name: &'static str, parent: &'static str },
    #[error("byte {offset}: {name} ends after its parent {parent}")]
    Overrun { offset: u64, name: &'static str, parent: &'static str },
    #[error("byte {offset}: {name} of {size} bytes, at most {max} are taken")]
    TooLarge { offset: u64, name: &'static str, size: u64, max: usize },
    #[error("byte {offset}: {name} must state its size; only Segment and Cluster may leave it open")]
    Unsized { offset: u64, name: &'static str },
    #[error("the body ends at byte {offset} in the middle of {name}")]
    Truncated { offset: u64, name: &'static str },
}

/// What the reader found.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A master begins.
    Open {
        /// Its row.
        schema: &'static Schema,
        /// False if the size is unknown.
        sized: bool,
        /// ID and size as they were sent.
        raw: Bytes,
    },
    /// An element with its whole payload.
    Leaf {
        /// Its row.
        schema: &'static Schema,
        /// ID, size and payload as they were sent.
        raw: Bytes,
        /// The payload, which is the end of `raw`.
        payload: Bytes,
        /// Absolute position of its first byte.
        offset: u64,
    },
    /// A master ended.
    Close {
        /// Its row.
        schema: &'static Schema,
        /// False if it ended because something came that cannot be inside it.
        sized: bool,
    },
}

#[derive(Debug)]
struct Open {
    schema: &'static Schema,
    end: Option<u64>,
}

struct Head {
    id: u32,
    size: Option<u64>,
    length: usize,
}

/// Reads elements; feed with [`push`](Self::push), drain with [`next`](Self::next).
#[derive(Debug)]
pub struct ElementReader {
    elements: Elements,
    buffer: BytesMut,
    offset: u64,
    open: Vec<Open>,
}

impl ElementReader {
    /// A reader that allows `elements`.
    pub fn new(elements: Elements) -> Self {
        Self { elements, buffer: BytesMut::new(), offset: 0, open: Vec::new() }
    }

    /// Adds bytes to what is waiting.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next item, or `None` until more bytes come.
    ///
    /// # Errors
    /// The first thing that no KVS document may contain. The reader does not move past it.
    #[allow(clippy::should_implement_trait)] // a Result<Option>, as a parser says it
    pub fn next(&mut self) -> Result<Option<Item>, EbmlError> {
        if let Some(top) = self.open.last()
            && top.end == Some(self.offset)
        {
            return Ok(self.close());
        }
        let Some(head) = self.head()? else { return Ok(None) };
        let schema = self
            .elements
            .find(head.id, self.parent_id())
            .ok_or(EbmlError::UnknownElement { offset: self.offset, id: head.id })?;
        if !schema.fits_in(self.parent_id()) {
            return self.leave_unsized(schema);
        }
        let end = self.check_end(&head, schema)?;
        if schema.kind == Kind::Master {
            return Ok(Some(self.enter(&head, schema, end)));
        }
        Ok(self.leaf(&head, schema))
    }

    /// Closes what an unknown size left open at the end of the body; call until `None`.
    ///
    /// # Errors
    /// [`EbmlError::Truncated`] if the body ends inside an element.
    pub fn finish(&mut self) -> Result<Option<Item>, EbmlError> {
        let name = self.parent_name();
        if !self.buffer.is_empty() || self.open.last().is_some_and(|top| top.end.is_some()) {
            return Err(EbmlError::Truncated { offset: self.offset + self.buffer.len() as u64, name });
        }
        Ok(self.close())
    }

    /// Bytes that wait for the rest of their element.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes that were read to the end of an element.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn parent_id(&self) -> u32 {
        self.open.last().map_or(ROOT, |open| open.schema.id)
    }

    fn parent_name(&self) -> &'static str {
        self.open.last().map_or("the document", |open| open.schema.name)
    }

    fn close(&mut self) -> Option<Item> {
        self.open.pop().map(|open| Item::Close { schema: open.schema, sized: open.end.is_some() })
    }

    /// An element that cannot be in the innermost master ends it, if its size is unknown and an outer one can hold it.
    fn leave_unsized(&mut self, schema: &'static Schema) -> Result<Option<Item>, EbmlError> {
        let unsized_count = self.open.iter().rev().take_while(|open| open.end.is_none()).count();
        let outer = self.open.len() - unsized_count;
        let holds =
            |depth: usize| schema.fits_in(depth.checked_sub(1).map_or(ROOT, |i| self.open[i].schema.id));
        if unsized_count > 0 && (outer..self.open.len()).any(holds) {
            return Ok(self.close());
        }
        Err(EbmlError::Misplaced { offset: self.offset, name: schema.name, parent: self.parent_name() })
    }

    fn check_end(&self, head: &Head, schema: &'static Schema) -> Result<Option<u64>, EbmlError> {
        let offset = self.offset;
        let Some(size) = head.size else {
            if schema.may_be_unsized() && self.open.last().is_none_or(|top| top.end.is_none()) {
                return Ok(None);
            }
            return Err(EbmlError::Unsized { offset, name: schema.name });
        };
        if schema.kind != Kind::Master && size > schema.bytes_max as u64 {
            return Err(EbmlError::TooLarge { offset, name: schema.name, size, max: schema.bytes_max });
        }
        // Sizes have at most 56 bits, so this sum cannot wrap before 2^63 bytes were sent.
        let end = offset + head.length as u64 + size;
        match self.open.last().and_then(|top| top.end) {
            Some(parent_end) if end > parent_end => {
                Err(EbmlError::Overrun { offset, name: schema.name, parent: self.parent_name() })
            }
            _ => Ok(Some(end)),
        }
    }

    fn enter(&mut self, head: &Head, schema: &'static Schema, end: Option<u64>) -> Item {
        let raw = self.take(head.length);
        self.open.push(Open { schema, end });
        Item::Open { schema, sized: end.is_some(), raw }
    }

    fn leaf(&mut self, head: &Head, schema: &'static Schema) -> Option<Item> {
        let size = usize::try_from(head.size.unwrap_or(0)).unwrap_or(usize::MAX);
        if self.buffer.len() - head.length < size {
            return None;
        }
        let offset = self.offset;
        let raw = self.take(head.length + size);
        let payload = raw.slice(head.length..);
        Some(Item::Leaf { schema, raw, payload, offset })
    }

    fn take(&mut self, count: usize) -> Bytes {
        self.offset += count as u64;
        self.buffer.split_to(count).freeze()
    }

    fn head(&self) -> Result<Option<Head>, EbmlError> {
        let Some(&first) = self.buffer.first() else { return Ok(None) };
        let id_length = first.leading_zeros() as usize + 1;
        if id_length > 4 {
            return Err(EbmlError::BadId { offset: self.offset, byte: first });
        }
        let Some(&size_first) = self.buffer.get(id_length) else { return Ok(None) };
        let size_length = size_first.leading_zeros() as usize + 1;
        if size_length > 8 {
            return Err(EbmlError::BadSize { offset: self.offset + id_length as u64, byte: size_first });
        }
        let length = id_length + size_length;
        let Some(head) = self.buffer.get(..length) else { return Ok(None) };
        let id = head[..id_length].iter().fold(0u32, |id, &byte| id << 8 | u32::from(byte));
        let raw = head[id_length..].iter().fold(0u64, |size, &byte| size << 8 | u64::from(byte));
        let mask = (1u64 << (7 * size_length)) - 1;
        let size = (raw & mask != mask).then_some(raw & mask);
        Ok(Some(Head { id, size, length }))
    }
}

/// A small element with everything in it: header, tracks, tags.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Element ID.
    pub id: u32,
    /// Payload of a leaf; empty for a master.
    pub payload: Bytes,
    /// Children of a master.
    pub children: Vec<Node>,
}

impl Node {
    /// A master with children.
    pub fn master(id: u32, children: Vec<Node>) -> Self {
        Self { id, payload: Bytes::new(), children }
    }

    /// A leaf with its payload.
    pub fn leaf(id: u32, payload: impl Into<Bytes>) -> Self {
        Self { id, payload: payload.into(), children: Vec::new() }
    }

    /// The first child with this ID.
    pub fn child(&self, id: u32) -> Option<&Node> {
        self.all(id).next()
    }

    /// All children with this ID.
    pub fn all(&self, id: u32) -> impl Iterator<Item = &Node> {
        self.children.iter().filter(move |child| child.id == id)
    }

    /// The payload as unsigned integer; the schema has limited it to 8 bytes.
    pub fn uint(&self) -> u64 {
        self.payload.iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
    }

    /// The payload as number, `None` if it is not 0, 4 or 8 bytes long.
    pub fn float(&self) -> Option<f64> {
        match self.payload.len() {
            0 => Some(0.0),
            4 => self.payload.first_chunk().map(|bytes| f64::from(f32::from_be_bytes(*bytes))),
            8 => self.payload.first_chunk().map(|bytes| f64::from_be_bytes(*bytes)),
            _ => None,
        }
    }

    /// The payload as text, without the zero bytes that may pad it; `None` if it is not UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.payload).ok().map(|text| text.trim_end_matches('\0'))
    }

    /// Appends the element's bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.children.is_empty() {
            return write_element(self.id, &self.payload, out);
        }
        let mut inner = Vec::new();
        self.children.iter().for_each(|child| child.write(&mut inner));
        write_element(self.id, &inner, out);
    }
}

/// Appends ID, size and payload.
pub fn write_element(id: u32, payload: &[u8], out: &mut Vec<u8>) {
    write_id(id, out);
    write_size(payload.len() as u64, out);
    out.extend_from_slice(payload);
}

/// Appends an ID.
pub fn write_id(id: u32, out: &mut Vec<u8>) {
    let skip = id.leading_zeros() as usize / 8;
    out.extend_from_slice(&id.to_be_bytes()[skip..]);
}

/// Appends a size in as few bytes as it needs.
pub fn write_size(size: u64, out: &mut Vec<u8>) {
    // All ones means unknown, so n bytes hold up to 2^(7n) - 2.
    let length = (1..8).find(|n| size < (1u64 << (7 * n)) - 1).unwrap_or(8);
    let marked = size | 1u64 << (7 * length);
    out.extend_from_slice(&marked.to_be_bytes()[8 - length..]);
}

/// Appends the size that says "unknown".
pub fn write_unknown_size(out: &mut Vec<u8>) {
    out.push(0xFF);
}
