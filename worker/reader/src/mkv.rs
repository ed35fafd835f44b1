//! A playable Matroska file (RFC 9559) of one audio track, written as it comes: one Segment whose clock begins at the first
//! sample, DateUTC for the true time, a Cluster per piece of audio. Segment size and Duration are put in at the end.

use std::io::{self, Seek, SeekFrom, Write};

use media::ebml::write::{element, master, uint};
use media::time::{EpochMs, Samples};

const EBML: u32 = 0x1A45_DFA3;
const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_A966;
const TRACKS: u32 = 0x1654_AE6B;
const CLUSTER: u32 = 0x1F43_B675;

/// Milliseconds from 1970 to 2001, where Matroska's dates begin.
const DATE_EPOCH_MS: i64 = 978_307_200_000;
/// A Cluster's longest time here: block times are 16 bits after the Cluster's.
const CLUSTER_MS: u64 = 30_000;
/// One block's audio.
const BLOCK: usize = 1_600;

/// A file being written.
#[derive(Debug)]
pub struct MkvWriter<W> {
    file: W,
    start: EpochMs,
    /// End of the last audio, ms after the start.
    end_ms: u64,
    segment_size_at: u64,
    duration_at: u64,
}

impl<W: Write + Seek> MkvWriter<W> {
    /// Writes the header. `start` becomes the file's zero, `title` its name.
    ///
    /// # Errors
    /// Those of `file`.
    pub fn new(mut file: W, title: &str, start: EpochMs) -> io::Result<Self> {
        file.write_all(&header())?;
        file.write_all(&SEGMENT.to_be_bytes())?;
        let segment_size_at = file.stream_position()?;
        file.write_all(&[0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF])?; // unknown until the end
        let (info, duration) = info(title, start);
        let duration_at = file.stream_position()? + duration as u64;
        file.write_all(&info)?;
        file.write_all(&tracks())?;
        Ok(Self { file, start, end_ms: 0, segment_size_at, duration_at })
    }

    /// Appends audio that begins at `at`, which lies not before the end of the audio so far.
    ///
    /// # Errors
    /// Those of the file.
    pub fn append(&mut self, at: EpochMs, pcm: &[i16]) -> io::Result<()> {
        let at_ms = at.0.saturating_sub(self.start.0).max(self.end_ms);
        let most = Samples::from_ms(CLUSTER_MS).as_usize();
        for (i, part) in pcm.chunks(most).enumerate() {
            let cluster_ms = at_ms + i as u64 * CLUSTER_MS;
            self.file.write_all(&cluster(cluster_ms, part))?;
        }
        self.end_ms = at_ms + Samples::from(pcm.len()).ms_ceil();
        Ok(())
    }

    /// Puts in what is known only now.
    ///
    /// # Errors
    /// Those of the file.
    pub fn finish(mut self) -> io::Result<W> {
        let end = self.file.stream_position()?;
        self.file.seek(SeekFrom::Start(self.segment_size_at))?;
        let size = end - self.segment_size_at - 8;
        self.file.write_all(&(size | 1 << 56).to_be_bytes())?;
        self.file.seek(SeekFrom::Start(self.duration_at))?;
        self.file.write_all(&(self.end_ms as f64).to_be_bytes())?;
        self.file.seek(SeekFrom::Start(end))?;
        self.file.flush()?;
        Ok(self.file)
    }
}

fn header() -> Vec<u8> {
    let doc_type = element(0x4282, b"matroska");
    master(
        EBML,
        &[
            uint(0x4286, 1),
            uint(0x42F7, 1),
            uint(0x42F2, 4),
            uint(0x42F3, 8),
            doc_type,
            uint(0x4287, 2),
            uint(0x4285, 2),
        ],
    )
}

/// Info, and where in it the Duration's value is.
fn info(title: &str, start: EpochMs) -> (Vec<u8>, usize) {
    let date_ns = (start.0.cast_signed() - DATE_EPOCH_MS).saturating_mul(1_000_000);
    let parts = [
        uint(0x2A_D7B1, 1_000_000),
        element(0x4489, &0_f64.to_be_bytes()),
        element(0x4461, &date_ns.to_be_bytes()),
        element(0x7BA9, title.as_bytes()),
        element(0x4D80, b"kvs-stream-writer"),
        element(0x5741, b"kvs-stream-writer reader"),
    ];
    let info = master(INFO, &parts);
    let after: usize = parts[2..].iter().map(Vec::len).sum();
    let duration = info.len() - after - 8;
    (info, duration)
}

fn tracks() -> Vec<u8> {
    let rate = element(0xB5, &f64::from(Samples::RATE_HZ).to_be_bytes());
    let audio = master(0xE1, &[rate, uint(0x9F, 1), uint(0x6264, 16)]);
    let entry = [
        uint(0xD7, 1),
        uint(0x73C5, 1),
        uint(0x83, 2),
        uint(0x9C, 0),
        element(0x536E, b"audio"),
        element(0x22_B59C, b"und"),
        element(0x86, b"A_PCM/INT/LIT"),
        audio,
    ];
    master(TRACKS, &[master(0xAE, &entry)])
}

fn cluster(at_ms: u64, pcm: &[i16]) -> Vec<u8> {
    let mut parts = vec![uint(0xE7, at_ms)];
    for (i, samples) in pcm.chunks(BLOCK).enumerate() {
        let relative = i16::try_from(Samples::from(i * BLOCK).ms_floor()).unwrap_or(i16::MAX);
        let mut block = vec![0x81];
        block.extend(relative.to_be_bytes());
        block.push(0x80);
        block.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        parts.push(element(0xA3, &block));
    }
    master(CLUSTER, &parts)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use media::fragment::read::read_fragments;

    use super::*;

    #[test]
    fn the_file_holds_every_sample_at_its_time_after_the_first() {
        let start = EpochMs(1_795_335_945_729);
        let mut file = MkvWriter::new(Cursor::new(Vec::new()), "owl", start).unwrap();
        let long: Vec<i16> = (0..16 * 35_000).map(|i| i as i16).collect();
        file.append(start, &[1, 2, 3]).unwrap();
        file.append(EpochMs(start.0 + 5_000), &long).unwrap();
        file.append(EpochMs(start.0 + 1_000), &[7]).unwrap(); // never backwards
        let bytes = file.finish().unwrap().into_inner();
        let read = read_fragments(&bytes).unwrap();
        let clusters: Vec<(u64, usize)> = read.iter().map(|f| (f.cluster_ms.0, f.pcm().len())).collect();
        assert_eq!(clusters, [(0, 3), (5_000, 16 * 30_000), (35_000, 16 * 5_000), (40_000, 1)]);
        assert_eq!([read[1].pcm(), read[2].pcm()].concat(), long);
        let duration = 40_001_f64.to_be_bytes();
        assert!(bytes.windows(8).any(|window| window == duration), "Duration is the end of the audio");
    }
}
