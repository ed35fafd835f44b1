//! Events as JSON lines on stdout, each carrying its metrics in CloudWatch's embedded metric format (EMF): no API
//! call, one line per decision.

use std::io::Write;

use media::time::EpochMs;
use serde_json::{Map, Value, json};
use writer::event::{Event, Telemetry};
use writer::ports::Clock;

use crate::clock::SystemClock;

/// The CloudWatch namespace.
pub const NAMESPACE: &str = "KvsStreamWriter";

/// Writes events to stdout.
#[derive(Clone, Copy, Debug, Default)]
pub struct StdoutEvents;

impl Telemetry for StdoutEvents {
    fn emit(&self, event: &Event) {
        // Telemetry must not fail: a closed stdout is no reason to lose audio.
        let _ = writeln!(std::io::stdout().lock(), "{}", line(event, SystemClock.now()));
    }
}

/// An event's metrics.
struct Metrics {
    level: &'static str,
    /// A metric of the event's own, that is not among its fields.
    counter: (&'static str, u64),
    /// Fields of the event that are metrics too, with their units.
    fields: &'static [(&'static str, &'static str)],
    /// The field that is a dimension, beside the total over all. Never an id: each value is a metric to pay for.
    dimension: Option<&'static str>,
}

/// Renders an event: its fields, a level, and the `_aws` member that makes metrics of some of them.
fn line(event: &Event, now: EpochMs) -> Value {
    let metrics = metrics(event);
    let mut fields = match serde_json::to_value(event) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(), // an Event is a struct of plain values
    };
    let (name, count) = metrics.counter;
    fields.insert("level".into(), json!(metrics.level));
    fields.insert("timestampMs".into(), json!(now.0));
    fields.insert(name.into(), json!(count));
    let numeric = metrics.fields.iter().filter(|(name, _)| fields.get(*name).is_some_and(Value::is_number));
    let definitions: Vec<_> =
        numeric.chain([&(name, "Count")]).map(|(name, unit)| json!({"Name": name, "Unit": unit})).collect();
    let dimensions = match metrics.dimension {
        Some(dimension) => json!([[], [dimension]]),
        None => json!([[]]),
    };
    let directive = json!({"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": definitions});
    fields.insert("_aws".into(), json!({"Timestamp": now.0, "CloudWatchMetrics": [directive]}));
    Value::Object(fields)
}

fn metrics(event: &Event) -> Metrics {
    const MS: &str = "Milliseconds";
    let of = |level, counter, dimension| Metrics { level, counter, fields: &[], dimension };
    match event {
        Event::FragmentWritten { .. } => Metrics {
            level: "INFO",
            counter: ("fragmentsWritten", 1),
            fields: &[
                ("chunks", "Count"),
                ("persistedAfterMs", MS),
                ("ageMs", MS),
                ("driftMs", MS),
                ("attempts", "Count"),
            ],
            dimension: None,
        },
        Event::Deferred { .. } => of("INFO", ("deferrals", 1), Some("why")),
        Event::GivenBack { records, .. } => of("WARN", ("recordsGivenBack", *records), Some("reason")),
        Event::Parked { messages, .. } => of("WARN", ("messagesParked", *messages), Some("reason")),
        Event::GapOpened { chunk_first, chunk_last, .. } => {
            let chunks = chunk_last.saturating_sub(*chunk_first).saturating_add(1);
            of("WARN", ("gapChunks", chunks), None)
        }
        Event::GapGivenUp { .. } => of("ERROR", ("gapsGivenUp", 1), None),
        Event::DuplicatesDropped { messages, .. } => of("INFO", ("duplicatesDropped", *messages), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<Event> {
        let session_id = || "quiet-fox-1".to_owned();
        let fragment = |persisted_after_ms| Event::FragmentWritten {
            session_id: session_id(),
            fragment_number: "91343852333181432392682062607743920146264094".into(),
            producer_timestamp_ms: 1_795_335_945_729,
            samples: 32_000,
            chunk_first: 8,
            chunk_last: 15,
            chunks: 8,
            persisted_after_ms,
            age_ms: 400,
            attempts: 1,
            backfill: false,
            drift_ms: -3,
        };
        vec![
            fragment(Some(120)),
            fragment(None),
            Event::Deferred { session_id: session_id(), records: 2, seconds: 2, why: "young" },
            Event::GivenBack {
                session_id: session_id(),
                records: 8,
                seconds: 4,
                reason: "PutMedia-timeout".into(),
                message: "PutMedia did not answer within 4000 ms".into(),
            },
            Event::Parked {
                session_id: session_id(),
                messages: 1,
                reason: "BAD_BASE64".into(),
                class: "message",
                message: "audioData is not base64 (offset 4)".into(),
                chunk_first: Some(3),
                chunk_last: None,
            },
            Event::GapOpened { session_id: session_id(), chunk_first: 3, chunk_last: 5 },
            Event::GapGivenUp { session_id: session_id(), chunk_first: 0, chunk_last: u64::MAX },
            Event::DuplicatesDropped { session_id: session_id(), messages: 4 },
        ]
    }

    #[test]
    fn every_line_is_one_line_that_cloudwatch_accepts() {
        for event in events() {
            let value = line(&event, EpochMs(1_795_335_947_000));
            assert!(!value.to_string().contains('\n'));
            assert_eq!(value["_aws"]["Timestamp"], 1_795_335_947_000_u64);
            let directive = &value["_aws"]["CloudWatchMetrics"][0];
            assert_eq!(directive["Namespace"], NAMESPACE);
            let metrics = directive["Metrics"].as_array().unwrap();
            assert!(!metrics.is_empty());
            for metric in metrics {
                assert!(
                    value[metric["Name"].as_str().unwrap()].is_number(),
                    "{metric} is no number in {value}"
                );
            }
            for dimension in
                directive["Dimensions"].as_array().unwrap().iter().flat_map(|set| set.as_array().unwrap())
            {
                let name = dimension.as_str().unwrap();
                assert!(
                    value[name].is_string() && name != "sessionId",
                    "{name} must be a text of few values"
                );
            }
        }
    }

    #[test]
    fn a_fragment_found_by_a_probe_reports_no_time_to_persisted() {
        let line = line(&events()[1], EpochMs(0));
        assert!(!line["_aws"].to_string().contains("persistedAfterMs"));
        assert_eq!((&line["event"], &line["fragmentsWritten"]), (&json!("fragmentWritten"), &json!(1)));
    }

    #[test]
    fn a_gap_counts_its_chunks() {
        assert_eq!(line(&events()[5], EpochMs(0))["gapChunks"], 3);
        assert_eq!(line(&events()[4], EpochMs(0))["messagesParked"], 1);
    }
}
