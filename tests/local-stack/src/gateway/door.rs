//! Who is let in: API Gateway's question to a Lambda authorizer before `$connect`, and what it makes of the answer.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::event::STAGE;
use super::issuer::Issuer;
use crate::runtime_api::Function;

/// What API Gateway calls the method that is asked about.
const METHOD: &str = "arn:aws:execute-api:us-east-1:000000000000:local/local/$connect";

/// session-authorizer, and the issuer whose tokens it takes.
pub struct Door {
    authorizer: Function,
    issuer: Issuer,
}

/// Query parameters, in their order.
type Query = [(String, String)];

/// The last value of a parameter, if there is one.
pub(super) fn asked<'a>(query: &'a Query, name: &str) -> Option<&'a str> {
    let found = query.iter().rev().find(|(key, value)| key == name && !value.is_empty());
    found.map(|(_, value)| value.as_str())
}

impl Door {
    /// `authorizer` must have been told [`Issuer::environment`].
    pub fn new(authorizer: Function, issuer: Issuer) -> Self {
        Self { authorizer, issuer }
    }

    /// The issuer.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The authorizer.
    pub fn authorizer(&self) -> &Function {
        &self.authorizer
    }

    /// Session and role of whoever connects, by the token in the query. Where there is none but `sessionId` and `role` are named, the
    /// issuer gives one for them first: a stand-in for the application that a page would have it from.
    ///
    /// # Errors
    /// What API Gateway answers: 401 without a token, 403 for a denial, 500 where the authorizer fails.
    pub(super) async fn admit(&self, query: &Query, source_ip: &str) -> Result<(String, String), StatusCode> {
        let mut query = query.to_vec();
        if asked(&query, "token").is_none() {
            let named = asked(&query, "sessionId").zip(asked(&query, "role"));
            let (session_id, role) = named.ok_or(StatusCode::UNAUTHORIZED)?;
            let token = self.issuer.token(session_id, role).map_err(|error| {
                tracing::warn!(%error, "no token could be made");
                StatusCode::INTERNAL_SERVER_ERROR
            })?;
            query.push(("token".to_owned(), token));
        }
        let answer = self.authorizer.invoke(question(&query, source_ip).to_string().into()).await;
        let answer = answer.map_err(|error| {
            tracing::warn!(%error, "the authorizer failed");
            StatusCode::INTERNAL_SERVER_ERROR
        })?;
        verdict(&serde_json::from_slice(&answer).unwrap_or_default())
    }
}

fn question(query: &Query, source_ip: &str) -> Value {
    let parameters: serde_json::Map<String, Value> =
        query.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "type": "REQUEST",
        "methodArn": METHOD,
        "headers": {},
        "queryStringParameters": parameters,
        "requestContext": {
            "routeKey": "$connect",
            "eventType": "CONNECT",
            "stage": STAGE,
            "apiId": "local",
            "identity": {"sourceIp": source_ip},
        },
    })
}

/// An Allow for the very method, with a context that holds both values.
fn verdict(answer: &Value) -> Result<(String, String), StatusCode> {
    let statements = answer["policyDocument"]["Statement"].as_array();
    let statements = statements.ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
    let is_allowed =
        |s: &Value| s["Effect"] == "Allow" && s["Action"] == "execute-api:Invoke" && s["Resource"] == METHOD;
    if statements.is_empty() || !statements.iter().all(is_allowed) {
        return Err(StatusCode::FORBIDDEN);
    }
    let text = |name: &str| answer["context"][name].as_str().map(str::to_owned);
    text("sessionId").zip(text("role")).ok_or(StatusCode::FORBIDDEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_allow_for_the_very_method_lets_in() {
        let answer = |effect: &str, resource: &str| {
            json!({
                "principalId": "p",
                "policyDocument": {"Version": "2012-10-17", "Statement": [
                    {"Action": "execute-api:Invoke", "Effect": effect, "Resource": resource}]},
                "context": {"sessionId": "s", "role": "speaker"},
            })
        };
        assert_eq!(verdict(&answer("Allow", METHOD)), Ok(("s".into(), "speaker".into())));
        assert_eq!(verdict(&answer("Deny", METHOD)), Err(StatusCode::FORBIDDEN));
        assert_eq!(verdict(&answer("Allow", "arn:aws:execute-api:other")), Err(StatusCode::FORBIDDEN));
        assert_eq!(verdict(&json!({})), Err(StatusCode::INTERNAL_SERVER_ERROR));
    }
}
