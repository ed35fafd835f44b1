//! The whole story in the real processes: a session's stream fails for a while, batches are parked, the operator looks, redrives,
//! and the session's audio is what it would have been without the failure.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::time::Instant;

use local_stack::replay::recording::Recording;
use local_stack::stack::{Stack, StackConfig};
use serde_json::json;
use support::{Kvsw, PATIENCE, folder, refuse};

const BROKEN: &str = "quiet-fox-broken";
const WHOLE: &str = "quiet-fox-whole";

fn samples(path: &Path) -> Vec<i16> {
    hound::WavReader::open(path).unwrap().into_samples().map(|sample| sample.unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_session_is_found_redriven_and_sounds_as_if_nothing_had_happened() {
    let stack = Stack::start(StackConfig::default()).await.unwrap();
    // Data errors park at once; two places, so that two gaps open, one of them of several batches.
    let faults = stack.emulator().unwrap().faults();
    faults.add(refuse(BROKEN, 3, 2));
    faults.add(refuse(BROKEN, 7, 1));
    speak(&stack).await;
    faults.clear();

    let kinesis_video = stack.kinesis_video_endpoint().unwrap();
    let kvsw = Kvsw::on(stack.resources(), stack.backend_endpoint().unwrap(), &kinesis_video);
    let files = folder("redrive");
    let parked = the_operator_looks(&kvsw, &files).await;
    redrives(&kvsw, parked).await;
    the_sound_is_whole(&kvsw, &files).await;
    what_is_parked_again_is_found(&stack, &kvsw).await;
    stack.shutdown().await;
}

async fn speak(stack: &Stack) {
    let results = support::speak(stack, &[BROKEN, WHOLE]).await;
    assert!(results[0].report.chunks_parked > 0, "the faults parked nothing: {:?}", results[0].report);
    assert_eq!(
        results[1].report.chunks_parked, 0,
        "one session's trouble is its own: {:?}",
        results[1].report
    );
}

/// Returns how many messages are parked.
async fn the_operator_looks(kvsw: &Kvsw, files: &Path) -> u64 {
    let listed = kvsw.run(&["dlq", "list", "--json"]).await;
    assert_eq!(listed.code, 1, "{listed:?}");
    let session = listed.json()["sessions"][0].clone();
    let parked = session["messages"].as_u64().unwrap();
    assert_eq!(
        (&session["sessionId"], session["reasons"].clone()),
        (&json!(BROKEN), json!({"ack-4006": parked}))
    );
    assert_eq!(listed.json()["inQueue"]["visible"], parked, "every parked message has its note");
    let shown = kvsw.run(&["dlq", "show", BROKEN]).await;
    assert!(shown.stdout.contains("Kinesis Video found the Matroska data invalid"), "{}", shown.stdout);
    assert!(shown.stdout.contains("error: Kinesis Video refused the fragment: 4006"), "{}", shown.stdout);
    let messages = kvsw.run(&["dlq", "show", BROKEN, "--json"]).await.json()["messages"].clone();
    let placed = |message: &serde_json::Value| message["capturedAt"].is_u64() && message["numbering"] == 0;
    assert!(
        messages.as_array().unwrap().iter().all(placed),
        "the notes tell where each chunk belongs: {messages}"
    );

    let ledger = kvsw.run(&["session", "show", BROKEN, "--json"]).await;
    assert_eq!(ledger.code, 1, "{ledger:?}");
    let (time, chunks) = (ledger.json()["time"].clone(), ledger.json()["chunks"][0].clone());
    let ms = |name: &str| time[name].as_u64().unwrap();
    assert!(ms("gapMs") > 1_000 && ms("unknownMs") == 0 && ms("overlapMs") == 0, "{time}");
    assert_eq!(ms("audioMs") + ms("pauseMs") + ms("gapMs"), ms("to") - ms("from"), "{time}");
    assert_eq!((chunks["missing"].clone(), chunks["twice"].clone()), (json!([]), json!([])), "{chunks}");

    let out = files.join("before.svg").display().to_string();
    let drawn = kvsw.run(&["session", "timeline", BROKEN, "--out", &out]).await;
    assert_eq!(drawn.code, 0, "{drawn:?}");
    let out = files.join("parked").display().to_string();
    let exported = kvsw.run(&["dlq", "export", "--all", "--out", &out, "--json"]).await;
    assert_eq!((exported.code, exported.json()["messages"].as_u64()), (0, Some(parked)), "{exported:?}");
    let replayable = Recording::read(&files.join("parked")).unwrap();
    assert_eq!((replayable.lines.len() as u64, replayable.session_id()), (parked, BROKEN.to_owned()));
    parked
}

async fn redrives(kvsw: &Kvsw, parked: u64) {
    let dry = kvsw.run(&["dlq", "redrive", "--dry-run", "--json"]).await;
    assert_eq!(dry.code, 0, "{dry:?}");
    let plan = dry.json()["plan"].clone();
    assert_eq!(plan["sessions"][0]["messages"], parked);
    assert!(plan["sessions"][0]["gaps"].as_array().unwrap().len() >= 2, "{plan}");
    assert_eq!(
        kvsw.run(&["dlq", "list", "--json"]).await.json()["inQueue"]["visible"],
        parked,
        "nothing was moved"
    );

    let text = kvsw.run(&["dlq", "redrive", "--dry-run"]).await.stdout;
    assert!(
        text.contains("will be filled") && text.contains(&format!("plan: move {parked} messages")),
        "{text}"
    );
    let redriven = kvsw.run(&["dlq", "redrive", "--json"]).await;
    assert_eq!(redriven.code, 0, "{redriven:?}");
    let told = redriven.json();
    assert_eq!((&told["plan"], &told["moved"]["moved"]), (&plan, &json!(parked)), "done as planned");
    println!("redriven {parked} messages, gaps closed after {} ms", told["readBack"]["waitedMs"]);
    for gap in told["readBack"]["gaps"].as_array().unwrap() {
        assert!(gap["closed"] == true && gap["fragments"].as_u64().unwrap() >= 1, "{gap}");
    }
    let again = kvsw.run(&["dlq", "redrive"]).await;
    assert!(again.code == 0 && again.stdout.contains("nothing is parked; nothing was moved"), "{again:?}");
    let list = kvsw.run(&["dlq", "list"]).await;
    assert_eq!((list.code, list.stdout.trim()), (0, "nothing is parked"), "{list:?}");
}

async fn the_sound_is_whole(kvsw: &Kvsw, files: &Path) {
    let ledger = kvsw.run(&["session", "show", BROKEN, "--json"]).await;
    assert_eq!(ledger.code, 0, "{}", ledger.stdout);
    let backfilled = |ledger: &serde_json::Value| {
        ledger["fragments"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|fragment| fragment["backfilled"] == true)
            .count()
    };
    assert!(backfilled(&ledger.json()) >= 2, "{}", ledger.stdout);
    let export = async |session: &str, name: &str, more: &[&str]| {
        let out = files.join(name);
        let path = out.display().to_string();
        let exported =
            kvsw.run(&[&["session", "export", session, "--out", &path, "--json"], more].concat()).await;
        assert_eq!(exported.code, 0, "{exported:?}");
        (out, exported.json())
    };
    let (broken, _) = export(BROKEN, "broken.wav", &[]).await;
    let (whole, _) = export(WHOLE, "whole.wav", &[]).await;
    let (broken, whole) = (samples(&broken), samples(&whole));
    assert!(broken.len() > 400_000, "{} samples are not the recording", broken.len());
    assert_eq!(broken.len(), whole.len(), "audio is missing or there twice");
    assert!(broken == whole, "the redriven session sounds different");

    let (part, told) = export(BROKEN, "part.wav", &["--from", "5s", "--to", "0:07.5", "--fill-gaps"]).await;
    assert_eq!(samples(&part).len(), 40_000, "2.5 s at 16 kHz: {told}");
    let (mkv, _) = export(BROKEN, "whole.mkv", &[]).await;
    let read = media::fragment::read::read_fragments(&std::fs::read(mkv).unwrap()).unwrap();
    let pcm: Vec<i16> = read.iter().flat_map(media::fragment::read::ReadFragment::pcm).collect();
    assert!(pcm == broken, "Matroska and WAV hold the same samples");
    let out = files.join("after.svg").display().to_string();
    assert_eq!(kvsw.run(&["session", "timeline", BROKEN, "--out", &out]).await.code, 0);
    let exists = kvsw.run(&["session", "timeline", BROKEN, "--out", &out]).await;
    assert_eq!(exists.code, 2, "a file is not written over: {exists:?}");
}

/// A message that is refused for itself: the plan says that it comes back, and the redrive waits until it has.
async fn what_is_parked_again_is_found(stack: &Stack, kvsw: &Kvsw) {
    let send = stack.sqs().send_message().queue_url(&stack.resources().queue_url).message_group_id(BROKEN);
    send.message_deduplication_id("no-json").message_body("no JSON").send().await.unwrap();
    let began = Instant::now();
    while kvsw.run(&["dlq", "list"]).await.code == 0 {
        assert!(began.elapsed() < PATIENCE, "the writer does not park it");
    }
    let dry = kvsw.run(&["dlq", "redrive", "--dry-run"]).await;
    assert!(dry.code == 1 && dry.stdout.contains("1 will be parked again"), "{dry:?}");
    let redriven = kvsw.run(&["dlq", "redrive", "--json"]).await;
    assert_eq!(redriven.code, 1, "{redriven:?}");
    let told = redriven.json()["readBack"].clone();
    assert_eq!((&told["parkedAgain"], &told["awaited"]), (&json!(1), &json!(0)), "{told}");
    let waited = told["waitedMs"].as_u64().unwrap();
    assert!(waited < 60_000, "it waits no longer than until it is back: {told}");
}
