//! Readers that this project did not write read what it wrote: boto3, ffmpeg, ffprobe, mkvinfo.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use local_stack::project;
use local_stack::replay::speaker::Speaker;
use local_stack::replay::{SessionResult, replay};
use local_stack::stack::Stack;
use media::fragment::read::{ReadFragment, read_fragments};
use serde_json::Value;

use crate::{SETTLE, beginning};

/// What ffprobe remarks on any mono PCM, and on any body of GetMedia, which tells no duration.
const NO_COMPLAINT: [&str; 2] = ["Guessed Channel Layout", "Estimating duration from bitrate"];

/// Writes a stream and has all of them read it.
pub async fn all(stack: &Stack) {
    let recording = Arc::new(beginning("firefox-speech", 40));
    let session_id = "referee-1".to_owned();
    let speaker = Speaker { recording, session_id, speed: 8.0, delay: Duration::ZERO };
    let result = replay(stack, &[speaker], SETTLE, &()).await.unwrap().remove(0);
    let folder = stack.folder().join("referee");
    result.write(&folder).unwrap();
    the_files_are_as_promised(&folder, &result);
    let listed = boto3(stack, &folder).await;
    boto3_sees_what_we_see(&folder, &listed, &result);
    for file in ["stream.mkv", "one_fragment.mkv", "get_media.mkv"] {
        ffprobe_does_not_complain(&folder.join(file));
    }
    // GetMedia's body is one Segment after the other, which mkvinfo takes for damage whoever wrote it.
    for file in ["stream.mkv", "one_fragment.mkv"] {
        mkvinfo_does_not_complain(&folder.join(file));
    }
    assert_eq!(
        ffmpeg_pcm(&folder.join("stream.mkv")),
        bytes_of(&result.audio()),
        "stream.mkv sounds as audio.wav"
    );
}

fn bytes_of(pcm: &[i16]) -> Vec<u8> {
    pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

fn the_files_are_as_promised(folder: &Path, result: &SessionResult) {
    let json =
        |name: &str| -> Value { serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap() };
    let fragments = json("fragments.json");
    let first = &fragments.as_array().unwrap()[0];
    for field in [
        "fragmentNumber",
        "producerTimestampMs",
        "durationMs",
        "samples",
        "chunkFirst",
        "chunkLast",
        "persistedAfterMs",
    ] {
        assert!(!first[field].is_null(), "fragments.json: {field} is missing: {first}");
    }
    let report = json("report.json");
    for field in [
        "sessionId",
        "chunksSent",
        "chunksWritten",
        "chunksParked",
        "gaps",
        "fragments",
        "deferrals",
        "invocations",
    ] {
        assert!(!report[field].is_null(), "report.json: {field} is missing: {report}");
    }
    assert!(report["ageAtWriteMs"]["p50"].is_u64() && report["ageAtWriteMs"]["p99"].is_u64(), "{report}");
    let wav = std::fs::read(folder.join("audio.wav")).unwrap();
    assert_eq!(
        wav[44..],
        bytes_of(&result.audio()),
        "audio.wav holds the stream's samples behind a plain header"
    );
}

/// Runs `referee.py` with the project's own, frozen boto3.
async fn boto3(stack: &Stack, folder: &Path) -> Value {
    let root = project::root();
    let python =
        program("scripts/venv.sh ministack", Command::new(root.join("scripts/venv.sh")).arg("ministack"));
    let mut command = Command::new(python.trim());
    command.arg(root.join("tests/end-to-end/referee.py"));
    command.arg(stack.kinesis_video_endpoint().unwrap()).arg("session-referee-1").arg(folder);
    let answered = tokio::task::spawn_blocking(move || program("referee.py", &mut command));
    serde_json::from_str(&answered.await.unwrap()).unwrap()
}

fn boto3_sees_what_we_see(folder: &Path, listed: &Value, result: &SessionResult) {
    let ours: Vec<(&str, u64)> =
        result.rows.iter().map(|row| (row.fragment_number.as_str(), row.producer_timestamp_ms)).collect();
    let listed = listed["fragments"].as_array().unwrap();
    let theirs: Vec<(&str, u64)> =
        listed.iter().map(|f| (f["number"].as_str().unwrap(), f["producerMs"].as_u64().unwrap())).collect();
    assert_eq!(theirs, ours, "list_fragments lists what GetMedia gave us");
    let pcm =
        |fragments: &[ReadFragment]| -> Vec<i16> { fragments.iter().flat_map(ReadFragment::pcm).collect() };
    for file in ["get_media.mkv", "fragment_list.mkv"] {
        let read = read_fragments(&std::fs::read(folder.join(file)).unwrap()).unwrap();
        assert!(pcm(&read) == result.audio(), "{file}: boto3 reads other samples than we do");
    }
}

fn ffprobe_does_not_complain(file: &Path) {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args([
        "-v",
        "warning",
        "-show_entries",
        "stream=codec_name,sample_rate,channels",
        "-of",
        "csv=p=0",
    ]);
    let output = ffprobe.arg(file).output().expect("ffprobe runs (Debian: apt-get install ffmpeg)");
    let said = String::from_utf8_lossy(&output.stderr);
    let complains = |line: &&str| NO_COMPLAINT.iter().all(|known| !line.contains(known));
    let complaints: Vec<&str> = said.lines().filter(complains).collect();
    assert!(
        output.status.success() && complaints.is_empty(),
        "ffprobe on {}: {complaints:?}",
        file.display()
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "pcm_s16le,16000,1", "{}", file.display());
}

fn mkvinfo_does_not_complain(file: &Path) {
    let mut mkvinfo = Command::new("mkvinfo");
    let output =
        mkvinfo.arg("--all").arg(file).output().expect("mkvinfo runs (Debian: apt-get install mkvtoolnix)");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let complains = |line: &&str| {
        let line = line.to_lowercase();
        ["error", "warning", "unknown element", "invalid"].iter().any(|word| line.contains(word))
    };
    let complaints: Vec<&str> = said.lines().filter(complains).collect();
    assert!(
        output.status.success() && complaints.is_empty(),
        "mkvinfo on {}: {complaints:?}",
        file.display()
    );
    assert!(said.contains("A_PCM/INT/LIT"), "mkvinfo on {}: {said}", file.display());
}

fn ffmpeg_pcm(file: &PathBuf) -> Vec<u8> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-i"]).arg(file).args(["-f", "s16le", "-"]);
    ffmpeg.output().expect("ffmpeg runs (Debian: apt-get install ffmpeg)").stdout
}

fn program(name: &str, command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} fails: {said}");
    String::from_utf8(output.stdout).unwrap()
}
