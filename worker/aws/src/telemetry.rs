//! Events as JSON lines on stdout, each carrying its metrics in CloudWatch's embedded metric format (EMF): no API
//! call, one line per decision. Log line and metrics are the same struct, so they cannot disagree.

use std::io::Write;
use std::sync::{LazyLock, Mutex, PoisonError};

use media::time::{EpochMs, Samples};
use serde_json::{Map, Value, json};
use writer::event::{Event, Telemetry};
use writer::ports::Clock;

use crate::clock::SystemClock;
use crate::settings::{STACK_NAME, process_env};

/// The CloudWatch namespace.
pub const NAMESPACE: &str = "KvsStreamWriter";

/// The deployment, which every metric carries as the dimension `stack`: two in one account would share their alarms otherwise.
static STACK: LazyLock<Option<String>> =
    LazyLock::new(|| process_env(STACK_NAME).filter(|name| !name.is_empty()));

/// Writes events to stdout, with the invocation that they happened in, and keeps the fragments that are to be announced.
#[derive(Debug, Default)]
pub struct StdoutEvents {
    invocation: Mutex<Invocation>,
    announces: bool,
}

#[derive(Debug, Default)]
struct Invocation {
    request_id: Option<String>,
    written: Vec<Event>,
}

impl StdoutEvents {
    /// With `announces`, fragments are kept for [`StdoutEvents::take_written`].
    pub fn new(announces: bool) -> Self {
        Self { invocation: Mutex::default(), announces }
    }

    /// What follows happens in this invocation (Lambda's request id).
    pub fn begin(&self, request_id: &str) {
        self.lock().request_id = Some(request_id.to_owned());
    }

    /// The fragments written since the last call, [`Event::FragmentWritten`] each. Lambda runs one invocation of a
    /// process at a time, so they are this invocation's.
    pub fn take_written(&self) -> Vec<Event> {
        std::mem::take(&mut self.lock().written)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Invocation> {
        self.invocation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Telemetry for StdoutEvents {
    fn emit(&self, event: &Event) {
        let mut invocation = self.lock();
        let line = line(event, SystemClock.now(), invocation.request_id.as_deref(), STACK.as_deref());
        if self.announces && matches!(event, Event::FragmentWritten { .. }) {
            invocation.written.push(event.clone());
        }
        drop(invocation);
        print(&line);
    }
}

/// Tells that a process has started: the metric `coldStarts`, by function.
pub fn cold_start(function: &str) {
    let version = env!("CARGO_PKG_VERSION");
    let fields = json!({"event": "started", "function": function, "workerVersion": version});
    count(fields, ("coldStarts", 1), &["function"]);
}

/// Reports a number that is not an event of a session: one line, one metric, beside the fields.
pub fn count(fields: Value, metric: (&'static str, u64), dimensions: &[&'static str]) {
    let Value::Object(fields) = fields else { return };
    let metrics = Metrics { level: "INFO", counter: metric, fields: &[], dimensions };
    print(&embed(fields, &metrics, SystemClock.now(), STACK.as_deref()));
}

fn print(line: &Value) {
    // Telemetry must not fail: a closed stdout is no reason to lose audio.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// An event's metrics.
struct Metrics<'a> {
    level: &'static str,
    /// A metric of the event's own, that is not among its fields.
    counter: (&'static str, u64),
    /// Fields of the event that are metrics too, with their units.
    fields: &'static [(&'static str, &'static str)],
    /// Fields that are a dimension each, beside the total over all. Never an id: each value is a metric to pay for.
    dimensions: &'a [&'static str],
}

/// Renders an event: its fields, a level, and the `_aws` member that makes metrics of some of them.
fn line(event: &Event, now: EpochMs, request_id: Option<&str>, stack: Option<&str>) -> Value {
    let mut fields = match serde_json::to_value(event) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(), // an Event is a struct of plain values
    };
    if let Some(request_id) = request_id {
        fields.insert("requestId".into(), json!(request_id));
    }
    if let Event::FragmentWritten { samples, backfill, .. } = event {
        fields.insert("audioSeconds".into(), json!(*samples as f64 / f64::from(Samples::RATE_HZ)));
        fields.insert("backfills".into(), json!(u64::from(*backfill)));
    }
    if let Event::GapOpened { .. } = event {
        fields.insert("gapsOpened".into(), json!(1));
    }
    embed(fields, &metrics(event), now, stack)
}

/// `stack` stands in the line and in each of its metrics, where the process knows it.
fn embed(mut fields: Map<String, Value>, metrics: &Metrics<'_>, now: EpochMs, stack: Option<&str>) -> Value {
    let (name, count) = metrics.counter;
    let of_stack: &[&str] = match stack {
        Some(stack) => {
            fields.insert("stack".into(), json!(stack));
            &["stack"]
        }
        None => &[],
    };
    fields.insert("level".into(), json!(metrics.level));
    fields.insert("timestampMs".into(), json!(now.0));
    fields.insert(name.into(), json!(count));
    let numeric = metrics.fields.iter().filter(|(name, _)| fields.get(*name).is_some_and(Value::is_number));
    let definitions: Vec<_> =
        numeric.chain([&(name, "Count")]).map(|(name, unit)| json!({"Name": name, "Unit": unit})).collect();
    let more = metrics.dimensions.iter().map(|name| json!([of_stack, &[*name]].concat()));
    let dimensions: Vec<Value> = std::iter::once(json!(of_stack)).chain(more).collect();
    let directive = json!({"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": definitions});
    fields.insert("_aws".into(), json!({"Timestamp": now.0, "CloudWatchMetrics": [directive]}));
    Value::Object(fields)
}

fn metrics(event: &Event) -> Metrics<'static> {
    const MS: &str = "Milliseconds";
    /// The age comes first: audio that a redrive brings back is old, and tells nothing of how far listeners are behind.
    const FRAGMENT: &[(&str, &str)] = &[
        ("ageMs", MS),
        ("audioSeconds", "Seconds"),
        ("backfills", "Count"),
        ("chunks", "Count"),
        ("persistedAfterMs", MS),
        ("decodeUs", "Microseconds"),
        ("driftMs", MS),
        ("attempts", "Count"),
    ];
    let of = |level, counter, dimensions| Metrics { level, counter, fields: &[], dimensions };
    match event {
        Event::FragmentWritten { backfill, .. } => Metrics {
            level: "INFO",
            counter: ("fragmentsWritten", 1),
            fields: if *backfill { &FRAGMENT[1..] } else { FRAGMENT },
            dimensions: &[],
        },
        Event::Deferred { .. } => of("INFO", ("deferrals", 1), &["why"]),
        Event::SetAside { messages, .. } => of("INFO", ("chunksSetAside", *messages), &[]),
        Event::Retried { .. } => of("WARN", ("retries", 1), &["reason"]),
        Event::GivenBack { records, .. } => of("WARN", ("recordsGivenBack", *records), &["class", "reason"]),
        Event::Parked { messages, .. } => of("WARN", ("messagesParked", *messages), &["class", "reason"]),
        Event::GapOpened { chunk_first, chunk_last, .. } => Metrics {
            level: "WARN",
            counter: ("gapChunks", chunk_last.saturating_sub(*chunk_first).saturating_add(1)),
            fields: &[("gapsOpened", "Count")],
            dimensions: &[],
        },
        Event::GapClosed { .. } => of("INFO", ("gapsClosed", 1), &[]),
        Event::Withheld { chunks, .. } => of("WARN", ("chunksWithheld", *chunks), &[]),
        Event::GapGivenUp { .. } => of("ERROR", ("gapsGivenUp", 1), &[]),
        Event::SeveralAudioTracks { .. } => of("WARN", ("recordingsWithSeveralAudioTracks", 1), &[]),
        Event::EncryptedBlocks { blocks, .. } => of("WARN", ("encryptedBlocks", *blocks), &[]),
        Event::Crashed { .. } => of("ERROR", ("crashes", 1), &[]),
        Event::FragmentTwice { .. } => of("ERROR", ("fragmentsTwice", 1), &[]),
        Event::DuplicatesDropped { messages, .. } => of("INFO", ("duplicatesDropped", *messages), &[]),
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
            decode_us: persisted_after_ms.map(|_| 2_150),
            age_ms: 400,
            attempts: 1,
            backfill: false,
            drift_ms: -3,
            traceparent: persisted_after_ms
                .map(|_| "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        };
        vec![
            fragment(Some(120)),
            fragment(None),
            Event::Deferred {
                session_id: session_id(),
                records: 2,
                seconds: 2,
                why: "young",
                chunk_first: Some(3),
                chunk_last: Some(4),
            },
            Event::GivenBack {
                session_id: session_id(),
                records: 8,
                seconds: 4,
                chunk_first: None,
                chunk_last: None,
                class: "passing",
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
            Event::Withheld { session_id: session_id(), chunks: 2, chunk_first: 6, chunk_last: 7 },
            Event::DuplicatesDropped { session_id: session_id(), messages: 4 },
            Event::SeveralAudioTracks {
                session_id: session_id(),
                codecs: "A_OPUS A_VORBIS".into(),
                chunk_first: 0,
                message: "several audio tracks, the first Opus one is used",
            },
            Event::EncryptedBlocks { session_id: session_id(), blocks: 3, chunk_first: 3, chunk_last: 9 },
            Event::GapClosed { session_id: session_id(), chunk_first: 3, chunk_last: 5 },
            Event::Crashed { session_id: session_id(), message: "index out of bounds".into() },
            Event::FragmentTwice {
                session_id: session_id(),
                fragment_number: "91343852333181432392682062607743920146264094".into(),
                other_fragment_number: "91343852333181432397633822764885441119889344".into(),
                producer_timestamp_ms: 1_795_335_945_729,
                chunk_first: 8,
                chunk_last: 15,
            },
            Event::SetAside {
                session_id: session_id(),
                messages: 9,
                chunk_first: Some(20),
                chunk_last: Some(31),
                in_all: 18,
            },
            Event::Retried {
                session_id: session_id(),
                chunk_first: 8,
                chunk_last: 15,
                reason: "ack-5000".into(),
                tries: 1,
            },
        ]
    }

    #[test]
    fn every_line_is_one_line_that_cloudwatch_accepts() {
        for event in events() {
            let value = line(&event, EpochMs(1_795_335_947_000), Some("8f7c"), None);
            assert!(!value.to_string().contains('\n'));
            assert_eq!(value["requestId"], "8f7c");
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
    fn the_runbook_lists_every_event_with_its_metrics() {
        let table = include_str!("../../../docs/runbook.md").split("\n| `event` |").nth(1).unwrap();
        let rows: Vec<&str> = table.lines().take_while(|line| !line.is_empty()).collect();
        for event in events() {
            let line = line(&event, EpochMs(0), None, None);
            let name = format!("`{}`", line["event"].as_str().unwrap());
            let row = rows.iter().find(|row| row.split('|').nth(1).is_some_and(|cell| cell.contains(&name)));
            let row = row.unwrap_or_else(|| panic!("docs/runbook.md does not list the event {name}"));
            for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap() {
                let metric = format!("`{}`", metric["Name"].as_str().unwrap());
                assert!(row.contains(&metric), "docs/runbook.md does not name {metric} of {name}: {row}");
            }
        }
    }

    #[test]
    fn a_fragment_found_by_a_probe_reports_no_time_to_persisted() {
        let line = line(&events()[1], EpochMs(0), None, None);
        assert!(!line["_aws"].to_string().contains("persistedAfterMs"));
        assert_eq!((&line["event"], &line["fragmentsWritten"]), (&json!("fragmentWritten"), &json!(1)));
    }

    #[test]
    fn a_fragments_line_counts_its_audio_and_leads_back_to_the_message() {
        let line = line(&events()[0], EpochMs(0), None, None);
        assert_eq!(
            (&line["audioSeconds"], &line["decodeUs"], &line["backfills"]),
            (&json!(2.0), &json!(2_150), &json!(0))
        );
        assert!(line["traceparent"].as_str().unwrap().starts_with("00-4bf92f35"));
        let metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].to_string();
        for name in [
            "audioSeconds",
            "backfills",
            "decodeUs",
            "persistedAfterMs",
            "ageMs",
            "driftMs",
            "fragmentsWritten",
        ] {
            assert!(metrics.contains(name), "{name} is no metric");
        }
    }

    #[test]
    fn fragments_are_kept_only_where_they_are_to_be_announced() {
        for (announces, kept) in [(false, 0), (true, 2)] {
            let stdout = StdoutEvents::new(announces);
            events().iter().for_each(|event| stdout.emit(event));
            assert_eq!(stdout.take_written().len(), kept);
            assert!(stdout.take_written().is_empty());
        }
    }

    #[test]
    fn every_metric_is_its_stacks_own() {
        for event in events() {
            let line = line(&event, EpochMs(0), None, Some("kvs-stream-writer-dev"));
            assert_eq!(line["stack"], "kvs-stream-writer-dev");
            let sets = line["_aws"]["CloudWatchMetrics"][0]["Dimensions"].as_array().unwrap();
            assert!(!sets.is_empty(), "{line}");
            for set in sets {
                assert_eq!(set[0], "stack", "a second deployment's alarms would ring for {line}");
            }
        }
    }

    #[test]
    fn what_a_redrive_brings_back_does_not_count_as_listeners_being_behind() {
        let mut event = events().remove(0);
        let ages = |event: &Event| {
            let line = line(event, EpochMs(0), None, None);
            (line["ageMs"].is_number(), line["_aws"].to_string().contains("ageMs"))
        };
        assert_eq!(ages(&event), (true, true));
        let Event::FragmentWritten { backfill, .. } = &mut event else { panic!("the first is a fragment") };
        *backfill = true;
        assert_eq!(ages(&event), (true, false), "Old audio would ring in every redrive");
    }

    #[test]
    fn a_gap_counts_its_chunks() {
        assert_eq!(line(&events()[5], EpochMs(0), None, None)["gapChunks"], 3);
        assert_eq!(line(&events()[4], EpochMs(0), None, None)["messagesParked"], 1);
    }
}
