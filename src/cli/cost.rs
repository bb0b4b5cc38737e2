//! `sluicegate cost`: what a sample of events costs at each destination, by the month.
//!
//! The events go through the daemon's own dispatch, batches and sinks, into a meter in place of the service;
//! so what is counted is what would be sent. Prices come from a file (`prices.rs`).

mod prices;

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, Outcome, OutputFormat, block_on, events, with_saved};
use crate::config::Config;
use crate::event::Timestamp;
use crate::formats::Format;
use crate::pipeline::{Sampled, Sampler, metered};
use crate::report::counted;
use crate::resources::{Destination, Resources};
use crate::sinks::Bill;
use prices::{MONTH_HOURS, Month, Prices, SHIPPED};

/// Most events of a sample: enough for any mix of events, and not more than memory for one minute.
const MAX_EVENTS: usize = 100_000;
/// Most bytes of a sample's events.
const MAX_BYTES: usize = 128 << 20;

/// Counts what the events of a sample would be billed as, and what a month of them costs.
#[derive(Debug, Args)]
pub(super) struct Cost {
    /// The settings file (.yaml, .toml or .json); destinations made through the API count too
    #[arg(short, long, value_name = "FILE", required_unless_present = "print_prices")]
    config: Option<PathBuf>,
    /// Events as NDJSON, or lines of --format; standard input if left out
    #[arg(long, value_name = "FILE")]
    sample: Option<PathBuf>,
    /// Make the events of an access log's lines: nginx, apache, haproxy, caddy, traefik, envoy, aws_alb, or a format
    /// that the settings map
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Events a second that come in; left out, as many as in the time that the sample spans
    #[arg(long, value_name = "EVENTS")]
    rate: Option<f64>,
    /// A file of prices in place of the built-in ones
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Print the built-in prices, with their sources and date, as a file to edit
    #[arg(long)]
    print_prices: bool,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// The events that are tried.
#[derive(Default)]
struct Sample {
    events: Vec<String>,
    bad: usize,
    cut: bool,
    /// When the first and the last of them happened.
    span: Option<(Timestamp, Timestamp)>,
}

/// What a destination was billed for the sample.
struct Billed {
    bill: Bill,
    refused: usize,
}

impl Cost {
    pub(super) fn run(self) -> Outcome {
        if self.print_prices {
            return Ok(io::stdout().lock().write_all(SHIPPED.as_bytes())?);
        }
        let prices = Prices::read(self.prices.as_deref())?;
        let file = self.config.as_deref().unwrap_or_else(|| std::path::Path::new(""));
        let config = with_saved(Config::load(file)?)?;
        let format = events::format(self.format.as_deref(), &config.formats)?;
        let resources = config.resources;
        let mut sample = self.sample(format.as_ref())?;
        let mut sampled = Sampled::new();
        sample.go_through(&resources, &mut sampled);
        if sample.events.len() == sample.bad {
            return Err(Failure::work("the sample has no event"));
        }
        if sample.cut {
            let max = MAX_EVENTS;
            writeln!(
                io::stderr(),
                "remark: only the first {max} events, or 128 MiB, are looked at"
            )?;
        }
        if sample.bad > 0 {
            let bad = counted(sample.bad as u64, "line");
            writeln!(io::stderr(), "remark: {bad} of the sample cannot be read as events")?;
        }
        let rate = self.rate(&sample)?;
        let events = (sample.events.len() - sample.bad) as f64;
        let scale = rate * MONTH_HOURS * 3_600.0 / events;
        let mut destinations = Vec::new();
        for destination in resources.destinations() {
            let billed = bill(destination, &sampled)?;
            let month = prices.month(destination.target.kind(), &billed.bill, scale);
            let fields = if month.money.is_empty() {
                Vec::new()
            } else {
                self.fields(&resources, destination, &mut sample, &|bill| {
                    let less = prices.month(destination.target.kind(), bill, scale);
                    saved(&month, &less)
                })?
            };
            destinations.push(described(destination, &billed, &month, fields));
        }
        let answer = json!({
            "sample": {"events": events, "bad": sample.bad},
            "events_per_second": rate,
            "prices": {
                "currency": prices.text("currency"),
                "region": prices.text("region"),
                "as_of": prices.text("as_of"),
            },
            "destinations": destinations,
        });
        self.print(&answer)
    }

    fn sample(&self, format: Option<&Format>) -> Result<Sample, Failure> {
        let mut sample = Sample::default();
        let mut bytes = 0;
        let input = events::open(self.sample.as_deref())?;
        events::for_each_line(input, format, |_, text| {
            if sample.events.len() == MAX_EVENTS || bytes > MAX_BYTES {
                sample.cut = true;
                return Ok(());
            }
            let text = text.unwrap_or_default();
            bytes += text.len();
            sample.events.push(text.to_owned());
            Ok(())
        })?;
        Ok(sample)
    }

    fn rate(&self, sample: &Sample) -> Result<f64, Failure> {
        if let Some(rate) = self.rate {
            let usable = rate.is_finite() && rate > 0.0;
            return if usable { Ok(rate) } else { Err(usage("--rate must be more than 0")) };
        }
        let millis =
            sample.span.map_or(0, |(first, last)| last.unix_millis() - first.unix_millis());
        if millis < 1_000 {
            return Err(usage(
                "the sample spans less than a second: say with --rate how many events a second come in",
            ));
        }
        Ok((sample.events.len() - sample.bad) as f64 / (millis as f64 / 1_000.0))
    }

    /// What each selected field of a destination's subscriptions costs: the difference without it.
    fn fields(
        &self,
        resources: &Resources,
        destination: &Destination,
        sample: &mut Sample,
        costs: &dyn Fn(&Bill) -> f64,
    ) -> Result<Vec<Value>, Failure> {
        let mut found = Vec::new();
        for subscription in resources.subscriptions() {
            if !subscription.destinations.contains(&destination.id) || !subscription.enabled {
                continue;
            }
            for (at, source) in subscription.sources.iter().enumerate() {
                for field in source.fields.iter().flatten().filter(|_| more_than_one(source)) {
                    let mut less = (**subscription).clone();
                    if let Some(fields) = &mut less.sources[at].fields {
                        fields.retain(|it| it != field);
                    }
                    let mut changed = Resources::new(resources.catalog.clone());
                    for it in resources.destinations() {
                        changed.add_destination(it.clone()).map_err(Failure::work)?;
                    }
                    for it in resources.subscriptions() {
                        let it = if it.id == less.id { less.clone().into() } else { it.clone() };
                        changed.add_subscription(it).map_err(Failure::work)?;
                    }
                    let mut sampled = Sampled::new();
                    sample.go_through(&changed, &mut sampled);
                    let without = bill(destination, &sampled)?;
                    found.push(json!({
                        "subscription_id": subscription.id.as_str(),
                        "event_type": source.event_type.name,
                        "field": field,
                        "money_a_month": costs(&without.bill),
                    }));
                }
            }
        }
        Ok(found)
    }

    fn print(&self, answer: &Value) -> Outcome {
        let mut out = io::stdout().lock();
        if self.output == OutputFormat::Json {
            return Ok(writeln!(out, "{answer}")?);
        }
        let number = |value: &Value| value.as_f64().unwrap_or_default();
        let currency = answer["prices"]["currency"].as_str().unwrap_or_default();
        writeln!(
            out,
            "{:.0} events of the sample, {:.1} a second; a month of it, at prices in {currency} of {}, {}",
            number(&answer["sample"]["events"]),
            number(&answer["events_per_second"]),
            answer["prices"]["region"].as_str().unwrap_or_default(),
            answer["prices"]["as_of"].as_str().unwrap_or_default(),
        )?;
        for it in answer["destinations"].as_array().into_iter().flatten() {
            let (sent, month) = (&it["sample"], &it["month"]);
            writeln!(out, "\n{}  ({})", text(&it["destination_id"]), text(&it["kind"]))?;
            writeln!(
                out,
                "  sample   {} records, {} requests, {} bytes, {} bytes billed, {} PUT units",
                sent["records"],
                sent["requests"],
                sent["bytes"],
                sent["billed_bytes"],
                sent["put_units"]
            )?;
            writeln!(out, "  records  {:.0}", number(&month["records"]))?;
            writeln!(out, "  GiB      {:.3}", number(&month["gib"]))?;
            for (name, key) in
                [("billed", "billed_gib"), ("units", "put_units"), ("shards", "shards")]
            {
                if !month[key].is_null() {
                    writeln!(out, "  {name:<9}{:.3}", number(&month[key]))?;
                }
            }
            for (way, money) in month["money"].as_object().into_iter().flatten() {
                writeln!(out, "  {way:<12} {:.2} {currency}", number(money))?;
            }
            for field in it["fields"].as_array().into_iter().flatten() {
                writeln!(
                    out,
                    "  field {} of {} costs {:.2} {currency}",
                    text(&field["field"]),
                    text(&field["event_type"]),
                    number(&field["money_a_month"])
                )?;
            }
        }
        Ok(())
    }
}

impl Sample {
    /// Has all events make their records.
    fn go_through(&mut self, resources: &Resources, sampled: &mut Sampled) {
        let sampler = Sampler::new(resources);
        (self.bad, self.span) = (0, None);
        for text in &self.events {
            match sampler.add(text, sampled) {
                Err(_) => self.bad += 1,
                Ok(time) => {
                    let (first, last) = self.span.unwrap_or((time, time));
                    self.span = Some((first.min(time), last.max(time)));
                }
            }
        }
    }
}

fn more_than_one(source: &crate::resources::Source) -> bool {
    source.fields.as_ref().is_some_and(|fields| fields.len() > 1)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn usage(message: &str) -> Failure {
    Failure::Usage(message.to_owned())
}

/// The difference in the usual way to pay.
fn saved(month: &Month, less: &Month) -> f64 {
    let usual = |it: &Month| it.money.first().map_or(0.0, |(_, money)| *money);
    usual(month) - usual(less)
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
    Ok(Billed { bill, refused })
}

fn described(
    destination: &Destination,
    billed: &Billed,
    month: &Month,
    fields: Vec<Value>,
) -> Value {
    let Bill { requests, records, bytes, put_units, billed_bytes } = billed.bill;
    let money: serde_json::Map<String, Value> =
        month.money.iter().map(|(way, money)| ((*way).to_owned(), json!(money))).collect();
    json!({
        "destination_id": destination.id.as_str(),
        "kind": destination.target.kind(),
        "sample": {
            "requests": requests,
            "records": records,
            "bytes": bytes,
            "put_units": put_units,
            "billed_bytes": billed_bytes,
            "refused": billed.refused,
        },
        "month": {
            "records": month.records,
            "gib": month.gib,
            "put_units": month.put_units,
            "billed_gib": month.billed_gib,
            "shards": month.shards,
            "money": money,
        },
        "fields": fields,
    })
}
