//! GStreamer's matroskademux reads what GetMedia gives: each fragment by itself, and all of them in one file.

use super::{TMPDIR, customer, support};
use kvs_emulator::Config;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{connect, mkv};

const PROGRAM: &str = "gst-launch-1.0";
const HINT: &str = "install the Debian packages gstreamer1.0-tools and gstreamer1.0-plugins-good";

fn is_there() -> bool {
    let there = Command::new(PROGRAM).arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(there || std::env::var_os("CI").is_none(), "{PROGRAM} is missing; {HINT}");
    if !there {
        eprintln!("not run: {PROGRAM} is missing; {HINT}");
    }
    there
}

/// The frames that matroskademux finds in a file.
async fn demuxed(file: PathBuf) -> Vec<u8> {
    let out = file.with_extension("pcm");
    let mut command = Command::new(PROGRAM);
    command.args(["-q", "filesrc"]).arg(format!("location={}", file.display()));
    command.args(["!", "matroskademux", "!", "filesink"]).arg(format!("location={}", out.display()));
    customer(command, HINT).await;
    std::fs::read(out).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn gstreamer_demuxes_each_fragment_and_all_of_them() {
    if !is_there() {
        return;
    }
    let config = Config { auth: false, create_ms: 0, get_media_linger_ms: 100, ..Config::default() };
    let emulator = kvs_emulator::start(config).await.unwrap();
    support::call(&emulator, "/createStream", json!({ "StreamName": "s", "DataRetentionInHours": 1 })).await;
    let begin_ms = emulator.now_ms() - 60_000;
    let times = (0..5).map(|i| begin_ms + i * 2000);
    let mut body = mkv::header();
    times.clone().for_each(|ms| body.extend([mkv::cluster(ms, 20), mkv::tags(&[("at", "x")])].concat()));
    assert!(support::put(&emulator, "s", &body).await.1);
    let input = json!({ "StreamName": "s", "StartSelector": { "StartSelectorType": "EARLIEST" } });
    let media = connect(&emulator).call_bytes("/getMedia", input).await.unwrap().1;
    let folder = Path::new(TMPDIR).join("gstreamer");
    std::fs::create_dir_all(&folder).unwrap();
    let headers = (0..media.len()).filter(|at| media[*at..].starts_with(&[0x1A, 0x45, 0xDF, 0xA3]));
    let starts: Vec<usize> = headers.chain([media.len()]).collect();
    for (index, (pair, ms)) in starts.windows(2).zip(times.clone()).enumerate() {
        let file = folder.join(format!("{index}.mkv"));
        std::fs::write(&file, &media[pair[0]..pair[1]]).unwrap();
        assert!(demuxed(file).await == mkv::pcm(ms, 20), "fragment {index}, sample for sample");
    }
    std::fs::write(folder.join("all.mkv"), &media).unwrap();
    let all: Vec<u8> = times.flat_map(|ms| mkv::pcm(ms, 20)).collect();
    assert!(demuxed(folder.join("all.mkv")).await == all, "five documents one after the other");
    emulator.shutdown().await;
}
