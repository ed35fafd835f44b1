//! EBML elements (RFC 8794).

/// The shortest size field for `value`, or one of eight bytes.
pub(crate) fn size(value: u64, long: bool) -> Vec<u8> {
    let shortest = (1..8).find(|len| value < (1 << (7 * len)) - 1).unwrap_or(8);
    vint(value, if long { 8 } else { shortest })
}

/// A variable-length integer of `len` bytes.
pub(crate) fn vint(value: u64, len: usize) -> Vec<u8> {
    (value | 1 << (7 * len)).to_be_bytes()[8 - len..].to_vec()
}

pub(crate) fn id(id: u32) -> Vec<u8> {
    id.to_be_bytes().into_iter().skip_while(|&byte| byte == 0).collect()
}

/// Puts elements together.
#[derive(Copy, Clone)]
pub(crate) struct Writer {
    /// Size fields have eight bytes, whatever they say.
    pub(crate) long_sizes: bool,
}

impl Writer {
    pub(crate) fn element(self, element_id: u32, content: &[u8]) -> Vec<u8> {
        [&id(element_id)[..], &size(content.len() as u64, self.long_sizes), content].concat()
    }

    pub(crate) fn master(self, element_id: u32, children: &[Vec<u8>]) -> Vec<u8> {
        self.element(element_id, &children.concat())
    }

    pub(crate) fn uint(self, element_id: u32, value: u64) -> Vec<u8> {
        let unused = (value.leading_zeros() as usize / 8).min(7);
        self.element(element_id, &value.to_be_bytes()[unused..])
    }

    pub(crate) fn int(self, element_id: u32, value: i32) -> Vec<u8> {
        self.element(element_id, &value.to_be_bytes())
    }
}
