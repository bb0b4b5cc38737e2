//! A destination: a target, and how records are batched and held back for it.

use std::time::Duration;

use super::{ResourceError, ResourceId};
use crate::sinks::Target;

/// Longest linger. Beyond it a slow trickle of records would look like an outage.
pub const MAX_LINGER: Duration = Duration::from_secs(300);

/// What happens to new records while the journal is full because of this destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Senders are told to come back later; nothing is lost.
    #[default]
    Block,
    /// This destination's oldest waiting records are given up and counted.
    DropOldest,
}

/// How many records make a request, and how long to wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSettings {
    /// Most records in a request; inside the service's limit.
    pub max_records: usize,
    /// Most bytes in a request, as the service counts them; inside the service's limit.
    pub max_bytes: usize,
    /// How long the first record of a batch waits for more; at most [`MAX_LINGER`].
    pub linger: Duration,
}

/// How long the first record of a batch waits for company if nothing else is set: short against any
/// consumer's polling, long enough to fill batches at a few hundred records a second.
const DEFAULT_LINGER: Duration = Duration::from_millis(200);

impl BatchSettings {
    /// The settings for a target; what is not given is as large as the service allows.
    ///
    /// # Errors
    /// When a value is zero or above the service's limit.
    pub fn new(
        target: &Target,
        max_records: Option<usize>,
        max_bytes: Option<usize>,
        linger: Option<Duration>,
    ) -> Result<BatchSettings, ResourceError> {
        let limits = target.limits();
        let within = |setting, value: Option<usize>, max: usize| match value.unwrap_or(max) {
            value if (1..=max).contains(&value) => Ok(value),
            _ => Err(ResourceError::Batch {
                setting,
                allowed: format!("1 to {max} for {}", target.kind()),
            }),
        };
        let linger = linger.unwrap_or(DEFAULT_LINGER);
        if linger > MAX_LINGER {
            let allowed = format!("at most {}s", MAX_LINGER.as_secs());
            return Err(ResourceError::Batch { setting: "linger", allowed });
        }
        Ok(BatchSettings {
            max_records: within("max_records", max_records, limits.max_records)?,
            max_bytes: within("max_bytes", max_bytes, limits.max_bytes)?,
            linger,
        })
    }
}

/// Where records go, and how.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Its name.
    pub id: ResourceId,
    /// Free text for people.
    pub description: String,
    /// The service and the place in it.
    pub target: Target,
    /// How records are put into requests.
    pub batch: BatchSettings,
    /// What gives way when the journal is full.
    pub overflow: Overflow,
}
