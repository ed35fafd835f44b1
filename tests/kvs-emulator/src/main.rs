//! `kvs-emulator`: the emulator as a program of its own.

use anyhow::{Context, bail};
use clap::Parser;
use kvs_emulator::{Clock, Config, Elements, Fault};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// A Kinesis Video Streams emulator: control plane, PutMedia, GetMedia, ListFragments, GetMediaForFragmentList.
///
/// Without --data-dir everything is kept in memory and gone when it stops.
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
    /// Take requests without any signature too
    #[arg(long, conflicts_with = "access_key")]
    no_auth: bool,
    /// Folder in which streams and fragments outlive the emulator
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// What GetDataEndpoint answers, if clients reach the emulator by another address
    #[arg(long, value_name = "URL")]
    advertise: Option<String>,
    /// Begin at this time and stand still until POST /emulator/clock moves on (milliseconds since 1970)
    #[arg(long, value_name = "EPOCH_MS")]
    clock: Option<u64>,
    /// Milliseconds a new stream is CREATING, a changed one UPDATING, a deleted one DELETING
    #[arg(long, default_value_t = 200)]
    create_ms: u64,
    /// Milliseconds from a fragment's time to BUFFERING
    #[arg(long, default_value_t = 0)]
    buffering_ms: u64,
    /// Milliseconds from a fragment's end to RECEIVED
    #[arg(long, default_value_t = 0)]
    received_ms: u64,
    /// Milliseconds from RECEIVED to PERSISTED
    #[arg(long, default_value_t = 80)]
    persist_ms: u64,
    /// Milliseconds from PERSISTED until ListFragments shows a fragment
    #[arg(long, default_value_t = 0)]
    list_lag_ms: u64,
    /// GetMedia ends after so many milliseconds without a new fragment; without this it stays open, as the service's
    #[arg(long)]
    get_media_linger_ms: Option<u64>,
    /// Milliseconds between IDLE acks
    #[arg(long, default_value_t = 5000)]
    idle_ack_ms: u64,
    /// PutMedia ends so many milliseconds after the last byte
    #[arg(long, default_value_t = 30_000)]
    idle_close_ms: u64,
    /// PutMedia ends with 4003 after so many milliseconds
    #[arg(long, default_value_t = 2_700_000)]
    connection_ms_max: u64,
    /// A PutMedia connection that was cut, or whose client is gone, blocks its stream for so many milliseconds
    #[arg(long, default_value_t = 0)]
    cut_release_ms: u64,
    /// Switch all rates off, of calls, fragments and bytes
    #[arg(long)]
    no_rates: bool,
    /// Set a quota, or switch it off, such as getMediaConnections=5 or durationMsMax=off; may be repeated
    #[arg(long, value_name = "NAME=N|off", value_parser = parse_quota)]
    quota: Vec<(String, Option<u64>)>,
    /// Refuse fragments under one second (that the service does so is unconfirmed)
    #[arg(long)]
    enforce_min_duration: bool,
    /// Refuse Matroska elements that the official producers do not write (4006). The service takes what ffmpeg,
    /// mkvmerge and other muxers write, and gives it back; a producer that wants to write nothing unusual can have
    /// itself checked
    #[arg(long)]
    strict_elements: bool,
    /// How far ahead of this clock a producer timestamp may lie (4007). The service has taken 12.8 s; where it ends is a
    /// guess. A producer in RELATIVE mode is often seconds ahead after a reconnect; 0 shows whether yours ever is
    #[arg(long, default_value_t = 30_000, value_name = "MS")]
    future_tolerance_ms: u64,
    /// Give GetMedia and GetMediaForFragmentList one Matroska document for each PutMedia connection, as merged
    /// recordings have it. The service gives one for each fragment; a reader should cope with both
    #[arg(long)]
    document_per_connection: bool,
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
  curl 'localhost:4599/emulator/requests?stream=demo&operation=PutMedia'
      what was stored, how often what happened, what was asked and answered

  ffmpeg -re -f lavfi -i sine=sample_rate=16000 -c:a pcm_s16le -ac 1 -f matroska - |
    curl -T - -X POST localhost:4599/putMedia -H 'Expect:' -H 'x-amzn-stream-name: demo' \
      -H 'x-amzn-fragment-timecode-type: RELATIVE' -H "x-amzn-producer-start-timestamp: $(date +%s.000)"
      a producer, for an emulator with --no-auth

Faults, all with optional "stream" (glob), "operation", "nth", "count", "probability" and "seed":
  a fragment:  errorAck {id, code?, at, bare?, stored?}   cut {at, stored?}   slowPersist {ms}   listLag {ms}
               at is buffering, received or persisted: the ack that the fault takes the place of;
               cut at persisted with stored is the acknowledgement that got lost
  a request:   httpError {status, errorType, message?}   throttle   delay {ms}   noAnswer {done?}
  PutMedia:    cutAfterBytes {bytes, stored?}   noAcks {stored?}   splitAcks   mergeAcks   holdAcks {ms}
               slow {bytesPerSecond}
  readers:     cutAfterBytes {bytes} (GetMedia)   slow {bytesPerSecond}   readError {id, code?, after?}
"#;

fn parse_quota(text: &str) -> Result<(String, Option<u64>), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text} is not NAME=N or NAME=off"))?;
    let value = match value {
        "off" => None,
        number => Some(number.parse().map_err(|_| format!("{number} is neither a number nor off"))?),
    };
    Ok((name.to_owned(), value))
}

fn config(arguments: &Arguments) -> anyhow::Result<Config> {
    let mut config = Config {
        listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), arguments.port),
        region: arguments.region.clone(),
        account: arguments.account.clone(),
        credentials: arguments.access_key.clone().zip(arguments.secret_key.clone()),
        auth: !arguments.no_auth,
        advertised_endpoint: arguments.advertise.clone(),
        data_dir: arguments.data_dir.clone(),
        create_ms: arguments.create_ms,
        buffering_ms: arguments.buffering_ms,
        received_ms: arguments.received_ms,
        persist_ms: arguments.persist_ms,
        list_lag_ms: arguments.list_lag_ms,
        get_media_linger_ms: arguments.get_media_linger_ms.unwrap_or(u64::MAX),
        idle_ack_ms: arguments.idle_ack_ms,
        idle_close_ms: arguments.idle_close_ms,
        connection_ms_max: arguments.connection_ms_max,
        cut_release_ms: arguments.cut_release_ms,
        clock: arguments.clock.map_or(Clock::System, |epoch_ms| Clock::Manual { epoch_ms }),
        ..Config::default()
    };
    config.limits.rates = !arguments.no_rates;
    config.rules.enforce_min_duration = arguments.enforce_min_duration;
    if arguments.strict_elements {
        config.rules.elements = Elements::Generator;
    }
    config.rules.future_tolerance_ms = i64::try_from(arguments.future_tolerance_ms).unwrap_or(i64::MAX);
    config.document_per_fragment = !arguments.document_per_connection;
    for (name, value) in &arguments.quota {
        config.set_quota(name, *value)?;
    }
    Ok(config)
}

fn read_faults(path: &PathBuf) -> anyhow::Result<Vec<Fault>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
    let list = if value.is_array() { value } else { serde_json::Value::Array(vec![value]) };
    serde_json::from_value(list)
        .with_context(|| format!("{} holds something that is not a fault", path.display()))
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
    let emulator =
        kvs_emulator::start(config(&arguments)?).await.with_context(|| match &arguments.data_dir {
            None => format!("port {} cannot be bound; --port 0 takes a free one", arguments.port),
            Some(folder) => format!("port {} or folder {} cannot be used", arguments.port, folder.display()),
        })?;
    for fault in faults {
        emulator.faults().add(fault);
    }
    // Who has read the endpoint may end the emulator at once.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    println!("{}", emulator.endpoint());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    emulator.shutdown().await;
    Ok(())
}
