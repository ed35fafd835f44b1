//! Clients that this project did not write, as customers of the emulator: boto3, the AWS command line and the AWS SDK for
//! JavaScript, with signatures verified in full; ffmpeg piped through curl; GStreamer as a reader.
//!
//! Needs Python 3 with venv, node with npm, ffmpeg, curl, mkvinfo and gst-launch-1.0; and the package indexes of Python and
//! npm the first time. What is missing fails its test with a hint; only GStreamer may be missing where `CI` is not set, and
//! its test then says so.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod awscli;
mod gstreamer;
mod snippets;

use kvs_emulator::{Config, Emulator};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::mkv;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
const TMPDIR: &str = env!("CARGO_TARGET_TMPDIR");
const ACCESS_KEY: &str = "AKIDREFEREE";
const SECRET_KEY: &str = "a secret/of+a customer";

fn run(command: &mut Command, hint: &str) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}\nhint: {hint}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?} failed\n{stdout}\n{stderr}\nhint: {hint}");
    output
}

/// A customer's command must succeed while the emulator answers it.
async fn customer(mut command: Command, hint: &'static str) -> Output {
    tokio::task::spawn_blocking(move || run(&mut command, hint)).await.unwrap()
}

/// True if `stamp` says that what it stands beside was installed from these requirements.
fn is_fresh(stamp: &Path, wanted: &str) -> bool {
    std::fs::read_to_string(stamp).is_ok_and(|installed| installed == wanted)
}

/// The programs of a virtual environment with what a file pins; rebuilt when the pins change.
fn python(requirements: &str) -> PathBuf {
    let requirements = Path::new(FOLDER).join(requirements);
    let name = requirements.file_stem().unwrap_or_default();
    let venv = Path::new(TMPDIR).join("venvs").join(name);
    let (programs, stamp) = (venv.join("bin"), venv.join("requirements.txt"));
    let wanted = std::fs::read_to_string(&requirements).unwrap();
    if !is_fresh(&stamp, &wanted) {
        let hint = "install python3 and python3-venv; this test makes its own environment with them";
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv), hint);
        let hint = "the Python package index must be reachable the first time this test runs";
        let mut pip = Command::new(programs.join("python"));
        run(pip.args(["-m", "pip", "install", "-q", "--no-deps", "-r"]).arg(&requirements), hint);
        std::fs::write(stamp, wanted).unwrap();
    }
    programs
}

/// A folder with the pinned AWS SDK for JavaScript and the referee; rebuilt when the pins change.
fn node_folder() -> PathBuf {
    let source = Path::new(FOLDER).join("tests/other_clients/js_referee");
    let folder = Path::new(TMPDIR).join("js-referee");
    std::fs::create_dir_all(&folder).unwrap();
    for file in ["package.json", "package-lock.json", "referee.mjs"] {
        std::fs::copy(source.join(file), folder.join(file)).unwrap();
    }
    let wanted = std::fs::read_to_string(source.join("package-lock.json")).unwrap();
    let stamp = folder.join("installed.json");
    if !is_fresh(&stamp, &wanted) {
        let hint =
            "install node 18 or newer and npm; npm's index must be reachable the first time this test runs";
        run(
            Command::new("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&folder),
            hint,
        );
        std::fs::write(stamp, wanted).unwrap();
    }
    folder
}

/// A customer would poll; here a new stream is ACTIVE, and a deleted one gone, at once.
async fn verifying() -> Emulator {
    let credentials = Some((ACCESS_KEY.to_owned(), SECRET_KEY.to_owned()));
    let config = Config { credentials, create_ms: 0, get_media_linger_ms: 100, ..Config::default() };
    kvs_emulator::start(config).await.unwrap()
}

/// An emulator that verifies signatures and has a stream of three fragments, which another one took without asking for
/// any, and an empty one; and the folder in which they lie.
async fn verifying_with_media(stream: &str) -> (Emulator, PathBuf) {
    let folder = std::env::temp_dir().join(format!("kvs-emulator-{stream}-{}", std::process::id()));
    let open = Config { data_dir: Some(folder.clone()), auth: false, create_ms: 0, ..Config::default() };
    let producer = kvs_emulator::start(open.clone()).await.unwrap();
    let input = json!({ "StreamName": stream, "DataRetentionInHours": 1 });
    support::call(&producer, "/createStream", input).await;
    support::call(&producer, "/createStream", json!({ "StreamName": "session-empty" })).await;
    let begin_ms = producer.now_ms() - 60_000;
    let mut body = mkv::header();
    (0..3).for_each(|i| body.extend(mkv::cluster(begin_ms + i * 2000, 20)));
    assert!(support::put(&producer, stream, &body).await.1);
    producer.shutdown().await;
    let credentials = Some((ACCESS_KEY.to_owned(), SECRET_KEY.to_owned()));
    let config = Config { auth: true, credentials, get_media_linger_ms: 100, ..open };
    (kvs_emulator::start(config).await.unwrap(), folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_customer_with_boto3_gets_back_what_was_put() {
    let emulator = verifying().await;
    let out = Path::new(TMPDIR).join("boto3-referee");
    std::fs::create_dir_all(&out).unwrap();
    let mut command = Command::new(python("requirements-boto3.txt").join("python"));
    command.arg(Path::new(FOLDER).join("tests/other_clients/boto3_referee.py"));
    command.args([&emulator.endpoint(), ACCESS_KEY, SECRET_KEY]).arg(out);
    customer(command, "it needs ffmpeg, ffprobe and mkvinfo (Debian packages ffmpeg and mkvtoolnix)").await;
    assert_eq!(emulator.stats().fragments_stored, 3);
    emulator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_customer_with_the_javascript_sdk_can_make_every_control_and_read_call() {
    // Before the stream: npm may take minutes the first time, and what is read must be recent.
    let referee = node_folder();
    let (emulator, folder) = verifying_with_media("session-js").await;
    let mut command = Command::new("node");
    command.current_dir(referee).args(["referee.mjs", &emulator.endpoint(), ACCESS_KEY, SECRET_KEY]);
    customer(command, "it needs node 18 or newer").await;
    emulator.shutdown().await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn ffmpeg_piped_through_curl_is_a_producer() {
    let config = Config { auth: false, create_ms: 0, ..Config::default() };
    let emulator = kvs_emulator::start(config).await.unwrap();
    let input = json!({ "StreamName": "tone", "DataRetentionInHours": 1 });
    support::call(&emulator, "/createStream", input).await;
    let start_ms = emulator.now_ms() - 60_000;
    let headers = format!(
        "-H 'x-amzn-stream-name: tone' -H 'x-amzn-fragment-timecode-type: RELATIVE' \
         -H 'x-amzn-producer-start-timestamp: {}.{:03}'",
        start_ms / 1000,
        start_ms % 1000
    );
    let sine =
        "ffmpeg -v error -f lavfi -i sine=frequency=440:sample_rate=16000:duration=6 -c:a pcm_s16le -ac 1";
    let curl = format!("curl -sS -N -X POST -T - {headers} {}/putMedia", emulator.endpoint());
    let mut put = Command::new("sh");
    put.args(["-c", &format!("{sine} -f matroska - | {curl}")]);
    let acks = customer(put, "it needs ffmpeg and curl").await.stdout;
    let mut reference = Command::new("sh");
    reference.args(["-c", &format!("{sine} -f s16le -")]);
    let pcm = customer(reference, "it needs ffmpeg").await.stdout;
    let stored: Vec<u8> =
        emulator.fragments("tone").iter().flat_map(|fragment| fragment.payload(1)).collect();
    assert!(
        stored == pcm,
        "{} bytes of {} arrived; {}",
        stored.len(),
        pcm.len(),
        String::from_utf8_lossy(&acks)
    );
    let count = emulator.fragments("tone").len();
    let acks = String::from_utf8(acks).unwrap();
    assert_eq!(acks.matches("\"PERSISTED\"").count(), count, "{acks}");
    assert_eq!(emulator.fragments("tone")[0].producer_timestamp_ms, start_ms);
    emulator.shutdown().await;
}
