//! EBML (RFC 8794), as much as Matroska needs: element headers, IDs, integers; [`mod@write`] puts them together.

pub(crate) mod id;
pub mod write;

/// An element's header: its ID, the size of its content, and its own length.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct ElementHeader {
    /// The ID with its length marker, as the specifications print it.
    pub(crate) id: u32,
    /// The content's size in bytes; `None` is the unknown size.
    pub(crate) size: Option<u64>,
    /// Bytes that ID and size take.
    pub(crate) len: usize,
}

/// The bytes are not an element header: an ID longer than 4 or a size longer than 8 bytes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoElement;

impl ElementHeader {
    /// Reads the header at the start of `bytes`; `None` if they end too early to tell.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Self>, NoElement> {
        let Some(id_len) = vint_len(bytes, 4)? else {
            return Ok(None);
        };
        let Some(id) = bytes.get(..id_len) else {
            return Ok(None);
        };
        let rest = &bytes[id_len..];
        let Some(size_len) = vint_len(rest, 8)? else {
            return Ok(None);
        };
        let Some(size) = rest.get(..size_len) else {
            return Ok(None);
        };
        Ok(Some(Self { id: be_uint(id) as u32, size: vint_value(size), len: id_len + size_len }))
    }
}

/// How many bytes the variable-length integer at the start of `bytes` has (section 4).
fn vint_len(bytes: &[u8], longest: usize) -> Result<Option<usize>, NoElement> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    let len = first.leading_zeros() as usize + 1;
    if len > longest { Err(NoElement) } else { Ok(Some(len)) }
}

/// The number behind a whole variable-length integer's marker bit; `None` if all its bits are ones (reserved).
fn vint_value(vint: &[u8]) -> Option<u64> {
    let mask = (1_u64 << (7 * vint.len())) - 1;
    let value = be_uint(vint) & mask;
    (value != mask).then_some(value)
}

/// Takes a variable-length integer off the start of `bytes`: its value and its length in bytes.
pub(crate) fn take_vint(bytes: &mut &[u8]) -> Option<(u64, usize)> {
    let len = vint_len(bytes, 8).ok()??;
    let (vint, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some((vint_value(vint)?, len))
}

/// Up to eight bytes, big-endian (section 7.2; an empty integer is 0). More than eight keep the last eight.
pub(crate) fn be_uint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// An unsigned integer element's value, if its content is no longer than that may be.
pub(crate) fn uint(content: &[u8]) -> Option<u64> {
    (content.len() <= 8).then(|| be_uint(content))
}

/// A string element's value: it may be padded with zeros (section 7.4).
pub(crate) fn string(content: &[u8]) -> &[u8] {
    content.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A signed integer element's value (section 7.1).
pub(crate) fn int(content: &[u8]) -> Option<i64> {
    let unused = 64_u32.checked_sub(8 * u32::try_from(content.len()).ok()?)?;
    let value = be_uint(content);
    Some(if unused == 64 { 0 } else { (value << unused) as i64 >> unused })
}

/// The child elements of a master element whose whole content is at hand. Yields `Err` once, with the ID as far as it
/// could be read, where the content is not a run of elements of known size.
pub(crate) fn children(content: &[u8]) -> Children<'_> {
    Children { rest: content }
}

/// See [`children`].
pub(crate) struct Children<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Children<'a> {
    type Item = Result<(u32, &'a [u8]), u32>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let Ok(Some(header)) = ElementHeader::read(rest) else {
            return Some(Err(0));
        };
        let end = header.size.and_then(|size| usize::try_from(size).ok()?.checked_add(header.len));
        let Some((element, rest)) = end.and_then(|end| rest.split_at_checked(end)) else {
            return Some(Err(header.id));
        };
        self.rest = rest;
        Some(Ok((header.id, &element[header.len..])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(id: u32, size: Option<u64>, len: usize) -> Result<Option<ElementHeader>, NoElement> {
        Ok(Some(ElementHeader { id, size, len }))
    }

    #[test]
    fn headers_of_browsers_are_read() {
        let cluster = [0x1f, 0x43, 0xb6, 0x75, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(ElementHeader::read(&cluster), header(id::CLUSTER, None, 12));
        assert_eq!(ElementHeader::read(&[0xa3, 0x45, 0x0a, 0x81]), header(id::SIMPLE_BLOCK, Some(0x50a), 3));
        assert_eq!(ElementHeader::read(&[0xe7, 0x80]), header(id::TIMESTAMP, Some(0), 2));
        for cut in 0..cluster.len() {
            assert_eq!(ElementHeader::read(&cluster[..cut]), Ok(None), "{cut} bytes cannot tell");
        }
        assert_eq!(ElementHeader::read(&[0]), Err(NoElement));
        assert_eq!(ElementHeader::read(&[0xa3, 0]), Err(NoElement));
    }

    #[test]
    fn integers_have_their_sign() {
        assert_eq!(int(&[0xff]), Some(-1));
        assert_eq!(int(&[0x00, 0x80]), Some(128));
        assert_eq!(int(&[0x80, 0, 0, 0, 0, 0, 0, 0]), Some(i64::MIN));
        assert_eq!(int(&[]), Some(0));
        assert_eq!((int(&[0; 9]), uint(&[0; 9])), (None, None));
    }

    #[test]
    fn children_end_where_the_content_breaks() {
        let content = [0xe7, 0x81, 5, 0xa3, 0x82, 1];
        let read: Vec<_> = children(&content).collect();
        assert_eq!(read, [Ok((id::TIMESTAMP, &[5_u8][..])), Err(id::SIMPLE_BLOCK)]);
    }
}
