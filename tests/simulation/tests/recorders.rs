//! Files of recorders drawn by lot go through the writer on its models: all of the sound is in the stream, once, and what is missing
//! costs little.
#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use media::time::{OpusTicks, Samples};
use recorder::{Beside, Container, Cut, Extras, Lacing, Ogg, Other, Recorder, Recording, Webm, packets};
use serde_json::json;
use simulation::faults::Fate;
use simulation::faults::{Fault, On, Op};
use simulation::model::stream::Fragment;
use simulation::run::{Arrival, Incident, Outcome, Scenario, run};
use simulation::speech::session::BEGIN_MS;
use writer::event::Event;
use writer::ports::SessionStatus;

/// A blob, when it was handed out, and when it reaches the queue; both after the session's start.
struct Blob {
    bytes: Vec<u8>,
    captured_ms: u64,
    sent_ms: Option<u64>,
}

/// What the pieces of a recording are, each handed out when the sound that it completes has ended.
fn blobs(recording: &Recording, cut: &Cut) -> Vec<Blob> {
    let (mut at, mut done, mut us) = (0, 0, 0);
    let mut blob = |bytes: Vec<u8>| {
        at += bytes.len();
        while recording.packets.get(done).is_some_and(|packet| packet.end <= at) {
            us += recording.packets[done].us;
            done += 1;
        }
        let captured_ms = us / 1_000 + 20;
        Blob { bytes, captured_ms, sent_ms: Some(captured_ms + 40) }
    };
    recording.blobs(cut).into_iter().map(&mut blob).collect()
}

/// The writer with these blobs, and an end behind them.
fn written(recorder: &Recorder, blobs: &[Blob], faults: Vec<Fault>) -> Outcome {
    let format = match recorder.container {
        Container::Webm(_) => "webm-opus",
        Container::Ogg(_) => "ogg-opus",
    };
    let active = Incident::Status("s".into(), SessionStatus::Active);
    let mut arrivals = vec![Arrival { at_ms: BEGIN_MS, what: active }];
    for (index, blob) in blobs.iter().enumerate() {
        let Some(sent_ms) = blob.sent_ms else { continue };
        let body = json!({
            "action": "writeToStream", "sessionId": "s", "audioData": STANDARD.encode(&blob.bytes),
            "timestamp": BEGIN_MS + blob.captured_ms, "format": format, "chunkIndex": index,
        });
        let (group, deduplication) = ("s".to_owned(), index.to_string());
        let what = Incident::Message { group, deduplication, body: body.to_string() };
        arrivals.push(Arrival { at_ms: BEGIN_MS + sent_ms, what });
    }
    let end = json!({"action": "endStream", "sessionId": "s"}).to_string();
    let last_ms = blobs.iter().filter_map(|blob| blob.sent_ms).max().unwrap_or_default();
    let what = Incident::Message { group: "s".into(), deduplication: "end".into(), body: end };
    arrivals.push(Arrival { at_ms: BEGIN_MS + last_ms + 100, what });
    arrivals.sort_by_key(|arrival| arrival.at_ms);
    run(&Scenario { arrivals, faults, redrives: 1, full_deliveries: true, ..Scenario::default() })
}

fn fragments(outcome: &Outcome) -> &[Fragment] {
    outcome.world.streams.by_session.get("s").map_or(&[], |stream| &stream.fragments)
}

fn samples(outcome: &Outcome) -> u64 {
    let blocks = fragments(outcome).iter().flat_map(|fragment| &fragment.media.blocks);
    blocks.map(|(_, pcm)| pcm.len() as u64 / 2).sum()
}

/// What a player of the file hears.
fn heard(recorder: &Recorder, recording: &Recording) -> u64 {
    let us: u64 = recording.packets.iter().map(|packet| packet.us - packet.padding_us).sum();
    let skip = OpusTicks(u32::from(recorder.pre_skip)).to_samples();
    Samples(us * 16 / 1_000).saturating_sub(skip).0
}

fn draw(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut rng = fastrand::Rng::with_seed(seed);
    move |below| rng.u64(0..below.max(1))
}

/// Whether nothing of the recording is said to be lost.
fn is_plain(container: &Container) -> bool {
    match container {
        Container::Webm(webm) => !webm.extras.encrypted_block,
        Container::Ogg(_) => true,
    }
}

#[test]
fn what_any_recorder_writes_is_in_the_stream_to_the_sample() {
    let mut seen = 0;
    for seed in 0..150 {
        let mut below = draw(seed);
        let recorder = Recorder::draw(&mut below);
        let us = [20_000, 60_000, 10_000, 120_000][below(4) as usize];
        let recording = recorder.record(&packets(us, (6_000_000 / us) as usize, seed));
        let timeslice_us = [60_000, 250_000, 1_000_000, 20_000_000][below(4) as usize];
        let cut = match below(2) {
            0 => Cut::AtElement { timeslice_us },
            _ => Cut::IntoElement { timeslice_us },
        };
        let all = blobs(&recording, &cut);
        // What the door takes; and what recorders mark as lost is left as lost.
        if !is_plain(&recorder.container) || all.iter().any(|blob| blob.bytes.len() > 96 * 1024) {
            continue;
        }
        seen += 1;
        let outcome = written(&recorder, &all, Vec::new());
        let told = |what: &str| format!("seed {seed}: {what}: {recorder:?}, {us} us, cut {cut:?}");
        assert_eq!(
            outcome.parked.len(),
            0,
            "{}: {:?}",
            told("parked"),
            outcome.parked.first().map(|dead| &dead.attributes)
        );
        let off = samples(&outcome).abs_diff(heard(&recorder, &recording));
        assert!(
            off <= 1,
            "{}",
            told(&format!("{} samples instead of {}", samples(&outcome), heard(&recorder, &recording)))
        );
    }
    assert!(seen > 40, "{seen} recorders were drawn that lose nothing");
}

/// One chunk of 300 ms comes late, or is lost until an operator redrives it.
#[test]
fn one_missing_chunk_costs_its_own_audio_and_little_else_and_comes_back() {
    const LOST: u64 = 420 * 16;
    for cluster_us in [300_000, 1_000_000, 10_000_000, 30_000_000, u64::MAX] {
        for us in [20_000, 60_000] {
            let recorder = Recorder::plain(cluster_us);
            let recording = recorder.record(&packets(us, (33_000_000 / us) as usize, cluster_us));
            let whole = heard(&recorder, &recording);
            let cut = Cut::IntoElement { timeslice_us: 300_000 };
            let count = blobs(&recording, &cut).len();
            for lost in (1..count - 1).step_by(23) {
                let mut all = blobs(&recording, &cut);
                all[lost].sent_ms = None;
                let away = samples(&written(&recorder, &all, Vec::new()));
                assert!(
                    whole - away <= LOST,
                    "Clusters of {cluster_us} us, chunk {lost}: {} ms are lost",
                    (whole - away) / 16
                );
                all[lost].sent_ms = Some(60_000);
                let back = written(&recorder, &all, Vec::new());
                let parked: Vec<_> = back.parked.iter().map(|dead| &dead.attributes["reason"]).collect();
                assert!(parked.is_empty(), "Clusters of {cluster_us} us, chunk {lost}: {parked:?}");
                assert_eq!(samples(&back), whole, "Clusters of {cluster_us} us, chunk {lost} is back");
            }
        }
    }
}

/// The batch around one chunk is parked and redriven.
#[test]
fn a_parked_batch_of_one_long_cluster_comes_back_whole() {
    let recorder = Recorder::one_cluster();
    let recording = recorder.record(&packets(60_000, 250, 1));
    let all = blobs(&recording, &Cut::IntoElement { timeslice_us: 300_000 });
    for n in 0..6 {
        let fate = Fate::Fail(simulation::faults::Failure::Ack(4006));
        let outcome = written(
            &recorder,
            &all,
            vec![Fault { on: On::Nth { op: Op::Put, session: "s".into(), n }, fate }],
        );
        assert!(!outcome.parked.is_empty(), "the failure was not met");
        assert_eq!(samples(&outcome), heard(&recorder, &recording), "PutMedia {n} failed");
    }
}

/// Recorders whose files cannot be cut at any packet: of one Cluster, of pages and blocks that hold as much as they can (30 s).
fn coarse() -> [Recorder; 4] {
    let lacing = Lacing::Ebml;
    let laced = Webm { cluster_us: u64::MAX, lacing, per_block: 256, ..Webm::default() };
    let ogg = |beside| {
        let ogg = Ogg { page_us: u64::MAX, beside, ..Ogg::default() };
        Recorder { container: Container::Ogg(ogg), pre_skip: 312, gain: -1_000, ..Recorder::default() }
    };
    let laced = Recorder { container: Container::Webm(laced), ..Recorder::default() };
    [Recorder::one_cluster(), laced, ogg(None), ogg(Some(Other::After))]
}

/// As much as fits one message: seconds, a minute, in any cut.
#[test]
fn a_minute_of_audio_in_one_message_becomes_several_fragments() {
    for (recorder, seconds) in coarse().iter().flat_map(|r| [12, 19, 21, 60, 90].map(|seconds| (r, seconds)))
    {
        let recording = recorder.record(&packets(120_000, seconds * 1_000 / 120, 3));
        assert!(recording.bytes.len() <= 96 * 1024, "{seconds} s fit one message");
        for cut in [Cut::Whole, Cut::Every(20_000)] {
            let mut all = blobs(&recording, &cut);
            let last_ms = all.iter().map(|blob| blob.captured_ms).max().unwrap();
            all.iter_mut().for_each(|blob| (blob.captured_ms, blob.sent_ms) = (last_ms, Some(last_ms + 40)));
            let outcome = written(recorder, &all, Vec::new());
            let told = format!("{seconds} s of {recorder:?}, cut {cut:?}");
            let parked: Vec<_> = outcome.parked.iter().map(|dead| &dead.attributes["reason"]).collect();
            assert!(parked.is_empty(), "{told}: {parked:?}");
            assert_eq!(samples(&outcome), heard(recorder, &recording), "{told}");
            let longest = fragments(&outcome)
                .iter()
                .map(|f| f.media.blocks.iter().map(|(_, pcm)| pcm.len() / 32).sum::<usize>());
            assert!(longest.clone().max() <= Some(9_500), "{told}: {:?}", longest.collect::<Vec<_>>());
        }
    }
}

/// Any fragment of a chunk that becomes several may be parked and redriven.
#[test]
fn a_parked_part_of_a_long_chunk_comes_back_whole() {
    for recorder in coarse() {
        let recording = recorder.record(&packets(120_000, 400, 5));
        let all = blobs(&recording, &Cut::Whole);
        for n in 0..5 {
            let fate = Fate::Fail(simulation::faults::Failure::Ack(4006));
            let fault = Fault { on: On::Nth { op: Op::Put, session: "s".into(), n }, fate };
            let outcome = written(&recorder, &all, vec![fault]);
            assert!(!outcome.parked.is_empty(), "the failure was not met");
            assert_eq!(samples(&outcome), heard(&recorder, &recording), "PutMedia {n} failed: {recorder:?}");
        }
    }
}

#[test]
fn a_second_audio_track_and_encrypted_blocks_are_told() {
    let beside = Beside { number: 30, codec: "A_VORBIS".into(), first: false, block_bytes: 300 };
    let extras = Extras { encrypted_block: true, ..Extras::default() };
    let webm = Webm { cluster_us: 1_000_000, beside: vec![beside], extras, ..Webm::default() };
    let recorder = Recorder { container: Container::Webm(webm), ..Recorder::default() };
    let recording = recorder.record(&packets(20_000, 200, 1));
    let outcome =
        written(&recorder, &blobs(&recording, &Cut::AtElement { timeslice_us: 250_000 }), Vec::new());
    let tracks =
        |event: &Event| matches!(event, Event::SeveralAudioTracks { codecs, .. } if codecs == "A_VORBIS");
    let events = || outcome.world.events.iter().map(|(_, event)| event);
    assert_eq!(events().filter(|event| tracks(event)).count(), 1, "nobody is told that a track is not heard");
    let blocks = |event: &Event| match event {
        Event::EncryptedBlocks { blocks, .. } => *blocks,
        _ => 0,
    };
    assert!(events().map(blocks).sum::<u64>() > 0, "encrypted blocks are counted");
}
