//! ffmpeg as the maker of streams that browsers could send.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

/// Runs ffmpeg with these arguments, `input` on its standard input; returns what it writes to its standard output.
pub fn ffmpeg(args: &[&str], input: &[u8]) -> Vec<u8> {
    let child = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-bitexact"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child =
        child.unwrap_or_else(|e| panic!("ffmpeg cannot be run ({e}); install it: apt-get install ffmpeg"));
    let mut stdin = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "ffmpeg {args:?} failed: {}", output.status);
    output.stdout
}

/// Encodes 16 kHz mono samples with libopus; `args` say how, the last of them is the format.
pub fn encode(pcm: &[i16], args: &[&str]) -> Vec<u8> {
    let bytes: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let input =
        ["-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "-", "-c:a", "libopus", "-serial_offset", "7"];
    let (format, how) = args.split_last().unwrap();
    let input = if *format == "ogg" { &input[..] } else { &input[..10] };
    ffmpeg(&[input, how, &["-f", format, "-"]].concat(), &bytes)
}
