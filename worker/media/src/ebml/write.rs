//! Puts elements together, all of known size.

/// The longest header of a known-size element: a 4-byte ID and an 8-byte size.
const MAX_HEADER: usize = 12;

/// An element's whole bytes.
pub fn element(id: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAX_HEADER + content.len());
    append(&mut out, id, content.len());
    out.extend_from_slice(content);
    out
}

/// A master element of these children.
pub fn master(id: u32, children: &[Vec<u8>]) -> Vec<u8> {
    let size = children.iter().map(Vec::len).sum();
    let mut out = Vec::with_capacity(MAX_HEADER + size);
    append(&mut out, id, size);
    children.iter().for_each(|child| out.extend_from_slice(child));
    out
}

/// An unsigned integer element, as short as its value allows.
pub fn uint(id: u32, value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let unused = (value.leading_zeros() as usize / 8).min(7);
    element(id, &bytes[unused..])
}

/// Appends an element's header: the ID, then the shortest size field.
pub(crate) fn append(out: &mut Vec<u8>, id: u32, size: usize) {
    let id_bytes = id.to_be_bytes();
    out.extend_from_slice(&id_bytes[id.leading_zeros() as usize / 8..]);
    let size = size as u64;
    // A field of n bytes holds 7n bits; all ones are reserved for the unknown size.
    let len = (1..8).find(|len| size < (1 << (7 * len)) - 1).unwrap_or(8);
    let field = (size | 1 << (7 * len)).to_be_bytes();
    out.extend_from_slice(&field[8 - len..]);
}

#[cfg(test)]
mod tests {
    use super::super::{ElementHeader, id};
    use super::*;

    #[test]
    fn sizes_at_the_edges_of_each_length_read_back() {
        for size in [0, 1, 126, 127, 128, 16_382, 16_383, 2_097_150, 2_097_151, 268_435_455] {
            let mut out = Vec::new();
            append(&mut out, id::CLUSTER, size);
            let header = ElementHeader::read(&out).unwrap().unwrap();
            assert_eq!((header.id, header.size, header.len), (id::CLUSTER, Some(size as u64), out.len()));
        }
    }

    #[test]
    fn integers_are_as_short_as_they_can_be() {
        assert_eq!(uint(id::TIMESTAMP, 0), [0xe7, 0x81, 0]);
        assert_eq!(uint(id::TIMESTAMP, 255), [0xe7, 0x81, 255]);
        assert_eq!(uint(id::TIMESTAMP, 256), [0xe7, 0x82, 1, 0]);
        assert_eq!(uint(id::TIMESTAMP, u64::MAX)[..2], [0xe7, 0x88]);
    }
}
