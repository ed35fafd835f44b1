//! Recordings as recorders write them: of any muxer, cut into blobs as any browser cuts them, and what must come out of them.
//!
//! A [`Recorder`] is a set of knobs; [`Recorder::record`] writes packets with them and says for each where it stands and which time it
//! has. [`Recording::blobs`] cuts the file. Nothing here is shared with the demuxer that reads it.
//!
//! ```
//! use recorder::{Cut, Recorder, packets};
//! let recording = Recorder::chromium().record(&packets(60_000, 50, 1));
//! let blobs = recording.blobs(&Cut::IntoElement { timeslice_us: 250_000 });
//! assert_eq!(blobs.concat(), recording.bytes);
//! ```

// Pure: clippy.toml lists what this forbids (clocks, threads, files, sockets, the environment, output).
#![forbid(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

mod cut;
mod draw;
mod ebml;
mod hostile;
mod ogg;
mod packets;
mod webm;

pub use cut::Cut;
pub use ebml::element;
pub use hostile::{CHUNK_BYTES, baits, full_of};
pub use ogg::{Ogg, Other, with_serial};
pub use packets::{packets, us_of};
pub use webm::{Beside, Blocks, Extras, Lacing, Size, Webm};

/// A recorder's knobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorder {
    /// What it writes.
    pub container: Container,
    /// 1 or 2; only the header says so.
    pub channels: u8,
    /// OpusHead's pre-skip, in ticks at 48 kHz.
    pub pre_skip: u16,
    /// OpusHead's output gain, in 1/256 dB.
    pub gain: i16,
    /// OpusHead's mapping family: 0, or 1 with a table of one stream.
    pub mapping_family: u8,
    /// How much of the last packet's end is padding.
    pub padding_us: u64,
}

/// A container with its own knobs.
#[derive(Clone, Debug, PartialEq)]
pub enum Container {
    /// WebM or Matroska.
    Webm(Webm),
    /// Ogg.
    Ogg(Ogg),
}

/// A file, and what must come out of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// The file.
    pub bytes: Vec<u8>,
    /// Where the first Cluster or the first page of sound begins: what a page puts in front of each blob.
    pub header_len: usize,
    /// Its packets.
    pub packets: Vec<Written>,
    /// Where a recorder may hand out what it has: the ends of blocks, pages and other elements.
    pub boundaries: Vec<usize>,
}

/// A packet in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The Opus packet.
    pub data: Vec<u8>,
    /// Its time by the container, in ns.
    pub time_ns: i64,
    /// How long it lasts.
    pub us: u64,
    /// How much of its decoded end is to be dropped.
    pub padding_us: u64,
    /// Where the block or page that completes it ends in the file.
    pub end: usize,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            container: Container::Webm(Webm::default()),
            channels: 1,
            pre_skip: 0,
            gain: 0,
            mapping_family: 0,
            padding_us: 0,
        }
    }
}

impl Recording {
    /// Where each Cluster begins.
    pub fn clusters(&self) -> Vec<usize> {
        let begins = |at: &usize| self.bytes[*at..].starts_with(b"\x1f\x43\xb6\x75");
        self.boundaries.iter().copied().filter(begins).collect()
    }
}

impl Recorder {
    fn webm(webm: Webm) -> Self {
        Self { container: Container::Webm(webm), ..Self::default() }
    }

    /// Chromium up to today: Clusters of five blocks, all sizes unknown.
    pub fn chromium() -> Self {
        Self::webm(Webm { cluster_us: 300_000, jitter_us: 8_000, ..Webm::default() })
    }

    /// No more than there must be: Clusters of this length, all sizes unknown.
    pub fn plain(cluster_us: u64) -> Self {
        Self::webm(Webm { cluster_us, ..Webm::default() })
    }

    /// Firefox: sizes of eight bytes, an empty SeekHead, track 2, Clusters of a second, the first packet at 6 ms.
    pub fn firefox() -> Self {
        let extras = Extras { seek_head: true, codec_delay: true, ..Extras::default() };
        let webm = Webm {
            long_sizes: true,
            track: 2,
            cluster_us: 1_000_000,
            first_us: 6_000,
            key_frames: false,
            extras,
            ..Webm::default()
        };
        Self { pre_skip: 312, ..Self::webm(webm) }
    }

    /// Safari since 18.4: Clusters of ten seconds.
    pub fn safari() -> Self {
        Self { pre_skip: 312, ..Self::webm(Webm { cluster_us: 10_000_000, ..Webm::default() }) }
    }

    /// A muxer that begins a Cluster when it must, after 32 s.
    pub fn one_cluster() -> Self {
        Self::webm(Webm { cluster_us: u64::MAX, ..Webm::default() })
    }

    /// GStreamer's webmmux, streamable: strings padded with zeros, PrevSize, SeekHead and Void in front.
    pub fn gstreamer() -> Self {
        let extras =
            Extras { void: true, prev_size: true, padded_strings: true, tags: true, ..Extras::default() };
        Self::webm(Webm { cluster_us: 2_000_000, blocks: Blocks::Group, extras, ..Webm::default() })
    }

    /// A file that was written to its end: sizes, checksums, Cues, the end's padding.
    pub fn finished() -> Self {
        let extras = Extras {
            seek_head: true,
            void: true,
            crc_32: true,
            cues: true,
            tags: true,
            codec_delay: true,
            ..Extras::default()
        };
        let webm = Webm {
            segment: Size::Known,
            cluster: Size::Known,
            cluster_us: 5_000_000,
            extras,
            ..Webm::default()
        };
        Self { pre_skip: 312, padding_us: 6_500, ..Self::webm(webm) }
    }

    /// Firefox's Ogg: both header pages in the first blob, then a page a blob.
    pub fn firefox_ogg() -> Self {
        Self { container: Container::Ogg(Ogg::default()), pre_skip: 312, ..Self::default() }
    }

    /// Writes packets, one after the other from time 0.
    pub fn record(&self, packets: &[Vec<u8>]) -> Recording {
        match &self.container {
            Container::Webm(webm) => webm::write(self, webm, packets),
            Container::Ogg(ogg) => ogg::write(self, ogg, packets),
        }
    }

    /// OpusHead (RFC 7845 section 5.1).
    fn opus_head(&self) -> Vec<u8> {
        let mut head = b"OpusHead\x01".to_vec();
        head.push(self.channels);
        head.extend(self.pre_skip.to_le_bytes());
        head.extend(48_000_u32.to_le_bytes());
        head.extend(self.gain.to_le_bytes());
        head.push(self.mapping_family);
        if self.mapping_family > 0 {
            head.extend([1, self.channels - 1]);
            head.extend(0..self.channels);
        }
        head
    }
}
