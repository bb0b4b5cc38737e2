//! Prices from an editable file, and what a month costs by them.

use std::path::Path;

use serde_json::Value;

use crate::cli::Failure;
use crate::sinks::Bill;

/// The file that comes with the program.
pub(super) const SHIPPED: &str = include_str!("prices.json");

/// Hours of a month, as AWS's own calculator takes it.
pub(super) const MONTH_HOURS: f64 = 730.0;

/// Bytes and records that a shard takes a second (Kinesis developer guide, "quotas and limits").
const SHARD_BYTES: f64 = 1_000_000.0;
const SHARD_RECORDS: f64 = 1_000.0;

const GIB: f64 = (1u64 << 30) as f64;

/// Prices by name, all in one currency.
pub(super) struct Prices(Value);

/// What a month of a destination comes to.
#[derive(Clone, Debug, Default)]
pub(super) struct Month {
    pub(super) records: f64,
    pub(super) gib: f64,
    /// PUT payload units for Kinesis.
    pub(super) put_units: Option<f64>,
    /// GiB as they are billed, for the others.
    pub(super) billed_gib: Option<f64>,
    pub(super) shards: Option<f64>,
    /// Each way to pay for it, the first the usual one.
    pub(super) money: Vec<(&'static str, f64)>,
}

impl Prices {
    pub(super) fn read(file: Option<&Path>) -> Result<Prices, Failure> {
        let text = match file {
            None => SHIPPED.to_owned(),
            Some(file) => std::fs::read_to_string(file).map_err(|error| {
                Failure::work(format!("{} cannot be read: {error}", file.display()))
            })?,
        };
        let name = file.map_or_else(|| "the prices".to_owned(), |it| it.display().to_string());
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| Failure::work(format!("{name} is no JSON: {error}")))?;
        let shipped: Value = serde_json::from_str(SHIPPED).unwrap_or_default();
        for key in shipped["prices"].as_object().into_iter().flat_map(|it| it.keys()) {
            if !value["prices"][key]["price"].as_f64().is_some_and(|it| it >= 0.0) {
                return Err(Failure::work(format!(
                    "{name} has no price `prices.{key}.price`, a number; `sluicegate cost --print-prices` prints a file to edit"
                )));
            }
        }
        Ok(Prices(value))
    }

    pub(super) fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    fn of(&self, key: &str) -> f64 {
        self.0["prices"][key]["price"].as_f64().unwrap_or_default()
    }

    /// A month of what was billed for a sample, which is `scale` times in it.
    pub(super) fn month(&self, kind: &str, bill: &Bill, scale: f64) -> Month {
        let times = |count: u64| count as f64 * scale;
        let seconds = MONTH_HOURS * 3_600.0;
        let (records, gib) = (times(bill.records), times(bill.bytes) / GIB);
        let billed_gib = times(bill.billed_bytes) / GIB;
        let month = Month { records, gib, ..Month::default() };
        match kind {
            "kinesis" => {
                let by_records = records / seconds / SHARD_RECORDS;
                let by_bytes = times(bill.bytes) / seconds / SHARD_BYTES;
                let shards = by_records.max(by_bytes).ceil().max(1.0);
                let put_units = times(bill.put_units);
                let provisioned = put_units / 1e6 * self.of("kinesis_million_put_units")
                    + shards * MONTH_HOURS * self.of("kinesis_shard_hour");
                let on_demand = billed_gib * self.of("kinesis_on_demand_gib")
                    + MONTH_HOURS * self.of("kinesis_on_demand_stream_hour");
                Month {
                    put_units: Some(put_units),
                    shards: Some(shards),
                    money: vec![("provisioned", provisioned), ("on_demand", on_demand)],
                    ..month
                }
            }
            "firehose" => Month {
                billed_gib: Some(billed_gib),
                money: vec![("direct_put", billed_gib * self.of("firehose_gib"))],
                ..month
            },
            "cloudwatch_logs" => Month {
                billed_gib: Some(billed_gib),
                money: vec![("standard", billed_gib * self.of("cloudwatch_logs_gib"))],
                ..month
            },
            _ => month,
        }
    }
}
