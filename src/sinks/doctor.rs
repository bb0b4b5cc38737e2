//! The examination of a destination: is its service reached, does it know us, is the target there and of
//! the right kind, and does a role keep others out?
//!
//! Writes no event; a test event does that. What a trouble means is in `diagnosis.rs`.

use super::ack::Fault;
use super::auth::Role;
use super::aws::{Trust, trust_of};
use super::diagnosis::Words;
use super::trouble::Trouble;
use super::{Auth, Bounds, LogOutput, Sink, Target, without_its_words};
use crate::form::{Nature, remade};

/// How grave a finding is; the later in order, the graver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    Well,
    /// Deliveries work, and something should be changed all the same.
    Warning,
    /// Deliveries fail, or nobody can tell.
    Failed,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: `way`, `target`, `role`.
    pub about: &'static str,
    pub gravity: Gravity,
    /// What was found, as one line.
    pub message: String,
    /// What it means and what to type next, where that is known.
    pub words: Option<Words>,
}

/// Variables that say which region the rest of this machine uses.
const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

impl Target {
    /// Examines the target through a sink that was opened for it, with the same bounds. Asks the service
    /// once, or twice where the target is missing in its region, and STS about a role.
    pub async fn examine(&self, sink: &Sink, bounds: Option<&Bounds>) -> Vec<Finding> {
        let well = |about, message| Finding { about, gravity: Gravity::Well, message, words: None };
        let mut findings = Vec::new();
        if let Some(way) = self.way(bounds).await {
            findings.push(well("way", way));
        }
        match sink.probe().await {
            Ok(message) => findings.push(well("target", message)),
            Err(fault) => findings.push(self.finding(fault, bounds).await),
        }
        if let Some(credentials) = sink.credentials() {
            findings.insert(findings.len() - 1, well("credentials", credentials));
        }
        findings.extend(self.role_finding().await);
        findings
    }

    async fn finding(&self, fault: Fault, bounds: Option<&Bounds>) -> Finding {
        let mut trouble = fault.trouble;
        let mut message = fault.message;
        // Which region the daemon runs in is nobody's business who made a target through the API.
        if trouble == Some(Trouble::MissingTarget)
            && bounds.is_none()
            && let Some(region) = self.found_in_another_region().await
        {
            trouble = Some(Trouble::WrongRegion);
            message.push_str(&format!("; it is in `{region}`"));
        }
        if bounds.is_some() {
            message.truncate(without_its_words(&message).len());
        }
        let words = trouble.map(|it| it.words(self));
        Finding { about: "target", gravity: Gravity::Failed, message, words }
    }

    /// The region that this machine otherwise uses, if the target is there.
    async fn found_in_another_region(&self) -> Option<String> {
        let region = REGION_VARIABLES.iter().find_map(|name| std::env::var(name).ok())?;
        let moved = self.in_region(&region)?;
        let sink = moved.open(LogOutput::Stdout, super::DEFAULT_TIMEOUT, None).await.ok()?;
        sink.probe().await.is_ok().then_some(region)
    }

    /// The same target in another region; none in its own.
    fn in_region(&self, region: &str) -> Option<Target> {
        let own = self.needs()?.region.to_owned();
        let moved = |arn: &str| arn.replacen(&format!(":{own}:"), &format!(":{region}:"), 1);
        (own != region).then_some(())?;
        remade(self, Nature::Arn, moved)
    }

    /// Whether the role of the target keeps out who brings no external id.
    async fn role_finding(&self) -> Option<Finding> {
        let needs = self.needs()?;
        let Auth::Role(Role { role_arn, external_id }) = needs.auth else { return None };
        let (gravity, message, words) = match trust_of(needs.region, role_arn.as_str()).await {
            Trust::AsksForMore if external_id.is_some() => (
                Gravity::Well,
                format!("`{role_arn}` lets nobody in without the external id"),
                None,
            ),
            Trust::Open => (
                Gravity::Warning,
                format!("`{role_arn}` can be assumed without an external id"),
                Some(Trouble::OpenRole.words(self)),
            ),
            // What is wrong then, the question about the target has told.
            Trust::AsksForMore | Trust::Unknown => return None,
        };
        Some(Finding { about: "role", gravity, message, words })
    }
}
