//! Who is let in: tokens of every kind, each with its verdict, through the very path that API Gateway's question takes.

#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws::settings::{AuthorizerSettings, TokenAlgorithm};
use aws_lambda_events::event::apigw::ApiGatewayCustomAuthorizerRequestTypeRequest as Event;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use functions::authorizer::authorize;
use functions::authorizer::keys::{Keys, Source};
use functions::authorizer::token::check;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

const ISSUER: &str = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_pool";
const METHOD: &str = "arn:aws:execute-api:eu-central-1:123456789012:abc/live/$connect";

/// A key of an issuer.
struct Key {
    kid: &'static str,
    algorithm: Algorithm,
    private: EncodingKey,
}

impl Key {
    fn rsa(kid: &'static str, size: KeySize) -> Self {
        let pair = RsaKeyPair::generate(size).unwrap();
        let pkcs8 = pair.as_der().unwrap();
        // Behind version, algorithm and two headers lies the RSAPrivateKey of PKCS#1 that jsonwebtoken wants (RFC 5208, 5).
        Self { kid, algorithm: Algorithm::RS256, private: EncodingKey::from_rsa_der(&pkcs8.as_ref()[26..]) }
    }

    fn ec(kid: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap();
        Self { kid, algorithm: Algorithm::ES256, private: EncodingKey::from_ec_der(pkcs8.as_ref()) }
    }

    fn public(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.kid.to_owned());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        jwk
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_as(&Header { kid: Some(self.kid.into()), ..Header::new(self.algorithm) }, claims)
    }

    fn sign_as(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.private).unwrap()
    }
}

type Answered = Result<Vec<u8>, String>;

/// Answers with the documents in this order, the last one again and again, and counts the questions.
struct Script(Mutex<(Vec<Answered>, usize)>);

impl Script {
    fn new(answers: Vec<Answered>) -> Self {
        Self(Mutex::new((answers, 0)))
    }
}

impl Source for &Script {
    async fn get(&self) -> Answered {
        let mut script = self.0.lock().unwrap();
        let (answers, asked) = &mut *script;
        *asked += 1;
        answers[(*asked - 1).min(answers.len() - 1)].clone()
    }
}

fn document(keys: &[Jwk]) -> Answered {
    Ok(serde_json::to_vec(&JwkSet { keys: keys.to_vec() }).unwrap())
}

fn rules(algorithm: TokenAlgorithm) -> AuthorizerSettings {
    AuthorizerSettings {
        issuer: ISSUER.into(),
        audience: "app".into(),
        algorithm,
        key_set_url: format!("{ISSUER}/.well-known/jwks.json"),
        session_claim: "sessionId".into(),
        role_claim: "role".into(),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The claims of a speaker of session `live`, changed: a null takes a claim away.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": "app", "sub": "user-7", "iat": now(), "exp": now() + 3600,
        "sessionId": "live", "role": "speaker",
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => _ = claims.as_object_mut().unwrap().remove(name),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn question(query: &[(&str, &str)]) -> Event {
    let query: serde_json::Map<String, Value> =
        query.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    serde_json::from_value(json!({
        "type": "REQUEST",
        "methodArn": METHOD,
        "headers": {"Host": "abc.execute-api.eu-central-1.amazonaws.com"},
        "queryStringParameters": query,
        "requestContext": {"routeKey": "$connect", "eventType": "CONNECT", "apiId": "abc", "connectionId": "Xa1="},
    }))
    .unwrap()
}

async fn ask<S: Source>(keys: &Keys<S>, rules: &AuthorizerSettings, query: &[(&str, &str)]) -> Value {
    let answer = authorize(keys, rules, &question(query)).await.unwrap();
    serde_json::to_value(answer).unwrap()
}

/// `Allow SESSION ROLE` or `Deny`, and that a denial says nothing more.
fn verdict(answer: &Value) -> String {
    let statement = &answer["policyDocument"]["Statement"][0];
    assert_eq!(
        (&statement["Action"], &statement["Resource"]),
        (&json!("execute-api:Invoke"), &json!(METHOD)),
        "the policy is for the method that was asked about and nothing else"
    );
    match statement["Effect"].as_str().unwrap() {
        "Allow" => format!(
            "Allow {} {}",
            answer["context"]["sessionId"].as_str().unwrap(),
            answer["context"]["role"].as_str().unwrap()
        ),
        effect => {
            assert_eq!(answer.get("context"), None, "whoever is denied gets no context");
            effect.to_owned()
        }
    }
}

fn unsigned(header: Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(&header), part(claims))
}

/// The header and claims of a token under the signature of another.
fn spliced(of: &str, signature_of: &str) -> String {
    format!("{}.{}", of.rsplit_once('.').unwrap().0, signature_of.rsplit_once('.').unwrap().1)
}

#[tokio::test]
async fn each_token_gets_its_verdict() {
    let (key, other, stranger) = (
        Key::rsa("k1", KeySize::Rsa2048),
        Key::rsa("k2", KeySize::Rsa2048),
        Key::rsa("k1", KeySize::Rsa2048),
    );
    let (ec, mut for_encryption) = (Key::ec("k3"), Key::rsa("k4", KeySize::Rsa2048).public());
    for_encryption.common.public_key_use = Some(PublicKeyUse::Encryption);
    let encrypting = Key { kid: "k4", ..Key::rsa("k4", KeySize::Rsa2048) };
    let secret = URL_SAFE_NO_PAD.decode(serde_json::to_value(key.public()).unwrap()["n"].as_str().unwrap());
    let secret =
        Key { kid: "k1", algorithm: Algorithm::HS256, private: EncodingKey::from_secret(&secret.unwrap()) };
    let script = Script::new(vec![document(&[key.public(), other.public(), ec.public(), for_encryption])]);
    let keys = Keys::new(&script);
    let rules = rules(TokenAlgorithm::Rs256);
    let good = key.sign(&claims(json!({})));
    let header = |algorithm: &str| json!({"alg": algorithm, "kid": "k1", "typ": "JWT"});
    let with = |changes: Value| key.sign(&claims(changes));
    let kid_less = Header { kid: None, ..Header::new(Algorithm::RS256) };
    let critical =
        Header { kid: Some("k1".into()), crit: Some(vec!["b64".into()]), ..Header::new(Algorithm::RS256) };

    const SPEAKER: &str = "Allow live speaker";
    let table: Vec<(&str, String, &str)> = vec![
        ("a speaker's", good.clone(), SPEAKER),
        ("of the issuer's other key", other.sign(&claims(json!({}))), SPEAKER),
        ("a listener's", with(json!({"role": "listener"})), "Allow live listener"),
        ("for several audiences, ours among them", with(json!({"aud": ["web", "app"]})), SPEAKER),
        (
            "Cognito's access token: no aud, our client_id",
            with(json!({"aud": null, "client_id": "app"})),
            SPEAKER,
        ),
        ("without a subject", with(json!({"sub": null})), SPEAKER),
        ("expired within the leeway", with(json!({"exp": now() - 10})), SPEAKER),
        ("expired", with(json!({"exp": now() - 120})), "Deny"),
        ("never expiring", with(json!({"exp": null})), "Deny"),
        ("expiring at no time at all", with(json!({"exp": "tomorrow"})), "Deny"),
        ("not valid yet", with(json!({"nbf": now() + 600})), "Deny"),
        ("of another issuer", with(json!({"iss": "https://issuer.example"})), "Deny"),
        ("of no issuer", with(json!({"iss": null})), "Deny"),
        ("for another audience", with(json!({"aud": "shop"})), "Deny"),
        ("for other audiences", with(json!({"aud": ["shop", "web"]})), "Deny"),
        ("for no audience", with(json!({"aud": null})), "Deny"),
        ("for another client", with(json!({"aud": null, "client_id": "shop"})), "Deny"),
        ("for another audience but by our client", with(json!({"aud": "shop", "client_id": "app"})), "Deny"),
        ("for an audience that is not text", with(json!({"aud": {"app": true}})), "Deny"),
        ("algorithm none", unsigned(header("none"), &claims(json!({}))), "Deny"),
        ("algorithm None", unsigned(header("None"), &claims(json!({}))), "Deny"),
        ("signed with HS256 and the public key as secret", secret.sign(&claims(json!({}))), "Deny"),
        ("signed with the issuer's EC key", ec.sign(&claims(json!({}))), "Deny"),
        (
            "an RS256 header that names the EC key",
            key.sign_as(
                &Header { kid: Some("k3".into()), ..Header::new(Algorithm::RS256) },
                &claims(json!({})),
            ),
            "Deny",
        ),
        (
            "signed with RS512",
            key.sign_as(
                &Header { kid: Some("k1".into()), ..Header::new(Algorithm::RS512) },
                &claims(json!({})),
            ),
            "Deny",
        ),
        ("of a key for encryption", encrypting.sign(&claims(json!({}))), "Deny"),
        ("signed by a stranger under our key's name", stranger.sign(&claims(json!({}))), "Deny"),
        (
            "of a key that nobody publishes",
            Key { kid: "k9", ..Key::rsa("k9", KeySize::Rsa2048) }.sign(&claims(json!({}))),
            "Deny",
        ),
        ("that names no key", key.sign_as(&kid_less, &claims(json!({}))), "Deny"),
        ("with a critical header", key.sign_as(&critical, &claims(json!({}))), "Deny"),
        (
            "with a listener's signature under a speaker's claims",
            spliced(&good, &with(json!({"role": "listener"}))),
            "Deny",
        ),
        ("without its signature", good.rsplit_once('.').unwrap().0.to_owned() + ".", "Deny"),
        ("without a session", with(json!({"sessionId": null})), "Deny"),
        ("whose session is a number", with(json!({"sessionId": 5})), "Deny"),
        ("whose session cannot name a stream", with(json!({"sessionId": "a/../b"})), "Deny"),
        ("without a role", with(json!({"role": null})), "Deny"),
        ("of an unknown role", with(json!({"role": "admin"})), "Deny"),
        ("of several roles", with(json!({"role": ["speaker"]})), "Deny"),
        ("no token at all", "not-a-token".into(), "Deny"),
        ("an empty one", String::new(), "Deny"),
        ("far too long", format!("{good}{}", "A".repeat(9_000)), "Deny"),
    ];
    assert!(table.len() >= 25);
    for (what, token, expected) in &table {
        let told = verdict(&ask(&keys, &rules, &[("token", token)]).await);
        assert_eq!(&told, expected, "a token {what}");
    }
    assert_eq!(verdict(&ask(&keys, &rules, &[]).await), "Deny", "no token parameter");
    for (wanted, expected) in [("live", SPEAKER), ("other", "Deny"), ("", "Deny")] {
        let told = verdict(&ask(&keys, &rules, &[("token", &good), ("sessionId", wanted)]).await);
        assert_eq!(told, expected, "asked for session {wanted:?}");
    }
    println!("{} tokens, each with its verdict", table.len() + 4);
}

#[tokio::test]
async fn es256_is_taken_where_it_is_configured_and_rs256_is_not() {
    let (ec, rsa) = (Key::ec("e"), Key::rsa("r", KeySize::Rsa2048));
    let script = Script::new(vec![document(&[ec.public(), rsa.public()])]);
    let (keys, rules) = (Keys::new(&script), rules(TokenAlgorithm::Es256));
    let speaker = claims(json!({}));
    assert_eq!(verdict(&ask(&keys, &rules, &[("token", &ec.sign(&speaker))]).await), "Allow live speaker");
    assert_eq!(verdict(&ask(&keys, &rules, &[("token", &rsa.sign(&speaker))]).await), "Deny");
}

#[tokio::test]
async fn claims_may_have_other_names() {
    let key = Key::ec("e");
    let script = Script::new(vec![document(&[key.public()])]);
    let keys = Keys::new(&script);
    let rules = AuthorizerSettings {
        session_claim: "custom:session".into(),
        role_claim: "custom:role".into(),
        ..rules(TokenAlgorithm::Es256)
    };
    let token = key.sign(&claims(json!({"custom:session": "other", "custom:role": "listener"})));
    assert_eq!(verdict(&ask(&keys, &rules, &[("token", &token)]).await), "Allow other listener");
}

#[tokio::test(start_paused = true)]
async fn a_rotated_key_is_learnt_at_once_and_a_withdrawn_one_forgotten_within_the_hour() {
    let (old, new) = (Key::ec("old"), Key::ec("new"));
    let script = Script::new(vec![document(&[old.public()]), document(&[new.public()])]);
    let (keys, rules) = (Keys::new(&script), rules(TokenAlgorithm::Es256));
    // Real time stands still for tokio only: the tokens' own times are the system clock's.
    let (old, new) = (old.sign(&claims(json!({}))), new.sign(&claims(json!({}))));
    assert_eq!(verdict(&ask(&keys, &rules, &[("token", &old)]).await), "Allow live speaker");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(verdict(&ask(&keys, &rules, &[("token", &new)]).await), "Allow live speaker");
    assert_eq!(verdict(&ask(&keys, &rules, &[("token", &old)]).await), "Deny");

    let withdrawn = Key::ec("withdrawn");
    let script = Script::new(vec![document(&[withdrawn.public()]), document(&[])]);
    let (keys, token) = (Keys::new(&script), withdrawn.sign(&claims(json!({}))));
    assert_eq!(verdict(&ask(&keys, &rules, &[("token", &token)]).await), "Allow live speaker");
    tokio::time::advance(Duration::from_secs(3_601)).await;
    assert_eq!(verdict(&ask(&keys, &rules, &[("token", &token)]).await), "Deny");
    assert_eq!(script.0.lock().unwrap().1, 2, "after an hour the issuer is asked again");
}

#[tokio::test(start_paused = true)]
async fn invented_key_names_do_not_hammer_the_issuer() {
    let (known, invented) = (Key::ec("known"), Key::ec("invented"));
    let script = Script::new(vec![document(&[known.public()])]);
    let (keys, rules) = (Keys::new(&script), rules(TokenAlgorithm::Es256));
    let (known, invented) = (known.sign(&claims(json!({}))), invented.sign(&claims(json!({}))));
    for _ in 0..50 {
        assert_eq!(verdict(&ask(&keys, &rules, &[("token", &invented)]).await), "Deny");
        assert_eq!(verdict(&ask(&keys, &rules, &[("token", &known)]).await), "Allow live speaker");
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let asked = script.0.lock().unwrap().1;
    assert!((1..=3).contains(&asked), "asked {asked} times within 50 seconds");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_away_for_a_while_keeps_nobody_out_and_one_that_never_answered_lets_nobody_in() {
    let key = Key::ec("e");
    let script = Script::new(vec![document(&[key.public()]), Err("connection refused".into())]);
    let (keys, rules) = (Keys::new(&script), rules(TokenAlgorithm::Es256));
    let token = key.sign(&claims(json!({})));
    for _ in 0..11 {
        assert_eq!(verdict(&ask(&keys, &rules, &[("token", &token)]).await), "Allow live speaker");
        tokio::time::advance(Duration::from_secs(3_601)).await;
    }
    tokio::time::advance(Duration::from_secs(2 * 3_600)).await;
    let too_old = authorize(&keys, &rules, &question(&[("token", &token)])).await;
    assert!(too_old.unwrap_err().to_string().contains("connection refused"));

    for useless in [Err("refused".into()), Ok(b"<html>".to_vec()), Ok(br#"{"keys":7}"#.to_vec())] {
        let script = Script::new(vec![useless]);
        let keys = Keys::new(&script);
        let error = authorize(&keys, &rules, &question(&[("token", &token)])).await.unwrap_err();
        assert!(error.to_string().contains("JWKS_URL"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_without_an_answer_is_left_alone_for_a_while() {
    let key = Key::ec("e");
    let script = Script::new(vec![Err("timed out".into()), document(&[key.public()])]);
    let (keys, rules) = (Keys::new(&script), rules(TokenAlgorithm::Es256));
    let token = key.sign(&claims(json!({})));
    for _ in 0..100 {
        let error = authorize(&keys, &rules, &question(&[("token", &token)])).await.unwrap_err();
        assert!(error.to_string().contains("timed out"), "{error}");
        tokio::time::advance(Duration::from_millis(90)).await;
    }
    assert_eq!(script.0.lock().unwrap().1, 1, "each handshake waits for the issuer's time-out");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(verdict(&ask(&keys, &rules, &[("token", &token)]).await), "Allow live speaker");
}

#[test]
fn a_strangers_key_name_is_cut_in_the_log() {
    let invented = Key { kid: Box::leak("k".repeat(5_000).into_boxed_str()), ..Key::ec("x") };
    let rules = rules(TokenAlgorithm::Es256);
    let keys = JwkSet { keys: vec![Key::ec("known").public()] };
    let denied = check(&invented.sign(&claims(json!({}))), None, &keys, &rules).unwrap_err();
    assert!(denied.to_string().len() < 200, "{} characters in the log", denied.to_string().len());
}

#[tokio::test]
async fn keys_of_unknown_kinds_do_not_spoil_the_others() {
    let key = Key::ec("e");
    let mut set = serde_json::to_value(JwkSet { keys: vec![key.public()] }).unwrap();
    set["keys"]
        .as_array_mut()
        .unwrap()
        .insert(0, json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "q", "pub": "AA"}));
    let script = Script::new(vec![Ok(set.to_string().into_bytes())]);
    let (keys, rules) = (Keys::new(&script), rules(TokenAlgorithm::Es256));
    let token = key.sign(&claims(json!({})));
    assert_eq!(verdict(&ask(&keys, &rules, &[("token", &token)]).await), "Allow live speaker");
}
