//! What the function's answer means for each record of the batch: the whole rule of ReportBatchItemFailures, as a pure function.
//!
//! | answer | records deleted |
//! |---|---|
//! | nothing, `null`, `{}`, `{"batchItemFailures": null}` or `[]` | all |
//! | `{"batchItemFailures": [{"itemIdentifier": id}, …]}`, each id of this batch | all but those |
//! | an id that is null, empty, no string, misnamed, or of no record of this batch | none |
//! | invalid JSON, not an object, a `batchItemFailures` that is not a list | none |
//! | an exception, a crash, a timeout | none |
//!
//! Source: AWS Lambda developer guide, "Implementing partial batch responses", success and failure conditions. An answer that is JSON
//! but no object is in neither list; it is taken as a failure, because that loses nothing.

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::Value;

use crate::runtime_api::InvokeError;

/// What becomes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Positions of the records to delete, ascending.
    pub to_delete: Vec<usize>,
    /// How the answer was understood.
    pub verdict: Verdict,
}

/// How the answer was understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Verdict {
    /// All records succeeded.
    #[error("all succeeded")]
    AllSucceeded,
    /// The function named the records that failed.
    #[error("{failed} reported as failed")]
    Partial {
        /// How many records it named.
        failed: usize,
    },
    /// All failed, because the answer breaks the contract.
    #[error("all failed: the answer {0}")]
    BadAnswer(&'static str),
    /// All failed, because there is no answer.
    #[error("all failed: {0}")]
    NoAnswer(InvokeError),
}

/// Decides which records of a batch are deleted. `message_ids` are the batch's records in order.
pub fn settle(message_ids: &[&str], answer: &Result<Bytes, InvokeError>) -> Settlement {
    let failed = match answer {
        Ok(body) => failed_ids(message_ids, body),
        Err(error) => Err(Verdict::NoAnswer(error.clone())),
    };
    match failed {
        Err(verdict) => Settlement { to_delete: Vec::new(), verdict },
        Ok(failed) => {
            let succeeded = |position: &usize| !failed.contains(message_ids[*position]);
            let to_delete: Vec<_> = (0..message_ids.len()).filter(succeeded).collect();
            let verdict = match failed.len() {
                0 => Verdict::AllSucceeded,
                failed => Verdict::Partial { failed },
            };
            Settlement { to_delete, verdict }
        }
    }
}

fn failed_ids<'a>(message_ids: &[&'a str], body: &[u8]) -> Result<HashSet<&'a str>, Verdict> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(HashSet::new());
    }
    let answer = serde_json::from_slice(body).map_err(|_| Verdict::BadAnswer("is no JSON"))?;
    let failures = match answer {
        Value::Null => return Ok(HashSet::new()),
        Value::Object(mut answer) => answer.remove("batchItemFailures").unwrap_or(Value::Null),
        _ => return Err(Verdict::BadAnswer("is no JSON object")),
    };
    let failures = match failures {
        Value::Null => return Ok(HashSet::new()),
        Value::Array(failures) => failures,
        _ => return Err(Verdict::BadAnswer("has a batchItemFailures that is not a list")),
    };
    failures.iter().map(|failure| failed_id(message_ids, failure)).collect()
}

fn failed_id<'a>(message_ids: &[&'a str], failure: &Value) -> Result<&'a str, Verdict> {
    let named = match failure.get("itemIdentifier") {
        Some(Value::String(id)) => id,
        Some(Value::Null) => return Err(Verdict::BadAnswer("has a null itemIdentifier")),
        Some(_) => return Err(Verdict::BadAnswer("has an itemIdentifier that is not a string")),
        None => return Err(Verdict::BadAnswer("has an entry without itemIdentifier")),
    };
    let known = message_ids.iter().find(|id| *id == named).copied();
    known.ok_or(Verdict::BadAnswer("names an itemIdentifier that is not in the batch"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BATCH: [&str; 4] = ["a", "b", "c", "d"];

    #[track_caller]
    fn check(answer: &str, deleted: &[usize]) {
        let settlement = settle(&BATCH, &Ok(Bytes::copy_from_slice(answer.as_bytes())));
        assert_eq!(
            settlement.to_delete, deleted,
            "answer {answer:?} was understood as {}",
            settlement.verdict
        );
    }

    #[test]
    fn every_documented_success_deletes_the_whole_batch() {
        for answer in
            ["", " \n", "null", "{}", r#"{"batchItemFailures":null}"#, r#"{"batchItemFailures":[]}"#]
        {
            check(answer, &[0, 1, 2, 3]);
        }
        check(r#"{"somethingElse":1}"#, &[0, 1, 2, 3]);
    }

    #[test]
    fn named_records_stay_and_the_others_are_deleted() {
        check(r#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#, &[1, 2, 3]);
        check(r#"{"batchItemFailures":[{"itemIdentifier":"d"},{"itemIdentifier":"b"}]}"#, &[0, 2]);
        check(r#"{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"b"}]}"#, &[0, 2, 3]);
        let all: Vec<_> = BATCH.iter().map(|id| format!(r#"{{"itemIdentifier":"{id}"}}"#)).collect();
        check(&format!(r#"{{"batchItemFailures":[{}]}}"#, all.join(",")), &[]);
    }

    #[test]
    fn an_answer_that_breaks_the_contract_deletes_nothing() {
        for answer in [
            "not json",
            "{",
            r#""ok""#,
            "true",
            "[]",
            r#"{"batchItemFailures":"a"}"#,
            r#"{"batchItemFailures":{"itemIdentifier":"a"}}"#,
            r#"{"batchItemFailures":["a"]}"#,
            r#"{"batchItemFailures":[null]}"#,
            r#"{"batchItemFailures":[{}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":7}]}"#,
            r#"{"batchItemFailures":[{"itemidentifier":"a"}]}"#,
            r#"{"batchItemFailures":[{"messageId":"a"}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"x"}]}"#,
        ] {
            check(answer, &[]);
        }
    }

    #[test]
    fn no_answer_deletes_nothing() {
        for error in [
            InvokeError::Function { error_type: "Error".into(), message: "no".into() },
            InvokeError::TimedOut { timeout: std::time::Duration::from_secs(10) },
            InvokeError::Crashed { status: "signal: 9".into() },
        ] {
            let settlement = settle(&BATCH, &Err(error.clone()));
            assert_eq!(settlement.to_delete, [0; 0], "{error} must leave every record in the queue");
            assert_eq!(settlement.verdict, Verdict::NoAnswer(error));
        }
    }

    proptest! {
        #[test]
        fn a_record_is_deleted_exactly_when_a_good_answer_does_not_name_it(
            count in 1_usize..=10, failed in prop::collection::vec(0_usize..10, 0..12), unknown in prop::bool::weighted(0.2),
        ) {
            let ids: Vec<String> = (0..count).map(|n| format!("id-{n}")).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let failed: Vec<usize> = failed.into_iter().filter(|n| *n < count).collect();
            let mut items: Vec<Value> =
                failed.iter().map(|n| serde_json::json!({"itemIdentifier": ids[*n]})).collect();
            if unknown {
                items.insert(items.len() / 2, serde_json::json!({"itemIdentifier": "id-10"}));
            }
            let answer = serde_json::json!({"batchItemFailures": items}).to_string();
            let deleted = settle(&ids, &Ok(answer.into())).to_delete;
            let expected: Vec<usize> =
                if unknown { Vec::new() } else { (0..count).filter(|n| !failed.contains(n)).collect() };
            prop_assert_eq!(deleted, expected);
        }

        #[test]
        fn no_answer_whatsoever_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let settlement = settle(&BATCH, &Ok(body.into()));
            prop_assert!(settlement.to_delete.len() <= BATCH.len());
        }
    }
}
