//! `kvs-emulator`: the emulator as a program of its own.

use anyhow::{Context, bail};
use clap::Parser;
use kvs_emulator::{Config, Elements, Fault, Limits};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// A Kinesis Video Streams emulator: control plane, PutMedia, GetMedia, ListFragments, GetMediaForFragmentList.
///
/// Everything is kept in memory and gone when it stops.
#[derive(Parser)]
#[command(name = "kvs-emulator", version, after_long_help = EXAMPLES)]
struct Arguments {
    /// Port on loopback; 0 takes a free one. The endpoint is the first line printed
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Region in ARNs and signatures
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Account in ARNs
    #[arg(long, default_value = "000000000000")]
    account: String,
    /// Verify signatures in full with this access key (with --secret-key); else any signature will do
    #[arg(long, requires = "secret_key")]
    access_key: Option<String>,
    /// The secret that belongs to --access-key
    #[arg(long, env = "KVS_EMULATOR_SECRET_KEY", hide_env_values = true)]
    secret_key: Option<String>,
    /// Milliseconds a new stream is CREATING
    #[arg(long, default_value_t = 200)]
    create_ms: u64,
    /// Milliseconds from RECEIVED to PERSISTED
    #[arg(long, default_value_t = 80)]
    persist_ms: u64,
    /// Milliseconds from PERSISTED until ListFragments shows a fragment
    #[arg(long, default_value_t = 0)]
    list_lag_ms: u64,
    /// GetMedia ends after so many milliseconds without a new fragment (the service's stays open)
    #[arg(long, default_value_t = 1000)]
    get_media_linger_ms: u64,
    /// Switch all call rates off
    #[arg(long)]
    no_rates: bool,
    /// Refuse fragments under one second (that the service does so is unconfirmed)
    #[arg(long)]
    enforce_min_duration: bool,
    /// Take also the Matroska elements that ffmpeg and other muxers write
    #[arg(long)]
    lenient: bool,
    /// File with faults to begin with: one JSON object or a list of them
    #[arg(long)]
    faults: Option<PathBuf>,
}

const EXAMPLES: &str = r#"Examples:
  kvs-emulator --port 4599
      serve on http://127.0.0.1:4599 until Ctrl-C

  export AWS_ENDPOINT_URL_KINESIS_VIDEO=http://127.0.0.1:4599 AWS_REGION=us-east-1
  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
  aws kinesisvideo create-stream --stream-name demo --data-retention-in-hours 1
  aws kinesisvideo get-data-endpoint --stream-name demo --api-name PUT_MEDIA
      GetDataEndpoint answers this emulator for every API

  curl -X POST localhost:4599/emulator/faults -d \
    '{"stream":"demo","nth":2,"kind":{"type":"errorAck","id":5001,"at":"persisted"}}'
      the second fragment of stream "demo" is answered with ARCHIVAL_ERROR in place of PERSISTED

  curl localhost:4599/emulator/streams/demo
  curl localhost:4599/emulator/stats
      what was stored, and how often what happened

Faults, all with optional "stream" (glob), "operation", "nth", "count", "probability" and "seed":
  a fragment:  errorAck {id, code?, at, bare?, stored?}   cut {at, stored?}   slowPersist {ms}   listLag {ms}
               at is buffering, received or persisted: the ack that the fault takes the place of;
               cut at persisted with stored is the acknowledgement that got lost
  a request:   httpError {status, errorType, message?}   throttle   delay {ms}   noAnswer {done?}
  PutMedia:    cutAfterBytes {bytes, stored?}   noAcks {stored?}   splitAcks   mergeAcks
  GetMedia:    cutAfterBytes {bytes}
"#;

fn config(arguments: &Arguments) -> Config {
    let mut config = Config {
        listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), arguments.port),
        region: arguments.region.clone(),
        account: arguments.account.clone(),
        credentials: arguments.access_key.clone().zip(arguments.secret_key.clone()),
        create_ms: arguments.create_ms,
        persist_ms: arguments.persist_ms,
        list_lag_ms: arguments.list_lag_ms,
        get_media_linger_ms: arguments.get_media_linger_ms,
        limits: Limits { rates: !arguments.no_rates, ..Limits::default() },
        ..Config::default()
    };
    config.rules.enforce_min_duration = arguments.enforce_min_duration;
    if arguments.lenient {
        config.rules.elements = Elements::Matroska;
    }
    config
}

fn read_faults(path: &PathBuf) -> anyhow::Result<Vec<Fault>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
    let list = if value.is_array() { value } else { serde_json::Value::Array(vec![value]) };
    serde_json::from_value(list)
        .with_context(|| format!("{} holds something that is no fault", path.display()))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).init();
    let arguments = Arguments::parse();
    if arguments.account.len() != 12 || !arguments.account.bytes().all(|byte| byte.is_ascii_digit()) {
        bail!("--account {} is not twelve digits", arguments.account);
    }
    let faults = arguments.faults.as_ref().map(read_faults).transpose()?.unwrap_or_default();
    let emulator = kvs_emulator::start(config(&arguments))
        .await
        .with_context(|| format!("port {} cannot be bound; --port 0 takes a free one", arguments.port))?;
    for fault in faults {
        emulator.faults().add(fault);
    }
    println!("{}", emulator.endpoint());
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    emulator.shutdown().await;
    Ok(())
}
