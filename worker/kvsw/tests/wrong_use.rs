//! Each wrong use ends with exit code 2, a message, and a hint, before anything is changed; most before any service is asked.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use support::{Bench, Ended, Kvsw, folder};

#[tokio::test]
async fn every_wrong_use_is_told_with_a_hint_and_changes_nothing() {
    let folder = folder("wrong-use");
    let path = |name: &str| folder.join(name).display().to_string();
    let (there, missing) = (path("there.wav"), path("no/such/folder.wav"));
    std::fs::write(&there, b"precious").unwrap();
    let (txt, in_a_file) = (path("audio.txt"), path("there.wav/folder"));
    let cases: Vec<(Vec<&str>, &str)> = vec![
        (vec![], "Usage"),
        (vec!["dlq"], "Usage"),
        (vec!["dlq", "lst"], "unrecognized subcommand"),
        (vec!["dlq", "list", "--sesion", "a"], "unexpected argument"),
        (vec!["dlq", "list", "--session", ""], "1 to 128 characters"),
        (vec!["dlq", "list", "--reason", " "], "--reason: it is empty"),
        (vec!["dlq", "show"], "<SESSION>"),
        (vec!["dlq", "redrive", "--rate", "0"], "0 is not in 1..=3000"),
        (vec!["dlq", "redrive", "--rate", "-5"], "-5 is not in 1..=3000"),
        (vec!["dlq", "redrive", "--rate", "fast"], "invalid value 'fast'"),
        (vec!["dlq", "redrive", "--native"], "unexpected argument '--native'"),
        (vec!["dlq", "export", "--out", "/proc/x"], "/proc/x cannot be made"),
        (vec!["dlq", "discard", "--yes", "--out", "/proc/x"], "/proc/x cannot be made"),
        (vec!["dlq", "export", "--out", &in_a_file], "no folder that exists"),
        (vec!["dlq", "redrive", "--wait", "soon"], "--wait: \"soon\" is no length of time"),
        (vec!["dlq", "export"], "--out"),
        (vec!["dlq", "export", "--out", &there], "exists already"),
        (vec!["dlq", "discard", "--out", &missing], "no folder that exists"),
        (vec!["session", "show", "no name!"], "invalid sessionId \"no name!\""),
        (vec!["session", "export", "a", "--out", &txt], ".wav or .mkv"),
        (vec!["session", "export", "a", "--out", &there], "exists already"),
        (vec!["session", "export", "a", "--out", &missing], "no folder that exists"),
        (
            vec!["session", "export", "a", "--out", "x.wav", "--from", "2:00", "--to", "1:00"],
            "does not lie after",
        ),
        (vec!["session", "export", "a", "--out", "x.wav", "--from", "later"], "no place in time"),
        (vec!["session", "timeline", "a", "--out", "x.wav"], "should end with .svg"),
        (vec!["sweep", "--silent-for", "5s"], "1 min or more"),
        (vec!["sweep", "--max", "0"], "0 is not in 1.."),
        (vec!["doctor", "--timeout", "x"], "no length of time"),
        (vec!["doctor", "--timeout", "0"], "--timeout: it is 0"),
        (vec!["doctor", "--writer", " "], "names no function"),
        (vec!["--color", "sometimes", "doctor"], "invalid value"),
    ];
    let kvsw = Kvsw::nowhere();
    for (args, part) in cases {
        let ended = kvsw.run(&args).await;
        assert_eq!(ended.code, 2, "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(part), "{args:?} should say {part:?}: {}", ended.stderr);
        let last = ended.stderr.lines().last().unwrap();
        assert!(last.starts_with("hint: ") && last.len() > 12, "{args:?} ends with {last:?}");
        assert_eq!(ended.stdout, "", "{args:?}: stdout is for data");
    }
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["there.wav"], "nothing was made");
    assert_eq!(std::fs::read(&there).unwrap(), b"precious");
}

#[tokio::test]
async fn a_missing_or_wrong_variable_is_named_with_the_flag_that_replaces_it() {
    for name in ["QUEUE_URL", "DLQ_URL", "STATE_TABLE", "SESSIONS_TABLE", "AWS_REGION"] {
        let ended = Kvsw::nowhere().set(name, None).run(&["dlq", "list"]).await;
        assert_eq!(ended.code, 2, "{name}: {ended:?}");
        assert!(ended.stderr.contains(name) && ended.stderr.contains("\nhint: "), "{}", ended.stderr);
    }
    let standard = Kvsw::nowhere().set("DLQ_URL", Some("http://127.0.0.1:1/0/dlq"));
    let ended = standard.run(&["dlq", "list"]).await;
    assert!(ended.code == 2 && ended.stderr.contains("ends with .fifo"), "{ended:?}");
    assert!(ended.stderr.contains("--dlq-url"), "{}", ended.stderr);
}

#[tokio::test]
async fn an_endpoint_that_is_no_address_is_named() {
    for (name, value) in [
        ("AWS_ENDPOINT_URL_SQS", "notaurl"),
        ("AWS_ENDPOINT_URL", "127.0.0.1:4566"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "ftp://127.0.0.1:1"),
    ] {
        let ended = Kvsw::nowhere().set(name, Some(value)).run(&["dlq", "list"]).await;
        is_refused(&ended, &format!("{name} is {value:?}"), name);
    }
}

#[tokio::test]
async fn missing_credentials_are_told_without_the_sdks_own_words() {
    for imds in [None, Some("true")] {
        let kvsw = Kvsw::nowhere().set("AWS_ACCESS_KEY_ID", None).set("AWS_SECRET_ACCESS_KEY", None);
        // Where this runs on EC2 with a role, there are credentials; no machine has them on port 1.
        let kvsw = kvsw.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", Some("http://127.0.0.1:1"));
        let ended = kvsw.set("AWS_EC2_METADATA_DISABLED", imds).run(&["dlq", "list"]).await;
        assert_eq!(ended.code, 3, "{ended:?}");
        assert!(ended.stderr.contains("there are no AWS credentials"), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 2, "{}", ended.stderr);
        assert!(ended.stderr.contains("hint: export AWS_ACCESS_KEY_ID"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_exit_code_3() {
    let kvsw = Kvsw::nowhere();
    for args in [&["dlq", "list"][..], &["session", "show", "owl"], &["sweep", "--dry-run"], &["doctor"]] {
        let ended = kvsw.run(args).await;
        assert_eq!(ended.code, 3, "{args:?}: {ended:?}");
    }
    let ended = kvsw.run(&["dlq", "list"]).await;
    assert!(
        ended.stderr.starts_with("error: ") && ended.stderr.contains("hint: is the network up"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn help_has_examples_and_is_no_error() {
    let kvsw = Kvsw::nowhere();
    let commands: [&[&str]; 9] = [
        &[],
        &["dlq", "list"],
        &["dlq", "show"],
        &["dlq", "export"],
        &["dlq", "redrive"],
        &["dlq", "discard"],
        &["session", "export"],
        &["session", "timeline"],
        &["sweep"],
    ];
    for command in commands {
        let ended = kvsw.run(&[command, &["--help"]].concat()).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{command:?}");
        assert!(ended.stdout.contains("Example"), "{command:?} has no example:\n{}", ended.stdout);
        assert!(!ended.stdout.contains('\u{1b}'), "colour in a pipe");
    }
}

/// Exit code 2, what it says, a hint at the end, nothing on stdout.
fn is_refused(ended: &Ended, part: &str, what: &str) {
    assert_eq!(ended.code, 2, "{what}: {ended:?}");
    assert!(ended.stderr.contains(part), "{what} should say {part:?}: {}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.starts_with("hint: ") && last.len() > 12, "{what} ends with {last:?}");
    assert_eq!(ended.stdout, "", "{what}: stdout is for data");
}

/// Messages of a queue, in any state.
async fn depth(bench: &Bench, url: &str) -> usize {
    let asked = bench.sqs.get_queue_attributes().queue_url(url);
    let told = asked.attribute_names(aws_sdk_sqs::types::QueueAttributeName::All).send().await.unwrap();
    let numbers = told.attributes.unwrap();
    let number = |name: &str| {
        numbers.iter().find(|(key, _)| key.as_str() == name).map_or(0, |(_, n)| n.parse::<usize>().unwrap())
    };
    number("ApproximateNumberOfMessages") + number("ApproximateNumberOfMessagesNotVisible")
}

async fn other_queue(bench: &Bench) -> String {
    let made = bench.sqs.create_queue().queue_name("other.fifo");
    let made = made.attributes(aws_sdk_sqs::types::QueueAttributeName::FifoQueue, "true");
    made.send().await.unwrap().queue_url.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_not_the_dlq_is_refused_and_left_as_it_is() {
    let bench = Bench::start().await;
    bench.park("owl", 0..3, "ack-5001").await;
    let (live, dlq) = (bench.resources.queue_url.clone(), bench.resources.dlq_url.clone());
    let send = bench.sqs.send_message().queue_url(&live).message_group_id("fox");
    send.message_deduplication_id("fox-0").message_body("{}").send().await.unwrap();
    let other = other_queue(&bench).await;
    let out = folder("no-dlq").join("out");
    let out = out.to_str().unwrap();
    let commands: [&[&str]; 6] = [
        &["dlq", "redrive", "--wait", "0"],
        &["dlq", "discard", "--yes", "--out", out],
        &["dlq", "export", "--out", out],
        &["dlq", "export", "--all", "--out", out],
        &["dlq", "show", "owl"],
        &["dlq", "list", "--look"],
    ];
    for (queue_url, dlq_url, part) in [
        (&live, &live, "but the dead-letter queue of"),
        (&dlq, &live, "has no redrive policy"),
        (&live, &other, "other.fifo, but the dead-letter queue of"),
    ] {
        let kvsw = bench.kvsw.clone().set("QUEUE_URL", Some(queue_url)).set("DLQ_URL", Some(dlq_url));
        for command in commands {
            is_refused(&kvsw.run(command).await, part, &format!("{command:?} with {dlq_url}"));
        }
    }
    assert!(!Path::new(out).exists(), "a folder was made for nothing");
    assert_eq!((depth(&bench, &live).await, depth(&bench, &dlq).await), (1, 3), "nothing was moved");
    let listed = bench.kvsw.run(&["dlq", "list", "--json"]).await.json();
    assert_eq!(listed["sessions"][0]["messages"], 3, "the notes are still there: {listed}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_fits_nothing_is_told_and_makes_no_folder() {
    let bench = Bench::start().await;
    bench.park("owl", 0..2, "ack-5001").await;
    let out = folder("fits-nothing").join("out");
    let out = out.to_str().unwrap();
    let commands: [&[&str]; 5] = [
        &["dlq", "redrive", "--wait", "0"],
        &["dlq", "redrive", "--dry-run"],
        &["dlq", "export", "--out", out],
        &["dlq", "export", "--all", "--out", out],
        &["dlq", "discard", "--yes", "--out", out],
    ];
    let nobody = "nothing of session nobody is parked; nothing was changed";
    let crashed = "nothing for the reason CRASHED is parked; nothing was changed";
    let no_such = "no message is ever parked for the reason NO_SUCH";
    let filters: [(&[&str], &str); 3] = [
        (&["--session", "nobody"], nobody),
        (&["--reason", "CRASHED"], crashed),
        (&["--reason", "NO_SUCH"], no_such),
    ];
    for (filter, part) in filters {
        for command in commands {
            let ended = bench.kvsw.run(&[command, filter].concat()).await;
            is_refused(&ended, part, &format!("{command:?} {filter:?}"));
            assert!(ended.stderr.contains("parked are messages of owl, for ack-5001"), "{}", ended.stderr);
            assert!(!Path::new(out).exists(), "{command:?} {filter:?} made a folder");
        }
    }
    is_refused(&bench.kvsw.run(&["dlq", "list", "--reason", "NO_SUCH"]).await, no_such, "list");
    let nobody = bench.kvsw.run(&["dlq", "list", "--session", "nobody"]).await;
    assert_eq!((nobody.code, nobody.stdout.trim()), (0, "nothing of session nobody is parked"), "{nobody:?}");
    assert_eq!(depth(&bench, &bench.resources.dlq_url).await, 2);
    for variable in ["QUEUE_URL", "DLQ_URL"] {
        let gone = bench.resources.dlq_url.replace("dlq.fifo", "gone.fifo");
        let ended = bench.kvsw.clone().set(variable, Some(&gone)).run(&["dlq", "redrive"]).await;
        assert_eq!(ended.code, 3, "{ended:?}");
        assert!(
            ended.stderr.contains(&format!("{variable} is {gone}, and there is no such queue")),
            "{ended:?}"
        );
        assert!(ended.stderr.contains(&format!("hint: the stack's outputs have the URL for {variable}")));
    }
    bench.stop().await;
}

/// Nine messages of one session that SQS moved itself, of which no note speaks, and two noted ones.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_note_is_counted_for_what_it_is() {
    let bench = Bench::start().await;
    bench.park("owl", 0..2, "ack-5001").await;
    for chunk in 0..12 {
        let send = bench.sqs.send_message().queue_url(&bench.resources.dlq_url).message_group_id("fox");
        let send = send.message_deduplication_id(format!("fox-{chunk}"));
        send.message_body(format!("{{\"chunkIndex\":{chunk}}}")).send().await.unwrap();
    }
    let says = async |args: &[&str], code: i32, parts: &[&str]| {
        let ended = bench.kvsw.run(args).await;
        assert_eq!(ended.code, code, "{args:?}: {ended:?}");
        for part in parts {
            assert!(
                format!("{}{}", ended.stdout, ended.stderr).contains(part),
                "{args:?} lacks {part}: {ended:?}"
            );
        }
    };
    let of_all = "12 messages in the queue without a note, of whatever session";
    says(&["dlq", "list"], 1, &["2 messages of 1 session; the queue holds about 14", of_all]).await;
    says(&["dlq", "list", "--session", "cat"], 1, &["nothing of session cat is noted as parked", of_all])
        .await;
    says(
        &["dlq", "show", "fox"],
        1,
        &[" messages or more, the oldest", "in the queue without a note, of this session or others"],
    )
    .await;
    says(
        &["dlq", "show", "cat"],
        2,
        &["nothing of session cat is parked, as far as", "12 messages in the queue"],
    )
    .await;
    let plan = [
        "those of fox are moved too",
        "plan: move 0 messages and those of fox among about 12 without a note",
    ];
    says(&["dlq", "redrive", "--session", "fox", "--dry-run"], 0, &plan).await;
    says(&["dlq", "redrive", "--dry-run"], 1, &["plan: move 2 messages and about 12 without a note"]).await;
    says(&["dlq", "redrive", "--session", "cat", "--wait", "0"], 2, &["nothing of session cat is parked"])
        .await;
    let moved = ["moved 12 messages", "12 messages of them without a note"];
    says(&["dlq", "redrive", "--reason", "MOVED_BY_QUEUE", "--wait", "0"], 0, &moved).await;
    assert_eq!(depth(&bench, &bench.resources.dlq_url).await, 2, "the noted ones stay");
    bench.stop().await;
}
