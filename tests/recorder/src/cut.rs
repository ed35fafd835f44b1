//! How a file becomes blobs.

use crate::packets::Noise;
use crate::{Recording, Written};

/// Where a recorder, a page or the network cuts.
#[derive(Clone, Debug, PartialEq)]
pub enum Cut {
    /// Not at all.
    Whole,
    /// Each time so much sound is complete, behind a block or page: Firefox.
    AtElement {
        /// MediaRecorder's timeslice.
        timeslice_us: u64,
    },
    /// The same, with the first byte of what comes next: Chromium.
    IntoElement {
        /// MediaRecorder's timeslice.
        timeslice_us: u64,
    },
    /// After this many bytes: a page that sends pieces.
    Every(usize),
    /// After 1 to `most` bytes each.
    Random {
        /// Other seeds cut elsewhere.
        seed: u64,
        /// The longest piece.
        most: usize,
    },
}

impl Recording {
    /// The file in pieces; together they are the file.
    pub fn blobs(&self, cut: &Cut) -> Vec<Vec<u8>> {
        let mut blobs = Vec::new();
        let mut from = 0;
        for to in self.cuts(cut).into_iter().chain([self.bytes.len()]) {
            if to > from {
                blobs.push(self.bytes[from..to].to_vec());
                from = to;
            }
        }
        blobs
    }

    fn cuts(&self, cut: &Cut) -> Vec<usize> {
        let len = self.bytes.len();
        match *cut {
            Cut::Whole => Vec::new(),
            Cut::AtElement { timeslice_us } => self.at_timeslices(timeslice_us),
            Cut::IntoElement { timeslice_us } => {
                self.at_timeslices(timeslice_us).into_iter().map(|end| (end + 1).min(len)).collect()
            }
            Cut::Every(bytes) => (1..).map(|n| n * bytes.max(1)).take_while(|&end| end < len).collect(),
            Cut::Random { seed, most } => {
                let (mut noise, mut at, mut cuts) = (Noise(seed), 0, Vec::new());
                while at < len {
                    at += 1 + noise.below(most as u64) as usize;
                    cuts.push(at.min(len));
                }
                cuts
            }
        }
    }

    fn at_timeslices(&self, timeslice_us: u64) -> Vec<usize> {
        let (mut since_us, mut cuts) = (0, Vec::new());
        for pair in self.packets.windows(2) {
            let [Written { us, end, .. }, next] = pair else { continue };
            since_us += us;
            if since_us >= timeslice_us && next.end > *end {
                cuts.push(*end);
                since_us = 0;
            }
        }
        cuts
    }
}
