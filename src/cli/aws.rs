//! `sluicegate aws policy`: the least that AWS must allow for the destinations of a settings file, and
//! whom their roles must trust.
//!
//! Asks no service and changes nothing there; `terraform.rs` writes the same as resources of Terraform.

mod terraform;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Failure, Outcome, with_saved};
use crate::config::Config;
use crate::control::own_external_id;
use crate::resources::Destination;
use crate::sinks::{Auth, Needs, Purpose};

/// What stands in a trust policy for who runs the daemon, as in the files of `deploy/aws`.
const PRINCIPAL: &str = "${PRINCIPAL}";

#[derive(Debug, Subcommand)]
pub(super) enum Aws {
    /// Print the least policy of everyone that the AWS destinations deliver as, and the trust policy of
    /// each role, which lets nobody in without the external id
    Policy(Policy),
}

#[derive(Debug, Args)]
pub(super) struct Policy {
    /// The settings file (.yaml, .toml or .json); destinations made through the API count too
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The ARN of the role or user that the daemon runs as, which the roles are to trust
    #[arg(long, value_name = "ARN")]
    principal: Option<String>,
    /// The ARN of the key of Kinesis streams that are encrypted with a customer managed key
    #[arg(long, value_name = "ARN")]
    kms_key: Vec<String>,
    /// Leave out what only `check --online`, `destination check` and automatic settings ask for
    #[arg(long)]
    deliver_only: bool,
    /// Print resources of Terraform in place of JSON
    #[arg(long)]
    terraform: bool,
}

/// Everyone that destinations deliver as, in the order in which they are printed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    /// What the daemon runs as, with no role between.
    Daemon,
    /// The owner of an access key.
    Key(String),
    /// A role, by its ARN.
    Role(String),
}

/// What one of them needs.
#[derive(Clone, Debug, Default)]
struct Identity {
    destinations: Vec<String>,
    /// The resources of each action.
    allowed: BTreeMap<String, BTreeSet<String>>,
    /// The regions of Kinesis streams, whose keys may be used.
    kinesis_regions: BTreeSet<String>,
    /// What a role is assumed with.
    external_ids: BTreeSet<String>,
}

impl Aws {
    pub(super) fn run(self) -> Outcome {
        match self {
            Aws::Policy(policy) => policy.run(),
        }
    }
}

impl Policy {
    fn run(self) -> Outcome {
        let config = with_saved(Config::load(&self.config)?)?;
        let mut identities = BTreeMap::<Who, Identity>::new();
        for destination in config.resources.destinations() {
            if let Some(needs) = destination.target.needs() {
                self.add(&config, destination, &needs, &mut identities)?;
            }
        }
        if identities.is_empty() {
            let file = self.config.display();
            return Err(Failure::Work(format!("{file}: no destination is one of AWS")));
        }
        let roles: BTreeSet<String> = identities.keys().filter_map(Who::role).collect();
        if !roles.is_empty() {
            let daemon = identities.entry(Who::Daemon).or_default();
            daemon.allowed.insert("sts:AssumeRole".to_owned(), roles);
            if self.principal.is_none() {
                writeln!(
                    io::stderr(),
                    "remark: put the ARN of what the daemon runs as in place of {PRINCIPAL}, or give --principal ARN"
                )?;
            }
        }
        let mut out = io::stdout().lock();
        if self.terraform {
            out.write_all(terraform::resources(&identities, &self).as_bytes())?;
        } else {
            let all: Vec<Value> =
                identities.iter().map(|(who, it)| self.document(who, it)).collect();
            writeln!(out, "{:#}", json!({ "identities": all }))?;
        }
        Ok(())
    }

    fn add(
        &self,
        config: &Config,
        destination: &Destination,
        needs: &Needs<'_>,
        identities: &mut BTreeMap<Who, Identity>,
    ) -> Outcome {
        let (who, external_id) = match needs.auth {
            Auth::DefaultChain => (Who::Daemon, None),
            Auth::Keys(keys) => (Who::Key(keys.aws_access_key_id.to_string()), None),
            Auth::Role(role) => {
                let external_id = match &role.external_id {
                    Some(id) => id.to_string(),
                    None => {
                        let own = own_external_id(&config.data_dir, &config.control)
                            .map_err(Failure::work)?;
                        writeln!(
                            io::stderr(),
                            "remark: `{}` assumes its role without an external id, which the trust policy asks for: add `external_id: {own}` to its `role`",
                            destination.id
                        )?;
                        own
                    }
                };
                (Who::Role(role.role_arn.to_string()), Some(external_id))
            }
        };
        let identity = identities.entry(who).or_default();
        identity.destinations.push(destination.id.to_string());
        identity.external_ids.extend(external_id);
        for needed in &needs.actions {
            if self.deliver_only && needed.action.purpose == Purpose::Check {
                continue;
            }
            let action = needed.action.name.to_owned();
            identity.allowed.entry(action).or_default().insert(needed.resource.clone());
            if needed.action.name.starts_with("kinesis:") {
                identity.kinesis_regions.insert(needs.region.to_owned());
            }
        }
        Ok(())
    }

    fn document(&self, who: &Who, identity: &Identity) -> Value {
        let mut document = json!({
            "destinations": identity.destinations,
            "policy": identity.policy(&self.kms_key),
        });
        match who {
            Who::Daemon => document["identity"] = json!("what the daemon runs as"),
            Who::Key(id) => {
                document["identity"] = json!("access key");
                document["aws_access_key_id"] = json!(id);
            }
            Who::Role(arn) => {
                document["identity"] = json!("role");
                document["role_arn"] = json!(arn);
                document["trust_policy"] =
                    identity.trust(self.principal.as_deref().unwrap_or(PRINCIPAL));
            }
        }
        document
    }
}

impl Who {
    fn role(&self) -> Option<String> {
        match self {
            Who::Role(arn) => Some(arn.clone()),
            Who::Daemon | Who::Key(_) => None,
        }
    }
}

impl Identity {
    /// Allows each action on the resources that need it, and nothing else.
    fn policy(&self, kms_keys: &[String]) -> Value {
        let statement = |(action, resources): (&String, &BTreeSet<String>)| {
            let sid = action.split(':').next_back().unwrap_or_default();
            json!({"Sid": sid, "Effect": "Allow", "Action": action, "Resource": resources})
        };
        let mut statements: Vec<Value> = self.allowed.iter().map(statement).collect();
        if !kms_keys.is_empty() && !self.kinesis_regions.is_empty() {
            let via = |region: &String| format!("kinesis.{region}.amazonaws.com*");
            let via: Vec<String> = self.kinesis_regions.iter().map(via).collect();
            statements.push(json!({
                "Sid": "GenerateDataKey",
                "Effect": "Allow",
                "Action": "kms:GenerateDataKey",
                "Resource": kms_keys,
                "Condition": {"StringLike": {"kms:ViaService": via}},
            }));
        }
        json!({"Version": "2012-10-17", "Statement": statements})
    }

    /// Lets the principal in who presents an external id of the settings.
    fn trust(&self, principal: &str) -> Value {
        json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Sid": "OnlyThisSluicegate",
                "Effect": "Allow",
                "Principal": {"AWS": principal},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": self.external_ids}},
            }],
        })
    }
}
