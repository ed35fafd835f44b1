//! LocalStack: an endpoint that already runs, a container, or host mode, in this order.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::readiness::{Emulator, python};
use super::{BackendError, Life};
use crate::process::Process;
use crate::{process, project};

/// The last images that start without a licence token; `LOCALSTACK_IMAGE` names another.
const IMAGE: &str = "localstack/localstack:4.4.0";

/// The path that answers 200 when LocalStack serves requests.
const HEALTH: &str = "/_localstack/health";

/// Finds or starts it. Returns its URL and what to end later.
pub(super) async fn start(folder: &Path) -> Result<(String, Life), BackendError> {
    if let Ok(endpoint) = std::env::var("LOCALSTACK_ENDPOINT")
        && !endpoint.is_empty()
    {
        return Ok((endpoint, Life::NotOurs));
    }
    let port = process::free_port()
        .map_err(|source| BackendError::Start { program: "localstack".into(), source })?;
    if docker_works().await {
        let emulator = Emulator {
            name: "localstack-container",
            port,
            health: HEALTH,
            patience: Duration::from_secs(300),
            folder,
        };
        let keeper = Keeper::start(&emulator).await?;
        return Ok((emulator.endpoint(), Life::Container(keeper)));
    }
    let emulator =
        Emulator { name: "localstack", port, health: HEALTH, patience: Duration::from_secs(120), folder };
    let process = emulator.launch(host_mode(&emulator).await?).await?;
    Ok((emulator.endpoint(), Life::Process(process)))
}

/// Host mode with all its services, and Lambda as child processes (scripts/localstack-providers). A container would have no
/// way to the functions' Kinesis Video.
pub(super) async fn start_account(
    folder: &Path,
    kinesis_video: &str,
) -> Result<(String, Process), BackendError> {
    let port = process::free_port()
        .map_err(|source| BackendError::Start { program: "localstack".into(), source })?;
    let emulator =
        Emulator { name: "localstack", port, health: HEALTH, patience: Duration::from_secs(120), folder };
    let mut command = host_mode(&emulator).await?;
    command
        .env_remove("SERVICES")
        .env("TMPDIR", folder)
        .envs([("LAMBDA_RUNTIME_EXECUTOR", "process"), ("AWS_ENDPOINT_URL_KINESIS_VIDEO", kinesis_video)]);
    command.env("KVS_FUNCTION_LOGS", folder);
    Ok((emulator.endpoint(), emulator.launch(command).await?))
}

/// Host mode: the real LocalStack as a Python process, with DynamoDB from moto (scripts/localstack-providers).
async fn host_mode(emulator: &Emulator<'_>) -> Result<Command, BackendError> {
    let mut command = process::command(python("localstack").await?);
    let address = format!("127.0.0.1:{}", emulator.port);
    command.args(["-m", "localstack.runtime.main"]).envs([
        ("OVERRIDE_IN_DOCKER", "0"),
        ("GATEWAY_LISTEN", address.as_str()),
        ("GATEWAY_SERVER", "hypercorn"), // the default server binds every interface
        ("LOCALSTACK_HOST", address.as_str()),
        ("SQS_ENDPOINT_STRATEGY", "path"), // queue URLs without a host name that must be resolved
        ("SERVICES", "sqs,dynamodb"),
        ("PROVIDER_OVERRIDE_DYNAMODB", "moto"),
        ("DISABLE_EVENTS", "1"),
        ("SKIP_SSL_CERT_DOWNLOAD", "1"),
        ("DNS_ADDRESS", "0"),
        ("LS_LOG", "warning"),
        ("PYTHONDONTWRITEBYTECODE", "1"), // the provider lies in the source tree
    ]);
    command.env("PYTHONPATH", project::root().join("scripts/localstack-providers"));
    command.env("FILESYSTEM_ROOT", emulator.folder.join("localstack"));
    command.env("HOME", emulator.folder);
    Ok(command)
}

/// Whether a Docker daemon answers within five seconds.
async fn docker_works() -> bool {
    let mut info = Command::new("docker");
    info.args(["info", "--format", "{{.ID}}"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    info.kill_on_drop(true);
    matches!(tokio::time::timeout(Duration::from_secs(5), info.status()).await, Ok(Ok(status)) if status.success())
}

/// A shell that starts the container, holds it as long as its standard input is open, then removes it. The pipe closes when this
/// process ends, however it ends, so no container stays behind.
#[derive(Debug)]
pub(super) struct Keeper(Child);

const KEEPER_SCRIPT: &str = r#"
docker run --rm --detach --name "$1" --publish "127.0.0.1:$2:4566" --env SERVICES=sqs,dynamodb --env SQS_ENDPOINT_STRATEGY=path \
    --env LOCALSTACK_HOST="127.0.0.1:$2" "$3" || exit
cat >/dev/null
docker rm --force "$1"
"#;

impl Keeper {
    async fn start(emulator: &Emulator<'_>) -> Result<Self, BackendError> {
        let failed = |source| BackendError::Start { program: "docker".into(), source };
        let log = emulator.folder.join("localstack-container.log");
        let file = std::fs::File::create(&log).map_err(failed)?;
        let image = std::env::var("LOCALSTACK_IMAGE").unwrap_or_else(|_| IMAGE.to_owned());
        let name = format!("kvs-stack-{}-{}", std::process::id(), emulator.port);
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER_SCRIPT, "keeper", &name, &emulator.port.to_string(), &image]);
        command.stdin(Stdio::piped()).stdout(file.try_clone().map_err(failed)?).stderr(file).process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        tokio::select! {
            ended = child.wait() => {
                let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                Err(BackendError::Ended { name: emulator.name, status, log })
            }
            ready = emulator.wait_until_ready() => if ready { Ok(Self(child)) } else {
                Err(BackendError::NotReady { name: emulator.name, endpoint: emulator.endpoint(), waited: emulator.patience, log })
            }
        }
    }

    /// Removes the container and waits until it is gone.
    pub(super) async fn remove(mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait().await;
    }
}
