//! Fragments as others read them: ffprobe, ffmpeg, mkvinfo, the `matroska` crate, and our own reader.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Cursor, Write};
use std::process::{Command, Stdio};

use common::Rng;
use matroska::{Settings, Tracktype};
use media::fragment::read::{ReadError, read_fragments};
use media::fragment::{Block, write};
use media::time::{EpochMs, Samples};
use proptest::prelude::*;

const START: EpochMs = EpochMs(1_795_335_945_729);

fn noise(samples: usize, seed: u64) -> Vec<i16> {
    let mut rng = Rng(seed);
    (0..samples).map(|_| rng.next() as i16).collect()
}

fn tags() -> Vec<(&'static str, String)> {
    vec![
        ("sessionId", "gentle-harbor-512".to_owned()),
        ("chunkFirst", "8".to_owned()),
        ("empty", String::new()),
    ]
}

/// 2.1 s, a pause of half a second, and a run that ends within a millisecond.
fn example() -> (Vec<Block>, Vec<u8>) {
    let second = START.plus(Samples(33_600)).plus_ms(500);
    let blocks = vec![Block::new(START, noise(33_600, 1)), Block::new(second, noise(4_805, 2))];
    let bytes = write(&blocks, &tags()).unwrap();
    (blocks, bytes)
}

fn pcm(blocks: &[Block]) -> Vec<i16> {
    blocks.iter().flat_map(|block| block.pcm.clone()).collect()
}

/// Runs a program on a fragment given on its standard input, or in a file where `{}` stands; returns its output.
fn run(program: &str, hint: &str, args: &[&str], fragment: &[u8]) -> Vec<u8> {
    let name = format!("fragment-{}-{program}-{}.mkv", std::process::id(), args.len());
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::File::create(&path).unwrap().write_all(fragment).unwrap();
    let path_text = path.to_str().unwrap();
    let args = args.iter().map(|arg| if *arg == "{}" { path_text } else { arg });
    let output = Command::new(program).args(args).env("LC_ALL", "C").stdin(Stdio::null()).output();
    std::fs::remove_file(&path).unwrap();
    let output = output.unwrap_or_else(|e| panic!("{program} cannot be run ({e}); install it: {hint}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{program} complains: {complaint}");
    output.stdout
}

#[test]
fn ffprobe_sees_one_audio_track_of_pcm_and_every_block() {
    let (_, bytes) = example();
    let args = ["-v", "error", "-of", "json", "-show_streams", "-show_format", "-show_packets", "{}"];
    let json = run("ffprobe", "apt-get install ffmpeg", &args, &bytes);
    let seen: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let streams = seen["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 1);
    assert_eq!(streams[0]["codec_name"], "pcm_s16le");
    assert_eq!((&streams[0]["sample_rate"], &streams[0]["channels"]), (&"16000".into(), &1.into()));
    assert_eq!(streams[0]["tags"]["title"], "audio");
    let times: Vec<u64> =
        seen["packets"].as_array().unwrap().iter().map(|p| p["pts"].as_u64().unwrap()).collect();
    let first_run = (0..21).map(|n| START.0 + 100 * n);
    let second_run = (0..4).map(|n| START.0 + 2_600 + 100 * n);
    assert_eq!(times, first_run.chain(second_run).collect::<Vec<_>>());
    let tags = seen["format"]["tags"].to_string();
    assert!(tags.contains("gentle-harbor-512") && tags.to_lowercase().contains("chunkfirst"), "{tags}");
}

#[test]
fn ffmpeg_decodes_the_very_samples() {
    let (blocks, bytes) = example();
    let args = ["-v", "error", "-i", "{}", "-f", "s16le", "-c:a", "pcm_s16le", "-"];
    let raw = run("ffmpeg", "apt-get install ffmpeg", &args, &bytes);
    let decoded: Vec<i16> = raw.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    assert!(decoded == pcm(&blocks), "{} samples came back of {}", decoded.len(), pcm(&blocks).len());
}

#[test]
fn mkvinfo_finds_nothing_to_complain_about() {
    let (_, bytes) = example();
    let text = run("mkvinfo", "apt-get install mkvtoolnix", &["--all", "{}"], &bytes);
    let text = String::from_utf8(text).unwrap();
    for line in [
        "Document type: matroska",
        "Codec ID: A_PCM/INT/LIT",
        "Sampling frequency: 16000",
        "Channels: 1",
        "Bit depth: 16",
        "Name: audio",
        "Name: sessionId",
        "String: gentle-harbor-512",
        "Cluster timestamp: 498704:25:45.729000000",
    ] {
        assert!(text.contains(line), "mkvinfo does not say {line:?}:\n{text}");
    }
    assert_eq!(text.matches("Simple block").count(), 25, "{text}");
    for complaint in ["rror", "nknown", "arning", "nvalid"] {
        assert!(!text.contains(complaint), "mkvinfo complains:\n{text}");
    }
}

#[test]
fn the_matroska_crate_reads_track_and_tags() {
    let (_, bytes) = example();
    let file = matroska::Matroska::open(Cursor::new(bytes)).unwrap();
    let [track] = &file.tracks[..] else { panic!("{} tracks", file.tracks.len()) };
    assert_eq!((track.number, track.tracktype), (1, Tracktype::Audio));
    assert_eq!((track.codec_id.as_str(), track.name.as_deref()), ("A_PCM/INT/LIT", Some("audio")));
    let Settings::Audio(audio) = &track.settings else { panic!("no audio settings") };
    assert_eq!((audio.sample_rate, audio.channels, audio.bit_depth), (16_000.0, 1, Some(16)));
    assert_eq!(file.tags[0].simple.len(), tags().len());
    assert_eq!(file.tags[0].simple[0].name, "sessionId");
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert_eq!(example().1, example().1);
}

#[test]
fn a_fragment_cut_off_anywhere_is_known_to_be() {
    let (_, bytes) = example();
    for cut in (1..bytes.len()).step_by(7).filter(|&cut| cut != header_len(&bytes)) {
        let read = read_fragments(&bytes[..cut]);
        assert!(matches!(read, Err(ReadError::CutShort { .. })), "{cut} of {} bytes: {read:?}", bytes.len());
    }
}

fn header_len(bytes: &[u8]) -> usize {
    bytes.windows(4).position(|id| id == [0x18, 0x53, 0x80, 0x67]).unwrap()
}

/// The same fragment with Segment and Cluster of unknown size, as the service may send it.
fn with_unknown_sizes(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for master in [[0x18, 0x53, 0x80, 0x67], [0x1f, 0x43, 0xb6, 0x75]] {
        let at = 4 + bytes.windows(4).position(|id| id == master).unwrap();
        let len = bytes[at].leading_zeros() as usize + 1;
        bytes[at] = 0xff >> (len - 1);
        bytes[at + 1..at + len].fill(0xff);
    }
    bytes
}

/// A Tags element of one tag, in the sizes of a test.
fn tag_element(name: &str, value: &str) -> Vec<u8> {
    let element = |id: &[u8], content: &[u8]| [id, &[0x80 | content.len() as u8], content].concat();
    let fields = [element(&[0x45, 0xa3], name.as_bytes()), element(&[0x44, 0x87], value.as_bytes())].concat();
    let tag = element(&[0x73, 0x73], &element(&[0x67, 0xc8], &fields));
    element(&[0x12, 0x54, 0xc3, 0x67], &tag)
}

#[test]
fn a_body_of_many_segments_gives_every_fragment_with_its_tags() {
    let second = [Block::new(START.plus_ms(9_000), noise(1_600, 3))];
    let (blocks, first) = example();
    let mut body = with_unknown_sizes(&first);
    body.extend(tag_element("AWS_KINESISVIDEO_FRAGMENT_NUMBER", "91343852333181432392682062607743"));
    body.extend(tag_element("AWS_KINESISVIDEO_PRODUCER_TIMESTAMP", "1795335945.729"));
    body.extend(tag_element("AWS_KINESISVIDEO_SERVER_SIDE_TIMESTAMP", "1795335948.5"));
    body.extend(write(&second, &[]).unwrap());
    let fragments = read_fragments(&body).unwrap();
    assert_eq!(fragments.len(), 2);
    let [first, last] = &fragments[..] else { unreachable!() };
    assert_eq!(first.number.as_deref(), Some("91343852333181432392682062607743"));
    assert_eq!((first.producer_ms, first.server_ms), (Some(START), Some(EpochMs(1_795_335_948_500))));
    assert_eq!((first.cluster_ms, first.tags["sessionId"].as_str()), (START, "gentle-harbor-512"));
    assert!(first.pcm() == pcm(&blocks));
    assert_eq!((last.number.as_ref(), last.cluster_ms), (None, START.plus_ms(9_000)));
    assert!(last.tags.is_empty() && last.samples() == Samples(1_600));
}

#[test]
fn tags_between_clusters_of_one_segment_go_to_the_cluster_that_they_stand_before() {
    let (_, bytes) = example();
    let mut body = with_unknown_sizes(&bytes);
    let cluster_at = body.windows(4).position(|id| id == [0x1f, 0x43, 0xb6, 0x75]).unwrap();
    let cluster = body[cluster_at..].to_vec();
    body.extend(tag_element("AWS_KINESISVIDEO_MILLIS_BEHIND_NOW", "0"));
    body.extend(tag_element("chunkFirst", "20"));
    body.extend(cluster);
    body.extend(tag_element("chunkLast", "29"));
    let fragments = read_fragments(&body).unwrap();
    let tag = |n: usize, name: &str| fragments[n].tags.get(name).map(String::as_str);
    assert_eq!(
        (tag(0, "chunkFirst"), tag(1, "chunkFirst"), tag(1, "chunkLast")),
        (Some("8"), Some("20"), Some("29"))
    );
    let behind = "AWS_KINESISVIDEO_MILLIS_BEHIND_NOW";
    assert_eq!((tag(0, behind), tag(1, behind)), (Some("0"), None));
}

#[test]
fn an_empty_body_has_no_fragments() {
    assert_eq!(read_fragments(&[]), Ok(Vec::new()));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        start in 0..4_000_000_000_000_u64,
        runs in proptest::collection::vec((0..200_u64, 0..9_000_usize), 1..8),
        values in proptest::collection::vec(".{0,60}", 0..5),
    ) {
        let (mut at, mut blocks) = (EpochMs(start), Vec::new());
        for (n, (pause_ms, samples)) in runs.into_iter().enumerate() {
            at = at.plus_ms(pause_ms);
            blocks.push(Block::new(at, noise(samples, n as u64)));
            at = at.plus(Samples::from(samples));
        }
        let names = ["a", "b", "c", "d", "e"];
        let tags: Vec<(&str, String)> = names.into_iter().zip(values).collect();
        let with_sound: Vec<&Block> = blocks.iter().filter(|block| !block.pcm.is_empty()).collect();
        let Some(first) = with_sound.first() else {
            prop_assert!(write(&blocks, &tags).is_err());
            return Ok(());
        };
        let fragments = read_fragments(&write(&blocks, &tags).unwrap()).unwrap();
        prop_assert_eq!(fragments.len(), 1);
        prop_assert_eq!(fragments[0].cluster_ms, first.at);
        prop_assert!(fragments[0].pcm() == pcm(&blocks));
        prop_assert!(fragments[0].tags.iter().map(|(n, v)| (n.as_str(), v.clone())).eq(tags));
        for block in with_sound {
            prop_assert!(fragments[0].blocks.iter().any(|(at, _)| *at == block.at), "a run lost its time");
        }
        prop_assert!(fragments[0].blocks.iter().all(|(_, bytes)| (2..=3200).contains(&bytes.len())));
    }

    #[test]
    fn damaged_bodies_never_panic_the_reader(at in 0..80_000_usize, byte: u8, cut in 0..80_000_usize) {
        let mut body = example().1;
        let at = at % body.len();
        body[at] = byte;
        let _ = read_fragments(&body);
        let _ = read_fragments(&body[cut % body.len()..]);
    }
}
