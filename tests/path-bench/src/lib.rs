//! What the media path costs: base64 → demux → decode → mux of 2 s batches, over libopus decoding the same packets alone, and beside one
//! ffmpeg process per batch.
//!
//! [`hostile`] measures what chunks cost that were made to cost much.
//!
//! All figures are CPU time (user and system), not wall time, and the rivals take turns round by round; so other work on the machine
//! hits all of them alike, and the middle round decides.

pub mod batches;
pub mod cpu;
pub mod hostile;
pub mod path;
pub mod webm;

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::batches::{Batch, BenchError};

/// CPU figures of the media path.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathFigures {
    /// The path in one process that stays, over libopus.
    pub warm: f64,
    /// The path with every batch in a fresh process that reads stored state and decodes its pre-roll first, over libopus.
    pub cold: f64,
    /// The same with the process's own start and end.
    pub fresh_process: f64,
    /// One ffmpeg process per batch, over the warm path; absent where there is no ffmpeg.
    pub ffmpeg: Option<f64>,
    /// One ffmpeg process per batch, over our fresh processes.
    pub ffmpeg_cold: Option<f64>,
    /// libopus alone, CPU ms per second of audio.
    pub libopus_ms_per_audio_s: f64,
}

/// How many times libopus and the warm path run in one round: single runs are too short for a steady figure.
const REPEATS: u32 = 4;

/// Measures in `rounds` rounds. `program` is this program, for fresh processes; `folder` takes temporary files.
///
/// # Errors
/// [`BenchError`].
pub fn measure(
    program: &Path,
    folder: &Path,
    batches: &[Batch],
    rounds: usize,
) -> Result<PathFigures, BenchError> {
    let (_, fragments) = path::warm(batches)?;
    let audio_s = batches.iter().map(|batch| batch.samples).sum::<u64>() as f64 / 16_000.0;
    let mut figures: [Vec<f64>; 6] = Default::default();
    for _ in 0..rounds {
        let (mut libopus, mut warm) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..REPEATS {
            libopus += path::libopus(batches)? / REPEATS;
            warm += path::warm(batches)?.0 / REPEATS;
        }
        let (cold, process) = path::cold(program, batches, &fragments)?;
        let ffmpeg = path::ffmpeg(folder, batches)?;
        let over = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
        figures[0].push(over(warm, libopus));
        figures[1].push(over(cold, libopus));
        figures[2].push(over(process, libopus));
        figures[3].extend(ffmpeg.map(|ffmpeg| over(ffmpeg, warm)));
        figures[4].extend(ffmpeg.map(|ffmpeg| over(ffmpeg, process)));
        figures[5].push(libopus.as_secs_f64() * 1000.0 / audio_s);
    }
    let [warm, cold, fresh_process, ffmpeg, ffmpeg_cold, libopus_ms_per_audio_s] = figures.map(cpu::median);
    let measured = |figure: Option<f64>| figure.ok_or(BenchError::NoRounds);
    Ok(PathFigures {
        warm: measured(warm)?,
        cold: measured(cold)?,
        fresh_process: measured(fresh_process)?,
        ffmpeg,
        ffmpeg_cold,
        libopus_ms_per_audio_s: measured(libopus_ms_per_audio_s)?,
    })
}
