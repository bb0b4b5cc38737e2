//! A destination: a target, and how records are batched and held back for it.

use std::sync::Arc;
use std::time::Duration;

use super::{ResourceError, ResourceId};
use crate::sinks::{Bounds, Finding, LogOutput, OpenError, Sink, Target};

/// Longest linger. Beyond it a slow trickle of records would look like an outage.
pub const MAX_LINGER: Duration = Duration::from_secs(300);

/// Shortest time that a request may be given. Below it a distant region's round trip with TLS would
/// count as an outage.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(100);

/// Longest time that a request may be given: what common proxies and load balancers cut at is a
/// minute; five leave room for a receiver that works through a large batch before it answers.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(300);

/// What happens to new records for a destination while its share of the journal is full, and to its old
/// ones while all of the journal is.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Unique among destinations; queued records keep to it.
    pub id: ResourceId,
    /// Free text for people.
    pub description: String,
    /// The service and the place in it.
    pub target: Target,
    /// How records are put into requests.
    pub batch: BatchSettings,
    /// How long one request may take, from connecting to the answer; [`MIN_TIMEOUT`] to
    /// [`MAX_TIMEOUT`]. What was sent may have arrived all the same.
    pub timeout: Duration,
    /// What gives way when its share of the journal, or all of it, is full.
    pub overflow: Overflow,
    /// Its share of the journal: most bytes held for it. Left out, all of `journal.max_bytes` for a
    /// single destination, and half of it where there are several.
    pub max_pending_bytes: Option<u64>,
    /// Whether anything is sent. While it is off, what comes is kept within its share.
    pub enabled: bool,
    /// What its target may do if it was made through the API; none for those of the settings.
    pub bounds: Option<Arc<Bounds>>,
}

impl Destination {
    /// Opens the target, for requests that may take [`Destination::timeout`]; see `Target::open`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open(&self, log: LogOutput) -> Result<Sink, OpenError> {
        self.target.open(log, self.timeout, self.bounds.as_deref()).await
    }

    /// Looks at what stands between it and its service; see `Target::examine`.
    ///
    /// # Errors
    /// When its target cannot be opened.
    pub async fn examine(&self) -> Result<Vec<Finding>, OpenError> {
        let sink = self.open(LogOutput::Stdout).await?;
        Ok(self.target.examine(&sink, self.bounds.as_deref()).await)
    }

    /// Which way its requests go, if the environment names a proxy; see `Target::way`.
    pub async fn way(&self) -> Option<String> {
        self.target.way(self.bounds.as_deref()).await
    }

    /// Whether a sink that was opened for the other one serves this one too.
    #[must_use]
    pub fn opens_like(&self, other: &Destination) -> bool {
        self.target == other.target && self.timeout == other.timeout && self.bounds == other.bounds
    }
}
