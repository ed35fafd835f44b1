//! Ogg pages (RFC 3533 section 6).

/// The bytes are not a page, or a damaged one.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct NoPage {
    /// How many of them it took to tell.
    pub(in super::super) cost: usize,
}

/// One page whose checksum is right.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Page<'a> {
    flags: u8,
    /// Where the last packet that ends on this page ends, in ticks at 48 kHz; -1 if none ends here.
    pub(super) granule: i64,
    pub(super) serial: u32,
    pub(super) sequence: u32,
    /// Its bytes on the wire.
    pub(in super::super) whole: &'a [u8],
    lacing: &'a [u8],
    body: &'a [u8],
}

/// A packet, or a part of one, on a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether the packet ends with this part; it goes on on the next page otherwise.
    pub(super) ends: bool,
}

const CAPTURE: &[u8] = b"OggS";
const HEADER: usize = 27;
const CRC_AT: std::ops::Range<usize> = 22..26;

impl<'a> Page<'a> {
    /// Reads the page at the start of `bytes`; `None` if they end too early.
    pub(in super::super) fn read(bytes: &'a [u8]) -> Result<Option<Self>, NoPage> {
        let known = bytes.len().min(CAPTURE.len());
        if bytes[..known] != CAPTURE[..known] || bytes.get(4).is_some_and(|&version| version != 0) {
            return Err(NoPage { cost: 0 });
        }
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let body_at = HEADER + usize::from(header[26]);
        let Some(lacing) = bytes.get(HEADER..body_at) else {
            return Ok(None);
        };
        let end = body_at + lacing.iter().map(|&length| usize::from(length)).sum::<usize>();
        let Some(whole) = bytes.get(..end) else {
            return Ok(None);
        };
        if crc(whole) != le_u32(header, CRC_AT.start) {
            return Err(NoPage { cost: end });
        }
        let granule = u64::from(le_u32(header, 10)) << 32 | u64::from(le_u32(header, 6));
        Ok(Some(Self {
            flags: header[5],
            granule: granule as i64,
            serial: le_u32(header, 14),
            sequence: le_u32(header, 18),
            whole,
            lacing,
            body: &whole[body_at..],
        }))
    }

    /// Whether `bytes` begin with a page that claims to begin a stream; not whether it is sound.
    pub(in super::super) fn claims_to_begin(bytes: &[u8]) -> bool {
        bytes.starts_with(CAPTURE) && bytes.get(5).is_some_and(|flags| flags & 2 != 0)
    }

    /// Whether the first part goes on with a packet of the page before.
    pub(super) fn continues(&self) -> bool {
        self.flags & 1 != 0
    }

    /// Whether the page begins a stream.
    pub(in super::super) fn begins(&self) -> bool {
        self.flags & 2 != 0
    }

    /// Whether the page ends a stream.
    pub(super) fn ends(&self) -> bool {
        self.flags & 4 != 0
    }

    /// The packets on this page. A lacing value of 255 says that the packet goes on.
    pub(super) fn parts(&self) -> Vec<Part<'a>> {
        let (mut parts, mut body, mut length) = (Vec::new(), self.body, 0);
        for (n, &value) in self.lacing.iter().enumerate() {
            length += usize::from(value);
            let ends = value < 255;
            if ends || n + 1 == self.lacing.len() {
                let (bytes, rest) = body.split_at(length.min(body.len()));
                parts.push(Part { bytes, ends });
                (body, length) = (rest, 0);
            }
        }
        parts
    }
}

fn le_u32(header: &[u8; HEADER], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

/// The page checksum: CRC-32 with polynomial 0x04c11db7, from 0, neither reflected nor inverted, over the page with
/// zeros in its checksum field.
fn crc(page: &[u8]) -> u32 {
    let add = |crc: u32, byte: u8| crc << 8 ^ CRC_TABLE[usize::from((crc >> 24) as u8 ^ byte)];
    let before = page[..CRC_AT.start].iter().fold(0, |crc, &byte| add(crc, byte));
    let field = CRC_AT.fold(before, |crc, _| add(crc, 0));
    page[CRC_AT.end..].iter().fold(field, |crc, &byte| add(crc, byte))
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = (n as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 == 0 { crc << 1 } else { crc << 1 ^ 0x04c1_1db7 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A page of these lacing values and body.
    pub(in super::super) fn page(
        flags: u8,
        granule: i64,
        sequence: u32,
        lacing: &[u8],
        body: &[u8],
    ) -> Vec<u8> {
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend_from_slice(&granule.to_le_bytes());
        page.extend_from_slice(&7_u32.to_le_bytes());
        page.extend_from_slice(&sequence.to_le_bytes());
        page.extend_from_slice(&[0; 4]);
        page.push(lacing.len() as u8);
        page.extend_from_slice(lacing);
        page.extend_from_slice(body);
        let sum = crc(&page).to_le_bytes();
        page[CRC_AT].copy_from_slice(&sum);
        page
    }

    #[test]
    fn a_page_waits_until_it_is_whole_and_then_must_be_sound() {
        let good = page(2, -1, 3, &[2, 255, 1], &[7; 258]);
        for cut in 0..good.len() {
            assert_eq!(Page::read(&good[..cut]), Ok(None), "{cut} bytes");
        }
        let read = Page::read(&good).unwrap().unwrap();
        assert_eq!((read.granule, read.serial, read.sequence), (-1, 7, 3));
        assert_eq!((read.begins(), read.ends(), read.continues()), (true, false, false));
        for at in 0..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 1;
            let found = Page::read(&damaged);
            let waits_for_more = found == Ok(None) && (26..30).contains(&at); // a larger size was claimed
            assert!(found.is_err() || waits_for_more, "damage at {at} went unseen");
        }
    }

    #[test]
    fn lacing_values_of_255_join() {
        let bytes = page(0, 0, 0, &[0, 255, 0, 255], &[7; 510]);
        let parts: Vec<_> =
            Page::read(&bytes).unwrap().unwrap().parts().iter().map(|p| (p.bytes.len(), p.ends)).collect();
        assert_eq!(parts, [(0, true), (255, true), (255, false)]);
    }
}
