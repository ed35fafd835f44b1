//! The queues and tables that the deployment template makes, made in an emulator.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TimeToLiveSpecification,
};
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::QueueAttributeName;

/// How much longer than the function's timeout a received message stays hidden: as in infra/template.yaml.
pub const VISIBILITY_MARGIN: Duration = Duration::from_secs(5);

/// Receives before SQS itself moves a message to the dead-letter queue. Deferrals count as receives, so it is far above the worker's
/// own attempts.
pub const MAX_RECEIVE_COUNT: u32 = 100;

/// Names and addresses of the queues and tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    /// The FIFO queue of audio chunks.
    pub queue_url: String,
    /// Its ARN, as records carry it.
    pub queue_arn: String,
    /// The FIFO dead-letter queue.
    pub dlq_url: String,
    /// Table of sessions: `sessionId`, `status` active/ended, `endedAt` (ms).
    pub sessions_table: String,
    /// Table of WebSocket connections: `connectionId`, TTL `expiresAt`.
    pub connections_table: String,
    /// Table of the writer's state: `pk`, `sk`, TTL `expiresAt`.
    pub state_table: String,
}

/// What the resources are made from.
#[derive(Clone, Debug)]
pub struct ResourceConfig {
    /// Put before every name.
    pub prefix: String,
    /// How long a received message stays hidden; the function's timeout and [`VISIBILITY_MARGIN`].
    pub visibility_timeout: Duration,
    /// Receives before the redrive policy moves a message.
    pub max_receive_count: u32,
}

impl Default for ResourceConfig {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            visibility_timeout: Duration::from_secs(10) + VISIBILITY_MARGIN,
            max_receive_count: MAX_RECEIVE_COUNT,
        }
    }
}

/// Why a queue or table is not there.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// The service refused or did not answer.
    #[error("{action} {name}: {reason}")]
    Service {
        /// What was asked.
        action: &'static str,
        /// Of which resource.
        name: String,
        /// The whole chain of causes.
        reason: String,
    },
    /// A variable that names an existing resource is not set.
    #[error("{0} is not set; with BACKEND=aws it names the deployed resource (see the stack's outputs)")]
    Unnamed(&'static str),
}

fn failed<E: std::error::Error>(action: &'static str, name: &str) -> impl FnOnce(E) -> ResourceError {
    move |error| ResourceError::Service {
        action,
        name: name.to_owned(),
        reason: DisplayErrorContext(&error).to_string(),
    }
}

impl Resources {
    /// Makes the queues and tables; those that exist already with the same shape are taken as they are.
    ///
    /// # Errors
    /// [`ResourceError::Service`] with the service's own reason.
    pub async fn create(
        sqs: &aws_sdk_sqs::Client,
        dynamodb: &aws_sdk_dynamodb::Client,
        config: &ResourceConfig,
    ) -> Result<Self, ResourceError> {
        let named = |name: &str| format!("{}{name}", config.prefix);
        let (sessions_table, connections_table, state_table) =
            (named("sessions"), named("connections"), named("writer-state"));
        create_table(dynamodb, &sessions_table, &["sessionId"], None).await?;
        create_table(dynamodb, &connections_table, &["connectionId"], Some("expiresAt")).await?;
        create_table(dynamodb, &state_table, &["pk", "sk"], Some("expiresAt")).await?;

        let visibility = config.visibility_timeout.as_secs();
        let (dlq_url, dlq_arn) = create_queue(sqs, &named("audio-chunks-dlq.fifo"), visibility, None).await?;
        let redrive = serde_json::json!({
            "deadLetterTargetArn": dlq_arn,
            "maxReceiveCount": config.max_receive_count.to_string(),
        });
        let (queue_url, queue_arn) =
            create_queue(sqs, &named("audio-chunks.fifo"), visibility, Some(redrive.to_string())).await?;
        Ok(Self { queue_url, queue_arn, dlq_url, sessions_table, connections_table, state_table })
    }

    /// Takes the deployed resources that the environment names: `QUEUE_URL`, `DLQ_URL`, `SESSIONS_TABLE`, `CONNECTIONS_TABLE`,
    /// `STATE_TABLE`. Creates nothing.
    ///
    /// # Errors
    /// [`ResourceError::Unnamed`] for the first variable that is missing; [`ResourceError::Service`] if the queue cannot be asked.
    pub async fn from_env(sqs: &aws_sdk_sqs::Client) -> Result<Self, ResourceError> {
        let named = |name| std::env::var(name).map_err(|_| ResourceError::Unnamed(name));
        let queue_url = named("QUEUE_URL")?;
        Ok(Self {
            queue_arn: queue_arn(sqs, &queue_url).await?,
            queue_url,
            dlq_url: named("DLQ_URL")?,
            sessions_table: named("SESSIONS_TABLE")?,
            connections_table: named("CONNECTIONS_TABLE")?,
            state_table: named("STATE_TABLE")?,
        })
    }
}

/// Whether a session takes audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStatus {
    /// It does.
    Active,
    /// It has ended; late audio is refused.
    Ended {
        /// When, in ms since the epoch.
        at_ms: u64,
    },
}

/// Writes a session into the sessions table, as the application that owns the sessions would.
///
/// # Errors
/// [`ResourceError::Service`].
pub async fn put_session(
    dynamodb: &aws_sdk_dynamodb::Client,
    table: &str,
    session_id: &str,
    status: SessionStatus,
) -> Result<(), ResourceError> {
    let put =
        dynamodb.put_item().table_name(table).item("sessionId", AttributeValue::S(session_id.to_owned()));
    let put = match status {
        SessionStatus::Active => put.item("status", AttributeValue::S("active".into())),
        SessionStatus::Ended { at_ms } => put
            .item("status", AttributeValue::S("ended".into()))
            .item("endedAt", AttributeValue::N(at_ms.to_string())),
    };
    put.send().await.map_err(failed("PutItem into", table))?;
    Ok(())
}

/// Writes an active session into the sessions table, unless it is there already.
pub async fn begin_session(
    dynamodb: &aws_sdk_dynamodb::Client,
    table: &str,
    session_id: &str,
) -> Result<(), ResourceError> {
    let put = dynamodb
        .put_item()
        .table_name(table)
        .item("sessionId", AttributeValue::S(session_id.to_owned()))
        .item("status", AttributeValue::S("active".into()))
        .condition_expression("attribute_not_exists(sessionId)");
    match put.send().await {
        Err(error) if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => {
            Ok(())
        }
        put => put.map(drop).map_err(failed("PutItem into", table)),
    }
}

async fn create_queue(
    sqs: &aws_sdk_sqs::Client,
    name: &str,
    visibility_s: u64,
    redrive_policy: Option<String>,
) -> Result<(String, String), ResourceError> {
    use QueueAttributeName as A;
    let created = sqs
        .create_queue()
        .queue_name(name)
        .attributes(A::FifoQueue, "true")
        .attributes(A::ContentBasedDeduplication, "false")
        .attributes(A::DeduplicationScope, "messageGroup")
        .attributes(A::FifoThroughputLimit, "perMessageGroupId")
        .attributes(A::VisibilityTimeout, visibility_s.to_string())
        .attributes(A::MaximumMessageSize, "262144");
    // As in infra/template.yaml: the chunk queue keeps messages for 4 days, its dead-letter queue for 14.
    let created = match redrive_policy {
        Some(policy) => created
            .attributes(A::RedrivePolicy, policy)
            .attributes(A::MessageRetentionPeriod, (4 * 24 * 3600).to_string()),
        None => created.attributes(A::MessageRetentionPeriod, (14 * 24 * 3600).to_string()),
    };
    let url = created.send().await.map_err(failed("CreateQueue", name))?.queue_url.unwrap_or_default();
    let arn = queue_arn(sqs, &url).await?;
    Ok((url, arn))
}

async fn queue_arn(sqs: &aws_sdk_sqs::Client, url: &str) -> Result<String, ResourceError> {
    let name = QueueAttributeName::QueueArn;
    let mut attributes = queue_attributes(sqs, url, std::slice::from_ref(&name)).await?;
    Ok(attributes.remove(&name).unwrap_or_default())
}

/// Asks for attributes of a queue.
///
/// # Errors
/// [`ResourceError::Service`].
pub async fn queue_attributes(
    sqs: &aws_sdk_sqs::Client,
    url: &str,
    names: &[QueueAttributeName],
) -> Result<HashMap<QueueAttributeName, String>, ResourceError> {
    let asked = sqs.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec()));
    Ok(asked.send().await.map_err(failed("GetQueueAttributes", url))?.attributes.unwrap_or_default())
}

async fn create_table(
    dynamodb: &aws_sdk_dynamodb::Client,
    name: &str,
    keys: &[&str],
    ttl_attribute: Option<&str>,
) -> Result<(), ResourceError> {
    let built = |action| failed::<aws_sdk_dynamodb::error::BuildError>(action, name);
    let mut create = dynamodb.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    for (key, kind) in keys.iter().zip([KeyType::Hash, KeyType::Range]) {
        let attribute =
            AttributeDefinition::builder().attribute_name(*key).attribute_type(ScalarAttributeType::S);
        let element = KeySchemaElement::builder().attribute_name(*key).key_type(kind);
        create = create.attribute_definitions(attribute.build().map_err(built("define"))?);
        create = create.key_schema(element.build().map_err(built("define"))?);
    }
    match create.send().await {
        Ok(_) => {}
        Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_in_use_exception()) => {
            return Ok(());
        }
        Err(error) => return Err(failed("CreateTable", name)(error)),
    }
    if let Some(attribute) = ttl_attribute {
        let ttl = TimeToLiveSpecification::builder().attribute_name(attribute).enabled(true).build();
        let update = dynamodb.update_time_to_live().table_name(name);
        let update = update.time_to_live_specification(ttl.map_err(built("define"))?);
        update.send().await.map_err(failed("UpdateTimeToLive", name))?;
    }
    Ok(())
}
