//! A session's audio as WAV or Matroska, taken in pieces and written in pieces.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use media::time::{EpochMs, Samples};
use serde::Serialize;

use crate::fragment::Block;
use crate::mkv::MkvWriter;
use crate::text::length;

/// How audio is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioFormat {
    /// RIFF WAVE.
    Wav,
    /// Matroska.
    Matroska,
}

/// The longest silence that is written for a hole.
const LONGEST_FILL_MS: u64 = 24 * 3_600_000;
/// RIFF sizes have 32 bits.
const WAV_SAMPLES_MAX: u64 = (u32::MAX as u64 - 36) / 2;
/// Shorter differences of time are rounding.
const ROUNDING: u64 = 16;

/// What was exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    /// The file.
    pub file: String,
    /// Fragments in it.
    pub fragments: usize,
    /// Their samples, 16 kHz.
    pub samples: u64,
    /// Samples of silence put in.
    pub silence: u64,
    /// Time of the first sample, epoch ms.
    pub from: u64,
    /// Time of the last sample's end.
    pub to: u64,
}

/// Why samples could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The WAV writer.
    #[error(transparent)]
    Wav(hound::Error),
    /// More samples than the format's sizes can count.
    #[error("a WAV file holds at most {} of this audio", length(WAV_SAMPLES_MAX / 16))]
    TooLong,
    /// A hole that is not to be filled with silence.
    #[error("there is a hole of {}", length(*.ms))]
    HoleTooLong {
        /// Its length.
        ms: u64,
    },
}

impl From<hound::Error> for WriteError {
    fn from(error: hound::Error) -> Self {
        match error {
            hound::Error::IoError(source) => Self::Io(source),
            error => Self::Wav(error),
        }
    }
}

enum Sink {
    Wav(Box<hound::WavWriter<BufWriter<File>>>),
    Matroska(Box<MkvWriter<BufWriter<File>>>),
}

/// Puts pieces of audio one after the other.
pub struct AudioFile {
    sink: Sink,
    fill: bool,
    span: (EpochMs, EpochMs),
    first: Option<EpochMs>,
    fragments: usize,
    samples: u64,
    silence: u64,
    last: EpochMs,
}

impl AudioFile {
    /// Makes the file. Audio outside of `span` is cut off; with `fill`, holes become silence.
    ///
    /// # Errors
    /// The operating system's.
    pub fn create(
        path: &Path,
        format: AudioFormat,
        title: &str,
        span: (EpochMs, EpochMs),
        fill: bool,
    ) -> Result<Self, WriteError> {
        let file = BufWriter::new(File::create(path)?);
        let sink = match format {
            AudioFormat::Matroska => Sink::Matroska(Box::new(MkvWriter::new(file, title, span.0)?)),
            AudioFormat::Wav => {
                let spec = hound::WavSpec {
                    channels: 1,
                    sample_rate: Samples::RATE_HZ,
                    bits_per_sample: 16,
                    sample_format: hound::SampleFormat::Int,
                };
                Sink::Wav(Box::new(hound::WavWriter::new(file, spec)?))
            }
        };
        let (first, last) = (None, span.0);
        Ok(Self { sink, fill, span, first, fragments: 0, samples: 0, silence: 0, last })
    }

    /// Appends a fragment's audio; fragments come in the order of time.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn append<'b>(&mut self, blocks: impl IntoIterator<Item = &'b Block>) -> Result<(), WriteError> {
        let before = self.samples;
        for block in blocks {
            self.block(block.at, &block.pcm)?;
        }
        self.fragments += usize::from(self.samples > before);
        Ok(())
    }

    fn block(&mut self, at: EpochMs, pcm: &[i16]) -> Result<(), WriteError> {
        let (from, to) = self.span;
        let skipped = Samples::from_ms(from.0.saturating_sub(at.0)).as_usize().min(pcm.len());
        let kept = Samples::from_ms(to.0.saturating_sub(at.0)).as_usize().min(pcm.len());
        let Some(mut pcm) = pcm.get(skipped..kept).filter(|pcm| !pcm.is_empty()) else { return Ok(()) };
        let at = EpochMs(at.0.max(from.0));
        if self.fill {
            let first = *self.first.get_or_insert(if from.0 > 0 { from } else { at });
            let due = Samples::from_ms(at.0 - first.0).0;
            let there = self.samples + self.silence;
            if due > there + ROUNDING {
                self.fill(first, due - there)?;
            }
            // Audio that is there twice is written once.
            pcm = pcm.get((there.saturating_sub(due + ROUNDING)) as usize..).unwrap_or_default();
        } else {
            self.first.get_or_insert(at);
        }
        self.write(at, pcm)?;
        self.samples += pcm.len() as u64;
        self.last = EpochMs(at.0 + Samples::from(pcm.len()).ms_ceil());
        Ok(())
    }

    fn fill(&mut self, first: EpochMs, samples: u64) -> Result<(), WriteError> {
        static PIECE: [i16; 16_000] = [0; 16_000];
        if Samples(samples).ms_floor() > LONGEST_FILL_MS {
            return Err(WriteError::HoleTooLong { ms: Samples(samples).ms_floor() });
        }
        let mut left = samples as usize;
        while left > 0 {
            let now = left.min(PIECE.len());
            let at = EpochMs(first.0 + Samples(self.samples + self.silence).ms_floor());
            self.write(at, &PIECE[..now])?;
            self.silence += now as u64;
            left -= now;
        }
        Ok(())
    }

    fn write(&mut self, at: EpochMs, pcm: &[i16]) -> Result<(), WriteError> {
        match &mut self.sink {
            Sink::Matroska(file) => file.append(at, pcm)?,
            Sink::Wav(file) => {
                if self.samples + self.silence + pcm.len() as u64 > WAV_SAMPLES_MAX {
                    return Err(WriteError::TooLong);
                }
                pcm.iter().try_for_each(|sample| file.write_sample(*sample))?;
            }
        }
        Ok(())
    }

    /// Completes the file; with `fill`, as long as to `until`.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn finish(mut self, path: &Path, until: EpochMs) -> Result<Exported, WriteError> {
        if self.fill {
            let first = *self.first.get_or_insert(self.span.0);
            let due = Samples::from_ms(until.0.saturating_sub(first.0)).0;
            let there = self.samples + self.silence;
            if due > there + ROUNDING {
                self.fill(first, due - there)?;
                self.last = until;
            }
        }
        match self.sink {
            Sink::Wav(file) => file.finalize()?,
            Sink::Matroska(file) => drop(file.finish()?),
        }
        Ok(Exported {
            file: path.display().to_string(),
            fragments: self.fragments,
            samples: self.samples,
            silence: self.silence,
            from: self.first.unwrap_or_default().0,
            to: self.last.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(at: u64, ms: u64, value: i16) -> Block {
        Block { at: EpochMs(at), pcm: vec![value; Samples::from_ms(ms).as_usize()] }
    }

    fn exported(name: &str, span: (u64, u64), fill: bool) -> (Vec<i16>, Exported) {
        let path = std::env::temp_dir().join(format!("audio-file-{}-{name}.wav", std::process::id()));
        let span = (EpochMs(span.0), EpochMs(span.1));
        let mut file = AudioFile::create(&path, AudioFormat::Wav, "owl", span, fill).unwrap();
        for blocks in [vec![block(1_000, 100, 1), block(1_100, 100, 2)], vec![block(1_500, 100, 3)]] {
            file.append(&blocks).unwrap();
        }
        let exported = file.finish(&path, EpochMs(span.1.0.min(1_700))).unwrap();
        let samples =
            hound::WavReader::open(&path).unwrap().into_samples().map(|sample| sample.unwrap()).collect();
        std::fs::remove_file(&path).unwrap();
        (samples, exported)
    }

    fn runs(samples: &[i16]) -> Vec<(i16, usize)> {
        let mut runs: Vec<(i16, usize)> = Vec::new();
        for sample in samples {
            match runs.last_mut() {
                Some((value, n)) if value == sample => *n += 1,
                _ => runs.push((*sample, 1)),
            }
        }
        runs.into_iter().map(|(value, n)| (value, n / 16)).collect()
    }

    #[test]
    fn holes_are_left_out_or_filled_with_their_true_length() {
        let (joined, told) = exported("joined", (1_000, 9_000), false);
        assert_eq!(runs(&joined), [(1, 100), (2, 100), (3, 100)]);
        assert_eq!((told.fragments, told.samples, told.silence), (2, 4_800, 0));
        let (filled, told) = exported("filled", (900, 9_000), true);
        assert_eq!(runs(&filled), [(0, 100), (1, 100), (2, 100), (0, 300), (3, 100), (0, 100)]);
        assert_eq!((told.from, told.to, told.silence), (900, 1_700, 8_000));
    }

    #[test]
    fn a_part_is_cut_to_the_millisecond() {
        assert_eq!(runs(&exported("cut", (1_050, 1_550), false).0), [(1, 50), (2, 100), (3, 50)]);
        assert_eq!(runs(&exported("late", (1_300, 1_550), true).0), [(0, 200), (3, 50)]);
        assert_eq!(runs(&exported("in-a-hole", (1_210, 1_400), true).0), [(0, 190)]);
        assert_eq!(runs(&exported("into-a-hole", (1_150, 1_450), true).0), [(2, 50), (0, 250)]);
        assert!(exported("nothing", (1_210, 1_400), false).0.is_empty());
    }
}
