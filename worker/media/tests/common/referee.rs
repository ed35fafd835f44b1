//! ffprobe and mkvinfo as second and third opinion on every packet of a file.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A packet as another program tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its time in ns; mkvinfo and ffprobe know none for some packets of a lace.
    pub time_ns: Option<i64>,
    pub size: usize,
    /// Adler-32 of its bytes.
    pub adler: u32,
}

/// A file that is deleted in the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("media-referee-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn run(program: &str, args: &[&str], file: &Path) -> String {
    let output = Command::new(program).args(args).arg(file).output();
    let output =
        output.unwrap_or_else(|e| panic!("{program} cannot be run ({e}); scripts/ci-setup.sh installs it"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The packets of the `nth` Opus stream. ffprobe takes CodecDelay or pre-skip off all times.
pub fn ffprobe(file: &Path, nth: usize) -> Vec<Seen> {
    let fields = "packet=stream_index,pts_time,size,data_hash:stream=index,codec_name,codec_type";
    let text = run(
        "ffprobe",
        &["-v", "quiet", "-show_data_hash", "adler32", "-show_entries", fields, "-of", "json"],
        file,
    );
    let parsed: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let all = |key: &str| parsed[key].as_array().cloned().unwrap_or_default();
    let opus: Vec<u64> = all("streams")
        .iter()
        .filter(|stream| stream["codec_name"] == "opus")
        .filter_map(|stream| stream["index"].as_u64())
        .collect();
    let Some(stream) = opus.get(nth) else { return Vec::new() };
    let seen = |packet: &serde_json::Value| Seen {
        time_ns: packet["pts_time"].as_str().map(|text| (text.parse::<f64>().unwrap() * 1e9).round() as i64),
        size: packet["size"].as_str().unwrap().parse().unwrap(),
        adler: u32::from_str_radix(packet["data_hash"].as_str().unwrap().trim_start_matches("adler32:"), 16)
            .unwrap(),
    };
    all("packets")
        .iter()
        .filter(|packet| packet["stream_index"].as_u64() == Some(*stream))
        .map(seen)
        .collect()
}

/// The frames of a track.
pub fn mkvinfo(file: &Path, track: u64) -> Vec<Seen> {
    let text = run("mkvinfo", &["-s"], file);
    let track = format!("track {track}");
    let frame = |line: &str| {
        let mut parts = line.split(", ");
        (parts.next()?.ends_with(" frame") && parts.next()? == track).then_some(())?;
        let value = |name: &str| line.split(", ").find_map(|part| part.strip_prefix(name));
        let time = value("timestamp ")?;
        let (hours, rest) = time.split_once(':')?;
        let (minutes, seconds) = rest.split_once(':')?;
        let (whole, ns) = seconds.split_once('.')?;
        let number = |text: &str| text.parse::<i64>().ok();
        let seconds = (number(hours)? * 60 + number(minutes)?) * 60 + number(whole)?;
        Some(Seen {
            time_ns: Some(seconds * 1_000_000_000 + number(ns)?),
            size: value("size ")?.parse().ok()?,
            adler: u32::from_str_radix(value("adler 0x")?, 16).ok()?,
        })
    };
    text.lines().filter_map(frame).collect()
}

pub fn adler(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    b << 16 | a
}
