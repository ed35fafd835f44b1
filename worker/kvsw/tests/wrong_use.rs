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
        (vec!["dlq", "redrive", "--rate", "0"], "--rate: \"0\" is not a rate from 1 to 3000"),
        (vec!["dlq", "redrive", "--rate", "-5"], "not a rate from 1 to 3000"),
        (vec!["dlq", "redrive", "--rate", "fast"], "\"fast\" is not a rate"),
        (vec!["dlq", "redrive", "--native"], "unexpected argument '--native'"),
        (vec!["dlq", "export", "--out", "/proc/x"], "/proc/x cannot be created"),
        (vec!["dlq", "discard", "--yes", "--out", "/proc/x"], "/proc/x cannot be created"),
        (vec!["dlq", "export", "--out", &in_a_file], "does not exist"),
        (vec!["dlq", "redrive", "--wait", "soon"], "--wait: \"soon\" is not a valid duration"),
        (vec!["dlq", "list", "--since", "soon"], "--since: \"soon\" is not a valid time"),
        (vec!["dlq", "list", "--class", "odd"], "invalid value 'odd'"),
        (vec!["dlq", "list", "--limit", "0"], "0 is not in 1.."),
        (vec!["dlq", "export"], "--out"),
        (vec!["dlq", "export", "--out", &there], "exists already"),
        (vec!["dlq", "discard", "--out", &missing], "does not exist"),
        (vec!["session", "show", "no name!"], "invalid sessionId \"no name!\""),
        (vec!["session", "export", "a", "--out", &txt], ".wav or .mkv"),
        (vec!["session", "export", "a", "--out", &there], "exists already"),
        (vec!["session", "export", "a", "--out", &missing], "does not exist"),
        (
            vec!["session", "export", "a", "--out", "x.wav", "--from", "2:00", "--to", "1:00"],
            "must be later than --from",
        ),
        (vec!["session", "export", "a", "--out", "x.wav", "--from", "later"], "not a valid position"),
        (vec!["session", "timeline", "a", "--out", "x.wav"], "should end with .svg"),
        (vec!["sweep", "--silent-for", "5s"], "1 min or more"),
        (vec!["sweep", "--max", "0"], "0 is not in 1.."),
        (vec!["doctor", "--timeout", "x"], "not a valid duration"),
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
    assert!(ended.code == 2 && ended.stderr.contains("ending with .fifo"), "{ended:?}");
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
async fn a_profile_whose_credentials_come_from_a_process_is_enough() {
    let config = folder("credential-process").join("config");
    let key = r#"{"Version":1,"AccessKeyId":"A","SecretAccessKey":"s"}"#;
    std::fs::write(&config, format!("[profile ops]\ncredential_process = /bin/echo '{key}'\n")).unwrap();
    let kvsw = Kvsw::nowhere().set("AWS_ACCESS_KEY_ID", None).set("AWS_SECRET_ACCESS_KEY", None);
    let kvsw = kvsw.set("AWS_CONFIG_FILE", config.to_str()).set("AWS_PROFILE", Some("ops"));
    let ended = kvsw.set("AWS_EC2_METADATA_DISABLED", Some("true")).run(&["dlq", "list"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("hint: is the network up"), "no service was asked: {}", ended.stderr);
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

/// All commands, found through their own help: each has an example, and each ends with the exit codes that the help and the runbook
/// name.
#[tokio::test]
async fn each_command_explains_itself_and_ends_with_the_documented_codes() {
    let kvsw = Kvsw::nowhere();
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    let mut commands = 0;
    while let Some(path) = open.pop() {
        let run = async |more: &[String]| {
            let args: Vec<&str> = path.iter().chain(more).map(String::as_str).collect();
            kvsw.run(&args).await
        };
        let help = run(&["--help".to_owned()]).await;
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{path:?}");
        assert!(!help.stdout.contains('\u{1b}'), "colour in a pipe");
        let below = help.stdout.lines().skip_while(|line| *line != "Commands:").skip(1);
        let below: Vec<&str> = below.map_while(|line| line.split_whitespace().next()).collect();
        open.extend(below.iter().map(|name| path.iter().cloned().chain([(*name).to_owned()]).collect()));
        if !below.is_empty() {
            continue;
        }
        commands += 1;
        assert!(help.stdout.contains("Example"), "{path:?} has no example:\n{}", help.stdout);
        assert_eq!(run(&["--no-such-flag".to_owned()]).await.code, 2, "{path:?}: wrong use");
        let usage = help.stdout.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap();
        let ended = run(&needed(&path, usage)).await;
        let expected = if path == ["completions"] { 0 } else { 3 };
        assert_eq!(ended.code, expected, "{path:?} where no service answers: {ended:?}");
    }
    assert!(commands >= 15, "{commands} commands were found");
    let help = kvsw.run(&["--help"]).await.stdout;
    let runbook = include_str!("../../../docs/runbook.md");
    for code in 0..=3 {
        assert!(help.contains(&format!("{code} ")) && help.contains("Exit codes: 0 "), "{help}");
        assert!(runbook.contains(&format!("\n| {code} | ")), "the runbook does not explain exit code {code}");
    }
}

/// The arguments without which a command is wrong use, as its usage names them.
fn needed(path: &[String], usage: &str) -> Vec<String> {
    let folder = folder(&format!("needed-{}", path.concat()));
    let words = usage.split_whitespace().skip(1 + path.len()).filter(|word| *word != "[OPTIONS]");
    let value = |word: &str| match (word, path.last().map(String::as_str)) {
        ("<SESSION>", _) => "owl".to_owned(),
        ("<SHELL>", _) => "bash".to_owned(),
        ("<FOLDER>", Some("import")) => {
            for file in ["messages.jsonl", "facts.jsonl"] {
                std::fs::write(folder.join(file), "").unwrap();
            }
            folder.display().to_string()
        }
        ("<FILE>", Some("timeline")) => folder.join("x.svg").display().to_string(),
        ("<FILE>", _) => folder.join("x.wav").display().to_string(),
        ("<FOLDER>", _) => folder.join("x").display().to_string(),
        (flag, _) => flag.to_owned(),
    };
    words.map(value).collect()
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

/// Healed already, or never there: all commands say so alike, and a script goes on.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_do_is_no_error_and_an_unknown_reason_is() {
    let bench = Bench::start().await;
    let out = folder("fits-nothing").join("out");
    let out = out.to_str().unwrap();
    let commands: [&[&str]; 6] = [
        &["dlq", "list"],
        &["dlq", "redrive", "--wait", "0"],
        &["dlq", "redrive", "--dry-run"],
        &["dlq", "export", "--out", out],
        &["dlq", "export", "--all", "--out", out],
        &["dlq", "discard", "--yes", "--out", out],
    ];
    let nothing = async |command: &[&str], filter: &[&str], part: &str| {
        let ended = bench.kvsw.run(&[command, filter].concat()).await;
        assert_eq!(ended.code, 0, "{command:?} {filter:?}: {ended:?}");
        assert!(ended.stdout.starts_with(part), "{command:?} {filter:?} should say {part:?}: {ended:?}");
        assert!(!Path::new(out).exists(), "{command:?} {filter:?} made a folder");
        ended
    };
    for command in commands {
        nothing(command, &[], "nothing is parked").await;
    }
    bench.park("owl", 0..2, "ack-5001").await;
    let filters: [(&[&str], &str); 4] = [
        (&["--session", "nobody"], "nothing of session nobody is parked"),
        (&["--reason", "CRASHED"], "nothing for the reason CRASHED is parked"),
        (
            &["--reason", "ack-4*", "--class", "lasting"],
            "nothing for the reason ack-4* of class lasting is parked",
        ),
        (&["--before", "1h"], "nothing from that time is parked"),
    ];
    for (filter, part) in filters {
        for command in commands {
            let ended = nothing(command, filter, part).await;
            let there = ended.stderr.contains("parked are messages of owl, for ack-5001");
            assert!(there || command == ["dlq", "list"], "{command:?} {filter:?}: {ended:?}");
        }
    }
    for command in commands {
        let ended = bench.kvsw.run(&[command, &["--reason", "NO_SUCH"]].concat()).await;
        is_refused(&ended, "NO_SUCH is not a known parking reason", &format!("{command:?}"));
        assert!(ended.stderr.contains("parked are messages of owl, for ack-5001"), "{}", ended.stderr);
    }
    let shown = bench.kvsw.run(&["dlq", "show", "nobody"]).await;
    assert_eq!((shown.code, shown.stdout.trim()), (0, "nothing of session nobody is parked"), "{shown:?}");
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
    let of_all = "12 messages in the DLQ without a note, of any session";
    let far = "as far as the writer noted";
    says(&["dlq", "list"], 1, &["2 messages of 1 session; the DLQ holds about 14", of_all]).await;
    says(&["dlq", "list", "--session", "cat"], 1, &["nothing of session cat is parked", far, of_all]).await;
    says(
        &["dlq", "show", "fox"],
        1,
        &[" messages or more, the oldest", "in the DLQ without a note, of this session or others"],
    )
    .await;
    says(
        &["dlq", "show", "cat"],
        1,
        &["nothing of session cat is parked, as far as", "12 messages in the DLQ"],
    )
    .await;
    let plan = [
        "those of fox are moved too",
        "plan: move 0 messages and those of fox among about 12 without a note",
    ];
    says(&["dlq", "redrive", "--session", "fox", "--dry-run"], 0, &plan).await;
    says(&["dlq", "redrive", "--dry-run"], 1, &["plan: move 2 messages and about 12 without a note"]).await;
    says(&["dlq", "redrive", "--session", "cat", "--wait", "0"], 0, &["moved 0 messages"]).await;
    let moved = ["moved 12 messages", "12 messages of them had no note"];
    says(&["dlq", "redrive", "--reason", "MOVED*", "--wait", "0"], 0, &moved).await;
    assert_eq!(depth(&bench, &bench.resources.dlq_url).await, 2, "the noted ones stay");
    bench.stop().await;
}
