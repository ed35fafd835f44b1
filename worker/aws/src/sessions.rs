//! The Sessions table, which belongs to the application: `sessionId`, `status` (`active`, `ended`), `endedAt`
//! (epoch ms).

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use ingest::message::SessionId;
use media::time::EpochMs;
use writer::ports::{Result, SessionStatus, Sessions};

use crate::cache::Cache;
use crate::failure::call;
use crate::items::text;

/// How long "active" is believed; by so much may audio that is written have been captured after the end, which is the grace that an
/// end has anyway (`writer::Config::end_grace_ms`). Only "active": a session that is not there yet may come at any moment, and an ended
/// one is not asked for often.
const KEEP_ACTIVE: Duration = Duration::from_secs(2);

/// Sessions that a process remembers.
const SESSIONS: usize = 1_024;

/// The Sessions table, read only.
#[derive(Debug)]
pub struct SessionsTable {
    client: Client,
    table: String,
    active: Cache<()>,
}

impl SessionsTable {
    /// The table's key is `sessionId`, a string.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table, active: Cache::new(SESSIONS, KEEP_ACTIVE) }
    }
}

impl Sessions for SessionsTable {
    async fn status(&self, session: &SessionId) -> Result<SessionStatus> {
        if self.active.get(session.as_str()).is_some() {
            return Ok(SessionStatus::Active);
        }
        let asked = self.client.get_item().table_name(&self.table).key("sessionId", text(session.as_str()));
        let status = status(call("GetItem", asked.consistent_read(true).send()).await?.item);
        if status == SessionStatus::Active {
            self.active.put(session.as_str(), ());
        }
        Ok(status)
    }
}

/// Ended is what says so, by its status or by an end.
fn status(item: Option<HashMap<String, AttributeValue>>) -> SessionStatus {
    let Some(item) = item else { return SessionStatus::Unknown };
    let at = item.get("endedAt").and_then(|at| at.as_n().ok()?.parse().ok()).map(EpochMs);
    let ended =
        item.get("status").and_then(|status| status.as_s().ok()).is_some_and(|status| status == "ended");
    if ended || at.is_some() { SessionStatus::Ended { at } } else { SessionStatus::Active }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::number;

    fn of(attributes: &[(&str, AttributeValue)]) -> SessionStatus {
        status(Some(attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()))
    }

    #[test]
    fn a_session_is_ended_by_its_status_or_by_its_end() {
        let at = Some(EpochMs(1_795_335_945_729));
        assert_eq!(of(&[("status", text("active"))]), SessionStatus::Active);
        assert_eq!(of(&[]), SessionStatus::Active);
        assert_eq!(of(&[("status", text("ended"))]), SessionStatus::Ended { at: None });
        assert_eq!(
            of(&[("status", text("ended")), ("endedAt", number(1_795_335_945_729))]),
            SessionStatus::Ended { at }
        );
        assert_eq!(of(&[("endedAt", number(1_795_335_945_729))]), SessionStatus::Ended { at });
        assert_eq!(status(None), SessionStatus::Unknown);
    }

    #[test]
    fn an_end_that_is_no_number_does_not_end_an_active_session() {
        assert_eq!(of(&[("status", text("active")), ("endedAt", text("soon"))]), SessionStatus::Active);
        assert_eq!(of(&[("endedAt", AttributeValue::Null(true))]), SessionStatus::Active);
    }
}
