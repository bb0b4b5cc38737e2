//! Reloading: the settings file is read again, and what can change while the daemon runs is put into
//! force. A file with mistakes, or one that takes most away although nobody said that it may, changes
//! nothing.

use tracing::{error, info, warn};

use super::Daemon;
use crate::config::{Config, Mistakes};
use crate::control::{Refusal, Reloaded, no_settings_file};
use crate::resources::Removal;
use crate::telemetry;

impl Daemon {
    /// Puts the event types, destinations, subscriptions and tokens of what `load` gives into force. All else
    /// stays as it was at the start. Most of what runs is taken away only if that is `confirmed`, or the
    /// file says that it may be.
    ///
    /// # Errors
    /// When there is no file, when it has mistakes or takes too much away, when a destination cannot be
    /// opened, or what was made through the API does not go with it; then nothing has changed.
    pub(super) async fn reload(
        &mut self,
        load: &impl Fn() -> Result<Option<Config>, Mistakes>,
        confirmed: bool,
    ) -> Result<Reloaded, Refusal> {
        let (outcome, reloaded) = match load() {
            Ok(Some(config)) => {
                let removal = Removal::of(&self.config.resources, &config.resources)
                    .filter(|_| !confirmed && !config.allow_removal);
                match removal {
                    Some(removal) => ("removal", Err(self.refuse(&removal))),
                    None => match self.put_in_force(config).await {
                        Ok(reloaded) => ("taken", Ok(reloaded)),
                        Err(cause) => {
                            error!(%cause, "not reloaded; everything goes on as it was");
                            ("failed", Err(cause))
                        }
                    },
                }
            }
            Ok(None) => {
                warn!("there is no settings file to read again");
                ("failed", Err(no_settings_file()))
            }
            Err(mistakes) => ("mistaken", Err(self.reject(&mistakes))),
        };
        telemetry::reload_ended(outcome);
        reloaded
    }

    async fn put_in_force(&mut self, mut config: Config) -> Result<Reloaded, Refusal> {
        let own = self.ingest_address().into_iter().chain([self.api_address()]);
        // Those that are listened on, whatever the new settings say.
        let own = own.chain(self.config.other_listeners());
        config.resources.api_targets.outbound.set_own(own.collect());
        self.control.reload(&config.resources).await?;
        self.replace_tokens(&config);
        let sections = [
            ("ingest", self.config.ingest != config.ingest),
            ("ingest.kafka", self.config.kafka != config.kafka),
            ("ingest.stdin", self.config.stdin != config.stdin),
            ("ingest.files", self.config.files != config.files),
            ("ingest.envoy", self.config.envoy != config.envoy),
            ("ingest.syslog", self.config.syslog != config.syslog),
            ("api", self.config.api != config.api),
            ("control.store", self.config.control != config.control),
            ("journal", self.config.journal != config.journal),
            ("stop", self.config.drain_limit != config.drain_limit),
        ];
        let changed = sections.iter().filter(|(_, changed)| *changed);
        let at_next_start: Vec<&str> = changed.map(|(section, _)| *section).collect();
        for section in &at_next_start {
            warn!(section, "changed, but takes effect only at the next start");
        }
        let destinations = config.resources.destinations().len();
        let subscriptions = config.resources.subscriptions().len();
        info!(destinations, subscriptions, "reloaded");
        self.config.resources = config.resources;
        self.config.referenced = config.referenced;
        self.control.note_settings(config.hash);
        Ok(Reloaded { destinations, subscriptions, at_next_start })
    }

    /// Lets in who has the tokens of other settings, and nobody else any more. Where a listener is to move it
    /// keeps its own until it does: what is enough on loopback is not elsewhere.
    fn replace_tokens(&self, config: &Config) {
        if let (Some(own), Some(new)) = (&self.config.ingest, &config.ingest)
            && own.listen == new.listen
        {
            own.bearer_tokens.replace(&new.bearer_tokens);
        }
        if let (Some(own), Some(new)) = (&self.config.envoy, &config.envoy)
            && own.listen == new.listen
        {
            own.bearer_tokens.replace(&new.bearer_tokens);
        }
        if self.config.api.listen == config.api.listen {
            self.config.api.bearer_tokens.replace(&config.api.bearer_tokens);
        }
    }

    /// Notes in the log and for `/status` that the settings file takes too much away.
    fn refuse(&self, removal: &Removal) -> Refusal {
        let message = format!(
            "the settings file would take away {removal}: if that is meant, confirm it (`sluicegate reload --confirm-removal`, or `allow_removal: true` in the file)"
        );
        let refusal = Refusal::conflict("ERR_SLUICEGATE_1400", message);
        error!(cause = %refusal, "not reloaded; everything goes on as it was");
        self.control.reload_rejected(&refusal.to_string());
        refusal
    }

    /// Notes in the log and for `/status` that the settings file was not taken.
    fn reject(&self, mistakes: &Mistakes) -> Refusal {
        let summary = mistakes.summary();
        error!(mistakes = %summary, "not reloaded; everything goes on as it was");
        // A line of the report is a line of the log, so that carets stand under what they are about.
        for line in mistakes.to_string().lines().filter(|line| !line.is_empty()) {
            error!("  {line}");
        }
        self.control.reload_rejected(&summary);
        Refusal::invalid("ERR_SLUICEGATE_1402", summary)
    }
}
