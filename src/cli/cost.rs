//! `sluicegate cost`: what a sample of events costs at each destination, by the month.
//!
//! The events go through the daemon's own dispatch, batches and sinks, into a meter in place of the service;
//! so what is counted is what would be sent. Prices come from a file (`prices.rs`).

mod bills;
mod prices;
mod sample;

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::access::Access;
use super::api::Remote;
use super::{Failure, Outcome, OutputFormat, block_on, events, with_saved};
use crate::config::Config;
use crate::control::resources_told;
use crate::event::Catalog;
use crate::pipeline::Sampled;
use crate::resources::Resources;
use bills::Reckoning;
use prices::{MONTH_HOURS, Prices, SHIPPED};
use sample::Sample;

/// Counts what the events of a sample would be billed as, and what a month of them costs.
#[derive(Debug, Args)]
pub(super) struct Cost {
    /// The settings file (.yaml, .toml or .json); destinations made through the API count too. With --api
    /// it only gives the event types of its own
    #[arg(short, long, value_name = "FILE", required_unless_present_any = ["print_prices", "api"])]
    config: Option<PathBuf>,
    // With --api: the destinations and subscriptions are those of a running daemon.
    #[command(flatten)]
    access: Access,
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

impl Cost {
    pub(super) fn run(self) -> Outcome {
        if self.print_prices {
            return Ok(io::stdout().lock().write_all(SHIPPED.as_bytes())?);
        }
        let prices = Prices::read(self.prices.as_deref())?;
        let of_file = self.config.as_deref().map(Config::load).transpose()?;
        let mapped = of_file.as_ref().map(|it| it.formats.clone()).unwrap_or_default();
        let format = events::format(self.format.as_deref(), &mapped)?;
        let resources = self.resources(of_file)?;
        let mut sample = Sample::read(self.sample.as_deref(), format.as_ref())?;
        let mut sampled = Sampled::new();
        sample.go_through(&resources, &mut sampled);
        sample.remark()?;
        let rate = match self.rate {
            Some(rate) if rate.is_finite() && rate > 0.0 => rate,
            Some(_) => return Err(Failure::Usage("--rate must be more than 0".to_owned())),
            None => sample.rate()?,
        };
        let (events, bad) = (sample.events() as f64, sample.bad());
        let scale = rate * MONTH_HOURS * 3_600.0 / events;
        let reckoning = Reckoning { resources: &resources, prices: &prices, scale };
        let mut destinations = Vec::new();
        for destination in resources.destinations() {
            destinations.push(reckoning.of(destination, &sampled, &mut sample)?);
        }
        let answer = json!({
            "sample": {"events": events, "bad": bad},
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

    /// The destinations and subscriptions: of the settings file and what was made through the API beside it,
    /// or those that a running daemon tells.
    fn resources(&self, of_file: Option<Config>) -> Result<Resources, Failure> {
        if self.access.given().is_none() {
            let Some(config) = of_file else {
                return Err(Failure::Usage("give --config FILE or --api URL".to_owned()));
            };
            return Ok(with_saved(config)?.resources);
        }
        let types = of_file.map(|config| config.resources.catalog);
        let types = types.unwrap_or_else(Catalog::builtin);
        let remote = Remote::new(&self.access)?;
        let list = |kind: &'static str| {
            block_on(remote.list(&format!("/{kind}"), kind, String::new(), usize::MAX))
        };
        let destinations = list("event_destinations")??;
        let subscriptions = list("event_subscriptions")??;
        resources_told(&destinations, &subscriptions, types).map_err(Failure::work)
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
                "  sample   {} events, {} records, {} requests, {} bytes, {} bytes billed, {} PUT units",
                sent["events"],
                sent["records"],
                sent["requests"],
                sent["bytes"],
                sent["billed_bytes"],
                sent["put_units"]
            )?;
            writeln!(out, "  events   {:.0}", number(&month["events"]))?;
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
            if let Some(packing) = it["packing"].as_object() {
                writeln!(
                    out,
                    "  packing several events into a record saves {:.2} {currency}: {:.2} in place of {:.2}",
                    number(&packing["saves_a_month"]),
                    number(&packing["packed"]["money_a_month"]),
                    number(&packing["unpacked"]["money_a_month"]),
                )?;
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

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
