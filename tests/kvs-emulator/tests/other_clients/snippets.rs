//! The examples of the README do what they say: Python and JavaScript here, Rust as a documentation test.

use super::{FOLDER, TMPDIR, customer, node_folder, python};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The README's block in this language; ten lines, as it promises.
fn block(language: &str) -> String {
    let readme = std::fs::read_to_string(Path::new(FOLDER).join("README.md")).unwrap();
    let start = format!("```{language}\n");
    let (_, rest) = readme.split_once(&start).unwrap_or_else(|| panic!("the README has no {language}"));
    let block = rest.split("\n```").next().unwrap().to_owned();
    assert!(block.lines().count() <= 10, "the {language} example has {} lines", block.lines().count());
    block
}

/// The program must be found by its name, as if it had been installed.
fn with_emulator(command: &mut Command) -> &mut Command {
    let folder = Path::new(env!("CARGO_BIN_EXE_kvs-emulator")).parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = [folder].into_iter().chain(std::env::split_paths(&path)).collect();
    command.env("PATH", std::env::join_paths(folders).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_python_example_runs() {
    let file = Path::new(TMPDIR).join("readme.py");
    std::fs::write(&file, block("python")).unwrap();
    let mut command = Command::new(python("requirements-boto3.txt").join("python"));
    with_emulator(&mut command).arg(file);
    customer(command, "install python3 and python3-venv").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_javascript_example_runs() {
    let folder = node_folder();
    std::fs::write(folder.join("readme.mjs"), block("javascript")).unwrap();
    let mut command = Command::new("node");
    with_emulator(&mut command).current_dir(folder).arg("readme.mjs");
    customer(command, "it needs node 20 or newer").await;
}

#[test]
fn the_rust_example_is_as_short() {
    assert!(block("rust").contains("kvs_emulator::start"));
}
