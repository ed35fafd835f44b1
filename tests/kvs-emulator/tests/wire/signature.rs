use crate::support::{EPOCH_MS, connect, virtual_config};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use kvs_emulator::{Config, Emulator};
use std::time::{Duration, UNIX_EPOCH};

struct Signed<'a> {
    secret: &'a str,
    access_key: &'a str,
    region: &'a str,
    at_ms: u64,
    signed_host: &'a str,
    body: SignableBody<'a>,
    settings: SigningSettings,
}

impl Default for Signed<'_> {
    fn default() -> Self {
        Self {
            secret: "secret",
            access_key: "AK",
            region: "us-east-1",
            at_ms: EPOCH_MS,
            signed_host: "kvs.local",
            body: SignableBody::Bytes(b"{}"),
            settings: SigningSettings::default(),
        }
    }
}

impl Signed<'_> {
    /// The header fields of a signed POST.
    fn fields(self, path: &str) -> String {
        let identity = Credentials::new(self.access_key, self.secret, None, None, "test").into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name("kinesisvideo")
            .time(UNIX_EPOCH + Duration::from_millis(self.at_ms))
            .settings(self.settings)
            .build()
            .unwrap()
            .into();
        let uri = format!("http://{}{path}", self.signed_host);
        let extra = [("x-amzn-stream-name", "s"), ("connection", "keep-alive")];
        let request = SignableRequest::new("POST", uri, extra.into_iter(), self.body).unwrap();
        let (instructions, _) = sign(request, &params).unwrap().into_parts();
        let fields = instructions.headers().chain(extra);
        fields.map(|(name, value)| format!("{name}: {value}\r\n")).collect()
    }
}

async fn verifying() -> Emulator {
    let credentials = Some(("AK".to_owned(), "secret".to_owned()));
    kvs_emulator::start(Config { credentials, ..virtual_config() }).await.unwrap()
}

async fn post(
    emulator: &Emulator,
    path: &str,
    host: &str,
    fields: &str,
    body: &str,
) -> (u16, Option<String>) {
    let mut http = connect(emulator);
    let length = body.len();
    let request =
        format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{fields}Content-Length: {length}\r\n\r\n{body}");
    http.send(request.as_bytes()).await;
    let head = http.head().await.unwrap();
    (head.status, head.error_type().map(str::to_owned))
}

#[tokio::test(start_paused = true)]
async fn a_true_signature_is_accepted_with_and_without_the_port_in_host() {
    let emulator = verifying().await;
    for (sent, signed_host) in
        [("kvs.local", "kvs.local"), ("kvs.local:4599", "kvs.local:4599"), ("kvs.local:4599", "kvs.local")]
    {
        let fields = Signed { signed_host, ..Signed::default() }.fields("/listStreams");
        assert_eq!(
            post(&emulator, "/listStreams", sent, &fields, "{}").await.0,
            200,
            "{sent}, signed {signed_host}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_false_signature_is_refused_with_the_type_that_names_the_reason() {
    let emulator = verifying().await;
    let invalid = Some("InvalidSignatureException");
    let cases = [
        ("another secret", Signed { secret: "other", ..Signed::default() }, "{}", invalid),
        (
            "another access key",
            Signed { access_key: "XX", ..Signed::default() },
            "{}",
            Some("UnrecognizedClientException"),
        ),
        ("another region", Signed { region: "eu-west-1", ..Signed::default() }, "{}", invalid),
        ("another body", Signed::default(), "{ }", invalid),
        ("another host", Signed { signed_host: "other", ..Signed::default() }, "{}", invalid),
        ("six minutes old", Signed { at_ms: EPOCH_MS - 360_000, ..Signed::default() }, "{}", invalid),
    ];
    for (what, signed, body, kind) in cases {
        let fields = signed.fields("/listStreams");
        let answer = post(&emulator, "/listStreams", "kvs.local", &fields, body).await;
        assert_eq!((answer.0, answer.1.as_deref()), (403, kind), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn put_media_may_be_signed_over_nothing_or_unsigned_payload() {
    let emulator = verifying().await;
    let mut unsigned = SigningSettings::default();
    unsigned.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let cases = [
        ("the empty body", Signed { body: SignableBody::Bytes(b""), ..Signed::default() }, 404),
        (
            "UNSIGNED-PAYLOAD",
            Signed { body: SignableBody::UnsignedPayload, settings: unsigned, ..Signed::default() },
            404,
        ),
        ("the body itself", Signed { body: SignableBody::Bytes(b"media"), ..Signed::default() }, 403),
    ];
    for (what, signed, status) in cases {
        let more = "x-amzn-fragment-timecode-type: ABSOLUTE\r\nx-amzn-producer-start-timestamp: 1.0\r\n";
        let fields = signed.fields("/putMedia") + more;
        let answer = post(&emulator, "/putMedia", "kvs.local", &fields, "media").await;
        assert_eq!(
            answer.0, status,
            "{what}: 404 says that the signature was good and the stream is missing"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_presigned_query_is_verified_and_expires() {
    let emulator = verifying().await;
    let presigned = |secret: &str, host: &str, at_ms: u64, token: Option<&str>| {
        let identity = Credentials::new("AK", secret, token.map(str::to_owned), None, "test").into();
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(600));
        let time = UNIX_EPOCH + Duration::from_millis(at_ms);
        let params = SigningParams::builder().identity(&identity).region("us-east-1").name("kinesisvideo");
        let params = params.time(time).settings(settings).build().unwrap().into();
        let uri = format!("http://{host}/putMedia");
        let request =
            SignableRequest::new("POST", uri, std::iter::empty(), SignableBody::UnsignedPayload).unwrap();
        let (instructions, _) = sign(request, &params).unwrap().into_parts();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(instructions.params());
        format!("/putMedia?{}", query.finish())
    };
    let more = "x-amzn-stream-name: s\r\nx-amzn-fragment-timecode-type: ABSOLUTE\r\nx-amzn-producer-start-timestamp: 1.0\r\n";
    let cases = [
        ("good", presigned("secret", "kvs.local", EPOCH_MS, None), 404),
        ("with a token", presigned("secret", "kvs.local", EPOCH_MS, Some("a/b+c")), 404),
        ("nine minutes old", presigned("secret", "kvs.local", EPOCH_MS - 540_000, None), 404),
        ("eleven minutes old", presigned("secret", "kvs.local", EPOCH_MS - 660_000, None), 403),
        ("another secret", presigned("other", "kvs.local", EPOCH_MS, None), 403),
        ("another host", presigned("secret", "kvs.other", EPOCH_MS, None), 403),
        (
            "without expiry",
            "/putMedia?X-Amz-Signature=00&X-Amz-Credential=AK/1/2/kinesisvideo/aws4_request".to_owned(),
            403,
        ),
    ];
    for (what, path, status) in cases {
        let answer = post(&emulator, &path, "kvs.local", more, "").await;
        assert_eq!(
            answer.0, status,
            "{what}: 404 says that the signature was good and the stream is missing"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn without_authentication_a_request_needs_no_signature() {
    let emulator = kvs_emulator::start(Config { auth: false, ..virtual_config() }).await.unwrap();
    assert_eq!(post(&emulator, "/listStreams", "kvs.local", "", "{}").await.0, 200);
    let strict = kvs_emulator::start(virtual_config()).await.unwrap();
    let answer = post(&strict, "/listStreams", "kvs.local", "", "{}").await;
    assert_eq!(answer, (403, Some("MissingAuthenticationTokenException".to_owned())));
}
