//! Small files of real muxers, against what `corpus/expected.txt` says of them and against ffprobe. `UPDATE_GOLDENS=1` writes that
//! file anew. To add a file is to put it into the folder.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use common::referee::{Seen, adler, ffprobe};
use common::{Rng, demux, heads, packets, skipped};
use media::demux::{Demuxer, Item};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// The files by name.
fn files() -> BTreeMap<String, Vec<u8>> {
    let paths = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let file = |path: PathBuf| {
        (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap())
    };
    paths.filter(|path| path.extension().is_some_and(|extension| extension != "txt")).map(file).collect()
}

/// What comes out of a file, in a few lines: each recording, its packets' times as `start+step*count`, in us.
fn described(items: &[Item]) -> String {
    let mut text = String::new();
    for head in heads(items) {
        let beside = head.beside.join(" ");
        writeln!(text, "  recording: pre-skip {}, {} channels, {beside}", head.pre_skip.0, head.channels)
            .unwrap();
    }
    for passed in skipped(items) {
        writeln!(text, "  skipped: {} bytes, {}", passed.total, passed.reason).unwrap();
    }
    let found = packets(items);
    let mut rest = &found[..];
    while let [first, more @ ..] = rest {
        let us = |n: usize| rest[n].time.0 / 1_000;
        let step = if more.is_empty() { 0 } else { us(1) - us(0) };
        let regular = |n: &usize| us(*n) == us(0) + step * *n as i64 && rest[*n].duration == first.duration;
        let count = (0..rest.len()).take_while(regular).count();
        writeln!(text, "  {}+{step}*{count}, {} each", us(0), first.duration).unwrap();
        rest = &rest[count..];
    }
    let sizes: Vec<String> = found.iter().map(|packet| packet.data.len().to_string()).collect();
    let all: Vec<u8> = found.iter().flat_map(|packet| packet.data.clone()).collect();
    let discard: u64 = found.iter().map(|packet| packet.discard_end.0).sum();
    writeln!(
        text,
        "  {} packets, adler {:08x}, {discard} samples discarded: {}",
        found.len(),
        adler(&all),
        sizes.join(" ")
    )
    .unwrap();
    text
}

#[test]
fn files_of_real_muxers_give_what_is_written_down_however_they_are_cut() {
    let (mut text, mut rng) = (String::new(), Rng(1));
    for (name, bytes) in files() {
        let whole = demux([&bytes]);
        write!(text, "{name}\n{}", described(&whole)).unwrap();
        for most in [1, 20, 500, 5_000] {
            let (mut demuxer, mut items, mut rest) = (Demuxer::new(), Vec::new(), &bytes[..]);
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(1 + rng.below(rest.len().min(most)));
                demuxer = rmp_serde::from_slice(&rmp_serde::to_vec_named(&demuxer).unwrap()).unwrap();
                items.extend(demuxer.push(piece));
                rest = after;
            }
            assert!(
                packets(&items) == packets(&whole),
                "{name}: cut after {most} bytes at most, other packets"
            );
            assert_eq!(heads(&items), heads(&whole), "{name}: cut after {most} bytes at most");
        }
    }
    let golden = folder().join("expected.txt");
    if std::env::var("UPDATE_GOLDENS").is_ok() {
        std::fs::write(&golden, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap();
    let differs = expected.lines().zip(text.lines()).find(|(expected, now)| expected != now);
    assert_eq!(differs, None, "a file gives something else than what is written down");
    assert_eq!(expected.lines().count(), text.lines().count());
}

#[test]
fn files_of_real_muxers_give_what_ffprobe_finds() {
    for (name, bytes) in files() {
        let found = packets(&demux([&bytes]));
        if found.is_empty() {
            continue; // refused: expected.txt says why
        }
        let seen = ffprobe(&folder().join(&name), 0);
        let same = |seen: &[Seen]| {
            seen.iter()
                .map(|seen| (seen.size, seen.adler))
                .eq(found.iter().map(|p| (p.data.len(), adler(&p.data))))
        };
        assert!(same(&seen), "{name}: {} packets, ffprobe has {}", found.len(), seen.len());
        // ffprobe takes a delay off all times of a file, and rounds it.
        let off = |(ours, theirs): (&media::demux::Packet, &Seen)| ours.time.0 - theirs.time_ns.unwrap();
        let offs: Vec<i64> = found.iter().zip(&seen).map(off).collect();
        let (least, most) = (offs.iter().min().unwrap(), offs.iter().max().unwrap());
        assert!(
            most - least < 1_000_000 && (0..=80_000_000).contains(least),
            "{name}: {least} to {most} ns off"
        );
    }
}
