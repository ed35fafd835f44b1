//! SPECIFICATION.md's table of failures, walked row by row.

#![allow(clippy::unwrap_used)]

use ingest::failure::{Class, ServiceFailure};

struct Row {
    failure: String,
    class: String,
    outcome: String,
    consequence: String,
}

fn rows() -> Vec<Row> {
    let text = include_str!("../../../SPECIFICATION.md");
    let table = text.split("<!-- failures -->").nth(1).unwrap().split("<!-- /failures -->").next().unwrap();
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect::<Vec<_>>();
    table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells = cells(line);
            let [failure, _, class, outcome, consequence] = cells.try_into().expect(line);
            Row { failure: failure.trim_matches('`').to_owned(), class, outcome, consequence }
        })
        .collect()
}

/// The failure that a row's short name stands for.
fn failure(name: &str) -> ServiceFailure {
    if let Some(id) = name.strip_prefix("ack-") {
        return ServiceFailure::Ack { id: id.parse().unwrap(), code: String::new() };
    }
    let (operation, what) = name.split_once('-').unwrap();
    let operation = operation.to_owned();
    match (what, what.parse::<u16>()) {
        ("timeout", _) => ServiceFailure::TimedOut { operation, waited_ms: 4_000 },
        ("disconnected", _) => ServiceFailure::Disconnected { operation, detail: String::new() },
        ("garbled", _) => ServiceFailure::Garbled { operation, detail: String::new() },
        (_, Ok(status)) => {
            ServiceFailure::Service { operation, status, code: String::new(), message: String::new() }
        }
        (code, Err(_)) => {
            ServiceFailure::Service { operation, status: 400, code: code.to_owned(), message: String::new() }
        }
    }
}

#[test]
fn every_failure_has_the_class_and_the_consequence_of_the_specification() {
    let rows = rows();
    assert!(rows.len() >= 40, "only {} rows found: has the table moved?", rows.len());
    for row in rows {
        let failure = failure(&row.failure);
        assert_eq!(failure.reason(), row.failure, "the DLQ's reason is the table's name");
        assert_eq!(failure.class().to_string(), row.class, "{}: class", row.failure);
        let outcome = if failure.outcome_unknown() { "unknown" } else { "not stored" };
        assert_eq!(outcome, row.outcome, "{}: outcome", row.failure);
        let stream = row.failure.starts_with("ack-") || row.failure.starts_with("PutMedia-");
        let expected = match (failure.class(), failure.outcome_unknown()) {
            (Class::Lasting, _) => "park at once",
            (Class::Passing, true) => "ask, retry, give back, park",
            (Class::Passing, false) => "retry, give back, park",
        };
        assert!(!stream || row.consequence == expected, "{}: consequence", row.failure);
    }
}

#[test]
fn a_service_that_answers_500_without_a_code_may_have_stored_the_fragment() {
    assert!(failure("PutMedia-500").outcome_unknown());
    assert!(!failure("PutMedia-403").outcome_unknown());
}
