//! Signature Version 4: present and for `kinesisvideo`, or recomputed in full when the secret is known.

use crate::config::Config;
use crate::error::ApiError;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use http::request::Parts;
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SERVICE: &str = "kinesisvideo";
const CLOCK_SKEW_MS_MAX: u64 = 300_000;
/// A presigned request lasts a week at most.
const EXPIRES_S_MAX: u64 = 604_800;

/// What the signature may have been made over.
pub(crate) enum Payload<'a> {
    /// The body itself.
    Whole(&'a [u8]),
    /// A body that streams: producers sign the empty body, or UNSIGNED-PAYLOAD.
    Streamed,
}

/// What a request says about its signature, in its Authorization header or, presigned, in its query.
struct Authorization {
    access_key: String,
    date: String,
    region: String,
    service: String,
    signed_headers: Vec<String>,
    signature: String,
    /// `x-amz-date`, or `X-Amz-Date` of a query.
    time: String,
    presigned: Option<Presigned>,
}

struct Presigned {
    expires_s: u64,
    token: Option<String>,
    /// The query without what the signature added.
    rest: String,
}

/// Checks a request's signature; `client_ms` is the time by which clients sign.
///
/// # Errors
/// 403 with the type that AWS answers.
pub(crate) fn check(
    config: &Config,
    head: &Parts,
    payload: &Payload<'_>,
    client_ms: u64,
) -> Result<(), ApiError> {
    if !config.auth {
        return Ok(());
    }
    let authorization = match header(head, "authorization") {
        Some(text) => Authorization::parse(text, header(head, "x-amz-date").unwrap_or("")),
        None => match head.uri.query().filter(|query| query.contains("X-Amz-Signature=")) {
            Some(query) => Authorization::parse_query(query),
            None => {
                let kind = "MissingAuthenticationTokenException";
                return Err(ApiError::signature(kind, "Missing Authentication Token"));
            }
        },
    };
    let authorization = authorization.ok_or_else(|| {
        ApiError::signature("IncompleteSignatureException", "The signature is not of the SigV4 form.")
    })?;
    if authorization.service != SERVICE {
        let message = format!("Credential should be scoped to correct service: '{SERVICE}'.");
        return Err(ApiError::signature("InvalidSignatureException", message));
    }
    match &config.credentials {
        None => Ok(()),
        Some((access_key, secret)) => {
            verify(config, head, payload, &authorization, (access_key, secret), client_ms)
        }
    }
}

fn verify(
    config: &Config,
    head: &Parts,
    payload: &Payload<'_>,
    authorization: &Authorization,
    (access_key, secret): (&str, &str),
    client_ms: u64,
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
    let date = &authorization.time;
    let Some(signed_ms) = date_ms(date).filter(|_| date.starts_with(&authorization.date)) else {
        return invalid(format!("x-amz-date {date:?} does not belong to the credential's date."));
    };
    let lasts_ms = authorization.presigned.as_ref().map_or(CLOCK_SKEW_MS_MAX, |p| p.expires_s * 1000);
    if client_ms > signed_ms + lasts_ms || signed_ms > client_ms + CLOCK_SKEW_MS_MAX {
        return invalid(format!(
            "Signature expired or not yet current: {date}, {} s allowed.",
            lasts_ms / 1000
        ));
    }
    if !authorization.signed_headers.iter().any(|name| name == "host") {
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
    authorization: &'a Authorization,
    secret: &'a str,
    time: SystemTime,
}

impl Expected<'_> {
    /// Tries each way of writing host and payload that clients are known to sign.
    fn any_matches(&self, payload: &Payload<'_>) -> bool {
        let sent = header(self.head, "host").unwrap_or("");
        let bare = sent.rsplit_once(':').map_or(sent, |(host, _)| host);
        let stated = header(self.head, "x-amz-content-sha256");
        let unsigned = stated == Some("UNSIGNED-PAYLOAD") || self.authorization.presigned.is_some();
        let bodies = match payload {
            Payload::Whole(bytes) if unsigned => {
                vec![SignableBody::UnsignedPayload, SignableBody::Bytes(bytes)]
            }
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
        let presigned = self.authorization.presigned.as_ref();
        let token = presigned.and_then(|presigned| presigned.token.clone());
        let identity =
            Credentials::new(&self.authorization.access_key, self.secret, token, None, "kvs-emulator").into();
        let mut settings = SigningSettings::default();
        // What to leave out is the client's decision; only the headers it names are given here.
        settings.excluded_headers = None;
        if let Some(presigned) = presigned {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(Duration::from_secs(presigned.expires_s));
        }
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
        let uri = match presigned {
            None => format!("http://{host}{path}"),
            Some(Presigned { rest, .. }) if rest.is_empty() => {
                format!("http://{host}{}", self.head.uri.path())
            }
            Some(Presigned { rest, .. }) => format!("http://{host}{}?{rest}", self.head.uri.path()),
        };
        let names = self.authorization.signed_headers.iter().filter(|name| *name != "x-amz-date");
        let headers = names.flat_map(|name| self.values(name, host));
        let method = self.head.method.as_str();
        let request = SignableRequest::new(method, uri, headers, body).ok()?;
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

impl Authorization {
    fn parse(text: &str, time: &str) -> Option<Self> {
        let fields = text.strip_prefix("AWS4-HMAC-SHA256")?;
        let field = |name: &str| {
            let mut named = fields.split(',').filter_map(|field| field.trim().split_once('='));
            named.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        Self::new(field("Credential")?, field("SignedHeaders")?, field("Signature")?, time, None)
    }

    /// Older producers presign the query instead of sending a header.
    fn parse_query(query: &str) -> Option<Self> {
        let mut rest = form_urlencoded::Serializer::new(String::new());
        let mut signing: HashMap<String, String> = HashMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name.starts_with("X-Amz-") {
                signing.insert(name.into_owned(), value.into_owned());
            } else {
                rest.append_pair(&name, &value);
            }
        }
        let field = |name: &str| signing.get(name).map(String::as_str);
        let expires_s = field("X-Amz-Expires")?.parse().ok().filter(|s| *s <= EXPIRES_S_MAX)?;
        let token = field("X-Amz-Security-Token").map(str::to_owned);
        let presigned = Presigned { expires_s, token, rest: rest.finish() };
        let (credential, headers) = (field("X-Amz-Credential")?, field("X-Amz-SignedHeaders")?);
        Self::new(credential, headers, field("X-Amz-Signature")?, field("X-Amz-Date")?, Some(presigned))
    }

    fn new(
        credential: &str,
        signed_headers: &str,
        signature: &str,
        time: &str,
        presigned: Option<Presigned>,
    ) -> Option<Self> {
        let mut scope = credential.rsplitn(5, '/');
        let (end, service, region) = (scope.next()?, scope.next()?, scope.next()?);
        let (date, access_key) = (scope.next()?, scope.next()?);
        (end == "aws4_request" && !signature.is_empty()).then(|| Self {
            access_key: access_key.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed_headers: signed_headers.split(';').map(str::to_owned).collect(),
            signature: signature.to_owned(),
            time: time.to_owned(),
            presigned,
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
            assert_eq!(date_ms(bad), None, "{bad:?} is not a date");
        }
    }

    #[test]
    fn authorization_is_taken_apart() {
        let text = "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/kinesisvideo/aws4_request, \
                    SignedHeaders=host;x-amz-date, Signature=abc";
        let read = Authorization::parse(text, "").unwrap();
        let scope = [&read.access_key, &read.date, &read.region, &read.service, &read.signature];
        assert_eq!(scope, ["AK", "20260101", "us-east-1", "kinesisvideo", "abc"]);
        assert_eq!(read.signed_headers, ["host", "x-amz-date"]);
        for bad in ["", "Bearer x", "AWS4-HMAC-SHA256 Credential=AK/x, Signature=a", "AWS4-HMAC-SHA256"] {
            assert!(Authorization::parse(bad, "").is_none(), "{bad:?} is not a signature");
        }
    }
}
