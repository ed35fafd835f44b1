//! What a chaos run does to deliveries. At-least-once delivery allows all of it.

use std::sync::Arc;
use std::time::Duration;

/// How a delivery is repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duplicate {
    /// Not at all.
    #[default]
    No,
    /// Two invocations get the same event at the same time.
    AtOnce,
    /// A second invocation gets it after the first has answered.
    AfterAnswer,
}

/// What happens to one delivery. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disturbance {
    /// Whether the event is handed out twice.
    pub duplicate: Duplicate,
    /// Time between the receive and the invocation.
    pub delay: Duration,
    /// Whether the records that succeeded stay in the queue, as if the delete had been lost.
    pub drop_deletes: bool,
}

/// Chooses the disturbance of each delivery; called once per batch, in the order of the receives.
pub type Disturber = Arc<dyn Fn() -> Disturbance + Send + Sync>;
