//! The events of a WebSocket API with Lambda proxy integration, and how a message finds its route.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// The routes besides `$connect`, `$disconnect` and `$default`.
const ROUTES: [&str; 4] = ["audioChunk", "endStream", "status", "ping"];

/// The stage, which is also the path of the URL.
pub(super) const STAGE: &str = "local";

/// What all events of a connection share.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) connection_id: String,
    pub(super) connected_at: SystemTime,
    pub(super) session_id: String,
    pub(super) role: String,
    pub(super) host: String,
    pub(super) source_ip: String,
    pub(super) user_agent: String,
}

/// A connection id as API Gateway makes them: 16 characters of base64, the last of them `=`.
pub(super) fn connection_id() -> String {
    let random: [u8; 11] = std::array::from_fn(|_| fastrand::u8(..));
    STANDARD.encode(random)
}

/// The route of a message: what `$request.body.action` names, else `$default`.
pub(super) fn route_of(body: &str) -> &'static str {
    let action = serde_json::from_str::<Value>(body).ok();
    let action = action.as_ref().and_then(|body| body.get("action")).and_then(Value::as_str);
    ROUTES.into_iter().find(|route| action == Some(route)).unwrap_or("$default")
}

impl Identity {
    /// The `$connect` event.
    pub(super) fn connect(&self, query: &[(String, String)], headers: &[(String, String)]) -> Value {
        let mut event = self.event("$connect", "CONNECT");
        event["headers"] = last_values(headers);
        event["multiValueHeaders"] = all_values(headers);
        event["queryStringParameters"] = last_values(query);
        event["multiValueQueryStringParameters"] = all_values(query);
        event
    }

    /// The event of one message, and its request id.
    pub(super) fn message(&self, body: &str) -> (Value, String) {
        let mut event = self.event(route_of(body), "MESSAGE");
        event["requestContext"]["messageId"] = json!(request_id());
        event["body"] = json!(body);
        let request_id = event["requestContext"]["requestId"].as_str().unwrap_or_default().to_owned();
        (event, request_id)
    }

    /// The `$disconnect` event.
    pub(super) fn disconnect(&self, status_code: u16, reason: &str) -> Value {
        let mut event = self.event("$disconnect", "DISCONNECT");
        event["headers"] =
            json!({"Host": self.host, "x-api-key": "", "X-Forwarded-For": "", "x-restapi": ""});
        event["requestContext"]["disconnectStatusCode"] = json!(status_code);
        event["requestContext"]["disconnectReason"] = json!(reason);
        event
    }

    fn event(&self, route: &str, event_type: &str) -> Value {
        let now = SystemTime::now();
        let request_id = request_id();
        json!({
            "requestContext": {
                "routeKey": route,
                "authorizer": {
                    "sessionId": self.session_id,
                    "role": self.role,
                    "principalId": self.session_id,
                    "integrationLatency": 0,
                },
                "eventType": event_type,
                "extendedRequestId": request_id,
                "requestTime": clf_time(since_epoch(now)),
                "messageDirection": "IN",
                "stage": STAGE,
                "connectedAt": millis(self.connected_at),
                "requestTimeEpoch": millis(now),
                "identity": { "userAgent": self.user_agent, "sourceIp": self.source_ip },
                "requestId": request_id,
                "domainName": self.host,
                "connectionId": self.connection_id,
                "apiId": "local",
            },
            "isBase64Encoded": false,
        })
    }
}

/// API Gateway's answer when the integration failed.
pub(super) fn internal_server_error(connection_id: &str, request_id: &str) -> String {
    json!({"message": "Internal server error", "connectionId": connection_id, "requestId": request_id})
        .to_string()
}

fn request_id() -> String {
    let random: [u8; 11] = std::array::from_fn(|_| fastrand::u8(..));
    STANDARD.encode(random)
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn millis(time: SystemTime) -> u64 {
    u64::try_from(since_epoch(time).as_millis()).unwrap_or(u64::MAX)
}

fn last_values(pairs: &[(String, String)]) -> Value {
    Value::Object(pairs.iter().map(|(name, value)| (name.clone(), json!(value))).collect())
}

fn all_values(pairs: &[(String, String)]) -> Value {
    let mut all: Map<String, Value> = Map::new();
    for (name, value) in pairs {
        if let Value::Array(values) = all.entry(name.clone()).or_insert_with(|| json!([])) {
            values.push(json!(value));
        }
    }
    Value::Object(all)
}

/// Common Log Format, as in `22/Nov/2026:10:05:00 +0000`.
fn clf_time(since_epoch: Duration) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = since_epoch.as_secs();
    let (mut days, time) = (seconds / 86_400, seconds % 86_400);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{:02}/{}/{year}:{hour:02}:{minute:02}:{second:02} +0000", days + 1, MONTHS[month])
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lambda_events::event::apigw::ApiGatewayWebsocketProxyRequest;

    fn identity() -> Identity {
        Identity {
            connection_id: connection_id(),
            connected_at: UNIX_EPOCH + Duration::from_millis(1_795_336_000_632),
            session_id: "s-1".into(),
            role: "speaker".into(),
            host: "127.0.0.1:9".into(),
            source_ip: "127.0.0.1".into(),
            user_agent: "test".into(),
        }
    }

    #[test]
    fn a_message_goes_where_its_action_says_and_anything_else_to_the_default_route() {
        for (body, route) in [
            (r#"{"action":"audioChunk"}"#, "audioChunk"),
            (r#"{"action":"endStream","x":1}"#, "endStream"),
            (r#"{"action":"status"}"#, "status"),
            (r#"{"action":"ping"}"#, "ping"),
            (r#"{"action":"other"}"#, "$default"),
            (r#"{"action":"$connect"}"#, "$default"),
            (r#"{"action":7}"#, "$default"),
            (r#"["audioChunk"]"#, "$default"),
            ("not json", "$default"),
            ("", "$default"),
        ] {
            assert_eq!(route_of(body), route, "body {body:?}");
        }
    }

    #[test]
    fn events_read_as_lambdas_own_type() {
        let identity = identity();
        let query = [("sessionId".to_owned(), "s-1".to_owned())];
        let (message, request_id) = identity.message(r#"{"action":"audioChunk"}"#);
        for (event, event_type, route) in [
            (identity.connect(&query, &[("Host".into(), "h".into())]), "CONNECT", "$connect"),
            (message, "MESSAGE", "audioChunk"),
            (identity.disconnect(1001, "Going away"), "DISCONNECT", "$disconnect"),
        ] {
            let read: ApiGatewayWebsocketProxyRequest = serde_json::from_value(event.clone()).unwrap();
            let context = read.request_context;
            assert_eq!(context.event_type.as_deref(), Some(event_type));
            assert_eq!(context.route_key.as_deref(), Some(route));
            assert_eq!(context.connection_id.as_deref(), Some(identity.connection_id.as_str()));
            assert_eq!(context.connected_at, 1_795_336_000_632);
            assert_eq!(event["requestContext"]["authorizer"]["sessionId"], "s-1");
            assert_eq!(event["requestContext"]["authorizer"]["role"], "speaker");
        }
        assert!(!request_id.is_empty());
    }

    #[test]
    fn connection_ids_look_like_api_gateways() {
        let id = connection_id();
        assert_eq!((id.len(), id.find('=')), (16, Some(15)), "{id}");
        assert_ne!(id, connection_id());
    }

    #[test]
    fn times_are_in_common_log_format() {
        for (seconds, text) in [
            (0, "01/Jan/1970:00:00:00 +0000"),
            (951_782_399, "28/Feb/2000:23:59:59 +0000"),
            (951_782_400, "29/Feb/2000:00:00:00 +0000"),
            (1_795_341_695, "22/Nov/2026:10:01:35 +0000"),
            (4_107_542_399, "28/Feb/2100:23:59:59 +0000"),
            (4_107_542_400, "01/Mar/2100:00:00:00 +0000"),
        ] {
            assert_eq!(clf_time(Duration::from_secs(seconds)), text);
        }
    }
}
