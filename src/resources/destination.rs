//! A destination: a target, and how records are batched and held back for it.

use std::sync::Arc;
use std::time::Duration;

use super::{ResourceError, ResourceId, show_duration};
use crate::event::Record;
use crate::form::{Door, Form, Shape, Value, Written, field, section};
use crate::sinks::{
    Bounds, DEFAULT_TIMEOUT, Finding, Format, Limits, LogOutput, Measured, OpenError, Sink, Target,
};

/// Longest linger. Beyond it a slow trickle of records would look like an outage.
pub const MAX_LINGER: Duration = Duration::from_secs(300);

/// Shortest time that a request may be given. Below it a distant region's round trip with TLS would
/// count as an outage.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(100);

/// Longest time that a request may be given: what common proxies and load balancers cut at is a
/// minute; five leave room for a receiver that works through a large batch before it answers.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(300);

/// A whole number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u64);

impl Value for Count {
    const SHAPE: Shape<Count> = Shape::Number(1..=u64::MAX, Count);

    fn written(&self) -> Written {
        Written::open(self.0)
    }
}

/// A number of bytes from 1, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// The number.
    pub bytes: u64,
    written: serde_json::Value,
}

impl Value for Size {
    const SHAPE: Shape<Size> = Shape::Size(1..=u64::MAX, |bytes, written| Size { bytes, written });

    fn written(&self) -> Written {
        Written::open(self.written.clone())
    }
}

/// How long the first record of a batch waits for more, as it was written; at most [`MAX_LINGER`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linger(pub Duration, Box<str>);

impl Value for Linger {
    const SHAPE: Shape<Linger> =
        Shape::Time(Duration::ZERO..=MAX_LINGER, |time, text| Linger(time, text.into()));

    fn written(&self) -> Written {
        Written::open(&*self.1)
    }
}

/// How long one request may take, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeout(pub Duration, Box<str>);

impl Value for Timeout {
    const SHAPE: Shape<Timeout> =
        Shape::Time(MIN_TIMEOUT..=MAX_TIMEOUT, |time, text| Timeout(time, text.into()));

    fn written(&self) -> Written {
        Written::open(&*self.1)
    }
}

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

impl Value for Overflow {
    const SHAPE: Shape<Overflow> =
        Shape::Words(&[("block", Overflow::Block), ("drop_oldest", Overflow::DropOldest)]);

    fn written(&self) -> Written {
        Written::open(match self {
            Overflow::Block => "block",
            Overflow::DropOldest => "drop_oldest",
        })
    }
}

/// What a destination has beside its target, as somebody wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    batch: BatchTerms,
    timeout: Option<Timeout>,
    overflow: Option<Overflow>,
    max_pending_bytes: Option<Size>,
    enabled: Option<bool>,
    format: Option<Format>,
}

impl Form for Terms {
    fn form<D: Door>(d: &mut D, it: Option<&Terms>) -> Option<Terms> {
        let batch = d.always(
            section("batch", "How many records make a request, and how long to wait for them."),
            it.map(|it| &it.batch),
        );
        let timeout = d.optional(
            field("timeout", "How long one request may take, 100ms to 5m. After one that took longer, the next is half as large.", "")
                .by_default("10s"),
            it.and_then(|it| it.timeout.as_ref()),
        );
        let overflow = d.optional(
            field("overflow", "What gives way when its share of the journal, or all of it, is full: senders wait, or its oldest records are given up.", "")
                .by_default("block"),
            it.and_then(|it| it.overflow.as_ref()),
        );
        let max_pending_bytes = d.optional(
            field("max_pending_bytes", "Its share of `journal.max_bytes`: most that is held for it. Default: all of it for a single destination, half of it where there are several.", "1GiB"),
            it.and_then(|it| it.max_pending_bytes.as_ref()),
        );
        let enabled = d.optional(
            field("enabled", "Whether anything is sent. While it is off, what comes for it is kept within its share.", "")
                .by_default("true"),
            it.and_then(|it| it.enabled.as_ref()),
        );
        let format = d.optional(
            field("format", "How records are written: `json` is the event's envelope, `cloudevents` a CloudEvent (1.0, structured) whose data is the envelope.", "")
                .by_default("json"),
            it.and_then(|it| it.format.as_ref()),
        );
        Some(Terms { batch: batch?, timeout, overflow, max_pending_bytes, enabled, format })
    }
}

/// The terms that are in force, as somebody would write them.
impl From<&Destination> for Terms {
    fn from(it: &Destination) -> Terms {
        let size = |bytes: u64| Size { bytes, written: bytes.into() };
        let BatchSettings { max_records, max_bytes, linger } = it.batch;
        Terms {
            batch: BatchTerms {
                max_records: Some(Count(max_records as u64)),
                max_bytes: Some(size(max_bytes as u64)),
                linger: Some(Linger(linger, show_duration(linger).into())),
            },
            timeout: Some(Timeout(it.timeout, show_duration(it.timeout).into())),
            overflow: Some(it.overflow),
            max_pending_bytes: it.max_pending_bytes.map(size),
            enabled: Some(it.enabled),
            format: Some(it.format),
        }
    }
}

/// How records are batched, as somebody wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchTerms {
    max_records: Option<Count>,
    max_bytes: Option<Size>,
    linger: Option<Linger>,
}

impl Form for BatchTerms {
    fn form<D: Door>(d: &mut D, it: Option<&BatchTerms>) -> Option<BatchTerms> {
        let about = "At most, and by default, what the service takes.";
        let max_records = d.optional(
            field("max_records", about, "100"),
            it.and_then(|it| it.max_records.as_ref()),
        );
        let max_bytes =
            d.optional(field("max_bytes", about, "1MiB"), it.and_then(|it| it.max_bytes.as_ref()));
        let linger = d.optional(
            field("linger", "How long the first record of a batch waits for more.", "")
                .by_default("200ms"),
            it.and_then(|it| it.linger.as_ref()),
        );
        Some(BatchTerms { max_records, max_bytes, linger })
    }
}

impl Terms {
    /// The batches that they make for a target.
    ///
    /// # Errors
    /// When the target's service does not take such batches.
    pub fn batch_for(&self, target: &Target) -> Result<BatchSettings, ResourceError> {
        let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        BatchSettings::new(
            target,
            self.batch.max_records.map(|it| number(it.0)),
            self.batch.max_bytes.as_ref().map(|it| number(it.bytes)),
            self.batch.linger.as_ref().map(|it| it.0),
        )
    }

    /// The destination that they make with a target.
    ///
    /// # Errors
    /// When the target's service does not take such batches.
    pub fn destination(
        &self,
        id: ResourceId,
        description: String,
        target: Target,
    ) -> Result<Destination, ResourceError> {
        Ok(Destination {
            id,
            description,
            batch: self.batch_for(&target)?,
            target,
            timeout: self.timeout.as_ref().map_or(DEFAULT_TIMEOUT, |it| it.0),
            overflow: self.overflow.unwrap_or_default(),
            max_pending_bytes: self.max_pending_bytes.as_ref().map(|it| it.bytes),
            enabled: self.enabled.unwrap_or(true),
            format: self.format.unwrap_or_default(),
            bounds: None,
        })
    }
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

    /// The same inside limits that may be narrower than those of the target's settings.
    #[must_use]
    pub fn within(self, limits: Limits) -> BatchSettings {
        BatchSettings {
            max_records: self.max_records.min(limits.max_records),
            max_bytes: self.max_bytes.min(limits.max_bytes),
            ..self
        }
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
    /// How its records are written.
    pub format: Format,
    /// What its target may do if it was made through the API; none for those of the settings.
    pub bounds: Option<Arc<Bounds>>,
}

impl Destination {
    /// What is known of a record before it is sent, as it is written for this destination.
    #[must_use]
    pub fn measured(&self, record: &Record) -> Measured {
        self.target.measured(&self.format.written(record))
    }

    /// Opens the target, for requests that may take [`Destination::timeout`]; see `Target::open`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open(&self, log: LogOutput) -> Result<Sink, OpenError> {
        let bounds = self.bounds.as_deref();
        self.target.open_to_write(self.format, log, self.timeout, bounds).await
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
        self.target == other.target
            && self.timeout == other.timeout
            && self.format == other.format
            && self.bounds == other.bounds
    }
}
