//! What one destination is billed for a sample: as it is set up, without each field, and with and without
//! packing.

use serde_json::{Map, Value, json};

use super::prices::{Month, Prices};
use super::sample::Sample;
use crate::cli::{Failure, block_on};
use crate::pipeline::{Sampled, metered};
use crate::resources::{BatchSettings, Destination, Resources, Source};
use crate::sinks::Bill;

/// How a sample becomes money.
pub(super) struct Reckoning<'a> {
    pub(super) resources: &'a Resources,
    pub(super) prices: &'a Prices,
    /// How often the sample is in a month.
    pub(super) scale: f64,
}

/// What a destination was billed for the sample.
struct Billed {
    events: usize,
    bill: Bill,
    refused: usize,
}

/// Sends a destination's records to a meter; what is not of AWS is counted as it stands.
fn bill(destination: &Destination, sampled: &Sampled) -> Result<Billed, Failure> {
    let records = sampled.get(&destination.id).map_or(&[][..], Vec::as_slice);
    let metered = block_on(metered(destination, records))?;
    let plain = || {
        let bytes = records.iter().map(|it| destination.measured(it).bytes as u64).sum();
        (Bill { records: records.len() as u64, bytes, ..Bill::default() }, 0)
    };
    let (bill, refused) = metered.unwrap_or_else(plain);
    Ok(Billed { events: records.len(), bill, refused })
}

impl Reckoning<'_> {
    /// A destination's bill and what it comes to.
    pub(super) fn of(
        &self,
        destination: &Destination,
        sampled: &Sampled,
        sample: &mut Sample,
    ) -> Result<Value, Failure> {
        let billed = bill(destination, sampled)?;
        let month = self.month(destination, &billed.bill);
        let fields = match month.money.is_empty() {
            true => Vec::new(),
            false => self.fields(destination, sample, &month)?,
        };
        let mut answer = self.described(destination, &billed, &month);
        answer["fields"] = json!(fields);
        answer["packing"] = self.packing(destination, sampled)?;
        Ok(answer)
    }

    fn month(&self, destination: &Destination, bill: &Bill) -> Month {
        self.prices.month(destination.target.kind(), bill, self.scale)
    }

    /// What each selected field of a destination's subscriptions costs: the difference without it.
    fn fields(
        &self,
        destination: &Destination,
        sample: &mut Sample,
        month: &Month,
    ) -> Result<Vec<Value>, Failure> {
        let mut found = Vec::new();
        let subscriptions = self.resources.subscriptions();
        for subscription in subscriptions.iter().filter(|it| it.enabled) {
            if !subscription.destinations.contains(&destination.id) {
                continue;
            }
            for (at, source) in subscription.sources.iter().enumerate() {
                for field in source.fields.iter().flatten().filter(|_| more_than_one(source)) {
                    let mut less = (**subscription).clone();
                    if let Some(fields) = &mut less.sources[at].fields {
                        fields.retain(|it| it != field);
                    }
                    let mut changed = Resources::new(self.resources.catalog.clone());
                    for it in self.resources.destinations() {
                        changed.add_destination(it.clone()).map_err(Failure::work)?;
                    }
                    for it in subscriptions {
                        let it = if it.id == less.id { less.clone().into() } else { it.clone() };
                        changed.add_subscription(it).map_err(Failure::work)?;
                    }
                    let mut sampled = Sampled::new();
                    sample.go_through(&changed, &mut sampled);
                    let without = bill(destination, &sampled)?;
                    let less = self.month(destination, &without.bill);
                    found.push(json!({
                        "subscription_id": subscription.id.as_str(),
                        "event_type": source.event_type.name,
                        "field": field,
                        "money_a_month": usual(month) - usual(&less),
                    }));
                }
            }
        }
        Ok(found)
    }

    /// The same records, several in one of the service's and each in its own; null where they never share.
    fn packing(&self, destination: &Destination, sampled: &Sampled) -> Result<Value, Failure> {
        let with = |packs| -> Result<Option<(Value, f64)>, Failure> {
            let Some(target) = destination.target.with_packing(packs) else { return Ok(None) };
            // What was not set is as much as the service takes, the one way or the other.
            let (most, now) = (target.limits().max_records, &destination.target);
            let batch = match destination.batch {
                it if it.max_records == now.limits().max_records => {
                    BatchSettings { max_records: most, ..it }
                }
                it => it.within(target.limits()),
            };
            let changed = Destination { target, batch, ..destination.clone() };
            let bill = bill(&changed, sampled)?.bill;
            let money = usual(&self.month(&changed, &bill));
            let Bill { requests, records, put_units, billed_bytes, .. } = bill;
            let told = json!({
                "requests": requests,
                "records": records,
                "put_units": put_units,
                "billed_bytes": billed_bytes,
                "money_a_month": money,
            });
            Ok(Some((told, money)))
        };
        let (Some((packed, less)), Some((unpacked, more))) = (with(true)?, with(false)?) else {
            return Ok(Value::Null);
        };
        Ok(json!({"packed": packed, "unpacked": unpacked, "saves_a_month": more - less}))
    }

    fn described(&self, destination: &Destination, billed: &Billed, month: &Month) -> Value {
        let Bill { requests, records, bytes, put_units, billed_bytes } = billed.bill;
        let money: Map<String, Value> =
            month.money.iter().map(|(way, money)| ((*way).to_owned(), json!(money))).collect();
        json!({
            "destination_id": destination.id.as_str(),
            "kind": destination.target.kind(),
            "sample": {
                "events": billed.events,
                "requests": requests,
                "records": records,
                "bytes": bytes,
                "put_units": put_units,
                "billed_bytes": billed_bytes,
                "refused": billed.refused,
            },
            "month": {
                "events": billed.events as f64 * self.scale,
                "records": month.records,
                "gib": month.gib,
                "put_units": month.put_units,
                "billed_gib": month.billed_gib,
                "shards": month.shards,
                "money": money,
            },
        })
    }
}

fn more_than_one(source: &Source) -> bool {
    source.fields.as_ref().is_some_and(|fields| fields.len() > 1)
}

/// A month in the usual way to pay.
fn usual(month: &Month) -> f64 {
    month.money.first().map_or(0.0, |(_, money)| *money)
}
