//! PutMedia's answers that libFuzzer makes up: the same acknowledgements however they are cut; what failed stays failed.
#![no_main]

// The file itself: its crate brings the AWS SDK, which nothing here needs.
#[path = "../../../../worker/aws/src/put_media/acks.rs"]
#[allow(dead_code, reason = "a part of its crate")]
mod acks;

use acks::{Ack, AckError, AckParser};
use libfuzzer_sys::fuzz_target;
use worker_fuzz::within_budget;

fuzz_target!(|input: &[u8]| {
    let Some((&[a, b], answer)) = input.split_first_chunk::<2>() else { return };
    let whole = within_budget(answer.len(), || feed(&[answer]));
    let single: Vec<&[u8]> = answer.chunks(1).collect();
    assert_eq!(feed(&single), whole, "byte by byte");
    let (head, tail) = answer.split_at(usize::from(a) * answer.len() / 256);
    let (middle, end) = tail.split_at(usize::from(b) * tail.len() / 256);
    assert_eq!(feed(&[head, middle, end]), whole, "cut in three");
});

fn feed(pieces: &[&[u8]]) -> (Vec<Ack>, Result<(), AckError>) {
    let (mut parser, mut acks) = (AckParser::default(), Vec::new());
    for piece in pieces {
        if let Err(error) = parser.feed(piece, &mut acks) {
            let told = parser.feed(b"{\"EventType\":\"PERSISTED\"}", &mut Vec::new());
            assert_eq!(told, Err(error.clone()), "failed stays failed");
            return (acks, Err(error));
        }
    }
    (acks, Ok(()))
}
