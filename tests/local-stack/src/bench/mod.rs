//! `make bench`: what the worker costs, measured side by side in one run.
//!
//! The CPU figures of the media path are `path-bench`'s; memory and cold start are those of the released worker's own process.

pub mod cold_start;
pub mod memory;

use comfy_table::Table;
use path_bench::hostile::Hostile;
use serde::Serialize;

use crate::report::{align_right, plain_table};

/// The figures, as `target/bench/report.json` has them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// CPU of base64 → demux → decode → mux of 2 s batches in one process, over CPU of libopus decoding the same packets.
    pub path_over_libopus_warm: f64,
    /// The same with every batch in a fresh process that reads stored state and decodes its pre-roll first.
    pub path_over_libopus_cold: f64,
    /// CPU of one ffmpeg process per batch over ours (warm); absent where there is no ffmpeg.
    pub ffmpeg_cpu_over_ours: Option<f64>,
    /// Process start to the first question for work, median.
    pub cold_start_ms_median: f64,
    /// The same of connection-handler, and of session-authorizer.
    pub other_cold_starts_ms_median: [f64; 2],
    /// Resident memory after [`Self::batches_before_rss`] batches, MB (10^6 bytes).
    pub rss_mb: f64,
    /// Size of the stripped worker binary, MB (10^6 bytes).
    pub binary_mb: f64,
    /// As `path_over_libopus_cold`, with the CPU of the process's own start and end added.
    pub fresh_process_over_libopus: f64,
    /// CPU of one ffmpeg process per batch over ours, both in fresh processes, starts included.
    pub ffmpeg_cpu_over_ours_cold: Option<f64>,
    /// libopus alone, CPU ms per second of audio.
    pub libopus_ms_per_audio_s: f64,
    /// The fastest of all starts.
    pub cold_start_ms_min: f64,
    /// The highest resident memory, MB.
    pub rss_peak_mb: f64,
    /// How many batches the worker had written then.
    pub batches_before_rss: usize,
    /// The recording.
    pub recording: String,
    /// Rounds that the middle one was taken of.
    pub rounds: usize,
    /// What ten hostile chunks of each kind cost.
    pub hostile: Vec<Hostile>,
}

/// Ten hostile chunks without sound may cost so much of a core, ms.
const HOSTILE_MS: f64 = 500.0;
/// No piece of work may hold up the others of an invocation for over 2 s on a third of a core, ms.
const HELD_UP_MS: f64 = 2_000.0 / 3.0;

impl Figures {
    /// The table for a person: figure, bar, verdict.
    pub fn table(&self) -> Table {
        let mut table = plain_table(&["what", "measured", "bar", ""]);
        let mut row = |what: &str, value: Option<f64>, unit: &str, bar: Option<(char, f64)>| {
            let holds = |(sign, bar): (char, f64)| {
                value.map(|value| if sign == '<' { value <= bar } else { value >= bar })
            };
            let verdict = match bar.and_then(holds) {
                Some(true) => "ok",
                Some(false) => "MISSED",
                None => "",
            };
            let bar = bar.map_or_else(String::new, |(sign, bar)| format!("{sign}= {bar}{unit}"));
            let value = value.map_or_else(|| "not measured".to_owned(), |value| format!("{value:.2}{unit}"));
            table.add_row([what, &value, &bar, verdict]);
        };
        row("path CPU over libopus, warm", Some(self.path_over_libopus_warm), "", Some(('<', 1.3)));
        row(
            "path CPU over libopus, cold: fresh process and pre-roll",
            Some(self.path_over_libopus_cold),
            "",
            Some(('<', 1.7)),
        );
        row("  and with that process's own start", Some(self.fresh_process_over_libopus), "", None);
        row("one ffmpeg per batch, CPU over ours", self.ffmpeg_cpu_over_ours, "", Some(('>', 15.0)));
        row("  over ours in fresh processes", self.ffmpeg_cpu_over_ours_cold, "", None);
        row("cold start, median", Some(self.cold_start_ms_median), " ms", Some(('<', 15.0)));
        row("  fastest", Some(self.cold_start_ms_min), " ms", None);
        let [handler, authorizer] = self.other_cold_starts_ms_median;
        row("  of connection-handler", Some(handler), " ms", Some(('<', 15.0)));
        row("  of session-authorizer", Some(authorizer), " ms", Some(('<', 15.0)));
        row("resident memory after 1,000 batches", Some(self.rss_mb), " MB", Some(('<', 40.0)));
        row("worker binary, stripped", Some(self.binary_mb), " MB", Some(('<', 12.0)));
        let most = |of: fn(&Hostile) -> Option<f64>| {
            let measured = self.hostile.iter().filter_map(|kind| Some((kind, of(kind)?)));
            measured.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(kind, ms)| (kind.kind.as_str(), ms))
        };
        let mut hostile = |what: &str, most: Option<(&str, f64)>, unit: &str, bar: Option<(char, f64)>| {
            let kind = most.map_or_else(String::new, |(kind, _)| format!(": {kind}"));
            row(&format!("{what}{kind}"), most.map(|(_, figure)| figure), unit, bar);
        };
        let silent = most(|kind| (kind.audio_s < 1.0).then_some(kind.core_ms));
        hostile("ten chunks of 96 KB without sound", silent, " ms", Some(('<', HOSTILE_MS)));
        let with_sound = most(|kind| (kind.audio_s >= 1.0).then(|| kind.core_ms / kind.audio_s));
        hostile("  with sound, per second of it", with_sound, " ms", None);
        let longest = most(|kind| Some(kind.longest_ms));
        hostile("  the longest that others are held up", longest, " ms", Some(('<', HELD_UP_MS)));
        row("libopus alone, CPU per second of audio", Some(self.libopus_ms_per_audio_s), " ms", None);
        align_right(&mut table, 1);
        table
    }
}
