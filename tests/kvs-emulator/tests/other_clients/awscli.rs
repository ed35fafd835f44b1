//! The AWS command line: control plane, GetMedia and archive, each call signed and verified.

use super::{ACCESS_KEY, SECRET_KEY, TMPDIR, customer, python, support, verifying_with_media};
use kvs_emulator::Emulator;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::mkv;

const STREAM: &str = "session-cli";

struct Aws {
    program: PathBuf,
    endpoint: String,
}

impl Aws {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--endpoint-url", &self.endpoint, "--output", "json"]);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs([("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)]);
        command.envs([("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_MAX_ATTEMPTS", "1"), ("HOME", TMPDIR)]);
        command
    }

    /// Runs a command that must succeed; gives its JSON.
    async fn run(&self, arguments: &[&str]) -> Value {
        let output = customer(self.command(arguments), "python3 with venv").await;
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// Runs a command that must fail; gives what it complains of.
    async fn refused(&self, arguments: &[&str]) -> String {
        let mut command = self.command(arguments);
        let output: Output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(!output.status.success(), "{arguments:?} is not refused");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_customer_with_the_aws_command_line_creates_reads_and_deletes() {
    let (emulator, folder) = verifying_with_media(STREAM).await;
    let program = python("../../scripts/requirements-aws.txt").join("aws");
    let aws = Aws { program, endpoint: emulator.endpoint() };
    changes(&aws, &emulator).await;
    reads(&aws, emulator.fragments(STREAM)[0].producer_timestamp_ms).await;
    emulator.shutdown().await;
    std::fs::remove_dir_all(folder).unwrap();
}

async fn changes(aws: &Aws, emulator: &Emulator) {
    let video = async |arguments: &[&str]| aws.run(&[&["kinesisvideo"][..], arguments].concat()).await;
    let create = ["create-stream", "--stream-name", "demo", "--data-retention-in-hours", "1"];
    let arn = video(&create).await["StreamARN"].as_str().unwrap().to_owned();
    let again = aws.refused(&[&["kinesisvideo"][..], &create].concat()).await;
    assert!(again.contains("ResourceInUseException"), "{again}");
    let info = video(&["describe-stream", "--stream-name", "demo"]).await["StreamInfo"].clone();
    assert_eq!((&info["Status"], &info["StreamARN"]), (&json!("ACTIVE"), &json!(arn)));
    let api = ["get-data-endpoint", "--stream-name", "demo", "--api-name", "GET_MEDIA"];
    assert_eq!(video(&api).await["DataEndpoint"], emulator.endpoint());
    video(&["tag-stream", "--stream-name", "demo", "--tags", "team=audio"]).await;
    let tags = video(&["list-tags-for-stream", "--stream-name", "demo"]).await;
    assert_eq!(tags["Tags"], json!({ "team": "audio" }));
    let streams = video(&["list-streams"]).await;
    assert_eq!(streams["StreamInfoList"].as_array().unwrap().len(), 3);
    video(&["delete-stream", "--stream-arn", &arn]).await;
    let gone = aws.refused(&["kinesisvideo", "describe-stream", "--stream-name", "demo"]).await;
    assert!(gone.contains("The requested stream is not found or not active."), "{gone}");
}

async fn reads(aws: &Aws, begin_ms: u64) {
    let archive = "kinesis-video-archived-media";
    let range = format!(
        "FragmentSelectorType=PRODUCER_TIMESTAMP,TimestampRange={{StartTimestamp={},EndTimestamp={}}}",
        begin_ms / 1000 - 1,
        begin_ms / 1000 + 60
    );
    let listed =
        aws.run(&[archive, "list-fragments", "--stream-name", STREAM, "--fragment-selector", &range]).await;
    let fragments = listed["Fragments"].as_array().unwrap();
    let number = |i: usize| fragments[i]["FragmentNumber"].as_str().unwrap();
    assert_eq!(fragments.len(), 3, "{listed}");
    let file = Path::new(TMPDIR).join("awscli.mkv");
    let out = file.to_str().unwrap();
    let selector = format!("StartSelectorType=FRAGMENT_NUMBER,AfterFragmentNumber={}", number(0));
    let start = ["--start-selector", &selector];
    let get = [&["kinesis-video-media", "get-media", "--stream-name", STREAM][..], &start, &[out]].concat();
    aws.run(&get).await;
    let media = std::fs::read(&file).unwrap();
    let has = |text: &str| media.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!has(number(0)) && has(number(1)) && has(number(2)), "what comes after the first");
    let list = ["get-media-for-fragment-list", out, "--stream-name", STREAM, "--fragments", number(2)];
    aws.run(&[&[archive][..], &list].concat()).await;
    let media = std::fs::read(&file).unwrap();
    let pcm = mkv::samples((begin_ms + 4000) / 100);
    assert!(media.windows(pcm.len()).any(|window| window == pcm), "the last fragment's first samples");
    let clip = ["get-clip", "--stream-name", STREAM, "--clip-fragment-selector", &range, out];
    let refusal = aws.refused(&[&[archive][..], &clip].concat()).await;
    assert!(refusal.contains("UnsupportedStreamMediaTypeException"), "{refusal}");
}
