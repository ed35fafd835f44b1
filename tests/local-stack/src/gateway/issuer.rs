//! The issuer of the tokens that open connections, as a Cognito pool would be one: a key pair of its own, made at the start, and its
//! key set on the loopback interface.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::Router;
use axum::routing::get;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// `aud` of its tokens.
pub const AUDIENCE: &str = "local-stack";

/// How long its tokens hold.
const LIFETIME: Duration = Duration::from_secs(3_600);

const KEY_ID: &str = "local-1";
const KEY_SET: &str = "/.well-known/jwks.json";

/// A running issuer.
pub struct Issuer {
    key: EncodingKey,
    url: String,
    server: JoinHandle<()>,
}

impl Issuer {
    /// Makes its key and publishes it.
    ///
    /// # Errors
    /// The operating system's, when there is no port or no randomness.
    pub async fn start() -> std::io::Result<Self> {
        let no_key = |_| std::io::Error::other("no key could be made");
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(no_key)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(no_key)?;
        let key = EncodingKey::from_ec_der(pkcs8.as_ref());
        let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(std::io::Error::other)?;
        public.common.key_id = Some(KEY_ID.to_owned());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        let key_set = serde_json::to_string(&JwkSet { keys: vec![public] })?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().route(KEY_SET, get(move || std::future::ready(key_set.clone())));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { key, url, server })
    }

    /// What session-authorizer needs to know of it.
    pub fn environment(&self) -> Vec<(String, String)> {
        let variables = [
            ("TOKEN_ISSUER", self.url.clone()),
            ("TOKEN_AUDIENCE", AUDIENCE.to_owned()),
            ("TOKEN_ALGORITHM", "ES256".to_owned()),
            ("JWKS_URL", format!("{}{KEY_SET}", self.url)),
        ];
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// A token for a session in a role, as the application would give one to its page.
    ///
    /// # Errors
    /// The library's, which has none for a key of its own making.
    pub fn token(&self, session_id: &str, role: &str) -> Result<String, jsonwebtoken::errors::Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = json!({
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "somebody",
            "iat": now.as_secs(),
            "exp": (now + LIFETIME).as_secs(),
            "sessionId": session_id,
            "role": role,
        });
        let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::ES256) };
        encode(&header, &claims, &self.key)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}
