//! How soon PERSISTED comes while many producers put PCM at once: `make throughput`.
//!
//! Usage: throughput [--sessions 200] [--seconds 60] [--per-fragment] [--data-dir]
//!
//! Each session puts one fragment of 2 s (16 kHz mono s16le) every 2 s: in real time, 100 ms at a time, on one
//! connection that stays open, or with --per-fragment at once, on a connection of its own. The time is taken from the
//! fragment's last byte to its PERSISTED. The emulator runs as a program of its own with its delays at 0; what it
//! shares the computer with is this program and whatever else runs, so the load is printed beside the result.
#![allow(missing_docs)]

#[path = "../tests/support/http.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used)]
mod http;
#[path = "../tests/support/mkv.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used)]
mod mkv;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use http::Http;
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

#[derive(Clone, Parser)]
struct Arguments {
    /// Producers at once
    #[arg(long, default_value_t = 200)]
    sessions: u32,
    /// How long they put
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// A connection for each fragment, sent at once
    #[arg(long)]
    per_fragment: bool,
    /// Let the emulator keep all on disk
    #[arg(long)]
    data_dir: bool,
}

const FRAGMENT: Duration = Duration::from_secs(2);
const BLOCK: Duration = Duration::from_millis(100);
const BLOCKS: u32 = 20;
const BAR_MS: f64 = 50.0;

/// Ends the emulator whatever happens.
struct Emulator(Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn start(data_dir: Option<&std::path::Path>) -> anyhow::Result<(Emulator, String)> {
    let examples = std::env::current_exe()?;
    let program = examples.ancestors().nth(2).context("no target folder")?.join("kvs-emulator");
    let mut command = Command::new(&program);
    command.args(["--create-ms", "0", "--persist-ms", "0", "--quota", "changePerSecond=off"]);
    if let Some(folder) = data_dir {
        command.arg("--data-dir").arg(folder);
    }
    let child = command.stdout(Stdio::piped()).spawn();
    let mut emulator = Emulator(child.with_context(|| format!("{} cannot be started", program.display()))?);
    let stdout = emulator.0.stdout.take().context("no output")?;
    let stdout = tokio::process::ChildStdout::from_std(stdout)?;
    let line =
        BufReader::new(stdout).lines().next_line().await?.context("the emulator printed no endpoint")?;
    Ok((emulator, line))
}

async fn connect(endpoint: &str) -> anyhow::Result<Http<TcpStream>> {
    let socket = TcpStream::connect(endpoint.trim_start_matches("http://")).await?;
    socket.set_nodelay(true)?;
    Ok(Http::new(socket))
}

fn now_ms() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as u64
}

/// Reads until PERSISTED; gives the milliseconds since `sent`.
async fn persisted(http: &mut Http<TcpStream>, sent: Instant) -> anyhow::Result<f64> {
    while let Ok(Some(chunk)) = http.chunk().await {
        for line in String::from_utf8_lossy(&chunk).lines() {
            let ack: Value = serde_json::from_str(line)?;
            match ack["EventType"].as_str() {
                Some("PERSISTED") => return Ok(sent.elapsed().as_secs_f64() * 1000.0),
                Some("ERROR") => bail!("refused: {ack}"),
                _ => {}
            }
        }
    }
    bail!("the connection ended without PERSISTED")
}

/// One fragment at a time on one connection, in real time.
async fn live(endpoint: &str, stream: &str, begin: Instant, fragments: u64) -> anyhow::Result<Vec<f64>> {
    let mut http = connect(endpoint).await?;
    ensure!(http.put_media(stream).await.status == 200, "{stream} was refused");
    http.send_chunk(&mkv::header()).await;
    let mut times = Vec::new();
    for index in 0..fragments {
        let from = begin + FRAGMENT * index as u32;
        let at_ms = now_ms() - 3000;
        sleep_until(from).await;
        for (number, piece) in pieces(at_ms).into_iter().enumerate() {
            http.send_chunk(&piece).await;
            sleep_until(from + BLOCK * (number as u32 + 1)).await;
        }
        let sent = Instant::now();
        http.send_chunk(&mkv::tags(&[("AWS_KINESISVIDEO_END_OF_FRAGMENT", "")])).await;
        times.push(persisted(&mut http, sent).await?);
    }
    http.end_body().await;
    Ok(times)
}

/// A cluster, block by block.
fn pieces(at_ms: u64) -> Vec<Vec<u8>> {
    let whole = mkv::cluster(at_ms, u64::from(BLOCKS));
    let empty = mkv::cluster(at_ms, 0).len();
    let block = (whole.len() - empty) / BLOCKS as usize;
    let mut pieces: Vec<Vec<u8>> = whole[empty..].chunks(block).map(<[u8]>::to_vec).collect();
    pieces[0].splice(..0, whole[..empty].iter().copied());
    pieces
}

/// Each fragment at once, on a connection of its own.
async fn batches(endpoint: &str, stream: &str, begin: Instant, fragments: u64) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::new();
    for index in 0..fragments {
        sleep_until(begin + FRAGMENT * index as u32).await;
        let mut http = connect(endpoint).await?;
        ensure!(http.put_media(stream).await.status == 200, "{stream} was refused");
        http.send_chunk(&[mkv::header(), mkv::cluster(now_ms() - 3000, u64::from(BLOCKS))].concat()).await;
        let sent = Instant::now();
        http.end_body().await;
        times.push(persisted(&mut http, sent).await?);
    }
    Ok(times)
}

/// Seconds of processor time that a process has used.
fn cpu_s(process: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / 100.0)
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let folder = std::env::temp_dir().join(format!("kvs-throughput-{}", std::process::id()));
    let result = measure(&arguments, arguments.data_dir.then_some(folder.as_path())).await;
    if arguments.data_dir {
        let _ = std::fs::remove_dir_all(&folder);
    }
    result
}

async fn measure(arguments: &Arguments, data_dir: Option<&std::path::Path>) -> anyhow::Result<()> {
    let (emulator, endpoint) = start(data_dir).await?;
    let mut control = connect(&endpoint).await?;
    for session in 0..arguments.sessions {
        let input = json!({ "StreamName": format!("session-{session}"), "DataRetentionInHours": 1 });
        ensure!(control.call("/createStream", input).await.0.status == 200, "a stream was refused");
    }
    let fragments = (arguments.seconds / FRAGMENT.as_secs()).max(1);
    let (load_before, begin) = (load(), Instant::now() + Duration::from_secs(1));
    let cpu_before = cpu_s(emulator.0.id()).unwrap_or_default();
    let mut sessions = tokio::task::JoinSet::new();
    for session in 0..arguments.sessions {
        let (endpoint, per_fragment) = (endpoint.clone(), arguments.per_fragment);
        let begin = begin + FRAGMENT * session / arguments.sessions;
        sessions.spawn(async move {
            let stream = format!("session-{session}");
            match per_fragment {
                true => batches(&endpoint, &stream, begin, fragments).await,
                false => live(&endpoint, &stream, begin, fragments).await,
            }
        });
    }
    let mut times = Vec::new();
    while let Some(session) = sessions.join_next().await {
        times.extend(session??);
    }
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    let used = cpu_s(emulator.0.id()).unwrap_or_default() - cpu_before;
    let wall = begin.elapsed().as_secs_f64();
    println!(
        "{} sessions, {} fragments of 2 s, {}{}",
        arguments.sessions,
        times.len(),
        if arguments.per_fragment { "a connection each" } else { "one connection a session, live" },
        if arguments.data_dir { ", on disk" } else { ", in memory" },
    );
    println!("to PERSISTED: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", at(0.5), at(0.99), at(1.0));
    println!(
        "emulator: {used:.1} s of processor time in {wall:.1} s; load average {load_before} before, {} after",
        load()
    );
    ensure!(at(0.99) <= BAR_MS, "p99 is over {BAR_MS} ms");
    Ok(())
}
