//! The PutMedia request: headers, signature, and a body that is sent in pieces (aws-facts 1.1, 1.2).

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SigningError, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame};
use media::time::EpochMs;

/// What the signature says about the body, which is not known when the headers are sent. Two forms are known to
/// work with the service; should it refuse one, `PUT_MEDIA_PAYLOAD` chooses the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadSigning {
    /// `UNSIGNED-PAYLOAD`, as the Java producer signs.
    #[default]
    Unsigned,
    /// The hash of an empty body, as the C producer signs.
    EmptyHash,
}

/// Where a request goes and who signs it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The data endpoint that GetDataEndpoint gave, without the API's path.
    pub endpoint: &'a str,
    /// The stream's name.
    pub stream: &'a str,
    /// The stream's region.
    pub region: &'a str,
    /// Who signs.
    pub credentials: &'a Credentials,
    /// How the body is signed.
    pub payload: PayloadSigning,
}

/// Why no request could be built.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The endpoint or the stream name cannot be used in a request.
    #[error("invalid data endpoint or stream name: {0}")]
    Malformed(#[from] http::Error),
    /// The signer refused.
    #[error("the request could not be signed: {0}")]
    Unsigned(#[from] SigningError),
    /// The signer's parameters are incomplete.
    #[error("the signing parameters are incomplete: {0}")]
    Parameters(#[from] v4::signing_params::BuildError),
}

/// Builds and signs the request for media that begins at `at`.
///
/// Cluster timecodes are ABSOLUTE. Transfer-Encoding and Host are left to the HTTP client: a body of unknown
/// length goes out chunked, and hop-by-hop headers stay out of the signature.
pub fn signed(
    target: Target<'_>,
    at: EpochMs,
    now: SystemTime,
    body: SdkBody,
) -> Result<http::Request<SdkBody>, RequestError> {
    let mut request = http::Request::post(format!("{}/putMedia", target.endpoint.trim_end_matches('/')))
        .header("x-amzn-stream-name", target.stream)
        .header("x-amzn-fragment-timecode-type", "ABSOLUTE")
        .header("x-amzn-fragment-acknowledgment-required", "1")
        .header("x-amzn-producer-start-timestamp", seconds(at))
        .body(body)?;

    let identity = target.credentials.clone().into();
    let mut settings = SigningSettings::default();
    let payload = match target.payload {
        PayloadSigning::Unsigned => {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            SignableBody::UnsignedPayload
        }
        PayloadSigning::EmptyHash => SignableBody::Bytes(&[]),
    };
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(target.region)
        .name("kinesisvideo")
        .time(now)
        .settings(settings)
        .build()?
        .into();
    let uri = request.uri().to_string();
    let headers =
        request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let (instructions, _) =
        sign(SignableRequest::new("POST", &uri, headers, payload)?, &params)?.into_parts();
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}

/// Epoch seconds with exactly three decimals. (The C producer forgets to pad them, so that 5 ms become half a
/// second.)
fn seconds(at: EpochMs) -> String {
    format!("{}.{:03}", at.0 / 1_000, at.0 % 1_000)
}

/// A body of unknown length, sent in pieces, so that acknowledgements can arrive while it is under way.
#[derive(Debug)]
pub struct Pieces(Bytes);

impl Pieces {
    const BYTES: usize = 16 * 1_024;

    /// The fragment as a request body.
    pub fn body(fragment: Vec<u8>) -> SdkBody {
        SdkBody::from_body_1_x(Self(fragment.into()))
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = self.0.len().min(Self::BYTES);
        Poll::Ready((bytes > 0).then(|| Ok(Frame::data(self.0.split_to(bytes)))))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn request(payload: PayloadSigning) -> http::Request<SdkBody> {
        let credentials = Credentials::new("AKID", "secret", Some("session-token".into()), None, "test");
        let target = Target {
            endpoint: "http://127.0.0.1:4000/",
            stream: "session-a",
            region: "eu-central-1",
            credentials: &credentials,
            payload,
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_795_335_945);
        signed(target, EpochMs(1_795_335_945_005), now, Pieces::body(vec![0; 10])).unwrap()
    }

    fn header<'a>(request: &'a http::Request<SdkBody>, name: &str) -> &'a str {
        request.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[test]
    fn the_start_timestamp_is_padded_so_that_5_ms_stay_5_ms() {
        assert_eq!(
            header(&request(PayloadSigning::Unsigned), "x-amzn-producer-start-timestamp"),
            "1795335945.005"
        );
    }

    #[test]
    fn the_signature_covers_host_token_and_kinesis_headers_and_nothing_that_a_proxy_changes() {
        let request = request(PayloadSigning::Unsigned);
        let authorization = header(&request, "authorization");
        assert!(
            authorization.contains("/20261122/eu-central-1/kinesisvideo/aws4_request"),
            "{authorization}"
        );
        let (_, signed) = authorization.split_once("SignedHeaders=").unwrap();
        let signed: Vec<_> = signed.split(',').next().unwrap().split(';').collect();
        for name in [
            "host",
            "x-amz-date",
            "x-amz-security-token",
            "x-amzn-stream-name",
            "x-amzn-fragment-timecode-type",
        ] {
            assert!(signed.contains(&name), "{name} is not in {signed:?}");
        }
        assert!(!signed.contains(&"transfer-encoding"));
        assert_eq!(header(&request, "x-amz-security-token"), "session-token");
    }

    #[test]
    fn one_switch_chooses_how_the_payload_is_signed() {
        let unsigned = request(PayloadSigning::Unsigned);
        assert_eq!(header(&unsigned, "x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
        let empty = request(PayloadSigning::EmptyHash);
        assert_eq!(header(&empty, "x-amz-content-sha256"), "");
        assert_ne!(header(&unsigned, "authorization"), header(&empty, "authorization"));
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_an_error_and_no_panic() {
        let credentials = Credentials::new("AKID", "secret", None, None, "test");
        let payload = PayloadSigning::Unsigned;
        let target =
            Target { endpoint: "not a url", stream: "s", region: "r", credentials: &credentials, payload };
        assert!(matches!(
            signed(target, EpochMs(0), SystemTime::now(), Pieces::body(Vec::new())),
            Err(RequestError::Malformed(_))
        ));
    }
}
