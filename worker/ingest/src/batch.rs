//! A delivery, grouped by session, and the one place that builds its answer.

use std::collections::{BTreeMap, HashMap};

use crate::message::{Entry, Record, Rejected, SessionId, parse};

/// A delivery after parsing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivery {
    /// Each session's records.
    pub sessions: BTreeMap<SessionId, Vec<Entry>>,
    /// Refused records that name no chunk: park at once.
    pub refused: Vec<Rejected>,
}

/// Parses and groups.
pub fn group(records: Vec<Record>) -> Delivery {
    let mut delivery = Delivery::default();
    for record in records {
        match parse(record) {
            Ok((session, entry)) => delivery.sessions.entry(session).or_default().push(entry),
            Err(rejected) => delivery.refused.push(*rejected),
        }
    }
    delivery
}

/// Why a message needs no second delivery. There is no other reason to acknowledge one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// Its chunk is in a committed fragment, or its bytes are in the committed state (a header, or bytes that
    /// cannot be decoded without a missing chunk).
    Written,
    /// The DLQ has it.
    Parked,
    /// The state keeps it until the chunks before it have come.
    SetAside,
    /// Its chunk was written, or parked and written, before.
    Duplicate,
    /// An end-of-stream marker that has nothing left to end.
    Ended,
}

/// Messages that are settled, each with its reason. Nothing else may be acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled(HashMap<String, Because>);

impl Settled {
    /// Marks a message as settled.
    pub fn settle(&mut self, record: &Record, because: Because) {
        self.0.insert(record.message_id.clone(), because);
    }

    /// A message stays in the queue although it is settled: delivered again, it is a duplicate.
    pub fn withdraw(&mut self, message_id: &str) {
        self.0.remove(message_id);
    }

    /// Whether a message is settled.
    pub fn holds(&self, message_id: &str) -> bool {
        self.0.contains_key(message_id)
    }

    /// The partial batch answer: `batchItemFailures`, in delivery order. What is not settled fails, so a session's
    /// unsettled records stay in the queue in their order, and other sessions are not touched by them. An unsettled
    /// record never fails a settled one: its chunk is done, and a second delivery would only be dropped as duplicate.
    pub fn failures<'a>(&self, delivered: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        delivered.into_iter().filter(|id| !self.holds(id)).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_settled_is_acknowledged() {
        let mut settled = Settled::default();
        settled.settle(&Record { message_id: "b".into(), ..Record::default() }, Because::Written);
        assert_eq!(settled.failures(["a", "b", "c"]), ["a", "c"]);
        assert_eq!(Settled::default().failures(["a"]), ["a"]);
        assert!(settled.failures(["b"]).is_empty());
    }

    #[test]
    fn a_bad_message_waits_in_line_if_it_tells_its_chunk_and_stands_alone_if_not() {
        let record = |body: &str| Record { body: body.into(), group_id: "s".into(), ..Record::default() };
        let bad_base64 = r#"{"action":"writeToStream","sessionId":"s","audioData":"!","timestamp":1,"format":"webm-opus","chunkIndex":7}"#;
        let delivery = group(vec![record("{"), record(bad_base64)]);
        assert_eq!(delivery.refused.len(), 1);
        let (_, entries) = delivery.sessions.first_key_value().unwrap();
        assert!(matches!(&entries[0], Entry::Chunk(chunk) if chunk.index == 7 && chunk.audio.is_err()));
    }
}
