//! One daemon of a fleet: it follows the set that all share, and says how well it can.
//!
//! Each daemon asks for the newest version twice a second; notices of the store only hasten that. What it
//! finds is put into force as a whole. A daemon that cannot do all of it refuses events rather than
//! losing matches, and says why. What the store is made of is `store`'s matter.

use std::sync::RwLock;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tracing::{error, warn};

use super::kind::Kind;
use super::refusal::Refusal;
use super::world::World;
use super::{Control, ControlSettings, GUARDS_CHANGED};
use crate::lock::{read, write};
use crate::pipeline::OnHold;
use crate::resources::Resources;
use crate::store::{CHANGED_OUTSIDE, News, Reach, StoreError, Turn};

/// How often the newest version is asked for.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Requests with unknown keys may hasten that, but not to more often than this.
const ASK_AT_MOST_EVERY: Duration = Duration::from_millis(50);

/// How often it is tried again to put into force what could not be.
const TRY_EVERY: Duration = Duration::from_secs(5);

/// Most reasons that are told.
const MAX_TOLD: usize = 5;

/// Nothing was heard of the store for longer than the settings allow.
const STALE: &str = "ERR_SLUICEGATE_1432";

/// The daemon cannot do all of what the set says.
const MISFIT: &str = "ERR_SLUICEGATE_1433";

/// How a daemon follows its fleet.
#[derive(Debug)]
pub(super) struct Following {
    max_staleness: Option<Duration>,
    /// When the version was last asked for. Held while it is.
    asked: Mutex<Option<Instant>>,
    /// Changes wait here for the fleet's turn, one thread at a time.
    queue: Mutex<()>,
    /// By what the settings file in force is told from others.
    pub(super) settings: RwLock<Option<String>>,
    /// Whether this daemon ends, and tells the others no more how it stands.
    pub(super) has_left: AtomicBool,
    /// Why the newest set could not be put into force, and when it was last tried.
    failed: RwLock<Option<(Instant, String)>>,
}

/// How a daemon of a fleet stands, for `/status` and probes.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its name in the fleet.
    pub name: String,
    /// The version of the set that is in force here.
    pub version: i64,
    pub reach: Reach,
    /// Why it takes no events, if so.
    pub on_hold: Option<OnHold>,
}

impl Following {
    pub(super) fn new(settings: &ControlSettings) -> Following {
        Following {
            max_staleness: settings.max_staleness,
            asked: Mutex::default(),
            queue: Mutex::default(),
            settings: RwLock::default(),
            has_left: AtomicBool::default(),
            failed: RwLock::default(),
        }
    }
}

impl Control {
    /// How this daemon stands in its fleet, if there is one.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let store = self.store();
        let reach = store.reach()?;
        let name = store.daemon().unwrap_or_default().to_owned();
        let on_hold = self.pipeline.on_hold();
        Some(Standing { name, version: self.seen(), reach, on_hold })
    }

    /// Follows the fleet as long as the daemon runs; without one it has nothing to do.
    pub async fn keep_following(&self) -> Result<(), String> {
        if !self.store().is_shared() {
            return std::future::pending().await;
        }
        let notices = self.store().notices();
        loop {
            // Either way the version is asked for.
            let _ = tokio::time::timeout(ASK_EVERY, notices.notified()).await;
            self.follow().await;
        }
    }

    /// Asks for what is new and puts it into force. That the store cannot be reached is noted there.
    async fn follow(&self) {
        let mut asked = self.following.asked.lock().await;
        let now = Instant::now();
        self.ask().await;
        *asked = Some(now);
    }

    /// The same, unless somebody has asked since; no oftener than it may be.
    pub(super) async fn follow_at_once(&self) {
        if self.store().cannot_write().is_some() {
            return;
        }
        let wanted = Instant::now();
        let mut asked = self.following.asked.lock().await;
        if let Some(last) = *asked {
            if last >= wanted {
                return;
            }
            tokio::time::sleep(ASK_AT_MOST_EVERY.saturating_sub(last.elapsed())).await;
        }
        let now = Instant::now();
        self.ask().await;
        *asked = Some(now);
    }

    async fn ask(&self) {
        let seen = self.seen();
        // Why it cannot be asked is noted by the store.
        if let Ok(Some(news)) = self.in_store(move |store| store.news(seen)).await {
            let _turn = self.changing.lock().await;
            self.take_over(news).await;
        } else if self.is_due_again() {
            let _turn = self.changing.lock().await;
            let world = (*self.world()).clone();
            let resources = world.resources();
            self.put_in_force(world, Some(resources)).await;
        }
        self.judge();
    }

    fn is_due_again(&self) -> bool {
        let failed = read(&self.following.failed);
        failed.as_ref().is_some_and(|(tried, _)| tried.elapsed() >= TRY_EVERY)
    }

    /// Waits for the fleet's turn to change something.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub(super) async fn begin(&self) -> Result<Turn, Refusal> {
        if self.store().is_shared()
            && let Some(cause) = self.store().cannot_write()
        {
            // The follower finds within half a second that it answers again.
            return Err(StoreError::Unreachable(cause).into());
        }
        let _queue = self.following.queue.lock().await;
        let seen = self.seen();
        self.in_store(move |store| store.begin(Some(seen))).await
    }

    /// Puts into force what others changed. To be called by whoever has the turn here.
    pub(super) async fn take_over(&self, news: News) {
        if !news.whole && news.version <= self.seen() {
            return;
        }
        for told in &news.told {
            error!(code = CHANGED_OUTSIDE, "the store of the fleet was changed outside: {told}");
        }
        if news.guards_changed == Some(true) {
            error!(code = CHANGED_OUTSIDE, "{GUARDS_CHANGED}");
        }
        let version = news.version;
        let of_dispatch = |kind: &str| {
            [Kind::EventDestination, Kind::EventSubscription]
                .iter()
                .any(|it| it.spec().path == kind)
        };
        let is_of_dispatch = news.whole
            || news.rows.iter().any(|row| of_dispatch(&row.kind))
            || news.gone.iter().any(|(kind, _)| of_dispatch(kind));
        let world = self.world();
        let made = move || {
            let world = world.with_news(news);
            let resources = is_of_dispatch.then(|| world.resources());
            (world, resources)
        };
        let (world, resources) = self.pipeline.workers().run_at_once(made).await;
        self.put_in_force(world, resources).await;
        self.note_seen(version);
        self.judge();
    }

    /// Puts a world into force. Who may come in is so at once, whatever becomes of the rest.
    async fn put_in_force(&self, world: World, resources: Option<Result<Resources, Refusal>>) {
        let Some(resources) = resources else { return self.set_world(world) };
        let prepared = match resources {
            Ok(resources) => {
                self.pipeline.prepare(resources).await.map_err(|error| error.to_string())
            }
            Err(refusal) => Err(refusal.to_string()),
        };
        let failed = match prepared {
            Ok(prepared) => {
                self.pipeline.put_in_force(prepared).await;
                None
            }
            Err(cause) => {
                warn!(%cause, "the fleet's set cannot be put into force here");
                Some((Instant::now(), cause))
            }
        };
        self.set_world(world);
        *write(&self.following.failed) = failed;
    }

    /// Decides whether this daemon may take events.
    pub(super) fn judge(&self) {
        let Some(reach) = self.store().reach() else { return };
        let mut misfits = self.world().misfits();
        misfits.extend(read(&self.following.failed).iter().map(|(_, cause)| cause.clone()));
        let is_stale = self.following.max_staleness.is_some_and(|max| reach.stale > max);
        let hold = |code, reason| Some(OnHold { code, reason });
        let held = match &misfits[..] {
            [] if is_stale => hold(
                STALE,
                format!(
                    "nothing was heard of the fleet's store for {} s, which is more than `control.max_staleness`",
                    reach.stale.as_secs()
                ),
            ),
            [] => None,
            misfits => {
                let told = misfits.iter().take(MAX_TOLD).cloned().collect::<Vec<_>>().join("; ");
                let more = misfits.len().saturating_sub(MAX_TOLD);
                let more = if more > 0 { format!("; {more} more") } else { String::new() };
                hold(
                    MISFIT,
                    format!("this daemon cannot do what the fleet's set says: {told}{more}"),
                )
            }
        };
        let before = self.pipeline.on_hold();
        if let Some(held) = held.as_ref().filter(|_| before.is_none()) {
            error!(code = held.code, reason = held.reason, "no events are taken");
        }
        self.pipeline.hold(held);
    }
}
