//! What targets that were made through the API may do, which is less than those of the settings: whom
//! they reach, and as whom.
//!
//! Says yes or no. Connections with these bounds are made by `transport.rs`.

use std::fmt;
use std::sync::Arc;

use super::outbound::{Barred, Outbound};
use super::transport::{Gated, Lines};
use super::{Auth, Target};
use crate::form::Checked;

/// The operator's word on targets made through the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiTargets {
    /// Whom they may reach.
    pub outbound: Outbound,
    /// Whether those of AWS may name an endpoint in place of AWS's own.
    pub endpoint_url: bool,
    /// Whether those of AWS may use the daemon's own identity.
    pub default_credentials: bool,
    /// What every role named there is assumed with; none where the installation has no store yet.
    pub external_id: Option<Box<str>>,
}

impl ApiTargets {
    /// Refuses a target for what it says itself. What its host's name is found to be is looked at when
    /// it connects.
    ///
    /// # Errors
    /// When it reaches where it may not, or as whom it may not.
    pub fn check(&self, target: &Target) -> Result<(), Barred> {
        self.check_identity(target)?;
        target.addresses().iter().try_for_each(|(_, url)| self.outbound.check(url))
    }

    fn check_identity(&self, target: &Target) -> Result<(), Barred> {
        if target.endpoint_url().is_some() && !self.endpoint_url {
            return Err(Barred::EndpointUrl);
        }
        match (target.auth(), &self.external_id) {
            (Some(Auth::DefaultChain), _) if !self.default_credentials => {
                Err(Barred::DefaultCredentials)
            }
            (Some(Auth::Role(role)), Some(own))
                if role.external_id.as_ref().is_some_and(|given| given.as_str() != &**own) =>
            {
                Err(Barred::ExternalId { own: own.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The target as it is used: a role is assumed with this installation's external id, whatever a
    /// target of an earlier version says.
    #[must_use]
    pub fn with_own_external_id(&self, mut target: Target) -> Target {
        if let (Some(Auth::Role(role)), Some(own)) = (target.auth_mut(), &self.external_id) {
            role.external_id = Checked::new(own).ok();
        }
        target
    }
}

/// The bounds of all targets that were made through the API, with the connections that they share.
pub struct Bounds {
    rules: ApiTargets,
    lines: Lines,
}

impl Bounds {
    /// These bounds, with no connection yet.
    #[must_use]
    pub fn new(rules: ApiTargets) -> Bounds {
        let lines = Lines::Gated(Arc::new(Gated::new(rules.outbound.clone())));
        Bounds { rules, lines }
    }

    /// What the operator says.
    #[must_use]
    pub fn rules(&self) -> &ApiTargets {
        &self.rules
    }

    pub(super) fn lines(&self) -> &Lines {
        &self.lines
    }
}

/// Two are equal that allow the same, whatever connections they have.
impl PartialEq for Bounds {
    fn eq(&self, other: &Bounds) -> bool {
        self.rules == other.rules
    }
}

impl Eq for Bounds {}

impl fmt::Debug for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.fmt(f)
    }
}
