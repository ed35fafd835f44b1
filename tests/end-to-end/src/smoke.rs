//! The smoke test of a deployment (`scripts/smoke_test.py`), through the local stack's gateway: no emulator has WebSocket APIs.

use std::process::Stdio;

use local_stack::resources::SessionStatus;
use local_stack::stack::Stack;
use local_stack::{process, project};

use crate::deployed::bin_dir;

const SESSION: &str = "smoke-test";

/// A token that is none is denied; a recording goes in with one that is good, and comes back as it should sound.
pub async fn through_the_gateway(stack: &Stack) {
    stack.put_session(SESSION, SessionStatus::Active).await.unwrap();
    let token = stack.issuer().token(SESSION, "speaker").unwrap();
    let root = project::root();
    let venv = process::command(root.join("scripts/venv.sh")).arg("smoke").output().await.unwrap();
    let python = String::from_utf8(venv.stdout).unwrap();
    let mut command = process::command(python.trim());
    let path = |below: &str| root.join(below);
    command.arg(path("scripts/smoke_test.py")).args(["--url", &stack.ws_url(), "--token", &token]);
    command.arg("--recording").arg(path("tests/end-to-end/recordings/chromium-speech-default"));
    command.arg("--out").arg(stack.folder().join("smoke-test")).arg("--kvsw").arg(bin_dir().join("kvsw"));
    command.envs(stack.writer().config().environment.iter().map(|(name, value)| (name, value)));
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    println!("  {}", said.trim_end().replace('\n', "\n  "));
    assert!(output.status.success(), "make smoke-test would fail on a deployment that works: {said}");
    assert!(said.contains("is denied (403)"), "{said}");
}
