//! A delivery, grouped by session, and the one place that builds its answer.

use std::collections::{BTreeMap, HashSet};

use crate::message::{Record, Rejected, SessionId, parse};
use crate::sort::Entry;

/// A delivery after parsing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivery {
    /// Each session's records: understood, or refused with the chunk's index known.
    pub sessions: BTreeMap<SessionId, Vec<Entry>>,
    /// Refused records that tell no chunk: park at once.
    pub refused: Vec<Rejected>,
}

/// Parses and groups.
pub fn group(records: Vec<Record>) -> Delivery {
    let mut delivery = Delivery::default();
    for record in records {
        let group_id = record.group_id.clone();
        match parse(record) {
            Ok(arrival) => delivery.sessions.entry(arrival.session.clone()).or_default().push(Ok(arrival)),
            Err(rejected) => match (rejected.chunk, SessionId::parse(&group_id)) {
                (Some(_), Ok(session)) => delivery.sessions.entry(session).or_default().push(Err(*rejected)),
                _ => delivery.refused.push(*rejected),
            },
        }
    }
    delivery
}

/// Message ids that are settled: written, parked or known as duplicates. Nothing else may be acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled(HashSet<String>);

impl Settled {
    /// Marks a message as settled.
    pub fn settle(&mut self, message_id: &str) {
        self.0.insert(message_id.to_owned());
    }

    /// Whether a message is settled.
    pub fn holds(&self, message_id: &str) -> bool {
        self.0.contains(message_id)
    }

    /// The partial batch answer: `batchItemFailures`, in delivery order. What is not settled fails, so a session's
    /// unsettled records stay in the queue in their order, and other sessions are not touched by them. An unsettled
    /// record never fails a settled one: its chunk is done, and a second delivery would only be dropped as duplicate.
    pub fn failures<'a>(&self, delivered: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        delivered.into_iter().filter(|id| !self.0.contains(*id)).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_settled_is_acknowledged() {
        let mut settled = Settled::default();
        settled.settle("b");
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
        assert_eq!(entries[0].as_ref().unwrap_err().chunk.map(|c| c.0), Some(7));
    }
}
