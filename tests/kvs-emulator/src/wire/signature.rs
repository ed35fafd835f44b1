//! Signature Version 4: present and for `kinesisvideo`, or recomputed in full when the secret is known.

use crate::config::Config;
use crate::error::ApiError;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use http::request::Parts;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SERVICE: &str = "kinesisvideo";
const CLOCK_SKEW_MS_MAX: u64 = 300_000;

/// What the signature may have been made over.
pub(crate) enum Payload<'a> {
    /// The body itself.
    Whole(&'a [u8]),
    /// A body that streams: producers sign the empty body, or UNSIGNED-PAYLOAD.
    Streamed,
}

struct Authorization<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

/// Checks a request's signature.
///
/// # Errors
/// 403 with the type that AWS answers.
pub(crate) fn check(
    config: &Config,
    head: &Parts,
    payload: &Payload<'_>,
    now_ms: u64,
) -> Result<(), ApiError> {
    let Some(text) = header(head, "authorization") else {
        return missing_header(config, head);
    };
    let authorization = Authorization::parse(text).ok_or_else(|| {
        ApiError::signature("IncompleteSignatureException", "Authorization is not of the SigV4 form.")
    })?;
    if authorization.service != SERVICE {
        let message = format!("Credential should be scoped to correct service: '{SERVICE}'.");
        return Err(ApiError::signature("InvalidSignatureException", message));
    }
    match &config.credentials {
        None => Ok(()),
        Some((access_key, secret)) => {
            verify(config, head, payload, &authorization, (access_key, secret), now_ms)
        }
    }
}

/// Older producers presign the query instead; without credentials to check against, its scope is enough.
fn missing_header(config: &Config, head: &Parts) -> Result<(), ApiError> {
    let query = head.uri.query().unwrap_or("");
    let presigned = query.contains("X-Amz-Signature=") && query.contains(SERVICE);
    if presigned && config.credentials.is_none() {
        return Ok(());
    }
    Err(ApiError::signature("MissingAuthenticationTokenException", "Missing Authentication Token"))
}

fn verify(
    config: &Config,
    head: &Parts,
    payload: &Payload<'_>,
    authorization: &Authorization<'_>,
    (access_key, secret): (&str, &str),
    now_ms: u64,
) -> Result<(), ApiError> {
    if authorization.access_key != access_key {
        let message = "The security token included in the request is invalid.";
        return Err(ApiError::signature("UnrecognizedClientException", message));
    }
    let invalid = |message: String| Err(ApiError::signature("InvalidSignatureException", message));
    if authorization.region != config.region {
        return invalid(format!(
            "Credential should be scoped to a valid region, not '{}'.",
            authorization.region
        ));
    }
    let date = header(head, "x-amz-date").unwrap_or("");
    let Some(signed_ms) = date_ms(date).filter(|_| date.starts_with(authorization.date)) else {
        return invalid(format!("x-amz-date {date:?} does not belong to the credential's date."));
    };
    if signed_ms.abs_diff(now_ms) > CLOCK_SKEW_MS_MAX {
        return invalid(format!("Signature expired or not yet current: {date}, 5 minutes are allowed."));
    }
    if !authorization.signed_headers.contains(&"host") {
        return invalid("'Host' must be a signed header.".to_owned());
    }
    let expected =
        Expected { config, head, authorization, secret, time: UNIX_EPOCH + Duration::from_millis(signed_ms) };
    if expected.any_matches(payload) {
        return Ok(());
    }
    let message = "The request signature we calculated does not match the signature you provided. \
                   Check the secret key, the signed headers and the payload hash.";
    invalid(message.to_owned())
}

struct Expected<'a> {
    config: &'a Config,
    head: &'a Parts,
    authorization: &'a Authorization<'a>,
    secret: &'a str,
    time: SystemTime,
}

impl Expected<'_> {
    /// Tries each way of writing host and payload that clients are known to sign.
    fn any_matches(&self, payload: &Payload<'_>) -> bool {
        let sent = header(self.head, "host").unwrap_or("");
        let bare = sent.rsplit_once(':').map_or(sent, |(host, _)| host);
        let stated = header(self.head, "x-amz-content-sha256");
        let unsigned = stated == Some("UNSIGNED-PAYLOAD");
        let bodies = match payload {
            Payload::Whole(_) if unsigned => vec![SignableBody::UnsignedPayload],
            Payload::Whole(bytes) => vec![SignableBody::Bytes(bytes)],
            Payload::Streamed => vec![SignableBody::UnsignedPayload, SignableBody::Bytes(&[])],
        };
        let matches = |host, body: &SignableBody<'_>| {
            self.signature(host, body.clone())
                .is_some_and(|signature| signature == self.authorization.signature)
        };
        bodies.iter().any(|body| matches(sent, body) || matches(bare, body))
    }

    fn signature(&self, host: &str, body: SignableBody<'_>) -> Option<String> {
        let credentials =
            Credentials::new(self.authorization.access_key, self.secret, None, None, "kvs-emulator");
        let identity = credentials.into();
        let mut settings = SigningSettings::default();
        // What to leave out is the client's decision; only the headers it names are given here.
        settings.excluded_headers = None;
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&self.config.region)
            .name(SERVICE)
            .time(self.time)
            .settings(settings)
            .build()
            .ok()?
            .into();
        let path = self.head.uri.path_and_query().map_or("/", |path| path.as_str());
        let names = self.authorization.signed_headers.iter().filter(|name| **name != "x-amz-date");
        let headers = names.flat_map(|name| self.values(name, host));
        let method = self.head.method.as_str();
        let request = SignableRequest::new(method, format!("http://{host}{path}"), headers, body).ok()?;
        Some(sign(request, &params).ok()?.into_parts().1)
    }

    fn values<'b>(&'b self, name: &'b str, host: &'b str) -> Vec<(&'b str, &'b str)> {
        if name == "host" {
            return vec![(name, host)];
        }
        let values = self.head.headers.get_all(name).iter();
        values.filter_map(|value| value.to_str().ok()).map(|value| (name, value)).collect()
    }
}

fn header<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name)?.to_str().ok()
}

impl<'a> Authorization<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let fields = text.strip_prefix("AWS4-HMAC-SHA256")?;
        let field = |name: &str| {
            let mut named = fields.split(',').filter_map(|field| field.trim().split_once('='));
            named.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let mut scope = field("Credential")?.rsplitn(5, '/');
        let (end, service, region) = (scope.next()?, scope.next()?, scope.next()?);
        let (date, access_key) = (scope.next()?, scope.next()?);
        let signed_headers = field("SignedHeaders")?.split(';').collect();
        let signature = field("Signature")?;
        (end == "aws4_request" && !signature.is_empty()).then_some(Self {
            access_key,
            date,
            region,
            service,
            signed_headers,
            signature,
        })
    }
}

/// `20260131T235959Z` in milliseconds since 1970.
fn date_ms(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let digits =
        |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(date, 8) || !digits(time, 6) {
        return None;
    }
    let number = |text: &str| text.parse::<u64>().ok();
    let (year, month, day) = (number(&date[..4])?, number(&date[4..6])?, number(&date[6..])?);
    let (hour, minute, second) = (number(&time[..2])?, number(&time[2..4])?, number(&time[4..])?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970 in the proleptic Gregorian calendar, the year beginning in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_dates_are_read() {
        assert_eq!(date_ms("19700101T000000Z"), Some(0));
        assert_eq!(date_ms("20240229T123456Z"), Some(1_709_210_096_000));
        assert_eq!(date_ms("20261122T000001Z"), Some(1_795_305_601_000));
        for bad in
            ["", "20240229", "20240229T123456", "2024022xT123456Z", "19690101T000000Z", "20241301T000000Z"]
        {
            assert_eq!(date_ms(bad), None, "{bad:?} is no date");
        }
    }

    #[test]
    fn authorization_is_taken_apart() {
        let text = "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/kinesisvideo/aws4_request, \
                    SignedHeaders=host;x-amz-date, Signature=abc";
        let read = Authorization::parse(text).unwrap();
        assert_eq!((read.access_key, read.date, read.region), ("AK", "20260101", "us-east-1"));
        assert_eq!((read.service, read.signature), ("kinesisvideo", "abc"));
        assert_eq!(read.signed_headers, ["host", "x-amz-date"]);
        for bad in ["", "Bearer x", "AWS4-HMAC-SHA256 Credential=AK/x, Signature=a", "AWS4-HMAC-SHA256"] {
            assert!(Authorization::parse(bad).is_none(), "{bad:?} is no signature");
        }
    }
}
