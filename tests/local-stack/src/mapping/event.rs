//! The event that a function gets: SQS messages in Lambda's shape (AWS Lambda developer guide, "Using Lambda with Amazon SQS",
//! example message event).

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// The system attributes that Lambda passes on, in its order.
const PASSED_ON: [MessageSystemAttributeName; 9] = [
    MessageSystemAttributeName::ApproximateReceiveCount,
    MessageSystemAttributeName::AwsTraceHeader,
    MessageSystemAttributeName::SentTimestamp,
    MessageSystemAttributeName::SequenceNumber,
    MessageSystemAttributeName::MessageGroupId,
    MessageSystemAttributeName::SenderId,
    MessageSystemAttributeName::MessageDeduplicationId,
    MessageSystemAttributeName::ApproximateFirstReceiveTimestamp,
    MessageSystemAttributeName::DeadLetterQueueSourceArn,
];

/// The whole event for a batch of messages from the queue `queue_arn` (`arn:aws:sqs:REGION:ACCOUNT:NAME`).
pub fn sqs_event(messages: &[Message], queue_arn: &str) -> Value {
    let region = queue_arn.split(':').nth(3).unwrap_or_default();
    let records: Vec<Value> = messages.iter().map(|message| record(message, queue_arn, region)).collect();
    json!({ "Records": records })
}

/// The message group of a message; FIFO queues give every message one.
pub fn group_of(message: &Message) -> &str {
    let attributes = message.attributes.as_ref();
    let group = attributes.and_then(|all| all.get(&MessageSystemAttributeName::MessageGroupId));
    group.map(String::as_str).unwrap_or_default()
}

fn record(message: &Message, queue_arn: &str, region: &str) -> Value {
    let attributes: Map<String, Value> = PASSED_ON
        .iter()
        .filter_map(|name| {
            let value = message.attributes.as_ref()?.get(name)?;
            Some((name.as_str().to_owned(), Value::String(value.clone())))
        })
        .collect();
    json!({
        "messageId": message.message_id,
        "receiptHandle": message.receipt_handle,
        "body": message.body.as_deref().unwrap_or_default(),
        "attributes": attributes,
        "messageAttributes": message_attributes(message),
        "md5OfBody": message.md5_of_body,
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": region,
    })
}

fn message_attributes(message: &Message) -> Map<String, Value> {
    let attributes = message.message_attributes.iter().flatten();
    let described = attributes.map(|(name, value)| {
        let mut described = json!({
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": value.data_type,
        });
        if let Some(text) = &value.string_value {
            described["stringValue"] = json!(text);
        }
        if let Some(blob) = &value.binary_value {
            described["binaryValue"] = json!(STANDARD.encode(blob));
        }
        (name.clone(), described)
    });
    described.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lambda_events::event::sqs::SqsEvent;
    use aws_sdk_sqs::primitives::Blob;
    use aws_sdk_sqs::types::MessageAttributeValue;

    fn attribute(data_type: &str) -> aws_sdk_sqs::types::builders::MessageAttributeValueBuilder {
        MessageAttributeValue::builder().data_type(data_type)
    }

    #[test]
    fn the_event_reads_as_lambdas_own_type_with_every_field() {
        use MessageSystemAttributeName as A;
        let message = Message::builder()
            .message_id("m-1")
            .receipt_handle("handle")
            .body("{\"a\":1}")
            .md5_of_body("md5")
            .attributes(A::ApproximateReceiveCount, "3")
            .attributes(A::SentTimestamp, "1795341695123")
            .attributes(A::SequenceNumber, "18849496460467696128")
            .attributes(A::MessageGroupId, "session-1")
            .attributes(A::MessageDeduplicationId, "session-1#7")
            .attributes(A::ApproximateFirstReceiveTimestamp, "1795341695896")
            .message_attributes("reason", attribute("String").string_value("late").build().unwrap())
            .message_attributes(
                "raw",
                attribute("Binary").binary_value(Blob::new([1, 2, 3])).build().unwrap(),
            )
            .build();
        let event = sqs_event(&[message], "arn:aws:sqs:eu-west-1:123456789012:audio-chunks.fifo");
        let read: SqsEvent = serde_json::from_value(event).unwrap();
        let record = &read.records[0];
        assert_eq!(record.message_id.as_deref(), Some("m-1"));
        assert_eq!(record.receipt_handle.as_deref(), Some("handle"));
        assert_eq!(record.body.as_deref(), Some("{\"a\":1}"));
        assert_eq!(record.md5_of_body.as_deref(), Some("md5"));
        assert_eq!(record.event_source.as_deref(), Some("aws:sqs"));
        assert_eq!(record.aws_region.as_deref(), Some("eu-west-1"));
        assert_eq!(record.attributes["ApproximateReceiveCount"], "3");
        assert_eq!(record.attributes["MessageGroupId"], "session-1");
        assert_eq!(record.attributes["SequenceNumber"], "18849496460467696128");
        assert_eq!(record.attributes.len(), 6, "attributes that SQS did not send must not appear");
        assert_eq!(record.message_attributes["reason"].string_value.as_deref(), Some("late"));
        assert_eq!(record.message_attributes["raw"].binary_value.as_ref().unwrap().0, [1, 2, 3]);
    }
}
