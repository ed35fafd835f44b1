//! The conformance table of the README is true: each row names tests that exist, and nothing the emulator can answer,
//! refuse or limit is missing from it.
#![allow(missing_docs, clippy::unwrap_used)]

use kvs_emulator::rules::ack::error_code;
use kvs_emulator::{Config, Operation};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

struct Row {
    api: String,
    what: String,
    answer: String,
    known_from: String,
    tests: Vec<String>,
}

/// The rows of all tables between the headline and the next one of its level.
fn rows() -> Vec<Row> {
    let readme = std::fs::read_to_string(Path::new(FOLDER).join("README.md")).unwrap();
    let (_, section) = readme.split_once("\n## Conformance\n").expect("the README has a section Conformance");
    let section = section.split("\n## ").next().unwrap();
    let cells = section
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    let body = cells.filter(|cells| cells[0] != "API" && !cells[0].starts_with("--"));
    let row = |cells: Vec<String>| {
        let [api, what, answer, known_from, tests] = <[String; 5]>::try_from(cells).expect("five columns");
        let tests = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Row { api, what, answer, known_from, tests }
    };
    body.map(row).collect()
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(FOLDER).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

/// Names of test functions by the file's name without ending.
fn tests() -> BTreeMap<String, BTreeSet<String>> {
    let mut by_file: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources("tests").into_iter().chain(sources("src")) {
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let is_attribute = |line: &str| line == "#[test]" || line.starts_with("#[tokio::test");
        let names = lines.windows(2).filter(|pair| is_attribute(pair[0])).filter_map(|pair| {
            let (_, name) = pair[1].split_once("fn ")?;
            name.split('(').next().map(str::to_owned)
        });
        by_file.entry(file).or_default().extend(names);
    }
    by_file
}

#[test]
fn every_row_names_tests_that_exist() {
    let (rows, tests) = (rows(), tests());
    assert!(rows.len() > 100, "{} rows: is the table still found?", rows.len());
    for row in rows {
        let (api, what) = (&row.api, &row.what);
        assert!(!row.tests.is_empty(), "{api}, {what}: no test");
        for test in &row.tests {
            let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("{test} is not file::test"));
            let exists = tests.get(file).is_some_and(|names| names.contains(name));
            assert!(exists, "{api}, {what}: there is no test {test}");
        }
    }
}

#[test]
fn every_row_says_what_it_is_known_from() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for Row { api, what, known_from, .. } in rows() {
        let basis = known_from.split([';', ' ']).next().unwrap().to_owned();
        let allowed = ["captured", "documented", "guess", "own"].contains(&basis.as_str());
        assert!(allowed, "{api}, {what}: {known_from:?}");
        assert!(api != "emulator" || basis == "own", "{api}, {what}: nothing of the service");
        *counts.entry(basis).or_default() += 1;
    }
    assert!(counts["captured"] > 15 && counts["guess"] > 10, "{counts:?}");
}

#[test]
fn every_operation_has_rows() {
    let rows = rows();
    for operation in Operation::ALL {
        let name = operation.name();
        assert!(rows.iter().any(|row| row.api == name), "{name} has no row of its own");
    }
}

#[test]
fn every_exception_that_the_emulator_raises_has_a_row() {
    let answers: String = rows().iter().map(|row| row.answer.clone() + " ").collect();
    for (path, text) in sources("src") {
        let text = text.split("#[cfg(test)]").next().unwrap();
        for literal in text.split('"').skip(1).step_by(2) {
            // The table leaves the ending away.
            let Some(literal) = literal.strip_suffix("Exception") else { continue };
            assert!(answers.contains(literal), "{}: {literal} has no row", path.display());
        }
    }
}

#[test]
fn every_ack_error_has_a_row() {
    let rows = rows();
    for id in (4000..6000).filter(|id| error_code(*id).is_some()) {
        let found = rows.iter().any(|row| row.answer.contains(&id.to_string()));
        assert!(found, "{id} {} has no row", error_code(id).unwrap());
    }
}

#[test]
fn every_quota_has_a_row() {
    let rows = rows();
    for quota in Config::default().quotas() {
        assert!(rows.iter().any(|row| row.what.contains(&format!("`{quota}`"))), "{quota} has no row");
    }
}
