//! One source tried on events without a journal or destinations, as a whole or stage by stage: the
//! one way for `filter eval`, `filter test`, `filter bench`, `replay` and `POST /filters/try`.

use std::sync::Arc;

use bytes::Bytes;

use super::dispatch::Dispatcher;
use super::projection::Projection;
use super::stats::{Stats, SubscriptionCounts, SubscriptionStats};
use crate::budget::Budget;
use crate::event::{Event, EventError, Record, Slot, SlotPlan, Slots, Timestamp, read_event};
use crate::filter::{Decision, EvalError, Explainer, Program};
use crate::resources::{ResourceError, ResourceId, Resources, Source, Subscription};

/// A source by itself. It goes through the very dispatch that the daemon uses.
#[derive(Debug)]
pub struct Trial {
    dispatcher: Dispatcher,
    /// Of each subscription.
    stats: Vec<Arc<SubscriptionStats>>,
    explainer: Option<(SlotPlan, Explainer)>,
}

impl Trial {
    /// Compiles a source.
    ///
    /// # Errors
    /// None that the source's own check has not reported already.
    pub fn new(source: Source) -> Result<Trial, ResourceError> {
        Trial::of(vec![source])
    }

    /// Compiles a source, and takes its filter apart, so that [`Trial::explain`] can say why. The
    /// verdict is still that of dispatch.
    ///
    /// # Errors
    /// None that the source's own check has not reported already.
    pub fn explaining(source: Source) -> Result<Trial, ResourceError> {
        let explainer = source.filter.as_ref().map(|filter| {
            let mut plan = SlotPlan::default();
            let explainer = filter.explainer(&mut plan);
            (plan, explainer)
        });
        Ok(Trial { explainer, ..Trial::new(source)? })
    }

    /// Compiles sources of different types.
    ///
    /// # Errors
    /// None that the sources' own checks have not reported already.
    pub fn of(sources: Vec<Source>) -> Result<Trial, ResourceError> {
        Trial::copies(&[sources], 1)
    }

    /// Compiles so many copies of subscriptions with these sources.
    ///
    /// # Errors
    /// None that the sources' own checks have not reported already.
    pub fn copies(subscriptions: &[Vec<Source>], copies: usize) -> Result<Trial, ResourceError> {
        let stats = Stats::default();
        let (mut resources, mut of_each) = (Resources::default(), Vec::new());
        let all = (0..copies).flat_map(|_| subscriptions);
        for (number, sources) in all.enumerate() {
            let id = ResourceId::new(&format!("trial-{number}"))?;
            of_each.push(stats.subscription(&id));
            resources.add_subscription(Subscription {
                id,
                description: String::new(),
                sources: sources.clone(),
                destinations: Vec::new(),
                enabled: true,
            })?;
        }
        let dispatcher = Dispatcher::new(&resources, &stats);
        Ok(Trial { dispatcher, stats: of_each, explainer: None })
    }

    /// Reads one event as ingest does. Events of other types have no slots.
    ///
    /// # Errors
    /// When the text is no event.
    pub fn read<'e>(&self, text: &'e str) -> Result<(Event<'e>, Slots<'e>), EventError> {
        let plan_of = |name: &str| self.dispatcher.plan_of(self.dispatcher.type_of(name)?);
        read_event(text, Timestamp::now(), rand::random, plan_of)
    }

    /// Whether a record, which is an event as ingest would read it, matches.
    #[must_use]
    pub fn chooses(&self, record: &Record) -> bool {
        let text = str::from_utf8(&record.body).ok();
        let event = text.and_then(|text| self.read(text).ok());
        event.is_some_and(|event| self.matches(&event).is_some())
    }

    /// Whether an event is of a type that is tried.
    #[must_use]
    pub fn takes(&self, event: &Event<'_>) -> bool {
        let of = self.dispatcher.type_of(&event.event_type);
        of.is_some_and(|of| self.dispatcher.plan_of(of).is_some())
    }

    /// Which part of the filter decides an event that [`Trial::takes`], and the units of work that it
    /// took to say so. None without a filter, and of a trial that was not made by
    /// [`Trial::explaining`].
    #[must_use]
    pub fn explain(&self, event: &Event<'_>) -> Option<(Decision<'_>, u64)> {
        let (plan, explainer) = self.explainer.as_ref()?;
        let mut slots = Slots::new();
        plan.extract(event, &mut slots);
        Some(explainer.counted(&slots))
    }

    /// What would be delivered for an event, if it matches. Events of other types do not.
    #[must_use]
    pub fn matches(&self, event: &(Event<'_>, Slots<'_>)) -> Option<Bytes> {
        let held = Budget::unbounded().hold();
        let mut dispatched = self.dispatcher.dispatch(std::slice::from_ref(event), &held).ok()?;
        let (mut entries, _) = dispatched.take_records();
        dispatched.count();
        entries.pop().map(|entry| entry.record.body.clone())
    }

    /// How many records an event makes.
    #[must_use]
    pub fn records(&self, event: &(Event<'_>, Slots<'_>)) -> usize {
        let held = Budget::unbounded().hold();
        let Ok(mut dispatched) = self.dispatcher.dispatch(std::slice::from_ref(event), &held)
        else {
            return 0;
        };
        let (entries, _) = dispatched.take_records();
        dispatched.count();
        entries.len()
    }

    /// What was seen, matched and failed so far, by all subscriptions together.
    #[must_use]
    pub fn counts(&self) -> SubscriptionCounts {
        let mut all = SubscriptionCounts::default();
        for counts in self.stats.iter().map(|stats| stats.counts()) {
            all.seen += counts.seen;
            all.matched += counts.matched;
            all.filter_errors += counts.filter_errors;
            all.filter_work += counts.filter_work;
            all.last_filter_error = counts.last_filter_error.or(all.last_filter_error);
        }
        all
    }
}

/// The stages that a source's events go through, one by one, so that each can be measured.
#[derive(Debug)]
pub struct Stages {
    plan: SlotPlan,
    filter: Option<Program>,
    projection: Projection,
}

impl Stages {
    #[must_use]
    pub fn new(source: &Source) -> Stages {
        let mut plan = SlotPlan::default();
        let filter = source.filter.as_ref().map(|filter| filter.compile(&mut plan));
        let projection = Projection::compile(source.fields.as_deref(), &mut plan);
        Stages { plan, filter, projection }
    }

    /// Reads one event as ingest does: checked, and its object's slots filled, in one pass.
    ///
    /// # Errors
    /// When the text is no event.
    pub fn read<'e>(&self, text: &'e str) -> Result<(Event<'e>, Slots<'e>), EventError> {
        read_event(text, Timestamp::MIN, rand::random, |_| Some(&self.plan))
    }

    /// Fills the slots from an event that was read before.
    pub fn extract<'e>(&self, event: &'e Event<'e>, slots: &mut Slots<'e>) {
        self.plan.extract(event, slots);
    }

    /// Whether the event matches.
    ///
    /// # Errors
    /// When the filter cannot be evaluated on these values.
    pub fn filter(&self, slots: &[Slot<'_>]) -> Result<bool, EvalError> {
        self.filter.as_ref().map_or(Ok(true), |filter| filter.matches(slots))
    }

    /// Appends the record to `out`.
    pub fn project(&self, event: &Event<'_>, slots: &[Slot<'_>], out: &mut Vec<u8>) {
        self.projection.write(event, slots, out);
    }
}
