//! The tables' keys and time to live.

use aws::failure::call;
use aws_sdk_dynamodb::types::{TableDescription, TimeToLiveStatus};

use super::finding::{Finding, Verdict};
use crate::error::Result;
use crate::world::World;

/// A table that should be there.
struct Wanted<'a> {
    subject: &'static str,
    name: &'a str,
    keys: &'static [&'static str],
    time_to_live: bool,
}

/// The state table and the table of sessions.
pub(super) async fn check(world: &World) -> Vec<Finding> {
    let settings = &world.settings;
    let state = Wanted {
        subject: "state table",
        name: &settings.state_table,
        keys: &["pk", "sk"],
        time_to_live: true,
    };
    let sessions = Wanted {
        subject: "sessions table",
        name: &settings.sessions_table,
        keys: &["sessionId"],
        time_to_live: false,
    };
    let mut findings = Vec::new();
    for wanted in [state, sessions] {
        match table(world, &wanted).await {
            Ok(found) => findings.extend(found),
            Err(error) => findings.push(Finding::failed(wanted.subject, &error)),
        }
    }
    findings
}

async fn table(world: &World, wanted: &Wanted<'_>) -> Result<Vec<Finding>> {
    let asked = world.dynamodb.describe_table().table_name(wanted.name);
    let described = call("DescribeTable", asked.send()).await?.table;
    let keys = described.as_ref().map(keys).unwrap_or_default();
    let mut findings = vec![Finding::when(
        keys == wanted.keys,
        wanted.subject,
        Verdict::Wrong,
        format!("{} has the keys {}", wanted.name, keys.join(", ")),
        format!("it needs {}; is it the right table?", wanted.keys.join(", ")),
    )];
    if wanted.time_to_live {
        let asked = world.dynamodb.describe_time_to_live().table_name(wanted.name);
        let told = call("DescribeTimeToLive", asked.send()).await?.time_to_live_description;
        let on = told.as_ref().is_some_and(|ttl| {
            let enabled = [TimeToLiveStatus::Enabled, TimeToLiveStatus::Enabling];
            ttl.attribute_name() == Some("expiresAt")
                && ttl.time_to_live_status().is_some_and(|status| enabled.contains(status))
        });
        findings.push(Finding::when(
            on,
            wanted.subject,
            Verdict::Look,
            if on { "old items go by expiresAt" } else { "has no time to live: it grows for ever" },
            "enable time to live on the attribute expiresAt",
        ));
    }
    Ok(findings)
}

/// Names of the key attributes, partition key first.
fn keys(table: &TableDescription) -> Vec<&str> {
    table.key_schema().iter().map(|key| key.attribute_name()).collect()
}
