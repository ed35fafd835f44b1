//! SPECIFICATION.md's two tables of failures, walked row by row through the writer: each culprit has its one consequence.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ingest::checkpoint::Checkpoint;
use ingest::failure::ServiceFailure;
use media::time::EpochMs;
use serde_json::{Value, json};
use simulation::case::Case;
use simulation::case::kinds::{Kind, Kinds};
use simulation::evidence::Evidence;
use simulation::faults::{Failure, Fate, Fault, On, Op};
use simulation::invariants::check;
use simulation::model::queue::Dead;
use simulation::run::{Arrival, Incident, Outcome, Scenario, run};
use simulation::speech::session::{Chunk, Passage, Session, Take};
use simulation::speech::webm::{Browser, header};
use writer::event::Event;
use writer::ports::SessionStatus;

const SPECIFICATION: &str = include_str!("../../../SPECIFICATION.md");
/// How long a service fails: less than the writer's bound and its last attempt would need to park twice.
const OUTAGE_MS: u64 = 40_000;

fn cells(line: &str) -> Vec<String> {
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

fn speaker(chunks: usize) -> Case {
    let session = Session { end_after_ms: Some(60), ..Session::of("s", vec![Take::steady(0, chunks)]) };
    Case { sessions: vec![session], ..Case::quiet() }
}

/// Runs without an operator.
fn alone(case: &Case) -> Outcome {
    run(&Scenario { redrives: 0, ..case.scenario(true) })
}

fn reason(dead: &Dead) -> &str {
    &dead.attributes["reason"]
}

/// Why chunks of the session's gaps were parked, as a page is told.
fn causes(outcome: &Outcome) -> BTreeSet<String> {
    let stored = outcome.world.store.load("s").map(|stored| Checkpoint::decode(&stored.bytes).unwrap());
    stored.unwrap_or_default().gaps.into_iter().map(|gap| gap.cause).collect()
}

// --- services ---------------------------------------------------------------------------------------------------------

struct Row {
    failure: String,
    class: String,
    outcome: String,
    consequence: String,
}

fn rows() -> Vec<Row> {
    let table =
        SPECIFICATION.split("<!-- failures -->").nth(1).unwrap().split("<!-- /failures -->").next().unwrap();
    let row = |line: &str| {
        let [failure, _, class, outcome, consequence] = cells(line).try_into().expect(line);
        Row { failure: failure.trim_matches('`').to_owned(), class, outcome, consequence }
    };
    table.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

/// The failure that a row's short name stands for.
fn failure(name: &str) -> ServiceFailure {
    if let Some(id) = name.strip_prefix("ack-") {
        return ServiceFailure::Ack { id: id.parse().unwrap(), code: String::new() };
    }
    let (operation, what) = name.split_once('-').unwrap();
    let operation = operation.to_owned();
    let service = |operation, status, code: &str| {
        let (code, message) = (code.to_owned(), String::new());
        ServiceFailure::Service { operation, status, code, message }
    };
    match (what, what.parse::<u16>()) {
        ("timeout", _) => ServiceFailure::TimedOut { operation, waited_ms: 4_000 },
        ("disconnected", _) => ServiceFailure::Disconnected { operation, detail: String::new() },
        ("garbled", _) => ServiceFailure::Garbled { operation, detail: String::new() },
        (_, Ok(status)) => service(operation, status, ""),
        (code, Err(_)) => service(operation, 400, code),
    }
}

/// A speaker whose service fails like that for a while.
fn failing(failure: &ServiceFailure) -> Case {
    let mut case = speaker(8);
    let op = match failure.reason().split('-').next().unwrap() {
        "GetItem" => Op::Load,
        "PutItem" => Op::Save,
        "ListFragments" => Op::Find,
        _ => Op::Put, // CreateStream is part of it
    };
    let on = On::During { op, session: None, from_ms: 0, to_ms: case.begins_ms() + OUTAGE_MS };
    case.faults.push(Fault { on, fate: Fate::Fail(Failure::As(failure.clone())) });
    if op == Op::Find {
        let on = On::Nth { op: Op::Put, session: "s".into(), n: 0 };
        case.faults.push(Fault { on, fate: Fate::FailAfter(Failure::Disconnected) });
    }
    case
}

/// What the writer did about it, in the table's words.
fn consequence(outcome: &Outcome, name: &str) -> String {
    let trace = outcome.world.trace.as_deref().unwrap_or_default();
    let is = |line: &&String, op: &str| line.contains(" call ") && line.contains(&format!(" {op} s"));
    let first_batch = || trace.iter().take_while(|line| !is(line, "Park"));
    let calls = |op: &str| first_batch().filter(|line| is(line, op)).count();
    let parked = outcome.parked.iter().any(|dead| reason(dead) == name);
    let gave_back = |event: &Event| matches!(event, Event::GivenBack { reason, .. } if reason == name);
    let given_back = outcome.world.events.iter().any(|(_, event)| gave_back(event));
    let mut did = Vec::new();
    if calls("Put") > 0 && calls("Find") > 0 && !name.starts_with("ListFragments") {
        did.push("ask");
    }
    if calls("Put") > 1 && !name.starts_with("GetItem") && !name.starts_with("ListFragments") {
        did.push("retry");
    }
    if given_back {
        did.push("give back");
    }
    if parked {
        did.push(if did.is_empty() { "park at once" } else { "park" });
    }
    did.join(", ")
}

#[test]
fn every_failure_of_a_service_has_the_consequence_of_the_specification() {
    let rows = rows();
    assert!(rows.len() >= 40, "only {} rows found: has the table moved?", rows.len());
    for row in rows {
        let failure = failure(&row.failure);
        assert_eq!(failure.reason(), row.failure, "the DLQ's reason is the table's name");
        assert_eq!(failure.class().to_string(), row.class, "{}: class", row.failure);
        let outcome = if failure.outcome_unknown() { "unknown" } else { "not stored" };
        assert_eq!(outcome, row.outcome, "{}: outcome", row.failure);
        let case = failing(&failure);
        let outcome = alone(&case);
        assert_eq!(consequence(&outcome, &row.failure), row.consequence, "{}", row.failure);
        let parks = row.consequence.contains("park") && !row.failure.starts_with("PutItem"); // it refuses the gap, too
        let causes = causes(&outcome);
        assert_eq!(causes.contains(&row.failure), parks, "{}: a page is told {causes:?}", row.failure);
        assert_eq!(case.judge(), [], "{}: a redrive does not restore", row.failure);
    }
}

/// Each time that a chunk is given back counts towards the queue's redrive policy, which would move it without a reason.
#[test]
fn a_store_that_is_away_for_six_hours_delays_and_parks_nothing() {
    for (op, fate) in [
        (Op::Load, Fate::Fail(Failure::Throttled)),
        (Op::Save, Fate::Fail(Failure::TimedOut)),
        (Op::Load, Fate::Slow(60_000)),
    ] {
        let mut case = speaker(12);
        let over_ms = case.begins_ms() + 6 * 3_600_000;
        case.faults.push(Fault { on: On::During { op, session: None, from_ms: 0, to_ms: over_ms }, fate });
        let mut scenario =
            Scenario { redrives: 0, until_ms: Some(over_ms + 600_000), ..case.scenario(false) };
        scenario.services.queue.max_receive_count = 100; // infra/template.yaml
        let outcome = run(&scenario);
        assert!(outcome.drained, "{op:?}: chunks are still in the queue ten minutes later");
        assert_eq!(check(&Evidence::gather(&case.sessions, &outcome, true)), [], "{op:?}");
        assert!(outcome.parked.is_empty(), "{op:?}: {:?}", outcome.parked);
    }
}

// --- messages, audio, sessions ----------------------------------------------------------------------------------------

fn codes() -> BTreeSet<String> {
    let table =
        SPECIFICATION.split("| refused | whose fault |").nth(1).unwrap().split("\n\n").next().unwrap();
    let first = table.lines().filter(|line| line.starts_with("| `")).map(|line| cells(line).remove(0));
    first
        .flat_map(|cell| cell.split(' ').map(|code| code.trim_matches('`').to_owned()).collect::<Vec<_>>())
        .collect()
}

/// A speaker, one of whose messages has this body instead.
fn with_body(nth: usize, change: impl FnOnce(&mut Value) -> Option<String>) -> Scenario {
    let mut scenario = Scenario { redrives: 0, ..speaker(10).scenario(false) };
    let Arrival { what: Incident::Message { body, .. }, .. } = &mut scenario.arrivals[1 + nth] else {
        panic!("no message")
    };
    let mut fields: Value = serde_json::from_str(body).unwrap();
    *body = change(&mut fields).unwrap_or_else(|| fields.to_string());
    scenario
}

fn with_field(name: &str, value: Value) -> Scenario {
    with_body(4, |fields| {
        fields[name] = value;
        None
    })
}

/// The first arrival says that the session is active.
fn with_status(status: SessionStatus) -> Scenario {
    let mut scenario = Scenario { redrives: 0, ..speaker(10).scenario(false) };
    scenario.arrivals[0].what = Incident::Status("s".into(), status);
    scenario
}

/// Forty seconds of audio in 16 kB: a Cluster of SimpleBlocks, each a one-byte packet that claims 20 ms.
fn bomb() -> String {
    let mut bytes = header(Browser::Chromium, 1);
    bytes.extend(b"\x1f\x43\xb6\x75\x01\xff\xff\xff\xff\xff\xff\xff\xe7\x81\x00");
    bytes.extend((0..7_000).flat_map(|_| *b"\xa3\x85\x81\x00\x00\x80\xf8"));
    STANDARD.encode(bytes)
}

/// The end of a page that comes after its successor, with an index that neither waits for.
fn late_end_of_a_page() -> Scenario {
    let mut case = speaker(10);
    let mut next = Take { new_page: true, connection: 1, ..Take::steady(1, 8) };
    next.chunks.iter_mut().for_each(|chunk| chunk.handed_out_ms += 6_000);
    case.sessions[0].takes[0].chunks[9].passage = Passage::Sent(12_000);
    case.sessions[0].takes.push(next);
    Scenario { redrives: 0, ..case.scenario(false) }
}

fn put_fails(mut case: Case, fates: impl IntoIterator<Item = Fate>, ms: u64) -> Scenario {
    let to_ms = case.begins_ms() + ms;
    for (n, fate) in fates.into_iter().enumerate() {
        let on = match fate {
            Fate::CrashBefore => On::Nth { op: Op::Put, session: "s".into(), n: n as u64 },
            _ => On::During { op: Op::Put, session: None, from_ms: 0, to_ms },
        };
        case.faults.push(Fault { on, fate });
    }
    Scenario { redrives: 0, ..case.scenario(false) }
}

/// The parking of a batch fails, and its messages come again in two deliveries: the end without the beginning.
fn straggler() -> Scenario {
    let lost = Fault {
        on: On::Nth { op: Op::Park, session: "s".into(), n: 0 },
        fate: Fate::Fail(Failure::TimedOut),
    };
    let mut case = speaker(8);
    case.faults.push(lost);
    let scenario = put_fails(case, [Fate::Fail(Failure::Ack(5000))], 120_000);
    let seeds = (0..100).map(|seed| Scenario { seed, ..scenario.clone() });
    let in_two = |scenario: &Scenario| run(scenario).parked.iter().any(|dead| reason(dead) == "BATCH_PARKED");
    seeds.into_iter().find(in_two).expect("SQS fills deliveries as it likes")
}

/// A chunk is missing, those behind it are set aside, and then the Sessions table is away for good.
fn received_too_often() -> Scenario {
    let mut case = speaker(30);
    let chunks = &mut case.sessions[0].takes[0].chunks;
    let sent_ms = chunks[29].handed_out_ms;
    chunks.iter_mut().for_each(|chunk| chunk.passage = Passage::Sent(sent_ms - chunk.handed_out_ms));
    chunks[3].passage = Passage::Lost;
    let from_ms = case.begins_ms() + sent_ms + 1_500;
    let on = On::During { op: Op::Status, session: None, from_ms, to_ms: u64::MAX / 2 };
    case.faults.push(Fault { on, fate: Fate::Fail(Failure::Denied) });
    let mut scenario = Scenario { redrives: 0, full_deliveries: true, ..case.scenario(false) };
    scenario.config.last_receive = 9;
    scenario
}

/// A run in which something is refused for this reason, and whether nothing else is.
fn refusing(code: &str) -> (Scenario, bool) {
    let big = |bytes: usize| json!("A".repeat(bytes));
    let alone = match code {
        "BODY_TOO_LARGE" => with_field("padding", big(200_000)),
        "NOT_JSON" => with_body(4, |_| Some("{".into())),
        "NOT_AN_OBJECT" => with_body(4, |_| Some("[1]".into())),
        "MISSING_FIELD" => with_body(4, |_| Some("{}".into())),
        "WRONG_TYPE" => with_field("audioData", json!(7)),
        "UNKNOWN_ACTION" => with_field("action", json!("deleteEverything")),
        "BAD_SESSION_ID" => with_field("sessionId", json!("no stream name!")),
        "WRONG_GROUP" => with_field("sessionId", json!("another")),
        "BAD_BASE64" => with_field("audioData", json!("%%%")),
        "HALF_SAMPLE" => with_body(4, |fields| {
            (fields["format"], fields["audioData"]) = (json!("pcm-s16le"), json!("AAAA"));
            None
        }),
        "AUDIO_TOO_LARGE" => with_field("audioData", big(131_076)),
        "UNSUPPORTED_FORMAT" => with_field("format", json!("mp3")),
        "CHUNK_TOO_LONG" => with_field("audioData", json!(bomb())),
        "NO_PLACE" => late_end_of_a_page(),
        "SESSION_UNKNOWN" => with_status(SessionStatus::Unknown),
        "SESSION_ENDED" => with_status(SessionStatus::Ended { at: Some(EpochMs(0)) }),
        _ => return (refusing_among_others(code), false),
    };
    (alone, true)
}

fn refusing_among_others(code: &str) -> Scenario {
    match code {
        "UNDECODABLE_AUDIO" => with_body(0, |fields| {
            fields["audioData"] = json!(STANDARD.encode([0x55; 300]));
            None
        }),
        "REPLACED" => Case::draw(1, Kinds::of([Kind::SecondPage])).scenario(false),
        "STREAM_FAILING" => put_fails(speaker(76), [Fate::Fail(Failure::Ack(5000))], 60_000),
        "BATCH_PARKED" => straggler(),
        "RECEIVED_TOO_OFTEN" => received_too_often(),
        "CRASHED" => put_fails(speaker(8), [const { Fate::CrashBefore }; 4], 0),
        _ => panic!("{code} is in SPECIFICATION.md, but nothing here makes it happen"),
    }
}

/// What leaves a gap when it is parked, by itself or as a batch.
const PASSED: [&str; 7] = [
    "WRONG_TYPE",
    "BAD_BASE64",
    "HALF_SAMPLE",
    "AUDIO_TOO_LARGE",
    "UNSUPPORTED_FORMAT",
    "CHUNK_TOO_LONG",
    "UNDECODABLE_AUDIO",
];

#[test]
fn every_refusal_of_the_specification_happens_and_says_its_name() {
    let codes = codes();
    assert!(codes.len() >= 20, "only {codes:?} found: has the table moved?");
    for code in codes {
        let (scenario, alone) = refusing(&code);
        let outcome = run(&scenario);
        assert!(outcome.drained, "{code}: the queue never drains");
        let reasons: BTreeSet<&str> = outcome.parked.iter().map(reason).collect();
        assert!(reasons.contains(code.as_str()), "{code}: the DLQ holds {reasons:?}");
        assert!(!alone || reasons.len() == 1, "{code}: others are parked too: {reasons:?}");
        let of_gap = PASSED.contains(&code.as_str());
        assert!(!of_gap || causes(&outcome).contains(&code), "{code}: a page is told {:?}", causes(&outcome));
    }
}

// --- what is withheld -------------------------------------------------------------------------------------------------

/// A packet in four chunks, the second of them lost: the third cannot be decoded, nor told from noise. Then half of each chunk is lost.
#[test]
fn what_is_withheld_is_counted_and_comes_into_the_dlq_where_its_gap_is_given_up() {
    let mut take = Take::steady(0, 50);
    let (bytes, ends) = take.recording();
    let steady = take.chunks.clone();
    let lost = |chunk: Chunk| Chunk { passage: Passage::Lost, ..chunk };
    let packet = ends.iter().position(|end| *end > steady[5].until).unwrap();
    let (begins, ends) = (ends[packet], ends[packet + 1]);
    let cut = |n: usize| Chunk { until: begins + (ends - begins) * n / 4, ..steady[6] };
    take.chunks.splice(6.., [cut(1), lost(cut(2)), cut(3), steady[6]]);
    for pair in steady[6..].windows(2) {
        let half = Chunk { until: (pair[0].until + pair[1].until) / 2, ..pair[1] };
        take.chunks.extend([lost(half), pair[1]]);
    }
    let mut case = speaker(0);
    case.sessions[0].takes = vec![take];
    let outcome = alone(&case);

    let withheld = outcome.world.events.iter().filter_map(|(_, event)| match event {
        Event::Withheld { chunks, chunk_first, .. } => Some((*chunks, *chunk_first)),
        _ => None,
    });
    assert_eq!(withheld.collect::<Vec<_>>(), [(1, 8)], "an alarm counts what no fragment and no DLQ holds");
    let given_up =
        outcome.world.events.iter().any(|(_, e)| matches!(e, Event::GapGivenUp { chunk_first: 7, .. }));
    assert!(given_up, "the test loses too few chunks");
    let parked: Vec<Value> =
        outcome.parked.iter().map(|dead| serde_json::from_str(&dead.body).unwrap()).collect();
    assert_eq!(parked.len(), 1, "{:?}", outcome.parked);
    assert_eq!(reason(&outcome.parked[0]), "UNDECODABLE_AUDIO");
    assert_eq!((&parked[0]["chunkIndex"], &parked[0]["format"]), (&json!(8), &json!("webm-opus")));
    let audio = STANDARD.decode(parked[0]["audioData"].as_str().unwrap()).unwrap();
    assert!(audio == bytes[cut(2).until..cut(3).until], "acknowledged bytes are gone");
}
