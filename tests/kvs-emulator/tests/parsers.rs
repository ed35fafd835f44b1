//! The rules by which AWS's two parser libraries take GetMedia's answer apart, as referees: code of this project's own,
//! which shares nothing with the emulator. The libraries themselves were run by hand; the README says when and how.
//!
//! * The Python consumer library delivers what lies between one EBML header and the next, and so never the last fragment.
//! * The Java parser library collects tags from a Segment's beginning to its first Cluster; every Cluster of that Segment
//!   has the number that they name.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/mod.rs"]
mod support;

use kvs_emulator::{Config, Emulator};
use serde_json::json;
use std::collections::BTreeMap;
use support::{T0_MS, create, mkv, put, virtual_config};

const EBML: u32 = 0x1A45_DFA3;
const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1F43_B675;
const TAGS: u32 = 0x1254_C367;
const TAG: u32 = 0x7373;
const SIMPLE_TAG: u32 = 0x67C8;
const SIMPLE_BLOCK: u32 = 0xA3;

/// An element: ID, where it begins, and its payload; up to the end of `bytes` where its size is unknown.
fn element(bytes: &[u8], at: usize) -> (u32, usize, std::ops::Range<usize>) {
    let length = |at: usize| bytes[at].leading_zeros() as usize + 1;
    let number =
        |at: usize, length: usize| bytes[at..at + length].iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    let id_length = length(at);
    let size_at = at + id_length;
    let size_length = length(size_at);
    let unknown = (1u64 << (7 * size_length)) - 1;
    let size = number(size_at, size_length) & unknown;
    let from = size_at + size_length;
    let to = if size == unknown { bytes.len() } else { from + size as usize };
    (number(at, id_length) as u32, at, from..to)
}

/// What a Segment contains on its first level: IDs and payloads, in order; and where the next document begins.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Walk<'a> {
    type Item = (u32, usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.bytes.len() {
            return None;
        }
        let (id, at, mut payload) = element(self.bytes, self.at);
        if id == CLUSTER && payload.end == self.bytes.len() {
            // Of unknown size: it ends where something comes that cannot be inside it.
            let mut inner = payload.start;
            while inner < self.bytes.len() {
                let (id, _, child) = element(self.bytes, inner);
                if [EBML, SEGMENT, CLUSTER, TAGS].contains(&id) {
                    break;
                }
                inner = child.end;
            }
            payload.end = inner;
        }
        // A Segment is gone into, everything else is gone over.
        self.at = if id == SEGMENT { payload.start } else { payload.end };
        Some((id, at, &self.bytes[payload]))
    }
}

fn walk(bytes: &[u8]) -> Walk<'_> {
    Walk { bytes, at: 0 }
}

fn children(bytes: &[u8], wanted: u32) -> Vec<&[u8]> {
    walk(bytes).filter(|(id, _, _)| *id == wanted).map(|(_, _, payload)| payload).collect()
}

fn tags(payload: &[u8]) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let simple = children(payload, TAG).into_iter().flat_map(|tag| children(tag, SIMPLE_TAG));
    simple.map(|simple| (text(children(simple, 0x45A3)[0]), text(children(simple, 0x4487)[0]))).collect()
}

/// The frames of a Cluster without their four bytes of header.
fn pcm(cluster: &[u8]) -> Vec<u8> {
    children(cluster, SIMPLE_BLOCK).into_iter().flat_map(|block| block[4..].to_vec()).collect()
}

/// A fragment as a library hands it to its user: its tags and its sound.
type Delivered = (BTreeMap<String, String>, Vec<u8>);

/// The Python library's rule.
fn by_python(bytes: &[u8]) -> Vec<Delivered> {
    let headers: Vec<usize> = walk(bytes).filter(|(id, _, _)| *id == EBML).map(|(_, at, _)| at).collect();
    let deliver = |pair: &[usize]| {
        let document = &bytes[pair[0]..pair[1]];
        let all = children(document, TAGS).into_iter().flat_map(tags).collect();
        (all, children(document, CLUSTER).into_iter().flat_map(pcm).collect())
    };
    headers.windows(2).map(deliver).collect()
}

/// The Java library's rule.
fn by_java(bytes: &[u8]) -> Vec<Delivered> {
    let (mut delivered, mut before, mut current) = (Vec::new(), BTreeMap::new(), None);
    for (id, _, payload) in walk(bytes) {
        match id {
            SEGMENT => (before, current) = (BTreeMap::new(), None),
            TAGS => before.extend(tags(payload)),
            CLUSTER => {
                let tags = current.get_or_insert_with(|| before.clone());
                delivered.push((tags.clone(), pcm(payload)));
            }
            _ => {}
        }
    }
    delivered
}

const FRAGMENTS: u64 = 50;

async fn answer(config: Config) -> (Emulator, Vec<u8>) {
    let emulator = kvs_emulator::start(config).await.unwrap();
    create(&emulator, "s", 1).await;
    let mut body = mkv::header();
    for i in 0..FRAGMENTS {
        body.extend(mkv::cluster(T0_MS - 60_000 + i * 2000, 3));
        body.extend(mkv::tags(&[("chunk", &i.to_string())]));
    }
    let (acks, proper) = put(&emulator, "s", &body).await;
    assert_eq!((acks.len() as u64, proper), (3 * FRAGMENTS, true));
    let input = json!({ "StreamName": "s", "StartSelector": { "StartSelectorType": "EARLIEST" } });
    let (head, bytes) = support::connect(&emulator).call_bytes("/getMedia", input).await.unwrap();
    assert_eq!(head.status, 200);
    (emulator, bytes)
}

/// Each fragment has its own number, time, tag and sound.
fn check(who: &str, emulator: &Emulator, delivered: &[Delivered], count: u64) {
    assert_eq!(delivered.len() as u64, count, "{who} delivers");
    for (i, (stored, (tags, pcm))) in (0..).zip(emulator.fragments("s").iter().zip(delivered)) {
        let at_ms = T0_MS - 60_000 + i * 2000;
        assert_eq!(tags["AWS_KINESISVIDEO_FRAGMENT_NUMBER"], stored.number, "{who}, fragment {i}");
        let seconds = format!("{}.{:03}", at_ms / 1000, at_ms % 1000);
        assert_eq!(tags["AWS_KINESISVIDEO_PRODUCER_TIMESTAMP"], seconds, "{who}, fragment {i}");
        assert!(*pcm == mkv::pcm(at_ms, 3), "{who}, fragment {i}: the sound");
        // Java tells a user's tag as soon as it comes, not with the fragment.
        assert!(who != "Python" || tags["chunk"] == i.to_string(), "{who}, fragment {i}: its tag");
    }
}

#[tokio::test(start_paused = true)]
async fn both_libraries_rules_find_every_fragment_of_a_connection_with_its_own_number() {
    let (emulator, bytes) = answer(virtual_config()).await;
    check("Python", &emulator, &by_python(&bytes), FRAGMENTS - 1);
    check("Java", &emulator, &by_java(&bytes), FRAGMENTS);
}

#[tokio::test(start_paused = true)]
async fn one_document_for_a_whole_connection_would_break_both_libraries() {
    let (emulator, bytes) = answer(Config { document_per_fragment: false, ..virtual_config() }).await;
    assert_eq!(by_python(&bytes).len(), 0, "the Python library waits for a second header");
    let first = &emulator.fragments("s")[0].number;
    let numbers = by_java(&bytes);
    assert_eq!(numbers.len() as u64, FRAGMENTS);
    assert!(numbers.iter().all(|(tags, _)| tags["AWS_KINESISVIDEO_FRAGMENT_NUMBER"] == *first));
}
