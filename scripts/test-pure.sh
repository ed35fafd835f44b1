#!/usr/bin/env bash
# Tests that clippy refuses in a pure crate what clippy.toml lists: each marked line of the program below, and no other.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/lib.rs" <<'PROGRAM'
#![forbid(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]
#![allow(unused)]
fn impure(path: &std::path::Path) -> Option<()> {
    let now = std::time::SystemTime::now(); // forbidden
    let started = std::time::Instant::now(); // forbidden
    started.elapsed(); // forbidden
    std::thread::sleep(std::time::Duration::ZERO); // forbidden
    std::thread::spawn(|| {}); // forbidden
    let builder: std::thread::Builder; // forbidden
    std::process::Command::new("true"); // forbidden
    std::process::exit(1); // forbidden
    std::fs::read(path).ok()?; // forbidden
    std::fs::File::open(path).ok()?; // forbidden
    path.exists(); // forbidden
    std::env::var("HOME").ok()?; // forbidden
    std::net::TcpStream::connect("localhost:80").ok()?; // forbidden
    std::net::UdpSocket::bind("localhost:0").ok()?; // forbidden
    std::io::stdin(); // forbidden
    println!("text"); // forbidden
    eprintln!("text"); // forbidden
    let length = std::time::Duration::from_millis(20).as_millis();
    let name = path.join("name");
    let text = format!("{length}");
    let cursor = std::io::Cursor::new(text);
    None
}
PROGRAM

driver=$(cd "$root" && rustc --print sysroot)/bin/clippy-driver
CLIPPY_CONF_DIR=$root LD_LIBRARY_PATH=${driver%/bin/*}/lib \
    "$driver" --edition 2024 --crate-type lib --emit metadata --out-dir "$folder" --error-format short "$folder/lib.rs" 2>"$folder/out" || true
sed -n 's/.*lib\.rs:\([0-9]*\):.*disallowed.*/\1/p' "$folder/out" | sort -un >"$folder/refused"
grep -n 'forbidden' "$folder/lib.rs" | cut -d: -f1 >"$folder/expected"
if ! diff "$folder/expected" "$folder/refused" >"$folder/difference"; then
    echo "test-pure: clippy does not refuse exactly the lines of this program that are forbidden (line numbers, < expected, > refused):" >&2
    cat "$folder/difference" "$folder/out" >&2
    exit 1
fi
if grep -q 'clippy\.toml:' "$folder/out"; then # a path in it leads nowhere
    cat "$folder/out" >&2
    exit 1
fi
echo "test-pure: clippy refuses clocks, threads, processes, files, sockets, the environment and output in a pure crate"
