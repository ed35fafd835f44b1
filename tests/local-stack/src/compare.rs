//! Is this the right sound? Two pieces of PCM, compared as numbers.

use serde::Serialize;

/// Lags up to this are looked for, 16 kHz samples: 62 ms, more than an Opus packet.
const LAG_MAX: usize = 1_000;

/// The piece of audio that the lag is looked for in.
const LAG_WINDOW: usize = 8_000;

/// The least that counts as the same sound decoded by an honest other decoder (about 32 dB and more in practice).
pub const CORRELATION_MIN: f64 = 0.999;
/// See [`CORRELATION_MIN`].
pub const SNR_MIN_DB: f64 = 26.0;
/// How much the lengths may differ for each run of a recorder.
pub const LENGTH_TOLERANCE_PER_RUN: usize = 16;

/// How a piece of audio compares with its reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Pearson's, over the common length, without shifting.
    pub correlation: f64,
    /// The reference's energy over that of the difference, without shifting; infinite (JSON: null) if they are equal.
    pub snr_db: f64,
    /// By how many samples the audio comes after the reference.
    pub lag_samples: i64,
    /// Its length minus the reference's, in samples.
    pub length_difference_samples: i64,
}

impl Comparison {
    /// Whether it is the same sound: correlated, clean, not shifted, and as long within 1 ms per recorder run.
    pub fn holds(&self, recorder_runs: usize) -> bool {
        self.correlation >= CORRELATION_MIN
            && self.snr_db >= SNR_MIN_DB
            && self.lag_samples == 0
            && self.length_difference_samples.unsigned_abs() as usize
                <= LENGTH_TOLERANCE_PER_RUN * recorder_runs.max(1)
    }
}

/// Compares `audio` with `reference`, both 16 kHz mono.
pub fn compare(audio: &[i16], reference: &[i16]) -> Comparison {
    let common = audio.len().min(reference.len());
    let (a, r) = (&audio[..common], &reference[..common]);
    Comparison {
        correlation: correlation(a, r),
        snr_db: snr_db(a, r),
        lag_samples: lag(a, r),
        length_difference_samples: audio.len() as i64 - reference.len() as i64,
    }
}

fn correlation(a: &[i16], b: &[i16]) -> f64 {
    let mean = |x: &[i16]| x.iter().map(|s| f64::from(*s)).sum::<f64>() / x.len().max(1) as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (f64::from(*x) - mean_a, f64::from(*y) - mean_b);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    match (aa == 0.0, bb == 0.0) {
        (true, true) => f64::from(u8::from(a == b)), // silence is like silence
        (false, false) => ab / (aa * bb).sqrt(),
        _ => 0.0,
    }
}

fn snr_db(audio: &[i16], reference: &[i16]) -> f64 {
    let square = |x: i32| f64::from(x) * f64::from(x);
    let signal: f64 = reference.iter().map(|r| square((*r).into())).sum();
    let noise: f64 = audio.iter().zip(reference).map(|(a, r)| square(i32::from(*a) - i32::from(*r))).sum();
    if noise == 0.0 && !audio.is_empty() { f64::INFINITY } else { 10.0 * (signal / noise).log10() }
}

/// The shift at which the loudest half second of the reference is found again in the audio; of equal ones the smallest.
fn lag(audio: &[i16], reference: &[i16]) -> i64 {
    let margin = LAG_MAX.min(reference.len() / 4);
    let window = LAG_WINDOW.min(reference.len().saturating_sub(2 * margin));
    let last = reference.len().saturating_sub(window + margin);
    let starts = (margin..=last).step_by((window / 4).max(1));
    let energy = |at: &usize| -> u64 {
        reference[*at..at + window].iter().map(|s| u64::from(s.unsigned_abs()).pow(2)).sum()
    };
    let Some(at) = starts.max_by_key(energy) else { return 0 };
    let sought: Vec<f32> = reference[at..at + window].iter().map(|s| f32::from(*s)).collect();
    let heard: Vec<f32> = audio[at - margin..at + window + margin].iter().map(|s| f32::from(*s)).collect();
    let likeness = |from: usize| {
        let (mut product, mut loudness) = (0.0_f32, 1.0_f32);
        for (sought, heard) in sought.iter().zip(&heard[from..]) {
            product += sought * heard;
            loudness += heard * heard;
        }
        product / loudness.sqrt()
    };
    let shifts = (0..=2 * margin).map(|from| (likeness(from), from as i64 - margin as i64));
    let best =
        shifts.max_by(|(a, a_shift), (b, b_shift)| a.total_cmp(b).then(b_shift.abs().cmp(&a_shift.abs())));
    best.map_or(0, |(_, shift)| shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise with a fixed seed and a slow envelope.
    fn noise(samples: usize) -> Vec<i16> {
        let mut random = fastrand::Rng::with_seed(7);
        (0..samples).map(|i| (random.i16(-9_000..9_000) as f64 * (i as f64 / 9_000.0).sin()) as i16).collect()
    }

    #[test]
    fn the_same_sound_holds_and_its_figures_are_exact() {
        let sound = noise(40_000);
        let same = compare(&sound, &sound);
        assert!(same.holds(1), "{same:?}");
        assert_eq!((same.lag_samples, same.length_difference_samples), (0, 0));
        assert_eq!(same.snr_db, f64::INFINITY);
        assert!((same.correlation - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_shift_of_one_sample_is_seen_in_either_direction() {
        let sound = noise(40_000);
        assert_eq!(compare(&sound[1..], &sound).lag_samples, -1);
        assert_eq!(compare(&sound[..39_999], &sound[1..]).lag_samples, 1);
        assert_eq!(compare(&sound[..39_040], &sound[960..]).lag_samples, 960, "one packet of 60 ms");
        assert!(!compare(&sound[1..], &sound).holds(1));
    }

    #[test]
    fn noise_of_a_twentieth_is_too_much() {
        let sound = noise(40_000);
        let mut random = fastrand::Rng::with_seed(9);
        let added = |s: &i16, part: f64| (f64::from(*s) + part * f64::from(random.i16(-9_000..9_000))) as i16;
        let mut added = added;
        let clean: Vec<i16> = sound.iter().map(|s| added(s, 0.01)).collect();
        let dirty: Vec<i16> = sound.iter().map(|s| added(s, 0.05)).collect();
        assert!(compare(&clean, &sound).holds(1), "{:?}", compare(&clean, &sound));
        let dirty = compare(&dirty, &sound);
        assert!(dirty.snr_db < SNR_MIN_DB && dirty.lag_samples == 0, "{dirty:?}");
    }

    #[test]
    fn the_length_may_differ_by_a_millisecond_for_each_recorder_run() {
        let sound = noise(40_000);
        let shorter = compare(&sound[..40_000 - 32], &sound);
        assert_eq!(shorter.length_difference_samples, -32);
        assert!(shorter.holds(2) && !shorter.holds(1));
    }

    #[test]
    fn no_sound_at_all_is_not_the_sound() {
        let sound = noise(40_000);
        assert!(!compare(&[], &sound).holds(1));
        assert!(!compare(&vec![0; 40_000], &sound).holds(1));
        assert!(!compare(&[], &[]).holds(1), "nothing against nothing proves nothing");
        assert_eq!(compare(&[5], &[5]).lag_samples, 0);
    }
}
