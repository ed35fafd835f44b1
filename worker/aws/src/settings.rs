//! The environment, read once into typed values.

use crate::put_media::request::PayloadSigning;

/// Hours for which streams keep what is written; at least 1.
pub const KVS_RETENTION_HOURS: &str = "KVS_RETENTION_HOURS";
/// ARN of the KMS key that new streams are encrypted with; without it Kinesis Video's own.
pub const KVS_KMS_KEY: &str = "KVS_KMS_KEY";
/// `unsigned` (default) or `empty`: see [`PayloadSigning`].
pub const PUT_MEDIA_PAYLOAD: &str = "PUT_MEDIA_PAYLOAD";
/// How long after its last byte a PutMedia may still store its fragment, in ms; 10,000 where it is not set.
pub const KVS_PERSISTED_WITHIN_MS: &str = "KVS_PERSISTED_WITHIN_MS";
/// Name of the table of sessions.
pub const SESSIONS_TABLE: &str = "SESSIONS_TABLE";
/// Name of the table of WebSocket connections.
pub const CONNECTIONS_TABLE: &str = "CONNECTIONS_TABLE";
/// Name of the writer's state table.
pub const STATE_TABLE: &str = "STATE_TABLE";
/// URL of the FIFO queue of chunks.
pub const QUEUE_URL: &str = "QUEUE_URL";
/// URL of the FIFO dead-letter queue.
pub const DLQ_URL: &str = "DLQ_URL";
/// Name or ARN of the EventBridge bus on which each fragment is announced; if it is not set, none is.
pub const EVENT_BUS: &str = "EVENT_BUS";
/// Name of the deployment's stack: the dimension `stack` of every metric; without it metrics carry none.
pub const STACK_NAME: &str = "STACK_NAME";
/// `iss` of the tokens that open a connection.
pub const TOKEN_ISSUER: &str = "TOKEN_ISSUER";
/// `aud` of these tokens.
pub const TOKEN_AUDIENCE: &str = "TOKEN_AUDIENCE";
/// `RS256` or `ES256`: how they are signed.
pub const TOKEN_ALGORITHM: &str = "TOKEN_ALGORITHM";
/// Where the issuer publishes its keys; [`TOKEN_ISSUER`] and `/.well-known/jwks.json` where it is not set.
pub const JWKS_URL: &str = "JWKS_URL";
/// The claim that holds the sessionId; `sessionId` where it is not set.
pub const SESSION_CLAIM: &str = "SESSION_CLAIM";
/// The claim that holds the role; `role` where it is not set.
pub const ROLE_CLAIM: &str = "ROLE_CLAIM";

/// AWS says nothing; 20 s is the longest that its maintainers speak of.
const PERSISTED_WITHIN_MS: std::ops::RangeInclusive<u64> = 500..=20_000;

/// The longest retention that Kinesis Video Streams has, ten years.
const MAX_RETENTION_HOURS: i32 = 87_600;

/// What kvs-stream-writer needs to know. Region, credentials and endpoints come by the SDK's own variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// [`SESSIONS_TABLE`].
    pub sessions_table: String,
    /// [`STATE_TABLE`].
    pub state_table: String,
    /// [`QUEUE_URL`].
    pub queue_url: String,
    /// [`DLQ_URL`].
    pub dlq_url: String,
    /// [`KVS_RETENTION_HOURS`], 1 where it is not set.
    pub retention_hours: i32,
    /// [`KVS_KMS_KEY`].
    pub stream_key: Option<String>,
    /// [`PUT_MEDIA_PAYLOAD`].
    pub payload: PayloadSigning,
    /// [`EVENT_BUS`].
    pub event_bus: Option<String>,
}

/// What connection-handler needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySettings {
    /// [`SESSIONS_TABLE`].
    pub sessions_table: String,
    /// [`CONNECTIONS_TABLE`].
    pub connections_table: String,
    /// [`STATE_TABLE`], which is only read.
    pub state_table: String,
    /// [`QUEUE_URL`].
    pub queue_url: String,
}

/// What session-authorizer needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizerSettings {
    /// [`TOKEN_ISSUER`].
    pub issuer: String,
    /// [`TOKEN_AUDIENCE`].
    pub audience: String,
    /// [`TOKEN_ALGORITHM`].
    pub algorithm: TokenAlgorithm,
    /// [`JWKS_URL`].
    pub key_set_url: String,
    /// [`SESSION_CLAIM`].
    pub session_claim: String,
    /// [`ROLE_CLAIM`].
    pub role_claim: String,
}

/// How tokens are signed. One is configured; a token's header chooses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// RSA, as Cognito and most OIDC issuers do.
    Rs256,
    /// ECDSA on P-256.
    Es256,
}

impl std::fmt::Display for TokenAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        })
    }
}

/// A variable that is missing or invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not set, or empty.
    #[error("the environment variable {name} is not set; infra/template.yaml shows what it holds")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// Set to an invalid value.
    #[error("the environment variable {name} must be {expected}, but is {value:?}")]
    Invalid {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

type Result<T> = std::result::Result<T, SettingsError>;

impl Settings {
    /// Reads from `env`, which gives a variable's value.
    ///
    /// # Errors
    /// Names the first variable that is missing or wrong.
    pub fn read(env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        Ok(Self {
            sessions_table: required(&env, SESSIONS_TABLE)?,
            state_table: required(&env, STATE_TABLE)?,
            queue_url: fifo_url(&env, QUEUE_URL)?,
            dlq_url: fifo_url(&env, DLQ_URL)?,
            retention_hours: retention_hours(&env)?,
            stream_key: optional(&env, KVS_KMS_KEY),
            payload: payload(&env)?,
            event_bus: optional(&env, EVENT_BUS),
        })
    }
}

impl GatewaySettings {
    /// Reads from `env`, which gives a variable's value.
    ///
    /// # Errors
    /// Names the first variable that is missing or wrong.
    pub fn read(env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        Ok(Self {
            sessions_table: required(&env, SESSIONS_TABLE)?,
            connections_table: required(&env, CONNECTIONS_TABLE)?,
            state_table: required(&env, STATE_TABLE)?,
            queue_url: fifo_url(&env, QUEUE_URL)?,
        })
    }
}

impl AuthorizerSettings {
    /// Reads from `env`, which gives a variable's value.
    ///
    /// # Errors
    /// Names the first variable that is missing or wrong.
    pub fn read(env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let issuer = required(&env, TOKEN_ISSUER)?;
        let default = format!("{}/.well-known/jwks.json", issuer.trim_end_matches('/'));
        let or = |name, default: &str| optional(&env, name).unwrap_or_else(|| default.to_owned());
        Ok(Self {
            audience: required(&env, TOKEN_AUDIENCE)?,
            algorithm: algorithm(&env)?,
            key_set_url: secure_url(JWKS_URL, or(JWKS_URL, &default))?,
            session_claim: or(SESSION_CLAIM, "sessionId"),
            role_claim: or(ROLE_CLAIM, "role"),
            issuer,
        })
    }
}

/// The process's own environment, for [`Settings::read`].
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn optional(env: &impl Fn(&str) -> Option<String>, name: &'static str) -> Option<String> {
    env(name).filter(|value| !value.is_empty())
}

fn required(env: &impl Fn(&str) -> Option<String>, name: &'static str) -> Result<String> {
    optional(env, name).ok_or(SettingsError::Missing { name })
}

fn fifo_url(env: &impl Fn(&str) -> Option<String>, name: &'static str) -> Result<String> {
    let value = required(env, name)?;
    if value.starts_with("http") && value.ends_with(".fifo") {
        return Ok(value);
    }
    Err(SettingsError::Invalid { name, value, expected: "the URL of a FIFO queue (ending with .fifo)" })
}

fn algorithm(env: &impl Fn(&str) -> Option<String>) -> Result<TokenAlgorithm> {
    let name = TOKEN_ALGORITHM;
    let value = required(env, name)?;
    match value.as_str() {
        "RS256" => Ok(TokenAlgorithm::Rs256),
        "ES256" => Ok(TokenAlgorithm::Es256),
        _ => Err(SettingsError::Invalid { name, value, expected: "RS256 or ES256" }),
    }
}

/// Keys that come over plain HTTP prove nothing; only this machine itself may be asked that way.
fn secure_url(name: &'static str, value: String) -> Result<String> {
    let is_local = ["http://127.0.0.1:", "http://127.0.0.1/"].iter().any(|local| value.starts_with(local));
    if value.starts_with("https://") || is_local {
        return Ok(value);
    }
    Err(SettingsError::Invalid { name, value, expected: "a URL that begins with https://" })
}

fn retention_hours(env: &impl Fn(&str) -> Option<String>) -> Result<i32> {
    let name = KVS_RETENTION_HOURS;
    let Some(value) = optional(env, name) else { return Ok(1) };
    let hours = value.parse().ok().filter(|hours| (1..=MAX_RETENTION_HOURS).contains(hours));
    hours.ok_or(SettingsError::Invalid {
        name,
        value,
        expected: "a number of hours from 1 to 87600 (0 would persist nothing)",
    })
}

/// [`KVS_PERSISTED_WITHIN_MS`], where it is set.
///
/// # Errors
/// Anything but a number of ms from 500 to 20000.
pub fn persisted_within_ms(env: impl Fn(&str) -> Option<String>) -> Result<Option<u64>> {
    let name = KVS_PERSISTED_WITHIN_MS;
    let Some(value) = optional(&env, name) else { return Ok(None) };
    match value.parse().ok().filter(|ms| PERSISTED_WITHIN_MS.contains(ms)) {
        Some(ms) => Ok(Some(ms)),
        None => Err(SettingsError::Invalid { name, value, expected: "a number of ms from 500 to 20000" }),
    }
}

fn payload(env: &impl Fn(&str) -> Option<String>) -> Result<PayloadSigning> {
    let name = PUT_MEDIA_PAYLOAD;
    match optional(env, name).as_deref() {
        None | Some("unsigned") => Ok(PayloadSigning::Unsigned),
        Some("empty") => Ok(PayloadSigning::EmptyHash),
        Some(other) => {
            Err(SettingsError::Invalid { name, value: other.into(), expected: "unsigned or empty" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: [(&str, &str); 4] = [
        (SESSIONS_TABLE, "sessions"),
        (STATE_TABLE, "state"),
        (QUEUE_URL, "https://sqs.eu-central-1.amazonaws.com/1/chunks.fifo"),
        (DLQ_URL, "http://127.0.0.1:4566/000000000000/chunks-dlq.fifo"),
    ];

    fn read(changes: &[(&str, &str)]) -> Result<Settings> {
        Settings::read(|name| {
            let all = changes.iter().chain(&COMPLETE);
            all.into_iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_page_on_deploying_lists_every_variable() {
        let page = include_str!("../../../docs/deploy.md").split("\n## Variables\n").nth(1).unwrap();
        let names = include_str!("settings.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
        assert!(names.clone().count() > 10);
        for name in names {
            assert!(page.contains(&format!("`{name}`")), "docs/deploy.md does not list {name}");
        }
    }

    #[test]
    fn a_promise_of_the_service_is_a_number_within_reason() {
        let of = |value: &'static str| persisted_within_ms(move |_| Some(value.to_owned()));
        assert_eq!((of("20000"), of("")), (Ok(Some(20_000)), Ok(None)));
        for wrong in ["0", "60000", "10s", "-1"] {
            assert!(matches!(of(wrong), Err(SettingsError::Invalid { .. })), "{wrong} is taken");
        }
    }

    #[test]
    fn a_complete_environment_is_read_and_optional_values_have_defaults() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.sessions_table.as_str(), settings.state_table.as_str()), ("sessions", "state"));
        assert_eq!((settings.retention_hours, settings.payload), (1, PayloadSigning::Unsigned));
        let chosen = read(&[(KVS_RETENTION_HOURS, "24"), (PUT_MEDIA_PAYLOAD, "empty")]).unwrap();
        assert_eq!((chosen.retention_hours, chosen.payload), (24, PayloadSigning::EmptyHash));
    }

    #[test]
    fn an_issuer_has_its_keys_where_oidc_puts_them_and_never_behind_an_open_line() {
        let read = |changes: &[(&str, &str)]| {
            let base = [
                (TOKEN_ISSUER, "https://issuer.example/pool/"),
                (TOKEN_AUDIENCE, "app"),
                (TOKEN_ALGORITHM, "RS256"),
            ];
            AuthorizerSettings::read(|name| {
                let mut all = changes.iter().chain(&base);
                all.find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let settings = read(&[]).unwrap();
        assert_eq!(settings.key_set_url, "https://issuer.example/pool/.well-known/jwks.json");
        assert_eq!((settings.session_claim.as_str(), settings.role_claim.as_str()), ("sessionId", "role"));
        assert!(read(&[(JWKS_URL, "http://127.0.0.1:9/keys")]).is_ok());
        for (name, value) in [
            (JWKS_URL, "http://issuer.example/keys"),
            (JWKS_URL, "http://127.0.0.1.issuer.example/keys"),
            (TOKEN_ISSUER, "http://issuer.example"),
            (TOKEN_ALGORITHM, "HS256"),
            (TOKEN_ALGORITHM, "none"),
        ] {
            let message = read(&[(name, value)]).unwrap_err().to_string();
            assert!(message.contains(value), "{message}");
        }
    }

    #[test]
    fn the_error_names_the_variable() {
        for (name, _) in COMPLETE {
            assert_eq!(read(&[(name, "")]), Err(SettingsError::Missing { name }));
        }
        let wrong = [
            (KVS_RETENTION_HOURS, "0"),
            (KVS_RETENTION_HOURS, "one"),
            (PUT_MEDIA_PAYLOAD, "hash"),
            (QUEUE_URL, "https://sqs.eu-central-1.amazonaws.com/1/chunks"),
            (DLQ_URL, "chunks-dlq.fifo"),
        ];
        for (name, value) in wrong {
            let message = read(&[(name, value)]).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(value), "{message}");
        }
    }
}
