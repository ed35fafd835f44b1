//! `path-bench RECORDING FOLDER ROUNDS` measures and prints JSON, and so does `path-bench hostile`; `path-bench batch` is the fresh
//! process of one batch.
//! `local-stack bench` runs it; `make bench` builds it.

use std::path::Path;
use std::process::ExitCode;

use path_bench::batches::{BenchError, cut, messages};
use path_bench::{hostile, measure, path};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["batch"] => path::answer_as_fresh_process(),
        ["hostile"] => hostile_figures(),
        [recording, folder, rounds] => match rounds.parse() {
            Ok(rounds) => figures(Path::new(recording), Path::new(folder), rounds),
            Err(_) => return usage(),
        },
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: path-bench RECORDING FOLDER ROUNDS, or path-bench hostile (run `make bench`)");
    ExitCode::from(2)
}

fn hostile_figures() -> Result<(), BenchError> {
    for kind in hostile::measure()? {
        let line = serde_json::to_string(&kind).map_err(|error| BenchError::Wrong(error.to_string()))?;
        println!("{line}");
    }
    Ok(())
}

fn figures(recording: &Path, folder: &Path, rounds: usize) -> Result<(), BenchError> {
    let own = |error: &dyn std::fmt::Display| BenchError::Program {
        program: "path-bench".into(),
        reason: error.to_string(),
    };
    let program = std::env::current_exe().map_err(|error| own(&error))?;
    let batches = cut(&messages(recording)?)?;
    let figures = measure(&program, folder, &batches, rounds)?;
    println!("{}", serde_json::to_string(&figures).map_err(|error| own(&error))?);
    Ok(())
}
