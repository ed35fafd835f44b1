//! Opus packets by their form alone: what they sound like does not matter to a container.

/// So many packets of this length, of 3 to 400 bytes of noise each; well-formed, and the same for the same seed.
///
/// # Panics
/// If no packet is that long: 2.5, 5, 10, 20, 40, 60, 80, 100 and 120 ms are.
pub fn packets(us: u64, count: usize, seed: u64) -> Vec<Vec<u8>> {
    let (config, frames) = match us {
        2_500 => (28, 1),
        5_000 => (29, 1),
        10_000 => (30, 1),
        _ => (31, us / 20_000),
    };
    assert!(us_of_frame(config) * frames == us && us <= 120_000, "no Opus packet has {us} us");
    let mut noise = Noise(seed);
    (0..count).map(|_| packet(config, frames as u8, &mut noise)).collect()
}

fn packet(config: u8, frames: u8, noise: &mut Noise) -> Vec<u8> {
    let mut frame = |length: usize| (0..length).map(|_| noise.next() as u8).collect::<Vec<u8>>();
    let length = 2 + frame(2).iter().map(|&byte| usize::from(byte)).sum::<usize>() * 2 / 5;
    match frames {
        1 => [vec![config << 3], frame(length)].concat(),
        2 => [vec![config << 3 | 1], frame(length.next_multiple_of(2))].concat(),
        _ => [vec![config << 3 | 3, frames], frame(length.next_multiple_of(usize::from(frames)))].concat(),
    }
}

/// How long a packet lasts, by its table of contents (RFC 6716 section 3.1); it must be well-formed.
pub fn us_of(packet: &[u8]) -> u64 {
    let frames = match packet[0] & 3 {
        0 => 1,
        3 => u64::from(packet[1] & 0x3f),
        _ => 2,
    };
    us_of_frame(packet[0] >> 3) * frames
}

fn us_of_frame(config: u8) -> u64 {
    match config {
        0..=11 => [10_000, 20_000, 40_000, 60_000][usize::from(config & 3)],
        12..=15 => [10_000, 20_000][usize::from(config & 1)],
        _ => [2_500, 5_000, 10_000, 20_000][usize::from(config & 3)],
    }
}

/// SplitMix64.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}
