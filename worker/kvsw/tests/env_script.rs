//! scripts/kvsw-env.sh sets a deployment's variables, or none at all: a mistyped name must not leave those of another deployment.
#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use local_stack::project;
use support::folder;

/// What a shell has after the eval, with an `aws` that does this. Returns its stdout and its stderr.
fn evaluated(case: &str, aws: &str, args: &str) -> (String, String) {
    let folder = folder(&format!("env-{case}"));
    let tool = folder.join("aws");
    std::fs::write(&tool, format!("#!/bin/sh\n{aws}\n")).unwrap();
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = project::root().join("scripts/kvsw-env.sh");
    let shell =
        format!("eval \"$({} {args})\"; echo \"$? $QUEUE_URL $DLQ_URL $STATE_TABLE\"", script.display());
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let command =
        Command::new("bash").args(["-c", &shell]).env("PATH", path).env("QUEUE_URL", "prod").output();
    let output = command.unwrap();
    (String::from_utf8(output.stdout).unwrap().trim().to_owned(), String::from_utf8(output.stderr).unwrap())
}

const OUTPUTS: &str = r"printf '%s\t%s\n' QueueUrl https://q DlqUrl 'https://d?a=b c' SessionsTable s ConnectionsTable c StateTable t";

#[test]
fn a_deployments_variables_are_set() {
    let outputs = OUTPUTS.replace("?a=b c", "");
    assert_eq!(evaluated("fine", &outputs, "--env dev").0, "0 https://q https://d t");
}

#[test]
fn where_it_fails_nothing_of_another_deployment_is_left_and_the_error_is_the_real_one() {
    let no_credentials = "echo 'Unable to locate credentials' >&2; exit 253";
    for (case, aws, args, says) in [
        ("credentials", no_credentials, "--env dev", "Unable to locate credentials"),
        (
            "no-stack",
            "echo 'Stack with id kvs-stream-writer-nope does not exist' >&2; exit 254",
            "--env nope",
            "does not exist",
        ),
        ("no-output", r"printf '%s\t%s\n' QueueUrl https://q", "", "no output DlqUrl"),
        ("no-name", OUTPUTS, "--env", "--env needs a name"),
        ("unknown", OUTPUTS, "--evn dev", "--evn is unknown"),
    ] {
        let (stdout, stderr) = evaluated(case, aws, args);
        assert_eq!(stdout, "1", "{case}: the old QUEUE_URL must not stay: {stderr}");
        assert!(stderr.contains(says), "{case}: {stderr}");
    }
}
