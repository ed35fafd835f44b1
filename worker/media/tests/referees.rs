//! Every packet of every kind of file, against ffprobe and mkvinfo: the same bytes at the same times.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::referee::{Scratch, Seen, adler, ffprobe, mkvinfo};
use common::{Rng, demux, packets};
use media::demux::Packet;
use recorder::{Container, Lacing, Recorder, Size, packets as sound};

fn of(packet: &Packet, shift_ns: i64) -> Seen {
    Seen { time_ns: Some(packet.time.0 - shift_ns), size: packet.data.len(), adler: adler(&packet.data) }
}

/// Where the two lists differ: another packet, or a time that is off by more than `off_ns`.
fn difference(ours: &[Seen], theirs: &[Seen], off_ns: i64) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} packets, and {} of the other", ours.len(), theirs.len()));
    }
    let differs = |(ours, theirs): &(&Seen, &Seen)| {
        let late =
            theirs.time_ns.zip(ours.time_ns).is_some_and(|(theirs, ours)| (theirs - ours).abs() > off_ns);
        (ours.size, ours.adler) != (theirs.size, theirs.adler) || late
    };
    let at = ours.iter().zip(theirs).position(|pair| differs(&pair))?;
    Some(format!("packet {at}: {:?}, and {:?} of the other", ours[at], theirs[at]))
}

/// Whether ffprobe and mkvinfo read such a file at all: they take a size of 0 at its word, and mkvinfo stops at elements that it
/// does not know.
fn they_read(recorder: &Recorder) -> (bool, bool) {
    match &recorder.container {
        Container::Webm(webm) => {
            let ffprobe = webm.cluster != Size::Zero && !webm.extras.encrypted_block;
            (ffprobe, ffprobe && webm.segment != Size::Zero && !webm.extras.unknown)
        }
        Container::Ogg(_) => (true, false),
    }
}

/// Our packets as ffprobe and as mkvinfo tell them. Of a lace, neither knows more than when it begins.
fn compare(recorder: &Recorder, file: &Scratch, found: &[Packet]) -> Vec<String> {
    let (webm, per_block) = match &recorder.container {
        Container::Webm(webm) if webm.lacing != Lacing::None => (Some(webm), webm.per_block),
        Container::Webm(webm) => (Some(webm), 1),
        Container::Ogg(_) => (None, 1),
    };
    let of_laces = |mut seen: Vec<Seen>| {
        let inner = |(n, seen): (usize, &mut Seen)| (n % per_block > 0).then(|| seen.time_ns = None);
        _ = seen.iter_mut().enumerate().filter_map(inner).count();
        seen
    };
    let mut differences = Vec::new();
    let reads = they_read(recorder);
    if reads.0 {
        // In WebM, ffprobe knows CodecDelay only.
        let told = webm.is_none_or(|webm| webm.extras.codec_delay);
        let delay_ns = if told { i64::from(recorder.pre_skip) * 1_000_000 / 48 } else { 0 };
        let ours: Vec<Seen> = found.iter().map(|packet| of(packet, delay_ns)).collect();
        let theirs = of_laces(ffprobe(file.path(), 0));
        differences.extend(difference(&ours, &theirs, 1_100_000).map(|what| format!("ffprobe: {what}")));
    }
    if let Some(webm) = webm.filter(|_| reads.1) {
        let ours: Vec<Seen> = found.iter().map(|packet| of(packet, 0)).collect();
        let theirs = of_laces(mkvinfo(file.path(), webm.track));
        differences.extend(difference(&ours, &theirs, 1_100_000).map(|what| format!("mkvinfo: {what}")));
    }
    differences
}

#[test]
fn recorders_of_every_kind_are_read_as_ffprobe_and_mkvinfo_read_them() {
    let mut rng = Rng(9);
    let mut all = vec![
        Recorder::chromium(),
        Recorder::firefox(),
        Recorder::safari(),
        Recorder::one_cluster(),
        Recorder::gstreamer(),
        Recorder::finished(),
        Recorder::firefox_ogg(),
    ];
    all.extend((0..60).map(|_| Recorder::draw(&mut |below| rng.next() % below.max(1))));
    let (mut by_ffprobe, mut by_mkvinfo) = (0, 0);
    for (n, recorder) in all.into_iter().enumerate() {
        let us = [60_000, 20_000, 2_500, 10_000, 120_000][n % 5];
        let recording = recorder.record(&sound(us, 70, n as u64));
        let found = packets(&demux([&recording.bytes]));
        let file = Scratch::new(&format!("recorder-{n}"), &recording.bytes);
        assert_eq!(compare(&recorder, &file, &found), [""; 0], "{n}: {recorder:?}");
        let reads = they_read(&recorder);
        (by_ffprobe, by_mkvinfo) = (by_ffprobe + u32::from(reads.0), by_mkvinfo + u32::from(reads.1));
    }
    assert!(by_ffprobe > 40 && by_mkvinfo > 15, "ffprobe read {by_ffprobe}, mkvinfo {by_mkvinfo}");
}
