//! What is parked at a session's head and tail has its time, in the real processes: before a redrive the ledger is as long as
//! after it.
#![allow(clippy::unwrap_used)]

mod support;

use local_stack::stack::{Stack, StackConfig};
use serde_json::{Value, json};
use support::{Kvsw, folder, refuse, speak};

const ENDS: &str = "parked-ends";
const ALL: &str = "parked-all";

#[tokio::test(flavor = "multi_thread")]
async fn parked_heads_and_tails_are_in_the_ledger_the_picture_and_the_file() {
    let stack = Stack::start(StackConfig::default()).await.unwrap();
    let faults = stack.emulator().unwrap().faults();
    for fault in [refuse(ENDS, 1, 1), refuse(ENDS, 7, 1_000), refuse(ALL, 1, 1_000)] {
        faults.add(fault);
    }
    speak(&stack, &[ENDS, ALL]).await;
    faults.clear();

    let kinesis_video = stack.kinesis_video_endpoint().unwrap();
    let kvsw = Kvsw::on(stack.resources(), stack.backend_endpoint().unwrap(), &kinesis_video);
    let (ends, all) = (parked(&kvsw, ENDS).await, parked(&kvsw, ALL).await);
    assert!(ends["audioMs"].as_u64() > Some(5_000) && all["audioMs"] == 0, "{ends} {all}");
    the_end_is_filled(&kvsw, &ends).await;

    let redriven = kvsw.run(&["dlq", "redrive", "--json"]).await;
    assert_eq!(redriven.code, 0, "{redriven:?}");
    for (session, before) in [(ENDS, ends), (ALL, all)] {
        let after = show(&kvsw, session, 0).await["time"].clone();
        for name in ["from", "to"] {
            let (before, after) = (before[name].as_u64().unwrap(), after[name].as_u64().unwrap());
            assert!(before.abs_diff(after) <= 2, "{session} {name}: {before} before, {after} after");
        }
        assert_eq!(after["gapMs"], 0, "{after}");
    }
    stack.shutdown().await;
}

async fn show(kvsw: &Kvsw, session: &str, code: i32) -> Value {
    let shown = kvsw.run(&["session", "show", session, "--json"]).await;
    assert_eq!(shown.code, code, "{shown:?}");
    shown.json()
}

/// The time of a session that has parked chunks at both ends.
async fn parked(kvsw: &Kvsw, session: &str) -> Value {
    let shown = show(kvsw, session, 1).await;
    let time = shown["time"].clone();
    let ms = |name: &str| time[name].as_u64().unwrap();
    assert_eq!(ms("audioMs") + ms("pauseMs") + ms("gapMs"), ms("to") - ms("from"), "{time}");
    let holes = shown["holes"].as_array().unwrap();
    for (hole, place, end) in [(&holes[0], "from", "from"), (&holes[holes.len() - 1], "to", "to")] {
        assert_eq!((&hole["kind"], &hole[end]), (&json!("gap"), &time[place]), "{shown}");
    }
    assert_eq!(shown["redriveHelps"], true);
    let out = folder(session).join(format!("{session}.svg")).display().to_string();
    let drawn = kvsw.run(&["session", "timeline", session, "--out", &out]).await;
    assert_eq!(drawn.code, 0, "{drawn:?}");
    assert!(std::fs::read_to_string(out).unwrap().contains("gap, parked"));
    time
}

/// The last second lies in a gap: silence with --fill-gaps, wrong use without.
async fn the_end_is_filled(kvsw: &Kvsw, time: &Value) {
    let total = time["to"].as_u64().unwrap() - time["from"].as_u64().unwrap();
    let out = folder("parked-ends-audio").join("part.wav").display().to_string();
    let export = async |from: u64, more: &[&str]| {
        let (from, to) = (format!("{from}ms"), format!("{}ms", total - 100));
        let part = ["session", "export", ENDS, "--out", &out, "--force", "--from", &from, "--to", &to];
        kvsw.run(&[&part[..], more].concat()).await
    };
    std::fs::write(&out, "from before").unwrap();
    let bare = export(total - 1_100, &[]).await;
    assert!(bare.code == 2 && bare.stderr.contains("no audio lies in that part"), "{bare:?}");
    assert_eq!(std::fs::read(&out).unwrap(), b"from before", "wrong use changes nothing");
    for (from, ms) in [(total - 1_100, 1_000), (100, total - 200)] {
        let filled = export(from, &["--fill-gaps"]).await;
        assert_eq!(filled.code, 0, "{filled:?}");
        let samples = u64::from(hound::WavReader::open(&out).unwrap().duration());
        assert_eq!(samples, ms * 16, "{filled:?}");
    }
}
