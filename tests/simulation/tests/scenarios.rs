//! Scenario files: each member and each fate has its effect, wrong lines are named, and the same file is the same run.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use serde_json::{Value, json};
use simulation::case::Case;
use simulation::run::{Incident, run};
use simulation::scenario::{parse, report};
use simulation::speech::session::{BEGIN_MS, Session, Take};
use simulation::speech::tape::LONG;

/// Chunks of `speakers` sessions, with an end marker each.
const CHUNKS: usize = 12;

/// The lines of a file in which sessions `s0`, `s1` ... speak for 3.6 s, 10 ms apart.
fn speech(speakers: usize) -> Vec<Value> {
    speech_of((0..speakers).map(|n| Take::steady(n, CHUNKS)).collect())
}

/// The same with these recordings, one in each session.
fn speech_of(takes: Vec<Take>) -> Vec<Value> {
    let session = |(n, take)| {
        let session = Session::of(&format!("s{n}"), vec![take]);
        Session { begins_ms: BEGIN_MS + 10 * n as u64, end_after_ms: Some(60), ..session }
    };
    let case = Case { sessions: takes.into_iter().enumerate().map(session).collect(), ..Case::quiet() };
    let arrivals = case.scenario(false).arrivals;
    let line = |arrival: &simulation::run::Arrival| match &arrival.what {
        Incident::Status(session, _) => {
            json!({"kind": "status", "at": arrival.at_ms, "session": session, "status": "active"})
        }
        Incident::Message { group, deduplication, body } => {
            json!({"kind": "msg", "at": arrival.at_ms, "group": group, "dedup": deduplication, "body": body})
        }
    };
    arrivals.iter().map(line).collect()
}

fn file(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// What a file gives, read back as any reader would.
struct Output(Vec<Value>);

impl Output {
    fn of(text: &str) -> Self {
        let scenario = parse(text.as_bytes()).unwrap_or_else(|wrong| panic!("{wrong}"));
        Self(report(&run(&scenario)).iter().map(|line| serde_json::to_value(line).unwrap()).collect())
    }

    /// What one speaker (or more) with these further lines gives.
    fn with(speakers: usize, further: &[Value]) -> Self {
        Self::of(&file(&[speech(speakers), further.to_vec()].concat()))
    }

    fn all(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter_map(|line| line.get(kind)).collect()
    }

    fn events(&self, name: &str) -> Vec<&Value> {
        self.all("event").into_iter().filter(|event| event["event"] == name).collect()
    }

    fn summary(&self) -> &Value {
        &self.0.last().unwrap()["summary"]
    }

    fn age_ms(&self) -> i64 {
        self.summary()["maxAgeMs"].as_i64().unwrap()
    }

    fn audio_ms(&self) -> f64 {
        self.summary()["audioMs"].as_f64().unwrap()
    }

    fn reasons(&self) -> Vec<&str> {
        let mut reasons: Vec<&str> =
            self.all("parked").iter().map(|p| p["reason"].as_str().unwrap()).collect();
        reasons.dedup();
        reasons
    }
}

/// The same lines, where `change` has changed each chunk's message and what it says.
fn changed(lines: Vec<Value>, change: impl Fn(&mut Value, &mut Value)) -> Vec<Value> {
    let changed = |mut line: Value| {
        if let Some(body) = line["body"].as_str() {
            let mut body: Value = serde_json::from_str(body).unwrap();
            if body["chunkIndex"].is_u64() {
                change(&mut line, &mut body);
            }
            line["body"] = body.to_string().into();
        }
        line
    };
    lines.into_iter().map(changed).collect()
}

#[test]
fn no_doubt_stops_live_audio_for_more_than_20_s() {
    // Where a session begins is in doubt until its first blob has ended, and no blob of this page ever does.
    let endless =
        changed(speech_of(vec![Take::steady(LONG[0], 120)]), |_, body| body["continues"] = true.into());
    let output = Output::of(&file(&endless));
    let fragments = output.all("fragment");
    let first_ms = fragments[0]["storedMs"].as_u64().unwrap() - BEGIN_MS;
    assert!((20_000..23_000).contains(&first_ms), "{first_ms}");
    let caught_up =
        fragments[3..].iter().map(|f| f["storedMs"].as_u64().unwrap() - f["endMs"].as_u64().unwrap());
    assert!(caught_up.max() < Some(4_000), "live goes on behind it: {fragments:?}");
    assert!(output.reasons().is_empty());
}

#[test]
fn a_chunk_that_was_lost_and_is_sent_again_with_a_new_time_lies_in_its_place() {
    for late_ms in [1_700, 2_500] {
        let again = changed(speech_of(vec![Take::steady(0, 79)]), |line, body| {
            if body["chunkIndex"] == 15 {
                for at in [&mut line["at"], &mut body["timestamp"]] {
                    *at = (at.as_u64().unwrap() + late_ms).into();
                }
            }
        });
        let output = Output::of(&file(&again));
        let fragments = output.all("fragment");
        let ends_ms = fragments.iter().map(|f| f["endMs"].as_u64().unwrap()).max().unwrap() - BEGIN_MS;
        assert!((23_500..24_000).contains(&ends_ms), "{late_ms}: all behind it is shifted to {ends_ms} ms");
        assert!(output.age_ms() < 4_000, "{late_ms}: live stops for {} ms", output.age_ms());
        assert_eq!((output.audio_ms(), &output.summary()["gapsOpened"]), (23_700.0, &json!(0)), "{late_ms}");
    }
}

fn fault(op: &str, fate: &str) -> Value {
    json!({"kind": "fault", "op": op, "session": "s0", "nth": 0, "fate": fate})
}

fn outage(op: &str, fate: &str, ms: u64) -> Value {
    json!({"kind": "fault", "op": op, "from": BEGIN_MS, "to": BEGIN_MS + ms, "fate": fate})
}

#[test]
fn an_undisturbed_speaker_is_reported_whole() {
    let output = Output::with(2, &[]);
    let summary = output.summary();
    assert_eq!(
        (&summary["drained"], &summary["parked"], &summary["gapsOpened"]),
        (&json!(true), &json!(0), &json!(0))
    );
    assert_eq!(output.audio_ms(), 2.0 * 3_600.0);
    let fragments = output.all("fragment");
    assert_eq!(summary["fragments"], fragments.len());
    assert_eq!(output.events("fragmentWritten").len(), fragments.len(), "each fragment is an event, too");
    for session in ["s0", "s1"] {
        let mut chunks = 0;
        for fragment in fragments.iter().filter(|fragment| fragment["session"] == session) {
            let ms = |name: &str| fragment[name].as_u64().unwrap();
            assert_eq!(ms("chunkFirst"), chunks, "chunk ranges follow each other");
            chunks = ms("chunkLast") + 1;
            assert_eq!(ms("endMs") - ms("atMs"), fragment["audioMs"].as_f64().unwrap().ceil() as u64);
            assert!(ms("storedMs") >= ms("endMs") && ms("storedMs") - ms("endMs") < 4_000);
            assert!(fragment["rms"].as_f64().unwrap() > 1_000.0, "a melody, not silence");
            assert_eq!(fragment["line"], "live");
        }
        assert_eq!(chunks, CHUNKS as u64);
    }
    let times = output.0.iter().filter_map(|line| line["fragment"]["storedMs"].as_u64());
    assert!(times.is_sorted(), "lines are in order of time");
}

#[test]
fn each_fate_shows_its_effect() {
    let with = |fault: Value| Output::with(1, &[fault]);
    let retried = |output: &Output, reason: &str| {
        let retried = output.events("retried");
        assert!(retried.iter().any(|event| event["reason"] == reason), "{reason}: {retried:?}");
        assert_eq!(output.audio_ms(), 3_600.0, "{reason}: a retry loses or doubles audio");
    };
    let given_back = |output: &Output, reason: &str| {
        let events = output.events("givenBack");
        assert!(events.iter().any(|event| event["reason"] == reason), "{reason}: {events:?}");
        assert_eq!(output.audio_ms(), 3_600.0, "{reason}: giving back loses or doubles audio");
    };
    given_back(&with(fault("Put", "timeout")), "PutMedia-timeout");
    given_back(&with(fault("Status", "panic")), "panic");
    retried(&with(fault("Put", "ack:5000")), "ack-5000");
    retried(
        &with(fault("Put", "svc:PutMedia:400:ClientLimitExceededException")),
        "PutMedia-ClientLimitExceededException",
    );
    given_back(&with(fault("Load", "internal")), "GetItem-InternalServerError");
    given_back(&with(fault("Load", "slow:60000")), "time-is-up");

    for fate in ["timeout-after", "late:3000"] {
        let after = with(fault("Put", fate));
        let written = after.events("fragmentWritten");
        let found = written.into_iter().filter(|event| event["persistedAfterMs"].is_null());
        assert_eq!(found.count(), 1, "{fate}: the fragment is stored, and a probe finds it");
        assert_eq!(after.audio_ms(), 3_600.0, "{fate}");
    }

    let denied = with(fault("Put", "denied"));
    assert_eq!(denied.reasons(), ["PutMedia-AccessDeniedException"]);
    let parked = denied.all("parked");
    let indices: Vec<u64> = parked.iter().map(|parked| parked["chunkIndex"].as_u64().unwrap()).collect();
    assert!(indices.is_sorted() && indices[0] == 0 && parked[0]["session"] == "s0", "{parked:?}");
    assert_eq!(denied.summary()["stillParked"], indices.len());

    for (fate, stored_at_once) in [("crash-before", false), ("crash-after", true)] {
        let hidden = json!({"kind": "config", "visibility": 60_000});
        let output = Output::with(1, &[fault("Put", fate), hidden]);
        let stored_ms = output.all("fragment")[0]["storedMs"].as_u64().unwrap();
        let written_ms = output.events("fragmentWritten")[0]["timestampMs"].as_u64().unwrap();
        assert_eq!(stored_ms < BEGIN_MS + 5_000, stored_at_once, "{fate}");
        assert!(written_ms > BEGIN_MS + 60_000, "{fate}: nobody goes on before the visibility time-out");
        assert_eq!(output.audio_ms(), 3_600.0, "{fate}");
    }

    let slow = with(fault("Put", "slow:2000"));
    assert!(slow.events("fragmentWritten")[0]["persistedAfterMs"].as_u64().unwrap() >= 2_000);
}

#[test]
fn an_end_amid_a_burst_holds_nothing_up() {
    // The page was away, sends all it has at once, and stops: the marker and the chunks overtake each other.
    let mut lines = speech_of(vec![Take::steady(0, 40)]);
    let flushed_at = lines.last().unwrap()["at"].as_u64().unwrap();
    let kept: Vec<usize> = (0..lines.len()).filter(|i| lines[*i]["kind"] == "msg").skip(5).collect();
    for (n, i) in kept.into_iter().enumerate() {
        // By 7 modulo 36: 5, 12, 19 and so on, with the first one far behind.
        lines[i]["at"] = json!(flushed_at + (7 * n as u64 + 20) % 36);
    }
    let output = Output::of(&file(&lines));
    assert_eq!((output.audio_ms(), output.reasons()), (12_000.0, vec![]));
    let late_ms =
        output.all("fragment").iter().map(|f| f["storedMs"].as_u64().unwrap()).max().unwrap() - flushed_at;
    assert!(
        late_ms < 5_000,
        "the end is heard {late_ms} ms late: the marker was hidden for the queue's visibility time-out"
    );
}

#[test]
fn an_end_that_overtakes_the_last_chunks_waits_for_them() {
    let mut lines = speech_of(vec![Take::steady(0, 40)]);
    let end = lines.len() - 1;
    let ends_at = lines[end]["at"].as_u64().unwrap();
    let body = json!({"action": "endStream", "sessionId": "s0", "chunkIndex": 39});
    lines[end]["body"] = json!(body.to_string());
    lines[end - 1]["at"] = json!(ends_at + 400);
    let output = Output::of(&file(&lines));
    let late_ms = output.all("fragment").last().unwrap()["storedMs"].as_u64().unwrap() - ends_at;
    assert!(late_ms < 4_000, "the last word is heard {late_ms} ms late");
    assert_eq!(output.audio_ms(), 12_000.0);
    lines.remove(end - 1);
    let lost = Output::of(&file(&lines));
    assert_eq!((lost.summary()["drained"].as_bool(), lost.audio_ms()), (Some(true), 11_700.0));
}

#[test]
fn calls_are_counted_for_a_session_or_over_all() {
    let put = |session: Option<&str>, nth: u64, until_nth: Option<u64>| {
        let mut line = json!({"kind": "fault", "op": "Put", "nth": nth, "fate": "denied"});
        let further = [("session", session.map(Value::from)), ("until_nth", until_nth.map(Value::from))];
        for (name, value) in further.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            line[name] = value;
        }
        let output = Output::with(2, &[line]);
        let parked =
            |name: &str| output.all("parked").iter().filter(|parked| parked["session"] == name).count();
        (parked("s0"), parked("s1"), output.events("gapOpened").len())
    };
    let (s0, s1, gaps) = put(Some("s1"), 1, None);
    assert!(s0 == 0 && s1 > 0 && gaps == 1, "the second call of s1: {s0} {s1} {gaps}");
    let (s0, s1, gaps) = put(None, 0, Some(2));
    assert!(s0 > 0 && s1 > 0 && gaps == 2, "the first two calls, whosever: {s0} {s1} {gaps}");
    let (s0, s1, _) = put(None, 0, Some(100));
    assert_eq!((s0, s1), (CHUNKS, CHUNKS), "all calls of both");
    let in_time = Output::with(
        2,
        &[json!({"kind": "fault", "op": "Put", "session": "s1", "from": BEGIN_MS,
        "to": BEGIN_MS + 3_600_000, "fate": "denied"})],
    );
    assert!(in_time.all("parked").iter().all(|parked| parked["session"] == "s1"));
    assert_eq!(in_time.all("parked").len(), CHUNKS, "every call of s1, and none of s0");
}

#[test]
fn a_redrive_brings_back_what_an_outage_has_parked() {
    let parked = Output::with(1, &[outage("Put", "ack:5000", 60_000)]);
    assert_eq!(parked.summary()["stillParked"], CHUNKS);
    assert_eq!(parked.audio_ms(), 0.0);
    let redriven =
        Output::with(1, &[outage("Put", "ack:5000", 60_000), json!({"kind": "config", "redrives": 1})]);
    let summary = redriven.summary();
    assert_eq!(
        (&summary["parked"], &summary["stillParked"], &summary["drained"]),
        (&json!(CHUNKS), &json!(0), &json!(true))
    );
    assert_eq!(redriven.audio_ms(), 3_600.0);
    for fragment in redriven.all("fragment") {
        assert_eq!(fragment["line"], "backfill");
        let stored_ms = fragment["storedMs"].as_u64().unwrap();
        assert!(
            stored_ms >= BEGIN_MS + 90_000,
            "the operator comes 30 s after the outage, not at {stored_ms}"
        );
    }
    let again = [
        outage("Put", "denied", 60_000),
        json!({"kind": "config", "redrives": 2, "until": BEGIN_MS + 10_000}),
    ];
    // Parked at once; nothing is left in the queue, so the operator still waits for the outage to end.
    assert_eq!(Output::with(1, &again).summary()["parked"], CHUNKS);
}

#[test]
fn until_ends_the_run_or_calls_the_operator() {
    let late = json!({"kind": "status", "at": BEGIN_MS + 100_000, "session": "s0", "status": "unknown"});
    let until = json!({"kind": "config", "until": BEGIN_MS + 2_500});
    let cut = Output::with(1, &[until, late.clone()]);
    assert_eq!(cut.summary()["drained"], false);
    assert!(cut.audio_ms() < 3_600.0, "chunks that come after `until` are not written");
    // The stream fails for good, and an operator redrives while it does: the chunks are parked once more.
    let config = json!({"kind": "config", "redrives": 1, "until": BEGIN_MS + 50_000});
    let twice = Output::with(1, &[outage("Put", "denied", 90_000), config, late]);
    let at: Vec<u64> = twice.all("parked").iter().map(|parked| parked["atMs"].as_u64().unwrap()).collect();
    assert_eq!(at.len(), 2 * CHUNKS, "{at:?}");
    assert!(
        at[CHUNKS - 1] < BEGIN_MS + 50_000 && at[CHUNKS] >= BEGIN_MS + 80_000,
        "30 s after `until`: {at:?}"
    );
    assert_eq!(
        (&twice.summary()["drained"], &twice.summary()["stillParked"]),
        (&json!(true), &json!(CHUNKS))
    );
}

#[test]
fn config_changes_the_services() {
    let slow = Output::with(1, &[json!({"kind": "config", "put_ms": 1_500})]);
    let took = slow.events("fragmentWritten");
    assert!(
        took.iter().all(|event| event["persistedAfterMs"].as_u64().unwrap().abs_diff(1_500) < 50),
        "{took:?}"
    );

    let crash = fault("Put", "crash-before");
    let soon = Output::with(1, &[crash, json!({"kind": "config", "visibility": 15_000})]);
    assert!(
        (12_000..20_000).contains(&soon.age_ms()),
        "the worker's records come back after 15 s: {}",
        soon.age_ms()
    );

    // A fragment that ListFragments does not show in time is written again: with a lag of 0 it is not.
    let lost = fault("Put", "timeout-after");
    let listed = Output::with(1, &[lost, json!({"kind": "config", "list_lag": 0})]);
    let first = listed.all("fragment")[0]["storedMs"].as_u64().unwrap();
    let written = listed.events("fragmentWritten")[0]["timestampMs"].as_u64().unwrap();
    assert!(written - first < 4_200, "the first probe finds it: {}", written - first);
}

#[test]
fn statuses_change_with_time() {
    let changed = |status: &str, further: Value| {
        let mut line = json!({"kind": "status", "at": BEGIN_MS + 1, "session": "s0", "status": status});
        line.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        Output::with(1, &[line])
    };
    let long_ago = changed("ended", json!({"ended_at": BEGIN_MS - 600_000}));
    assert_eq!((long_ago.reasons(), long_ago.audio_ms()), (vec!["SESSION_ENDED"], 0.0));
    let not_yet = changed("ended", json!({"ended_at": BEGIN_MS + 600_000}));
    assert_eq!((not_yet.reasons(), not_yet.audio_ms()), (vec![], 3_600.0), "captured before the end");
    let unknown = changed("unknown", json!({}));
    assert_eq!(unknown.reasons(), ["SESSION_UNKNOWN"]);
    let later = changed("unknown", json!({"at": BEGIN_MS + 3_000}));
    assert!(later.audio_ms() > 0.0 && later.audio_ms() < 3_600.0, "known at first: {}", later.audio_ms());
    let nobody = Output::of(&file(&speech(1)[1..]));
    assert_eq!((nobody.reasons(), nobody.audio_ms()), (vec!["SESSION_UNKNOWN"], 0.0), "no status at all");
}

#[test]
fn wrong_lines_are_named_with_what_is_right() {
    let fault = |rest: &str| format!(r#"{{"kind":"fault","op":"Put",{rest}}}"#);
    let fated = |fate: &str| fault(&format!(r#""nth":0,"fate":"{fate}""#));
    let wrong = [
        ("{".to_owned(), "EOF while parsing an object at column 1", r#"{"kind":"msg""#),
        ("[1]".to_owned(), "", r#"{"kind":"config""#),
        ("{}".to_owned(), "missing field `kind`", r#"or {"kind":"msg""#),
        (r#"{"kind":"message"}"#.to_owned(), "unknown variant `message`", r#""kind":"fault""#),
        (
            r#"{"kind":"msg","at":1,"group":"s","body":""}"#.to_owned(),
            "missing field `dedup`",
            r#""dedup":ID"#,
        ),
        (
            r#"{"kind":"msg","at":"1","group":"s","dedup":"","body":""}"#.to_owned(),
            "invalid type: string",
            r#""at":T"#,
        ),
        (r#"{"kind":"msg","at":-1,"group":"s","dedup":"","body":""}"#.to_owned(), "-1", r#""at":T"#),
        (
            r#"{"kind":"msg","at":100000000000001,"group":"s","dedup":"","body":""}"#.to_owned(),
            "more than",
            r#""at":T"#,
        ),
        (
            r#"{"kind":"msg","at":1,"group":"s","dedup":"","body":"","bdy":""}"#.to_owned(),
            "unknown field `bdy`",
            r#""msg""#,
        ),
        (
            r#"{"kind":"status","at":1,"session":"s","status":"gone"}"#.to_owned(),
            "unknown variant `gone`",
            r#""active""#,
        ),
        (
            r#"{"kind":"status","at":1,"session":"s","status":"active","ended_at":1}"#.to_owned(),
            "`ended_at`",
            r#""ended""#,
        ),
        (r#"{"kind":"config","put":1}"#.to_owned(), "unknown field `put`", r#""put_ms":MS?"#),
        (
            r#"{"kind":"fault","op":"put","nth":0,"fate":"denied"}"#.to_owned(),
            r#"unknown op "put", expected one of Load"#,
            r#""op":OP"#,
        ),
        (fault(r#""fate":"denied""#), "which calls?", r#""nth":N"#),
        (fault(r#""nth":1,"from":1,"to":2,"fate":"denied""#), "which calls?", r#""from":T"#),
        (fault(r#""from":1,"fate":"denied""#), "which calls?", r#""to":T"#),
        (fault(r#""until_nth":1,"fate":"denied""#), "which calls?", r#""nth":N"#),
        (
            fault(r#""nth":3,"until_nth":3,"fate":"denied""#),
            "`until_nth` 3 is not after `nth` 3",
            r#""until_nth":M?"#,
        ),
        (fault(r#""from":2,"to":2,"fate":"denied""#), "`to` 2 is not after `from` 2", r#""to":T"#),
        (fated("lost"), r#"unknown fate "lost""#, r#""fate":F"#),
        (fated("slow"), "slow:MS", r#""fate":F"#),
        (fated("slow:long"), "slow:MS", r#""fate":F"#),
        (fated("ack:x"), "ack:ID", r#""fate":F"#),
        (fated("svc:PutMedia:x:Y"), "svc:OPERATION:STATUS:CODE", r#""fate":F"#),
        (fated("svc:PutMedia:400"), "svc:OPERATION:STATUS:CODE", r#""fate":F"#),
        (
            r#"{"kind":"fault","op":"Save","nth":0,"fate":"ack:5000"}"#.to_owned(),
            "ack: is an answer to Put",
            r#""op":OP"#,
        ),
        (
            r#"{"kind":"fault","op":"Hide","session":"s","nth":0,"fate":"denied"}"#.to_owned(),
            "leave `session` out",
            r#""session":S?"#,
        ),
    ];
    for (line, what, expected) in wrong {
        let text = format!("\n{}\n{line}\n", json!({"kind": "config", "redrives": 1}));
        let error = parse(text.as_bytes()).expect_err(&line);
        assert_eq!(error.line, 3, "{line}: {error}");
        let shown = error.to_string();
        assert!(error.what.contains(what), "{line}: {what:?} is not told: {shown}");
        assert!(shown.starts_with("line 3: ") && error.expected.contains(expected), "{line}: {shown}");
    }
    let not_utf8 = parse(b"{\"kind\":\"msg\",\"at\":1,\"group\":\"\xff\"}").unwrap_err();
    assert_eq!(not_utf8.line, 1);
}

#[test]
fn the_same_file_is_the_same_run() {
    let text = file(
        &[speech(3), vec![outage("Put", "timeout-after", 3_000), json!({"kind": "config", "redrives": 1})]]
            .concat(),
    );
    assert_eq!(Output::of(&text).0, Output::of(&text).0);
}

/// Runs the program itself on this file.
fn program(name: &str, text: &str) -> (Option<i32>, String, String) {
    let path = std::env::temp_dir().join(format!("{name}-{}.jsonl", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_simulation")).arg("--scenario").arg(&path).output().unwrap();
    std::fs::remove_file(&path).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (run.status.code(), text(run.stdout), text(run.stderr))
}

#[test]
fn the_program_prints_the_lines_and_refuses_a_wrong_file_with_2() {
    let text = file(&speech(1));
    let (code, stdout, stderr) = program("good", &text);
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(lines, Output::of(&text).0);
    let (code, stdout, stderr) = program("wrong", &format!("{text}{{\"kind\":\"msg\"}}\n"));
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "a wrong file runs nothing");
    assert!(stderr.contains(&format!("line {}: missing field", text.lines().count() + 1)), "{stderr}");
    let missing =
        Command::new(env!("CARGO_BIN_EXE_simulation")).args(["--scenario", "/nowhere"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
}
