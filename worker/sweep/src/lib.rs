//! The sweep: ends sessions that fell silent, deletes streams whose sessions are over and whose fragments have expired.
//! The scheduled function of this name and `kvsw sweep` call [`sweep`].
//!
//! A silent session first gets an endStream marker, so that its last chunks are written, and is then marked as ended. Nobody
//! is ended while chunks wait in the queue and none are written: then not the speakers are silent, but the writer. A
//! stream goes when its session ended, its retention has passed since the last activity, and nothing of it is parked. Streams
//! that the Sessions table does not know are left alone. One run does a bounded amount of work; the next goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws::clock::SystemClock;
use aws::failure::{call, has_code};
use aws::items::{batch_get, number, number_of, string_of, text};
use aws::parked_index::ParkedIndex;
use aws::queue::{Depth, attributes};
use aws::settings::{Settings, SettingsError};
use aws::store::StateTable;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use aws_sdk_kinesisvideo::types::{ComparisonOperator, Status, StreamInfo, StreamNameCondition};
use ingest::message::SessionId;
use media::time::EpochMs;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use writer::ports::{Clock as _, Result};

/// A shorter silence than this may be a pause of the speaker.
pub const SHORTEST_SILENCE: Duration = Duration::from_secs(60);

/// Minutes without a chunk after which the scheduled function ends a session.
pub const SILENT_FOR_MINUTES: &str = "SILENT_FOR_MINUTES";
/// Sessions that one run of the scheduled function ends, and streams that it deletes.
pub const SWEEP_MAX: &str = "SWEEP_MAX";

/// While messages wait in the queue, some session's checkpoint is written at least this often: a failing stream is given up
/// after 20 s, a crashed writer's batch comes back after 15 s.
const WORKING_WITHIN: Duration = Duration::from_secs(5 * 60);
/// Kept from the invocation's time for the calls under way and the answer.
const ANSWER_MARGIN: Duration = Duration::from_secs(8);
/// DeleteStream calls a second; the account has 50 for it and its siblings together.
const DELETES_PER_SECOND: f64 = 5.0;
/// Streams whose sessions are looked up together.
const LOOKED_UP: usize = 100;
/// Streams and sessions that one run looks at, at most.
const LOOKS: usize = 20_000;
/// A stream's name is this and the sessionId.
const PREFIX: &str = "session-";

/// The services and names that a sweep works with.
#[derive(Debug)]
pub struct World {
    sqs: aws_sdk_sqs::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    streams: aws_sdk_kinesisvideo::Client,
    state: StateTable,
    parked: ParkedIndex,
    settings: Settings,
}

impl World {
    /// Builds the clients. Connects to nothing yet.
    pub fn new(config: &SdkConfig, settings: Settings) -> Self {
        let dynamodb = aws_sdk_dynamodb::Client::new(config);
        Self {
            sqs: aws_sdk_sqs::Client::new(config),
            streams: aws_sdk_kinesisvideo::Client::new(config),
            state: StateTable::new(dynamodb.clone(), settings.state_table.clone()),
            parked: ParkedIndex::new(dynamodb.clone(), settings.state_table.clone()),
            dynamodb,
            settings,
        }
    }
}

fn now() -> EpochMs {
    SystemClock.now()
}

/// How a run behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Show and change nothing.
    pub dry_run: bool,
    /// From when on a session is silent.
    pub silent_for: Duration,
    /// Sessions to end, and streams to delete, each.
    pub max: usize,
    /// When to stop, if it is not done before.
    pub deadline: Option<Instant>,
}

/// A session that fell silent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Silent {
    /// The session.
    pub session_id: String,
    /// For how long, ms.
    pub silent_ms: u64,
}

/// A stream that is no longer needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expired {
    /// Its name.
    pub stream: String,
    /// How long ago its last fragment expired, ms.
    pub expired_ms: u64,
    #[serde(skip)]
    arn: String,
    #[serde(skip)]
    version: Option<String>,
}

/// Why silent sessions stay: the writer is not working off the queue, which may hold what they said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldBack {
    /// Silent sessions that stay.
    pub sessions: usize,
    /// Messages in the chunk queue, by SQS's approximation.
    pub queued: usize,
    /// Since when no session's checkpoint has been written, ms.
    pub unwritten_ms: u64,
}

/// What a run did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Swept {
    /// Nothing was changed.
    pub dry_run: bool,
    /// Sessions ended.
    pub ended: Vec<Silent>,
    /// Silent sessions were not ended, because the writer seems to stand still.
    pub held_back: Option<HeldBack>,
    /// Streams deleted.
    pub deleted: Vec<Expired>,
    /// Streams looked at: all of this project's, unless there is more to do.
    pub streams: usize,
    /// Active sessions that never sent a chunk: only their owner knows what to do.
    pub never_spoke: usize,
    /// Streams that stay although their session is over, because messages of it are parked.
    pub kept_for_parked: usize,
    /// Streams whose sessions the Sessions table does not know.
    pub unknown: usize,
    /// There is more to do than one run does.
    pub more: bool,
}

/// Sweeps.
///
/// # Errors
/// Those of the services; what was done until then is done.
pub async fn sweep(world: &World, limits: &Limits) -> Result<Swept> {
    let mut swept = Swept { dry_run: limits.dry_run, ..Swept::default() };
    end_silent(world, limits, &mut swept).await?;
    delete_expired(world, limits, &mut swept).await?;
    Ok(swept)
}

impl Limits {
    /// For the scheduled function: [`SILENT_FOR_MINUTES`] and [`SWEEP_MAX`], 30 and 500 where they are not set.
    ///
    /// # Errors
    /// Names the variable that is invalid.
    pub fn read(env: impl Fn(&str) -> Option<String>) -> std::result::Result<Self, SettingsError> {
        let number = |name: &'static str, default: u64, least: u64, expected: &'static str| {
            let Some(value) = env(name).filter(|value| !value.is_empty()) else { return Ok(default) };
            let number = value.parse().ok().filter(|number| (least..=1_000_000).contains(number));
            number.ok_or(SettingsError::Invalid { name, value, expected })
        };
        let minutes = number(SILENT_FOR_MINUTES, 30, 1, "a number of minutes, 1 or more")?;
        let max = number(SWEEP_MAX, 500, 1, "a number, 1 or more")?;
        let silent_for = Duration::from_secs(minutes * 60);
        Ok(Self { dry_run: false, silent_for, max: max as usize, deadline: None })
    }

    /// The same, but ending in time to answer before `deadline`.
    pub fn until(self, deadline: EpochMs) -> Self {
        self.ending_within(Duration::from_millis(deadline.ms_since(now())))
    }

    fn ending_within(self, left: Duration) -> Self {
        Self { deadline: Some(Instant::now() + left.saturating_sub(ANSWER_MARGIN)), ..self }
    }

    fn time_is_up(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

async fn end_silent(world: &World, limits: &Limits, swept: &mut Swept) -> Result<()> {
    let now = now();
    // The queue first: what is written after this look shows in the checkpoints.
    let queued = Depth::of(&attributes(&world.sqs, &world.settings.queue_url).await?).total();
    let active = active(world, limits, swept).await?;
    let since = |at: EpochMs| now.ms_since(at);
    let silent: Vec<_> =
        active.iter().filter(|(_, at)| since(*at) >= limits.silent_for.as_millis() as u64).collect();
    let unwritten_ms = active.iter().map(|(_, at)| since(*at)).min().unwrap_or_default();
    if stands_still(queued, unwritten_ms) {
        let held_back = HeldBack { sessions: silent.len(), queued, unwritten_ms };
        swept.held_back = (!silent.is_empty()).then_some(held_back);
        return Ok(());
    }
    for (session, at) in silent {
        if swept.ended.len() >= limits.max || limits.time_is_up() {
            swept.more = true;
            return Ok(());
        }
        if limits.dry_run || end(world, session, *at).await? {
            swept.ended.push(Silent { session_id: session.to_string(), silent_ms: since(*at) });
        }
    }
    Ok(())
}

/// Whether chunks wait although the writer stands still.
fn stands_still(queued: usize, unwritten_ms: u64) -> bool {
    queued > 0 && unwritten_ms > WORKING_WITHIN.as_millis() as u64
}

/// Sessions that have not ended and have spoken, with their last activity.
async fn active(world: &World, limits: &Limits, swept: &mut Swept) -> Result<Vec<(SessionId, EpochMs)>> {
    let (mut active, mut from, mut looked_at) = (Vec::new(), None, 0);
    while looked_at < LOOKS && !limits.time_is_up() {
        let scanned = world
            .dynamodb
            .scan()
            .table_name(&world.settings.sessions_table)
            .filter_expression(
                "attribute_not_exists(endedAt) AND (attribute_not_exists(#status) OR #status <> :ended)",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":ended", text("ended"))
            .projection_expression("sessionId")
            .set_exclusive_start_key(from);
        let page = call("Scan", scanned.send()).await?;
        looked_at += usize::try_from(page.scanned_count).unwrap_or_default().max(1);
        let items = page.items.unwrap_or_default();
        let ids = items.iter().filter_map(|item| SessionId::parse(string_of(item, "sessionId")?).ok());
        let sessions: Vec<SessionId> = ids.collect();
        let activity = world.state.last_activity(&sessions).await?;
        swept.never_spoke += sessions.len() - activity.len();
        active.extend(activity);
        from = page.last_evaluated_key.filter(|key| !key.is_empty());
        if from.is_none() {
            return Ok(active);
        }
    }
    swept.more = true;
    Ok(active)
}

/// Flushes the session's tail and marks it as ended. `false` if it was ended elsewhere meanwhile.
async fn end(world: &World, session: &SessionId, last_activity: EpochMs) -> Result<bool> {
    let marker = serde_json::json!({ "action": "endStream", "sessionId": session.as_str() });
    let sent = world
        .sqs
        .send_message()
        .queue_url(&world.settings.queue_url)
        .message_group_id(session.as_str())
        // One marker for one silence, however many runs see it.
        .message_deduplication_id(format!("sweep-{}", last_activity.0))
        .message_body(marker.to_string());
    call("SendMessage", sent.send()).await?;
    let update = world
        .dynamodb
        .update_item()
        .table_name(&world.settings.sessions_table)
        .key("sessionId", text(session.as_str()))
        .update_expression("SET #status = :ended, endedAt = :now")
        .condition_expression("attribute_exists(sessionId) AND attribute_not_exists(endedAt)")
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(":ended", text("ended"))
        .expression_attribute_values(":now", number(now().0));
    match call("UpdateItem", update.send()).await {
        Err(failure) if has_code(&failure, "ConditionalCheckFailedException") => Ok(false),
        outcome => outcome.map(|_| true),
    }
}

async fn delete_expired(world: &World, limits: &Limits, swept: &mut Swept) -> Result<()> {
    let parked = world.parked.list(None, now()).await?;
    let parked: BTreeSet<String> = parked.into_iter().map(|entry| entry.session_id).collect();
    let mut pace = Instant::now();
    let (mut token, mut looked_at) = (None, 0);
    while looked_at < LOOKS {
        let named = StreamNameCondition::builder()
            .comparison_operator(ComparisonOperator::BeginsWith)
            .comparison_value(PREFIX)
            .build();
        let asked = world.streams.list_streams().max_results(1_000).stream_name_condition(named);
        let page = call("ListStreams", asked.set_next_token(token).send()).await?;
        let streams = page.stream_info_list.unwrap_or_default();
        looked_at += streams.len().max(1);
        swept.streams += streams.len();
        for some in streams.chunks(LOOKED_UP) {
            for expired in expired(world, some, &parked, swept).await? {
                if swept.deleted.len() >= limits.max || limits.time_is_up() {
                    swept.more = true;
                    return Ok(());
                }
                if !limits.dry_run {
                    sleep_until(pace).await;
                    pace = Instant::now() + Duration::from_secs_f64(1.0 / DELETES_PER_SECOND);
                    delete(world, &expired).await?;
                }
                swept.deleted.push(expired);
            }
        }
        token = page.next_token;
        if token.is_none() {
            return Ok(());
        }
    }
    swept.more = true;
    Ok(())
}

/// Those of `streams` that may go.
async fn expired(
    world: &World,
    streams: &[StreamInfo],
    parked: &BTreeSet<String>,
    swept: &mut Swept,
) -> Result<Vec<Expired>> {
    let session = |stream: &StreamInfo| SessionId::parse(stream.stream_name()?.strip_prefix(PREFIX)?).ok();
    let sessions: Vec<SessionId> = streams.iter().filter_map(session).collect();
    let (ended, activity) =
        tokio::try_join!(ended_at(world, &sessions), world.state.last_activity(&sessions))?;
    let mut expired = Vec::new();
    for stream in streams {
        let Some(session) = session(stream) else { continue };
        if stream.status != Some(Status::Active) {
            continue; // being made, changed or deleted already
        }
        match ended.get(&session) {
            None => swept.unknown += 1,
            Some(None) => {}
            Some(Some(end)) => {
                let last = activity.get(&session).map_or(*end, |at| (*at).max(*end));
                let Some(expired_ms) = since_expiry(stream, last, now()) else { continue };
                if parked.contains(session.as_str()) {
                    swept.kept_for_parked += 1;
                    continue;
                }
                expired.push(Expired {
                    stream: stream.stream_name.clone().unwrap_or_default(),
                    expired_ms,
                    arn: stream.stream_arn.clone().unwrap_or_default(),
                    version: stream.version.clone(),
                });
            }
        }
    }
    Ok(expired)
}

/// How long ago the last fragment expired: its retention counts from when it was written.
fn since_expiry(stream: &StreamInfo, last: EpochMs, now: EpochMs) -> Option<u64> {
    let hours = u64::try_from(stream.data_retention_in_hours.unwrap_or_default()).unwrap_or_default();
    now.0.checked_sub(last.0)?.checked_sub(hours.checked_mul(3_600_000)?)
}

/// Sessions that the table knows; of those that are over, when they ended (epoch 0 where it does not say).
async fn ended_at(world: &World, sessions: &[SessionId]) -> Result<BTreeMap<SessionId, Option<EpochMs>>> {
    if sessions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let key = |session: &SessionId| [("sessionId".to_owned(), text(session.as_str()))].into();
    let keys = sessions.iter().map(key).collect();
    let wanted = KeysAndAttributes::builder()
        .set_keys(Some(keys))
        .projection_expression("sessionId, #status, endedAt")
        .expression_attribute_names("#status", "status");
    let mut known = BTreeMap::new();
    for item in batch_get(&world.dynamodb, &world.settings.sessions_table, wanted).await? {
        let id = string_of(&item, "sessionId").and_then(|id| SessionId::parse(id).ok());
        let Some(session) = id else { continue };
        let at = number_of(&item, "endedAt").map(EpochMs);
        let ended = (string_of(&item, "status") == Some("ended")).then(EpochMs::default);
        known.insert(session, at.or(ended));
    }
    Ok(known)
}

/// Deletes the stream as it was listed; one that has changed or gone meanwhile is left to the next run.
async fn delete(world: &World, expired: &Expired) -> Result<()> {
    let asked = world.streams.delete_stream().stream_arn(&expired.arn);
    let asked = asked.set_current_version(expired.version.clone());
    match call("DeleteStream", asked.send()).await {
        Err(failure)
            if ["ResourceNotFoundException", "VersionMismatchException", "ResourceInUseException"]
                .iter()
                .any(|code| has_code(&failure, code)) =>
        {
            Ok(())
        }
        outcome => outcome.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_variables_have_defaults_and_bounds() {
        let read = |name: &'static str, value: &'static str| {
            Limits::read(move |asked| (asked == name).then(|| value.to_owned()))
        };
        let default = read("", "").unwrap();
        assert_eq!((default.silent_for, default.max), (Duration::from_secs(1_800), 500));
        assert_eq!(read(SILENT_FOR_MINUTES, "5").unwrap().silent_for, Duration::from_secs(300));
        for (name, value) in [(SILENT_FOR_MINUTES, "0"), (SILENT_FOR_MINUTES, "soon"), (SWEEP_MAX, "-1")] {
            let message = read(name, value).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(value), "{message}");
        }
    }

    #[test]
    fn nobody_is_ended_while_the_writer_stands_still() {
        let attributes = [("", "0"), ("NotVisible", "2"), ("Delayed", "1")]
            .map(|(state, n)| (format!("ApproximateNumberOfMessages{state}"), n.to_owned()));
        assert_eq!(Depth::of(&attributes.into()).total(), 3);
        let minute = 60_000;
        assert!(stands_still(1, 6 * minute));
        assert!(!stands_still(1, 4 * minute), "the writer is working");
        assert!(!stands_still(0, 600 * minute), "nobody speaks");
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_ends_before_its_invocation() {
        let limits = Limits::read(|_| None).unwrap();
        assert!(!limits.time_is_up());
        assert!(!limits.ending_within(Duration::from_secs(60)).time_is_up());
        assert!(limits.ending_within(Duration::from_secs(7)).time_is_up());
        assert!(limits.until(EpochMs(0)).time_is_up());
    }

    #[test]
    fn a_stream_goes_only_after_its_last_fragment_has_expired() {
        let stream = |hours| StreamInfo::builder().data_retention_in_hours(hours).build();
        let hour = 3_600_000;
        let cases = [
            (1, 0, hour - 1, None),
            (1, 0, hour, Some(0)),
            (1, 0, hour + 5, Some(5)),
            (24, hour, 24 * hour, None),
            (0, 7, 8, Some(1)),
            (1, 2 * hour, hour, None), // an end in the future
        ];
        for (hours, last, now, expected) in cases {
            let told = since_expiry(&stream(hours), EpochMs(last), EpochMs(now));
            assert_eq!(told, expected, "{hours} h, {last}, {now}");
        }
    }
}
