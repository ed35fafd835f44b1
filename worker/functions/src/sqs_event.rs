//! From the event source mapping's event to the writer's records, and back.

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use ingest::message::Record;
use media::time::EpochMs;
use writer::Answer;

/// A record without a field that every SQS record has, so that it cannot be answered for. The whole batch fails then, and the
/// mapping delivers it again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "record {index} of the event has no {field}; is this function invoked by an SQS event source mapping?"
)]
pub struct EventError {
    /// Position in the event.
    pub index: usize,
    /// What is missing.
    pub field: &'static str,
}

/// Reads an event.
///
/// # Errors
/// Names the first record that cannot be answered for.
pub fn records(event: SqsEvent) -> Result<Vec<Record>, EventError> {
    event.records.into_iter().enumerate().map(|(index, message)| record(index, message)).collect()
}

fn record(index: usize, message: SqsMessage) -> Result<Record, EventError> {
    let required = |value: Option<String>, field| {
        value.filter(|value| !value.is_empty()).ok_or(EventError { index, field })
    };
    let system = |name: &str| message.attributes.get(name);
    Ok(Record {
        group_id: system("MessageGroupId").cloned().unwrap_or_default(),
        sequence_number: system("SequenceNumber").and_then(|n| n.parse().ok()).unwrap_or(0),
        sent_at: EpochMs(system("SentTimestamp").and_then(|ms| ms.parse().ok()).unwrap_or(0)),
        receive_count: system("ApproximateReceiveCount").and_then(|n| n.parse().ok()).unwrap_or(1),
        attributes: message
            .message_attributes
            .into_iter()
            .filter_map(|(name, attribute)| Some((name, attribute.string_value?)))
            .collect(),
        message_id: required(message.message_id, "messageId")?,
        receipt_handle: required(message.receipt_handle, "receiptHandle")?,
        body: message.body.ok_or(EventError { index, field: "body" })?,
    })
}

/// The partial batch response: what is named stays in the queue, the rest is deleted.
pub fn response(answer: Answer) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    response.set_failures(answer.failed);
    response
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn message() -> Value {
        json!({
            "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
            "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
            "body": "{\"action\":\"endStream\"}",
            "attributes": {
                "ApproximateReceiveCount": "3",
                "SentTimestamp": "1795335945729",
                "SequenceNumber": "18849496460467696128",
                "MessageGroupId": "quiet-fox-1",
                "SenderId": "AIDAIO23YVJENQZJOL4VO",
                "MessageDeduplicationId": "1",
                "ApproximateFirstReceiveTimestamp": "1795335945800"
            },
            "messageAttributes": {
                "reason": {"stringValue": "ack-4006", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
                "blob": {"binaryValue": "AAEC", "stringListValues": [], "binaryListValues": [], "dataType": "Binary"}
            },
            "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:chunks.fifo",
            "awsRegion": "eu-central-1"
        })
    }

    fn read(messages: Value) -> Result<Vec<Record>, EventError> {
        records(serde_json::from_value(json!({"Records": messages})).unwrap())
    }

    #[test]
    fn a_record_as_the_mapping_delivers_it_is_read() {
        let record = read(json!([message()])).unwrap().remove(0);
        assert_eq!(record.message_id, "059f36b4-87a3-44ab-83d2-661975830a7d");
        assert_eq!(record.group_id, "quiet-fox-1");
        assert_eq!(record.sequence_number, 18_849_496_460_467_696_128);
        assert_eq!((record.sent_at, record.receive_count), (EpochMs(1_795_335_945_729), 3));
        assert_eq!(record.attributes.into_iter().collect::<Vec<_>>(), [("reason".into(), "ack-4006".into())]);
    }

    #[test]
    fn a_record_that_cannot_be_answered_for_fails_the_batch_and_is_named() {
        for field in ["messageId", "receiptHandle", "body"] {
            let mut broken = message();
            broken[field] = Value::Null;
            assert_eq!(read(json!([message(), broken])), Err(EventError { index: 1, field }));
        }
        let mut empty = message();
        empty["messageId"] = json!("");
        assert_eq!(read(json!([empty])), Err(EventError { index: 0, field: "messageId" }));
    }

    #[test]
    fn an_empty_body_is_a_message_to_park_and_no_broken_event() {
        let mut empty = message();
        empty["body"] = json!("");
        assert_eq!(read(json!([empty])).unwrap()[0].body, "");
    }

    #[test]
    fn the_response_names_what_stays_and_is_never_null() {
        let answer = Answer { failed: vec!["a".into(), "b".into()] };
        assert_eq!(
            serde_json::to_value(response(answer)).unwrap(),
            json!({"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "b"}]})
        );
        assert_eq!(
            serde_json::to_value(response(Answer::default())).unwrap(),
            json!({"batchItemFailures": []})
        );
    }
}
