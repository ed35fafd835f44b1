//! Pages put the recording's header, or its whole first blob, in front of other blobs: the recording goes on, and is heard once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{STREAMS, chunks, demux, heads, packets, push_all, skipped};
use media::demux::{Demuxer, Item};
use recorder::{Container, Cut, Recorder, packets as sound};

/// Streams as blobs, each with its header's length: browsers' own, and what else is written.
fn streams() -> Vec<(String, Vec<Vec<u8>>, usize)> {
    const CLUSTER: &[u8] = b"\x1f\x43\xb6\x75";
    let header_len = |blob: &[u8]| blob.windows(4).position(|bytes| bytes == CLUSTER).unwrap();
    let mut all: Vec<_> = STREAMS
        .into_iter()
        .filter(|name| *name != "chromium-restart")
        .map(|name| (name.to_owned(), chunks(name), header_len(&chunks(name)[0])))
        .collect();
    let timeslice_us = 250_000;
    for (name, recorder, us) in [
        ("Safari", Recorder::safari(), 20_000),
        ("GStreamer", Recorder::gstreamer(), 20_000),
        ("one Cluster", Recorder::one_cluster(), 60_000),
        ("Ogg", Recorder::firefox_ogg(), 20_000),
    ] {
        let recording = recorder.record(&sound(us, 8_000_000 / us as usize, 5));
        for cut in [Cut::AtElement { timeslice_us }, Cut::IntoElement { timeslice_us }, Cut::Every(1_700)] {
            if name == "Ogg" && cut != (Cut::AtElement { timeslice_us }) {
                continue; // see below
            }
            all.push((format!("{name}, {cut:?}"), recording.blobs(&cut), recording.header_len));
        }
    }
    all
}

fn once(name: &str, items: &[Item], blobs: &[Vec<u8>]) {
    assert_eq!(heads(items).len(), 1, "{name}: one recording");
    assert_eq!(skipped(items), [], "{name}: nothing is skipped");
    let (found, all) = (packets(items), packets(&demux(blobs)));
    assert!(found == all, "{name}: {} of {} packets", found.len(), all.len());
}

#[test]
fn the_header_before_every_blob_goes_on() {
    for (name, blobs, header_len) in streams() {
        let header = &blobs[0][..header_len];
        let others = blobs[1..].iter().map(|blob| [header, blob].concat());
        once(&name, &demux([blobs[0].clone()].into_iter().chain(others)), &blobs);
    }
}

#[test]
fn the_header_as_a_blob_of_its_own_goes_on() {
    for (name, blobs, header_len) in streams() {
        let mut items = Vec::new();
        let mut demuxer = Demuxer::new();
        for (n, blob) in blobs.iter().enumerate() {
            if n > 0 {
                items.extend(demuxer.push(&blobs[0][..header_len]));
            }
            items.extend(demuxer.push(blob));
        }
        once(&name, &items, &blobs);
    }
}

#[test]
fn the_whole_first_blob_before_every_blob_is_heard_once() {
    for (name, blobs, _) in streams() {
        let others = blobs[1..].iter().map(|blob| [&blobs[0][..], blob].concat());
        once(&name, &demux([blobs[0].clone()].into_iter().chain(others)), &blobs);
    }
}

#[test]
fn from_the_second_blob_on_it_need_not_be_a_browsers() {
    let mut recorder = Recorder::plain(300_000);
    let Container::Webm(webm) = &mut recorder.container else { panic!("it writes WebM") };
    webm.uid = 1; // which says nothing
    let recording = recorder.record(&sound(60_000, 100, 1));
    for cut in [Cut::AtElement { timeslice_us: 300_000 }, Cut::IntoElement { timeslice_us: 300_000 }] {
        let blobs = recording.blobs(&cut);
        let others = blobs[1..].iter().map(|blob| [&blobs[0][..], blob].concat());
        once(&format!("{cut:?}"), &demux([blobs[0].clone()].into_iter().chain(others)), &blobs);
    }
}

#[test]
fn the_whole_first_blob_after_a_reconnect_is_heard_once() {
    for (name, blobs, _) in streams() {
        for at in [1, 2, 9, blobs.len() - 1] {
            let mut again = blobs.clone();
            if at > 1 {
                again.insert(at, blobs[0].clone());
                once(&format!("{name}, alone before blob {at}"), &demux(&again), &blobs);
            }
            let mut joined = blobs.clone();
            joined[at] = [&blobs[0][..], &blobs[at]].concat();
            let items = demux(&joined);
            if name.contains("Every") && at > 1 {
                // Nobody knows where the first blob ends if it was cut in the middle of an element.
                let (found, all) = (packets(&items).len(), packets(&demux(&blobs)).len());
                assert!(
                    heads(&items).len() == 1 && (all - 2..=all).contains(&found),
                    "{name}: {found} of {all}"
                );
            } else {
                once(&format!("{name}, with blob {at}"), &items, &blobs);
            }
        }
    }
}

#[test]
fn behind_a_loss_the_repeated_header_goes_on_too() {
    for (name, blobs, header_len) in streams() {
        let all = packets(&demux(&blobs));
        for whole in [false, true] {
            let front = if whole { &blobs[0][..] } else { &blobs[0][..header_len] };
            let with_front = |blob: &Vec<u8>| [front, blob].concat();
            let mut demuxer = Demuxer::new();
            let mut before = packets(&demuxer.push(&blobs[0]));
            before.extend(packets(&push_all(&mut demuxer, blobs[1..6].iter().map(with_front))));
            demuxer.bytes_missing();
            let rest = push_all(&mut demuxer, blobs[7..].iter().map(with_front));
            let after = packets(&rest);
            assert_eq!(heads(&rest).len(), 0, "{name}: the same recording");
            let same = after.len() <= all.len()
                && after.iter().map(|p| &p.data).eq(all[all.len() - after.len()..].iter().map(|p| &p.data));
            assert!(
                same,
                "{name}, whole {whole}: other packets behind the loss, {} of {}",
                after.len(),
                all.len()
            );
            let lost = all.len() - before.len() - after.len();
            let own = packets(&demux(&blobs[..7])).len() - before.len();
            assert!(
                lost <= own + 2,
                "{name}, whole {whole}: {lost} packets are lost, of which the blob held {own}"
            );
        }
    }
}

#[test]
fn the_first_blob_before_every_blob_goes_on_although_the_second_is_missing() {
    for (name, blobs, _) in streams() {
        if name.contains("Every") {
            continue; // nobody knows where the first blob ends
        }
        let all = packets(&demux(&blobs));
        let mut demuxer = Demuxer::new();
        let mut items = demuxer.push(&blobs[0]);
        items.extend(demuxer.bytes_missing());
        items.extend(push_all(&mut demuxer, blobs[2..].iter().map(|blob| [&blobs[0][..], blob].concat())));
        let lost = all.len() - packets(&items).len();
        let own = packets(&demux(&blobs[..2])).len() - packets(&demux(&blobs[..1])).len();
        assert_eq!(heads(&items).len(), 1, "{name}: one recording");
        assert!(
            (own..=own + 2).contains(&lost),
            "{name}: {lost} packets are lost, of which the blob held {own}"
        );
    }
}

#[test]
fn another_run_of_a_recorder_that_always_writes_the_same_header_is_another_recording() {
    // The second is as long as one that was drawn by lot.
    for (uid, blobs_before) in [(1, 7), (0x11_2233, 7), (0x11_2233, 1), (0x11_2233, 40)] {
        let mut recorder = Recorder::one_cluster();
        let Container::Webm(webm) = &mut recorder.container else { panic!("it writes WebM") };
        webm.uid = uid;
        let (first, second) =
            (recorder.record(&sound(20_000, 600, 1)), recorder.record(&sound(20_000, 300, 2)));
        let cut = Cut::AtElement { timeslice_us: 250_000 };
        let blobs = [&first.blobs(&cut)[..blobs_before], &second.blobs(&cut)].concat();
        let items = demux(&blobs);
        assert_eq!(heads(&items).len(), 2, "UID {uid:x}: its runs differ in their sound only");
        let data = packets(&items).into_iter().map(|packet| packet.data).collect::<Vec<_>>();
        let until = first.packets.iter().take(packets(&demux(&blobs[..blobs_before])).len());
        let expected = until.chain(&second.packets).map(|packet| packet.data.clone());
        assert!(
            expected.eq(data),
            "UID {uid:x} behind {blobs_before} blobs: the second run's first words are lost"
        );
    }
}

#[test]
fn another_run_is_another_recording_although_its_first_blobs_end_within_its_header() {
    let mut webm_of_one_uid = Recorder::one_cluster();
    let Container::Webm(webm) = &mut webm_of_one_uid.container else { panic!("it writes WebM") };
    (webm.uid, webm.extras.attachment_bytes) = (1, 9_000);
    let mut ogg_of_one_serial = Recorder::firefox_ogg();
    let Container::Ogg(ogg) = &mut ogg_of_one_serial.container else { panic!("it writes Ogg") };
    (ogg.serial, ogg.tags_bytes) = (1, 9_000);
    for recorder in [webm_of_one_uid, ogg_of_one_serial] {
        let runs = [1, 2].map(|n| recorder.record(&sound(20_000, 300, n)));
        let header_len = runs[1].header_len;
        for cuts in [vec![header_len], vec![header_len / 2, header_len + 3], vec![header_len - 1, header_len]]
        {
            let mut blobs = vec![runs[0].bytes.clone()];
            let ends = cuts.iter().copied().chain([runs[1].bytes.len()]);
            ends.fold(0, |from, to| {
                blobs.push(runs[1].bytes[from..to].to_vec());
                to
            });
            let items = demux(&blobs);
            assert_eq!(heads(&items).len(), 2, "{cuts:?}: {recorder:?}");
            let data = packets(&items).into_iter().map(|packet| packet.data);
            let expected = runs.iter().flat_map(|run| run.packets.iter().map(|packet| packet.data.clone()));
            assert!(expected.eq(data), "{cuts:?}: each packet is heard once: {recorder:?}");
        }
    }
}

#[test]
fn files_of_one_blob_each_with_one_header_are_recordings_of_their_own() {
    for recorder in [Recorder::safari(), Recorder::finished(), Recorder::firefox_ogg()] {
        let files: Vec<_> = (0..20).map(|n| recorder.record(&sound(20_000, 13, n))).collect();
        let items = demux(files.iter().map(|file| &file.bytes));
        if matches!(recorder.container, Container::Webm(_)) {
            assert_eq!(heads(&items).len(), 20, "{recorder:?}");
        }
        let expected = files.iter().flat_map(|file| file.packets.iter().map(|packet| &packet.data));
        assert!(
            packets(&items).iter().map(|packet| &packet.data).eq(expected),
            "each is heard: {recorder:?}"
        );
    }
}
