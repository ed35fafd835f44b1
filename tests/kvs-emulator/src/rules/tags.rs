//! Tags elements: a fragment's own tags, what muxers say of their file, and the tag that ends a fragment.

use super::document::DocumentError;
use super::ebml::Node;
use super::schema;
use bytes::Bytes;

/// The tag by which the official producers end a fragment while they keep the body open; readers never see it.
pub const END_OF_FRAGMENT: &str = "AWS_KINESISVIDEO_END_OF_FRAGMENT";

/// One Tags element.
#[derive(Clone, Debug, PartialEq)]
pub struct Tags {
    /// As it was sent, without [`END_OF_FRAGMENT`]; empty if there is nothing else in it.
    pub raw: Bytes,
    /// Name and value of each SimpleTag, in their order, without [`END_OF_FRAGMENT`].
    pub pairs: Vec<(String, String)>,
    /// True if a Tag has Targets. Muxers write them to say what of their file they speak of (title, encoder,
    /// statistics), producers' fragment tags are without; so only the latter are a fragment's metadata.
    pub of_muxer: bool,
    /// True if [`END_OF_FRAGMENT`] was in it.
    pub end_fragment: bool,
}

impl Tags {
    /// Reads the element `node`, which was sent as `raw`.
    pub(super) fn read(node: &Node, raw: Vec<u8>) -> Result<Self, DocumentError> {
        let mut pairs = Vec::new();
        for simple in node.all(schema::TAG).flat_map(|tag| tag.all(schema::SIMPLE_TAG)) {
            pairs.push(pair(simple)?);
        }
        let all = pairs.len();
        pairs.retain(|(name, _)| name != END_OF_FRAGMENT);
        let of_muxer = node.all(schema::TAG).any(|tag| tag.child(schema::TARGETS).is_some());
        let end_fragment = pairs.len() < all;
        let raw = if end_fragment { without_the_end(node) } else { raw };
        Ok(Self { raw: raw.into(), pairs, of_muxer, end_fragment })
    }
}

fn pair(simple: &Node) -> Result<(String, String), DocumentError> {
    let text = |node: &Node| node.text().map(str::to_owned).ok_or(DocumentError::BadTag);
    let name = simple.child(schema::TAG_NAME).ok_or(DocumentError::BadTag)?;
    let value = simple.child(schema::TAG_STRING).map_or(Ok(String::new()), text)?;
    Ok((text(name)?, value))
}

/// The element written again; nothing if nothing is left.
fn without_the_end(node: &Node) -> Vec<u8> {
    let ends = |simple: &Node| {
        simple.id == schema::SIMPLE_TAG
            && simple.child(schema::TAG_NAME).and_then(Node::text) == Some(END_OF_FRAGMENT)
    };
    let mut left = node.clone();
    left.children.iter_mut().for_each(|tag| tag.children.retain(|simple| !ends(simple)));
    left.children.retain(|tag| tag.id != schema::TAG || !tag.children.is_empty());
    let mut out = Vec::new();
    if !left.children.is_empty() {
        left.write(&mut out);
    }
    out
}
