use ingest::checkpoint::Checkpoint;
use ingest::gap::Gap;
use ingest::position::Position;
use media::time::Samples;

use super::*;
use crate::ledger::tests::gap;
use crate::ledger::{Parked, ledger};

fn tone(at: u64, samples: usize) -> Block {
    let pcm = (0..samples).map(|i| ((i as f64 / 20.0).sin() * 20_000.0) as i16).collect();
    Block { at: EpochMs(at), pcm }
}

/// Two fragments of 2 s with 4 s of `blank` between them.
fn timeline(blank: Blank) -> Timeline {
    let mut wave = Wave::new(EpochMs(1_000), EpochMs(9_000));
    wave.add(&tone(1_000, 32_000));
    wave.add(&tone(7_000, 32_000));
    let band = |from: u64, backfilled| Band {
        fragment: 0,
        time: (from, from + 2_000),
        label: "0-7".into(),
        backfilled,
    };
    Timeline {
        title: "owl".into(),
        subtitle: "\u{1F600} \u{e9}".into(),
        wave,
        begins_ms: 1_000,
        bands: vec![band(1_000, false), band(7_000, true)],
        blanks: vec![((3_000, 7_000), blank)],
    }
}

/// Left edge and width of the panel's parts of this colour.
fn parts(svg: &str, ink: Ink) -> Vec<(f32, f32)> {
    let number = |line: &str, name: &str| -> f32 {
        let (_, rest) = line.split_once(&format!(" {name}=\"")).unwrap();
        rest.split('"').next().unwrap().parse().unwrap()
    };
    let fill = format!("fill=\"{}\"", svg::colour(ink));
    let panel = svg.lines().filter(|line| line.starts_with("<rect x=") && line.contains(&fill));
    panel.map(|line| (number(line, "x"), number(line, "width"))).collect()
}

/// Columns of the waveform of this colour.
fn bars(svg: &str, ink: Ink) -> Vec<f32> {
    let stroke = format!("<path stroke=\"{}\"", svg::colour(ink));
    let path = svg.lines().find(|line| line.starts_with(&stroke)).unwrap_or_default();
    path.split('M').skip(1).map(|bar| bar.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn audio_backfill_and_gap_stand_where_they_belong() {
    let svg = timeline(Blank::Parked).svg();
    let quarter = COLUMNS as f32 / 4.0;
    let (live, late) = (bars(&svg, WAVE), bars(&svg, BACKFILLED_WAVE));
    assert!(live.len() > 300 && live.iter().all(|x| *x < LEFT + quarter), "{live:?}");
    assert!(late.len() > 300 && late.iter().all(|x| *x >= LEFT + 3.0 * quarter), "{late:?}");
    assert_eq!(parts(&svg, PARKED), [(LEFT + quarter, 2.0 * quarter)], "the gap is the two quarters between");
}

#[test]
fn a_pause_is_bare_and_a_legend_names_only_what_is_there() {
    let (pause, gap) = (timeline(Blank::Pause).svg(), timeline(Blank::Gap).svg());
    assert!(pause.contains(">pause</text>") && !pause.contains("gap, missing"), "{pause}");
    assert_eq!(parts(&pause, GAP), []);
    assert!(gap.contains(">gap, missing</text>") && parts(&gap, GAP).len() == 1, "{gap}");
}

#[test]
fn odd_times_make_a_picture_of_bounded_size() {
    for (from, to) in [(0, 0), (5, 5), (u64::MAX - 1, u64::MAX), (u64::MAX, u64::MAX), (0, u64::MAX)] {
        let mut wave = Wave::new(EpochMs(from), EpochMs(to));
        wave.add(&tone(from, 100));
        let bands = vec![Band { fragment: 0, time: (from, to), label: String::new(), backfilled: false }];
        let blanks = vec![((from, to), Blank::Gap)];
        let svg =
            Timeline { title: String::new(), subtitle: String::new(), wave, begins_ms: from, bands, blanks }
                .svg();
        assert!(svg.ends_with("</svg>\n") && svg.lines().count() < 2_000, "{} lines", svg.lines().count());
    }
}

#[test]
fn what_is_parked_at_the_head_and_at_the_tail_is_drawn() {
    let gap = |from: u64, to: u64, begins_at: u64, ends_at: Option<u64>| Gap {
        captured: (EpochMs(begins_at), EpochMs(begins_at + 2_000)),
        ..gap(from, to, begins_at, ends_at)
    };
    let gaps = vec![gap(0, 7, 1_000, Some(3_000)), gap(14, 21, 5_000, None)];
    let live = Position { next: 21, ..Position::default() };
    let state = Checkpoint { live, gaps, ..Checkpoint::default() };
    let fragments = [Fragment {
        number: "1".into(),
        at: EpochMs(3_000),
        stretches: vec![(EpochMs(3_000), Samples::from_ms(2_000))],
        numbering: Some(0),
        chunks: Some((7, 13)),
        ..Fragment::default()
    }];
    let parked = [0, 14].map(|index| Parked { numbering: Some(0), index: Some(index) });
    let drawn = |parked: &[Parked], fragments: &[Fragment]| {
        let wave = Wave::new(EpochMs(1_000), EpochMs(7_000));
        Timeline::of("owl", &ledger(fragments, &state, parked), fragments, wave, EpochMs(1_000))
    };
    let both = drawn(&parked, &fragments);
    assert_eq!(both.blanks, [((1_000, 3_000), Blank::Parked), ((5_000, 7_000), Blank::Parked)]);
    assert!(both.subtitle.ends_with("6 s · 1 fragment · audio 2 s · gaps 4 s"), "{}", both.subtitle);
    let missing = drawn(&[], &[]).blanks;
    assert_eq!(missing.iter().filter(|(_, blank)| *blank == Blank::Gap).count(), 2);
}

/// What the picture of a part says is of that part: heading, fragments, gaps and the axis.
#[test]
fn the_heading_of_a_part_is_that_of_its_picture() {
    let fragment = |i: u64| Fragment {
        number: i.to_string(),
        at: EpochMs(10_000 + i * 2_000),
        stretches: vec![(EpochMs(10_000 + i * 2_000), Samples::from_ms(2_000))],
        numbering: Some(0),
        chunks: Some((i * 7, i * 7 + 6)),
        ..Fragment::default()
    };
    // 60 s of audio but for two gaps, at 10 s and at 42 s.
    let fragments: Vec<Fragment> = (0..30).filter(|i| *i != 5 && *i != 21).map(fragment).collect();
    let gaps = vec![gap(35, 42, 20_000, Some(22_000)), gap(147, 154, 52_000, Some(54_000))];
    let live = Position { next: 210, ..Position::default() };
    let state = Checkpoint { live, gaps, ..Checkpoint::default() };
    let part = (EpochMs(31_000), EpochMs(41_000));
    let ledger = crate::ledger::ledger_within(&fragments, &state, &[], part);
    assert_eq!((ledger.time.from, ledger.time.to, ledger.time.audio_ms), (31_000, 41_000, 10_000));
    assert_eq!((ledger.fragments.len(), ledger.gaps.len()), (6, 0));
    let drawn = Timeline::of("owl", &ledger, &fragments, Wave::new(part.0, part.1), EpochMs(10_000));
    assert_eq!(drawn.subtitle, "1970-01-01T00:00:31.000Z · 10 s · 6 fragments · audio 10 s");
    assert_eq!(drawn.bands.len(), 6);
    let svg = drawn.svg();
    assert!(svg.contains(">21 s</text>") && svg.contains(">30 s</text>"), "{svg}");
    assert!(!svg.contains(">0 s</text>"), "the part does not begin at the session's beginning");
    let around = crate::ledger::ledger_within(&fragments, &state, &[], (EpochMs(51_000), EpochMs(53_000)));
    assert_eq!((around.time.audio_ms, around.time.gap_ms, around.gaps.len()), (1_000, 1_000, 1));
}
