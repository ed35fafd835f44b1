//! A recorder's Ogg, as Firefox writes it with `audio/ogg;codecs=opus`: both header pages in the first blob, then a page a
//! blob (mediarecorder-facts 10; RFC 3533, RFC 7845).

/// Packets on a page.
pub const PACKETS_PER_PAGE: usize = 13;
/// Ticks of 48 kHz in a packet of 20 ms.
const PACKET_TICKS: u64 = 960;
const PRE_SKIP: u16 = 312;
const BEGINS: u8 = 2;

/// Identification and comment page.
pub fn header(serial: u32) -> Vec<u8> {
    let head =
        [b"OpusHead\x01\x01".as_slice(), &PRE_SKIP.to_le_bytes(), &48_000_u32.to_le_bytes(), &[0, 0, 0]];
    let tags = b"OpusTags\x0a\0\0\0simulation\0\0\0\0";
    [page(serial, 0, 0, BEGINS, &[&head.concat()]), page(serial, 1, 0, 0, &[tags])].concat()
}

/// The pages, each in the place of its first packet; the places of the others are empty.
pub fn blocks(serial: u32, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    for (n, of_page) in packets.chunks(PACKETS_PER_PAGE).enumerate() {
        let until = (n * PACKETS_PER_PAGE + of_page.len()) as u64;
        let packets: Vec<&[u8]> = of_page.iter().map(Vec::as_slice).collect();
        blocks.push(page(serial, n as u32 + 2, until * PACKET_TICKS, 0, &packets));
        blocks.extend(vec![Vec::new(); of_page.len() - 1]);
    }
    blocks
}

fn page(serial: u32, sequence: u32, granule: u64, flags: u8, packets: &[&[u8]]) -> Vec<u8> {
    let lacing: Vec<u8> = packets.iter().flat_map(|packet| lacing(packet.len())).collect();
    let mut page = [
        b"OggS\0".as_slice(),
        &[flags],
        &granule.to_le_bytes(),
        &serial.to_le_bytes(),
        &sequence.to_le_bytes(),
        &[0; 4],
        &[lacing.len() as u8],
        &lacing,
        &packets.concat(),
    ]
    .concat();
    let checksum = crc(&page).to_le_bytes();
    page[22..26].copy_from_slice(&checksum);
    page
}

fn lacing(len: usize) -> Vec<u8> {
    let mut values = vec![255; len / 255];
    values.push((len % 255) as u8);
    values
}

/// CRC-32 with polynomial 0x04c11db7, from 0, neither reflected nor inverted.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc: u32, _| {
            if crc & 0x8000_0000 == 0 { crc << 1 } else { crc << 1 ^ 0x04c1_1db7 }
        })
    })
}
