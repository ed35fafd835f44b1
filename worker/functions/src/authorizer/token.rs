//! What a token must be: a pure function of the token, the issuer's keys and the rules. No service is asked, and
//! whatever is not proven is denied.

use aws::settings::{AuthorizerSettings, TokenAlgorithm};
use ingest::message::SessionId;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

/// The longest token that is looked at: API Gateway passes request lines of at most 10 KB.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Characters of a stranger's text that the log repeats.
const MAX_TOLD_CHARS: usize = 64;

/// By how much the issuer's clock may differ from ours, in seconds.
const LEEWAY_SECONDS: u64 = 30;

/// What a role may be. `connection-handler` lets a speaker send; a listener only listens.
const ROLES: [&str; 2] = ["speaker", "listener"];

/// Whom a token proves the caller to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's `sub`, or the session where it has none.
    pub principal: String,
    /// The one session that the token is for.
    pub session: SessionId,
    /// `speaker` or `listener`.
    pub role: String,
}

/// Why a token proves nothing. The caller only learns that it is denied; these words are for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No token in the request.
    #[error("the request has no token")]
    Missing,
    /// Not three parts of base64url, not JSON, or too long.
    #[error("the token is not a JSON Web Token: {0}")]
    Malformed(String),
    /// The header's `alg` is not the configured one; `none` and HS256 among them.
    #[error("the token is not signed with {expected}")]
    Algorithm {
        /// The configured algorithm.
        expected: TokenAlgorithm,
    },
    /// The header names no key, or one that the issuer does not publish.
    #[error("the issuer publishes no key {kid:?}")]
    UnknownKey {
        /// The header's `kid`; empty where it has none.
        kid: String,
    },
    /// The issuer publishes that key for something else.
    #[error("the key {kid:?} is not one for {expected} signatures")]
    UnfitKey {
        /// The header's `kid`.
        kid: String,
        /// The configured algorithm.
        expected: TokenAlgorithm,
    },
    /// Signed with another key, or changed since.
    #[error("the signature does not match")]
    Signature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is to come.
    #[error("the token is not valid yet")]
    NotYet,
    /// Another `iss`.
    #[error("the token is of another issuer")]
    Issuer,
    /// Another `aud` (or, in Cognito's access tokens, which have none, another `client_id`).
    #[error("the token is for another audience")]
    Audience,
    /// A claim is not there or of the wrong type.
    #[error("the claim {0} is missing or invalid")]
    Claim(String),
    /// A role that is neither speaker nor listener.
    #[error("invalid role {0:?}: it must be speaker or listener")]
    Role(String),
    /// The request asks for another session than the token is for.
    #[error("the token is for another session than {0:?}")]
    OtherSession(String),
}

/// Checks a token against the issuer's keys; `wanted` is the session that the request names, if it names one.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(
    token: &str,
    wanted: Option<&str>,
    keys: &JwkSet,
    rules: &AuthorizerSettings,
) -> Result<Caller, Denied> {
    let kid = key_id(token, rules.algorithm)?;
    let told = || kid.chars().take(MAX_TOLD_CHARS).collect();
    let jwk = keys.find(&kid).ok_or_else(|| Denied::UnknownKey { kid: told() })?;
    let key = fitting_key(jwk, rules.algorithm)
        .ok_or_else(|| Denied::UnfitKey { kid: told(), expected: rules.algorithm })?;
    let mut validation = Validation::new(algorithm(rules.algorithm));
    validation.leeway = LEEWAY_SECONDS;
    validation.validate_nbf = true;
    validation.validate_aud = false; // below: Cognito's access tokens name their audience in client_id
    validation.set_required_spec_claims(&["exp", "iss"]);
    validation.set_issuer(&[&rules.issuer]);
    let claims = decode::<Map<String, Value>>(token, &key, &validation).map_err(denied)?.claims;
    if !is_audience(&claims, &rules.audience) {
        return Err(Denied::Audience);
    }
    caller(&claims, wanted, rules)
}

/// The key that the header names, once the header names the configured algorithm.
///
/// # Errors
/// [`Denied::Malformed`], [`Denied::Algorithm`], or [`Denied::UnknownKey`] without a name.
pub fn key_id(token: &str, expected: TokenAlgorithm) -> Result<String, Denied> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Denied::Malformed(format!("{} bytes", token.len())));
    }
    // An algorithm that is not even known, such as none, does not parse.
    let header = decode_header(token).map_err(|error| match error.kind() {
        ErrorKind::Json(_) => Denied::Algorithm { expected },
        _ => Denied::Malformed(error.to_string()),
    })?;
    if header.alg != algorithm(expected) {
        return Err(Denied::Algorithm { expected });
    }
    if let Some(critical) = header.crit {
        let critical: String = format!("{critical:?}").chars().take(MAX_TOLD_CHARS).collect();
        return Err(Denied::Malformed(format!("its critical headers {critical} are not understood")));
    }
    header.kid.filter(|kid| !kid.is_empty()).ok_or_else(|| Denied::UnknownKey { kid: String::new() })
}

fn algorithm(configured: TokenAlgorithm) -> Algorithm {
    match configured {
        TokenAlgorithm::Rs256 => Algorithm::RS256,
        TokenAlgorithm::Es256 => Algorithm::ES256,
    }
}

/// The key, if it is one for signatures of this algorithm. What the key set leaves open does not count against it.
fn fitting_key(jwk: &Jwk, configured: TokenAlgorithm) -> Option<DecodingKey> {
    let (name, algorithm) = match configured {
        TokenAlgorithm::Rs256 => (KeyAlgorithm::RS256, Algorithm::RS256),
        TokenAlgorithm::Es256 => (KeyAlgorithm::ES256, Algorithm::ES256),
    };
    let common = &jwk.common;
    let fits = common.key_algorithm.is_none_or(|declared| declared == name)
        && common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let key = DecodingKey::from_jwk(jwk).ok()?;
    (fits && key.family() == algorithm.family()).then_some(key)
}

fn denied(error: jsonwebtoken::errors::Error) -> Denied {
    match error.into_kind() {
        ErrorKind::InvalidSignature => Denied::Signature,
        ErrorKind::ExpiredSignature => Denied::Expired,
        ErrorKind::ImmatureSignature => Denied::NotYet,
        ErrorKind::InvalidIssuer => Denied::Issuer,
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => Denied::Claim(claim),
        other => Denied::Malformed(format!("{other:?}")),
    }
}

fn is_audience(claims: &Map<String, Value>, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(several)) => several.iter().any(|one| one == audience),
        Some(_) => false,
        None => claims.get("client_id").is_some_and(|client| client == audience),
    }
}

fn caller(
    claims: &Map<String, Value>,
    wanted: Option<&str>,
    rules: &AuthorizerSettings,
) -> Result<Caller, Denied> {
    let text = |name: &str| match claims.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.as_str()),
        _ => Err(Denied::Claim(name.to_owned())),
    };
    let session = SessionId::parse(text(&rules.session_claim)?)
        .map_err(|_| Denied::Claim(rules.session_claim.clone()))?;
    let role = text(&rules.role_claim)?;
    if !ROLES.contains(&role) {
        return Err(Denied::Role(role.chars().take(32).collect()));
    }
    match wanted {
        Some(wanted) if wanted != session.as_str() => {
            Err(Denied::OtherSession(wanted.chars().take(128).collect()))
        }
        _ => Ok(Caller {
            principal: text("sub").unwrap_or(session.as_str()).to_owned(),
            role: role.to_owned(),
            session,
        }),
    }
}
