//! Recorders by lot.

use crate::ogg::Other;
use crate::webm::Blocks;
use crate::{Beside, Container, Cut, Extras, Lacing, Ogg, Recorder, Size, Webm};

impl Recorder {
    /// Draws each knob; `below` draws a number below its argument.
    pub fn draw(below: &mut dyn FnMut(u64) -> u64) -> Self {
        let container = match below(4) {
            0 => Container::Ogg(draw_ogg(below)),
            _ => Container::Webm(draw_webm(below)),
        };
        Self {
            container,
            channels: 1 + below(2) as u8,
            pre_skip: [0, 312, 3_840][below(3) as usize],
            gain: [0, 0, -1_000][below(3) as usize],
            mapping_family: below(2) as u8,
            padding_us: [0, 6_500][below(2) as usize],
        }
    }
}

fn draw_webm(below: &mut dyn FnMut(u64) -> u64) -> Webm {
    let lacing = [Lacing::None, Lacing::None, Lacing::Xiph, Lacing::Fixed, Lacing::Ebml][below(5) as usize];
    let size = |n: u64| [Size::Unknown, Size::Known, Size::Zero][n as usize];
    Webm {
        segment: size(below(3)),
        cluster: size(below(3)),
        cluster_us: [1, 60_000, 300_000, 1_000_000, 10_000_000, u64::MAX][below(6) as usize],
        lacing,
        per_block: 1 + below(8) as usize,
        blocks: [Blocks::Simple, Blocks::Group, Blocks::Mixed][below(3) as usize],
        track: [1, 2, 126, 128, 16_000][below(5) as usize],
        uid: [1, 0x5e_c228_041c_90b8][below(2) as usize],
        beside: (0..below(3)).map(|n| draw_beside(n, below)).collect(),
        scale_ns: [1_000_000, 1_000_000, 100_000, 20_833][below(4) as usize],
        first_us: [0, 6_000, 5_000_000][below(3) as usize],
        jitter_us: [0, 0, 5_000][below(3) as usize],
        long_sizes: below(2) == 0,
        key_frames: below(2) == 0,
        extras: draw_extras(below),
        ..Webm::default()
    }
}

fn draw_beside(n: u64, below: &mut dyn FnMut(u64) -> u64) -> Beside {
    let codec = ["V_VP9", "V_MPEG4/ISO/AVC", "A_OPUS", "S_TEXT/WEBVTT"][below(4) as usize];
    Beside {
        number: 30 + n,
        codec: codec.into(),
        first: !codec.starts_with('A') && below(2) == 0, // the first Opus track is the one that is heard
        block_bytes: [1, 300, 5_000, 200_000][below(4) as usize],
    }
}

fn draw_extras(below: &mut dyn FnMut(u64) -> u64) -> Extras {
    let mut maybe = || below(3) == 0;
    Extras {
        void: maybe(),
        crc_32: maybe(),
        seek_head: maybe(),
        cues: maybe(),
        prev_size: maybe(),
        position: maybe(),
        tags: maybe(),
        codec_delay: maybe(),
        padded_strings: maybe(),
        unknown: maybe(),
        encrypted_block: maybe(),
        attachment_bytes: if maybe() { 70_000 } else { 0 },
    }
}

fn draw_ogg(below: &mut dyn FnMut(u64) -> u64) -> Ogg {
    Ogg {
        serial: [7, 0x5ec2_2804][below(2) as usize],
        page_us: [1, 20_000, 250_000, 1_000_000][below(4) as usize],
        page_segments: [1, 3, 255][below(3) as usize],
        tags_bytes: [4, 60, 1_000, 150_000][below(4) as usize],
        first_tick: [0, 480_000][below(2) as usize],
        ends: below(2) == 0,
        beside: [None, None, Some(Other::Before), Some(Other::After)][below(4) as usize],
    }
}

impl Cut {
    /// Draws a way to cut.
    pub fn draw(below: &mut dyn FnMut(u64) -> u64) -> Self {
        let timeslice_us = [60_000, 250_000, 1_000_000][below(3) as usize];
        match below(5) {
            0 => Self::Whole,
            1 => Self::AtElement { timeslice_us },
            2 => Self::IntoElement { timeslice_us },
            3 => Self::Every([1, 7, 1_000, 20_000][below(4) as usize]),
            _ => Self::Random { seed: below(u64::MAX), most: [3, 50, 3_000, 100_000][below(4) as usize] },
        }
    }
}
