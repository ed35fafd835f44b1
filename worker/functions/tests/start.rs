//! The binaries as Lambda starts them.

#![allow(clippy::unwrap_used)] // a test's helpers may panic

use std::process::{Command, Output};

const WRITER: &str = env!("CARGO_BIN_EXE_kvs-stream-writer");
const HANDLER: &str = env!("CARGO_BIN_EXE_connection-handler");

fn start(binary: &str, environment: &[(&str, &str)]) -> Output {
    Command::new(binary).env_clear().envs(environment.iter().copied()).output().unwrap()
}

fn complaint(binary: &str, environment: &[(&str, &str)]) -> String {
    let output = start(binary, environment);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stdout).unwrap()
}

const TABLES_AND_QUEUES: [(&str, &str); 6] = [
    ("SESSIONS_TABLE", "sessions"),
    ("STATE_TABLE", "state"),
    ("CONNECTIONS_TABLE", "connections"),
    ("QUEUE_URL", "http://127.0.0.1:9/0/chunks.fifo"),
    ("DLQ_URL", "http://127.0.0.1:9/0/chunks-dlq.fifo"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
];

#[test]
fn a_missing_variable_is_named_in_one_json_log_line() {
    for binary in [WRITER, HANDLER] {
        let line = complaint(binary, &[]);
        let fields: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
        assert_eq!(fields["level"], "ERROR");
        assert!(fields["error"].as_str().unwrap().contains("SESSIONS_TABLE is not set"), "{line}");
    }
}

#[test]
fn a_wrong_variable_is_shown_with_what_is_expected() {
    let mut environment = TABLES_AND_QUEUES.to_vec();
    environment.push(("KVS_RETENTION_HOURS", "0"));
    let line = complaint(WRITER, &environment);
    assert!(line.contains("KVS_RETENTION_HOURS") && line.contains("from 1 to 87600"), "{line}");
}

#[test]
fn a_writer_without_a_region_says_so_before_it_takes_its_first_batch() {
    let line = complaint(WRITER, &TABLES_AND_QUEUES);
    assert!(line.contains("AWS_REGION is not set"), "{line}");
}
