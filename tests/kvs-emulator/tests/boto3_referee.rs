//! The real boto3 as a customer of the emulator, with signatures verified in full; ffprobe, ffmpeg and mkvinfo read
//! what it gets back. Needs Python 3 with venv, and the Python package index the first time.
#![allow(missing_docs, clippy::unwrap_used)]

use kvs_emulator::{Config, Emulator};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

fn run(command: &mut Command, hint: &str) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}\nhint: {hint}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?} failed\n{stdout}\n{stderr}\nhint: {hint}");
    output
}

/// A virtual environment with the pinned boto3; made anew when the pins change.
fn python() -> PathBuf {
    let requirements = Path::new(FOLDER).join("requirements-boto3.txt");
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("venv-boto3");
    let (python, stamp) = (venv.join("bin/python"), venv.join("requirements.txt"));
    let wanted = std::fs::read_to_string(&requirements).unwrap();
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return python;
    }
    let hint = "install python3 and python3-venv; this test makes its own environment with them";
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv), hint);
    let hint = "the Python package index must be reachable the first time this test runs";
    run(Command::new(&python).args(["-m", "pip", "install", "-q", "-r"]).arg(&requirements), hint);
    std::fs::write(stamp, wanted).unwrap();
    python
}

async fn referee(emulator: &Emulator) {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("boto3-referee");
    std::fs::create_dir_all(&out).unwrap();
    let mut command = Command::new(python());
    command.arg(Path::new(FOLDER).join("tests/boto3_referee.py"));
    command.args([&emulator.endpoint(), "AKIDREFEREE", "a secret/of+boto3"]).arg(out);
    let hint = "it needs ffmpeg, ffprobe and mkvinfo (Debian packages ffmpeg and mkvtoolnix)";
    tokio::task::spawn_blocking(move || run(&mut command, hint)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_customer_with_boto3_gets_back_what_was_put() {
    let credentials = Some(("AKIDREFEREE".to_owned(), "a secret/of+boto3".to_owned()));
    // A customer would poll; here a new stream is ACTIVE, and a deleted one gone, at once.
    let config = Config { credentials, create_ms: 0, get_media_linger_ms: 100, ..Config::default() };
    let emulator = kvs_emulator::start(config).await.unwrap();
    referee(&emulator).await;
    assert_eq!(emulator.stats().fragments_stored, 3);
    emulator.shutdown().await;
}
