//! session-authorizer: who may open a WebSocket connection, and for which session in which role.
//!
//! API Gateway asks once per connection, before `$connect`. The answer is an IAM policy for exactly the method that
//! was asked about; its context travels with every event of the connection. Anything but a proven caller is denied.

pub mod keys;
pub mod token;

use aws::settings::AuthorizerSettings;
use aws::telemetry;
use aws_lambda_events::event::apigw::ApiGatewayCustomAuthorizerRequestTypeRequest;
use serde::Serialize;
use serde_json::json;

use self::keys::{Keys, NoKeys, Source};
use self::token::{Caller, Denied, check, key_id};

/// The query parameter that holds the token. Browsers cannot set headers on a WebSocket.
pub const TOKEN: &str = "token";
/// The query parameter that may name the session; it must then be the token's.
pub const SESSION: &str = "sessionId";

/// The answer to API Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    principal_id: String,
    policy_document: Policy,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Context>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    version: &'static str,
    statement: [Statement; 1],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    action: &'static str,
    effect: &'static str,
    resource: String,
}

/// What every later event of the connection carries in `requestContext.authorizer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    session_id: String,
    role: String,
}

/// Decides about one connection.
///
/// # Errors
/// [`NoKeys`]: the token cannot be checked; API Gateway refuses the connection with 500.
pub async fn authorize<S: Source>(
    keys: &Keys<S>,
    rules: &AuthorizerSettings,
    event: &ApiGatewayCustomAuthorizerRequestTypeRequest,
) -> Result<Answer, NoKeys> {
    let resource = event.method_arn.as_deref().unwrap_or_default();
    let verdict = match verdict(keys, rules, event).await? {
        Ok(_) if resource.is_empty() => Err(Denied::Malformed("the event has no methodArn".into())),
        verdict => verdict,
    };
    let denied = match verdict {
        Ok(caller) => return Ok(allow(caller, resource)),
        Err(denied) => denied,
    };
    let fields = json!({"event": "connectionDenied", "reason": denied.to_string()});
    telemetry::count(fields, ("connectionsDenied", 1), &[]);
    Ok(Answer { principal_id: "nobody".into(), policy_document: policy("Deny", resource), context: None })
}

async fn verdict<S: Source>(
    keys: &Keys<S>,
    rules: &AuthorizerSettings,
    event: &ApiGatewayCustomAuthorizerRequestTypeRequest,
) -> Result<Result<Caller, Denied>, NoKeys> {
    let query = &event.query_string_parameters;
    let Some(token) = query.first(TOKEN).filter(|token| !token.is_empty()) else {
        return Ok(Err(Denied::Missing));
    };
    // What needs no key is settled before the issuer is asked for one.
    let kid = match key_id(token, rules.algorithm) {
        Ok(kid) => kid,
        Err(denied) => return Ok(Err(denied)),
    };
    let set = keys.holding(&kid).await?;
    Ok(check(token, query.first(SESSION), &set, rules))
}

fn allow(caller: Caller, resource: &str) -> Answer {
    Answer {
        principal_id: caller.principal,
        policy_document: policy("Allow", resource),
        context: Some(Context { session_id: caller.session.as_str().to_owned(), role: caller.role }),
    }
}

fn policy(effect: &'static str, resource: &str) -> Policy {
    // A policy needs a resource; a denial of everything is the safe reading of a strange event.
    let resource = if resource.is_empty() { "*" } else { resource }.to_owned();
    Policy {
        version: "2012-10-17",
        statement: [Statement { action: "execute-api:Invoke", effect, resource }],
    }
}
