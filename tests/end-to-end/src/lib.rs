//! The whole path, for real: recordings of browsers go over WebSockets through every process of the local stack, and what the
//! streams hold is judged by its sound, by its times, and by readers that this project did not write.
//!
//! [`whole_path`] runs all checks on one stack of one backend; the tests call it for each backend. Every check panics with what
//! breaks for a user.
#![allow(clippy::unwrap_used)] // these are tests

pub mod deployed;
pub mod hostile;
pub mod live;
pub mod recordings;
pub mod referee;
pub mod samples;
pub mod smoke;
pub mod stalls;

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use local_stack::backend::BackendKind;
use local_stack::project;
use local_stack::replay::recording::Recording;
use local_stack::stack::{Stack, StackConfig};

/// How long a replay may take to settle after its last message: more than the worker's own bound for parking.
pub const SETTLE: Duration = Duration::from_secs(60);

/// The shipped recordings of pages without trouble.
pub const RECORDINGS: [&str; 5] = [
    "chromium-speech-default",
    "chromium-pause-resume",
    "chromium-restart",
    "chromium-self-contained",
    "firefox-speech",
];

/// Those of pages that stood still for some seconds.
pub const STALLED: [&str; 3] =
    ["chromium-stall-5s", "chromium-stall-large-blob", "firefox-stall-empty-blobs"];

/// A shipped recording.
pub fn shipped(name: &str) -> Recording {
    Recording::read(&project::root().join("tests/end-to-end/recordings").join(name)).unwrap()
}

/// The first `chunks` chunks of a recording.
pub fn beginning(name: &str, chunks: usize) -> Recording {
    let mut recording = shipped(name);
    recording.lines.truncate(chunks);
    recording
}

/// Starts a stack, runs all checks on it, and ends it, whatever the checks found. No process is left behind.
pub async fn whole_path(backend: BackendKind) {
    let clock = Instant::now();
    let config = StackConfig { backend, ..StackConfig::for_sessions(RECORDINGS.len()) };
    let stack =
        Stack::start(config).await.unwrap_or_else(|error| panic!("{backend} does not start: {error}"));
    println!("{backend}: up after {:.1} s", clock.elapsed().as_secs_f64());
    let checked = AssertUnwindSafe(checks(&stack)).catch_unwind().await;
    if checked.is_err() {
        println!("{backend}: the functions' last log lines:\n{}", last_lines(&stack, 12));
    }
    stack.shutdown().await;
    println!("{backend}: done after {:.1} s", clock.elapsed().as_secs_f64());
    if let Err(found) = checked {
        std::panic::resume_unwind(found);
    }
    let left = children();
    assert!(left.is_empty(), "processes outlive the stack: {left:?}");
}

async fn checks(stack: &Stack) {
    let timed = async |name: &str, check: &mut (dyn Future<Output = ()> + Unpin)| {
        let clock = Instant::now();
        check.await;
        println!("{}: {name}: {:.1} s", stack.backend(), clock.elapsed().as_secs_f64());
    };
    timed("every recording at eight times real time", &mut Box::pin(recordings::all(stack))).await;
    let smoke_test = async {
        match stack.backend() {
            // What it goes through is the same on each.
            BackendKind::MiniStack => smoke::through_the_gateway(stack).await,
            _ => println!("  the smoke test runs on MiniStack only"),
        }
    };
    let live = async {
        futures::join!(live::one_session(stack), smoke_test);
    };
    timed("a live session, and the smoke test", &mut Box::pin(live)).await;
    timed("pages that stand still", &mut Box::pin(stalls::all(stack))).await;
    timed("plain samples, and a blob of 1 MB", &mut Box::pin(samples::all(stack))).await;
    timed("hostile input", &mut Box::pin(hostile::all(stack))).await;
    timed("readers of others", &mut Box::pin(referee::all(stack))).await;
}

/// The end of each function's log: what happened, without the metrics.
fn last_lines(stack: &Stack, count: usize) -> String {
    let mut text = String::new();
    for name in ["kvs-stream-writer.log", "connection-handler.log"] {
        let log = std::fs::read_to_string(stack.folder().join(name)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let happened = |line: &&str| match line.split_once("] ") {
            Some((_, json)) => match serde_json::from_str::<serde_json::Value>(json) {
                Ok(serde_json::Value::Object(mut fields)) => {
                    fields.retain(|name, _| name != "_aws" && name != "spans");
                    serde_json::Value::Object(fields).to_string()
                }
                _ => (*line).to_owned(),
            },
            None => (*line).to_owned(),
        };
        let last: Vec<String> = lines[lines.len().saturating_sub(count)..].iter().map(happened).collect();
        text += &format!("--- {name}\n{}\n", last.join("\n"));
    }
    text
}

/// Commands of this process's children (Linux).
fn children() -> Vec<String> {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").map(|all| all.flatten().map(|entry| entry.path()).collect());
    let is_child = |folder: &PathBuf| {
        let stat = std::fs::read_to_string(folder.join("stat")).unwrap_or_default();
        // After the name in parentheses: state, then the parent's process id (proc(5)).
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1)) == Some(&own)
    };
    let entries: Vec<PathBuf> = entries.unwrap_or_default();
    let command = |folder: PathBuf| std::fs::read_to_string(folder.join("cmdline")).unwrap_or_default();
    entries.into_iter().filter(is_child).map(command).collect()
}
