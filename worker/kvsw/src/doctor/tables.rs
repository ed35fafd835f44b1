//! The tables' keys and time to live.

use aws::failure::call;
use aws::settings;
use aws_sdk_dynamodb::types::{TableDescription, TimeToLiveDescription, TimeToLiveStatus};

use super::finding::{Finding, Verdict};
use crate::error::{Result, no_table};
use crate::world::World;

/// A table that should be there.
struct Wanted<'a> {
    subject: &'static str,
    variable: &'static str,
    name: &'a str,
    keys: &'static [&'static str],
    /// The attribute by which items expire.
    expires_by: Option<&'static str>,
}

/// What a table is like.
#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    /// Key attributes and their types, partition key first.
    keys: Vec<(String, String)>,
    /// The attribute of the time to live, where it is on.
    time_to_live: Option<String>,
    /// `ACTIVE` if all is well.
    status: String,
}

/// The state table and the table of sessions.
pub(super) async fn check(world: &World) -> Vec<Finding> {
    let settings = &world.settings;
    let state = Wanted {
        subject: "state table",
        variable: settings::STATE_TABLE,
        name: &settings.state_table,
        keys: &["pk", "sk"],
        expires_by: Some("expiresAt"),
    };
    let sessions = Wanted {
        subject: "sessions table",
        variable: settings::SESSIONS_TABLE,
        name: &settings.sessions_table,
        keys: &["sessionId"],
        expires_by: None,
    };
    let (one, two) = futures::join!(table(world, &state), table(world, &sessions));
    if let (Ok(one), Ok(two)) = (&one, &two)
        && one.has_keys(&sessions)
        && two.has_keys(&state)
    {
        let seen = "STATE_TABLE and SESSIONS_TABLE are swapped";
        let swapped = Finding::new("tables", Verdict::Wrong, seen, "swap the two variables");
        return [vec![swapped], state.judge(two), sessions.judge(one)].concat();
    }
    let mut findings = Vec::new();
    for (wanted, found) in [(state, one), (sessions, two)] {
        match found {
            Ok(found) => findings.extend(wanted.judge(&found)),
            Err(error) => findings.push(Finding::failed(wanted.subject, &error)),
        }
    }
    findings
}

async fn table(world: &World, wanted: &Wanted<'_>) -> Result<Table> {
    let asked = world.dynamodb.describe_table().table_name(wanted.name);
    let described = call("DescribeTable", asked.send()).await;
    let described = described.map_err(|failure| no_table(wanted.variable, wanted.name, failure))?.table;
    let asked = world.dynamodb.describe_time_to_live().table_name(wanted.name);
    let told = match call("DescribeTimeToLive", asked.send()).await {
        // Of the application's own table it matters less than the right to ask for it.
        Err(_) if wanted.expires_by.is_none() => None,
        told => told?.time_to_live_description,
    };
    let is_on = |told: &TimeToLiveDescription| {
        let enabled = [TimeToLiveStatus::Enabled, TimeToLiveStatus::Enabling];
        told.time_to_live_status().is_some_and(|status| enabled.contains(status))
    };
    Ok(Table {
        keys: described.as_ref().map(keys).unwrap_or_default(),
        time_to_live: told.filter(is_on).and_then(|told| told.attribute_name),
        status: described
            .and_then(|table| table.table_status)
            .map(|status| status.to_string())
            .unwrap_or_default(),
    })
}

/// The key attributes with their types, partition key first.
fn keys(table: &TableDescription) -> Vec<(String, String)> {
    let kind = |name: &str| {
        let defined = table.attribute_definitions().iter().find(|defined| defined.attribute_name() == name);
        defined.map(|defined| defined.attribute_type().to_string()).unwrap_or_default()
    };
    table
        .key_schema()
        .iter()
        .map(|key| (key.attribute_name().to_owned(), kind(key.attribute_name())))
        .collect()
}

impl Table {
    fn has_keys(&self, wanted: &Wanted) -> bool {
        self.keys.iter().map(|(name, _)| name.as_str()).eq(wanted.keys.iter().copied())
    }
}

impl Wanted<'_> {
    fn judge(&self, table: &Table) -> Vec<Finding> {
        let names: Vec<String> = table.keys.iter().map(|(name, kind)| format!("{name} ({kind})")).collect();
        let seen = format!("{} has the keys {}", self.name, names.join(", "));
        let right = table.has_keys(self);
        let text = table.keys.iter().all(|(_, kind)| kind == "S");
        let wants = format!("it needs {}, strings", self.keys.join(", "));
        let action = match right {
            true => format!("{wants}: make the table again; the type of a key cannot be changed"),
            false => format!("{wants}; does {} name the right table?", self.variable),
        };
        let mut findings = vec![Finding::when(right && text, self.subject, Verdict::Wrong, seen, action)];
        if !matches!(table.status.as_str(), "ACTIVE" | "UPDATING" | "") {
            let seen = format!("is {}", table.status);
            let action = "wait, or make the table again: it can be neither read nor written";
            findings.push(Finding::new(self.subject, Verdict::Wrong, seen, action));
        }
        if right {
            findings.extend(self.time_to_live(table.time_to_live.as_deref()));
        }
        findings
    }

    fn time_to_live(&self, found: Option<&str>) -> Option<Finding> {
        let (subject, look) = (self.subject, Verdict::Look);
        let enable = "enable time to live on the attribute expiresAt";
        match (self.expires_by, found) {
            (Some(wanted), Some(found)) if wanted == found => {
                Some(Finding::fine(subject, format!("old items expire by {wanted}")))
            }
            (Some(_), Some(found)) => {
                let seen = format!(
                    "time to live goes by {found}, which the writer does not set: the table grows without end"
                );
                Some(Finding::new(subject, look, seen, format!("disable it there, and {enable}")))
            }
            (Some(_), None) => {
                Some(Finding::new(subject, look, "has no time to live: it grows without end", enable))
            }
            (None, Some("endedAt")) => {
                let seen = "time to live goes by endedAt, which is in milliseconds; DynamoDB counts seconds";
                let action = "disable it, or give it an attribute of its own in seconds: a session must not go before its stream";
                Some(Finding::new(subject, Verdict::Wrong, seen, action))
            }
            (None, _) => None,
        }
    }
}
