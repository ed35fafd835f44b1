//! Against the emulator: what a stream holds comes back once, in the order of time, whatever happened when it was written.
#![allow(clippy::unwrap_used)]

use aws::Aws;
use aws::put_media::request::PayloadSigning;
use aws::settings::Settings;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use ingest::message::SessionId;
use media::fragment::{Block, write};
use media::time::EpochMs;
use reader::fragment::Fragment;
use reader::stream::{Error, LeftOut, StreamReader};
use writer::ports::{Ports as _, Streams as _};

fn config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .build()
}

fn writer_of(config: &SdkConfig) -> Aws {
    let settings = Settings {
        sessions_table: "sessions".into(),
        state_table: "state".into(),
        queue_url: String::new(),
        dlq_url: String::new(),
        retention_hours: 1,
        stream_key: None,
        payload: PayloadSigning::Unsigned,
        event_bus: None,
    };
    Aws::with_config(config, &settings).unwrap()
}

/// One second of `value`, as the writer tags it.
fn second(at: EpochMs, chunk: u64, value: i16) -> Vec<u8> {
    let tags = [("numbering", 0), ("chunkFirst", chunk), ("chunkLast", chunk + 2)];
    let tags = tags.map(|(name, n)| (name, n.to_string()));
    write(&[Block::new(at, vec![value; 16_000])], &tags).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fragment_that_the_service_stored_twice_is_read_once() {
    let emulator =
        kvs_emulator::start(kvs_emulator::Config { create_ms: 0, ..Default::default() }).await.unwrap();
    let config = config(&emulator.endpoint());
    let (aws, session) = (writer_of(&config), SessionId::parse("twice").unwrap());
    let begin = EpochMs(emulator.now_ms() - 60_000);
    let second_at = EpochMs(begin.0 + 1_000);
    // The second one is written again: its first copy was believed not to be stored. The third comes back into its gap last.
    for (at, chunk, value) in
        [(begin, 0, 1), (second_at, 3, 2), (second_at, 3, 2), (EpochMs(begin.0 - 1_000), 9, 3)]
    {
        aws.streams().put(&session, at, second(at, chunk, value), 10_000).await.unwrap();
    }

    let reader = StreamReader::new(&config, &session.stream_name());
    let listed = reader.list(None).await.unwrap();
    assert_eq!(listed.iter().map(|f| f.at.0 + 1_000 - begin.0).collect::<Vec<_>>(), [0, 1_000, 2_000, 2_000]);
    let (mut fragments, mut pcm): (Vec<Fragment>, Vec<i16>) = (Vec::new(), Vec::new());
    let left_out = reader.read::<Error>(&listed, |fragment, blocks| {
        pcm.extend(blocks.iter().flat_map(|block| &block.pcm));
        fragments.push(fragment);
        Ok(())
    });
    assert_eq!(left_out.await.unwrap(), LeftOut { expired: 0, copies: 1 });
    assert_eq!(pcm, [3, 1, 2].map(|value| vec![value; 16_000]).concat(), "a second would be heard twice");
    assert_eq!(fragments.iter().map(|f| f.chunks.unwrap().0).collect::<Vec<_>>(), [9, 0, 3]);
    let part = reader.list(Some((second_at, second_at))).await.unwrap();
    assert_eq!(part.len(), 2, "a range takes both ends");
    assert_eq!(StreamReader::new(&config, "session-nobody").list(None).await.unwrap(), []);
    emulator.shutdown().await;
}
