//! Connections to the database: made when they are wanted, made anew when they fail, never waited for
//! without a limit.
//!
//! A daemon has two. One is for changes, which wait for each other across the fleet; the other is for
//! all that must not wait for them. What is asked over them is for others to say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Notify, OwnedMutexGuard};
use tokio::time::timeout;
use tokio_postgres::config::{SslMode as ClientMode, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Notification, Socket};

use super::failure::{cause, failed, no_answer};
use super::schema;
use super::tls::Tls;
use crate::store::StoreError;
use crate::store::settings::{PostgresUrl, SslMode};

/// Longest that connecting may take, for all hosts of the URL together.
const CONNECT: Duration = Duration::from_secs(3);

/// Longest that anything may take that waits for no other daemon. A server that is cut off answers nothing,
/// and closes nothing either.
const CALL: Duration = Duration::from_secs(3);

/// Longest that loading everything may take: some hundred megabytes.
pub(super) const LONG_CALL: Duration = Duration::from_secs(60);

/// The pauses between attempts to connect: the first, and the longest that they grow to.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// The channel of notices that the set has changed.
pub(super) const CHANNEL: &str = "sluicegate_changed";

/// The channel of notices that a daemon is asked something, with its name.
pub(super) const COMMANDS: &str = "sluicegate_commands";

/// The lock that each daemon of a fleet shares, and that a move has alone (`sluicegm` in octets).
pub(super) const MEMBERS: i64 = 0x736c_7569_6365_676d;

/// Who is told of which notice.
#[derive(Clone, Default)]
pub(super) struct Notices {
    pub(super) changes: Arc<Notify>,
    pub(super) orders: Arc<Notify>,
    /// The name of this daemon.
    pub(super) daemon: String,
}

impl Notices {
    fn tell(&self, notice: &Notification) {
        if notice.channel() == CHANNEL {
            self.changes.notify_one();
        } else if notice.payload() == self.daemon {
            self.orders.notify_one();
        }
    }
}

/// What each connection begins with. A transaction of a daemon that is cut off is ended by the server, so that
/// it holds up the others no longer; so is its connection, after half a minute.
const BEGIN: &str = "
    SET statement_timeout = '60s';
    SET idle_in_transaction_session_timeout = '5s';
    SET tcp_keepalives_idle = 15;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 3;
    SET lock_timeout = '10s'";

/// One connection, if there is one at present.
#[derive(Default)]
pub(super) struct Slot {
    client: Option<Client>,
    failures: u32,
    /// Why the last attempt failed, and when the next may be made.
    failed: Option<(Instant, StoreError)>,
}

/// A connection that is made when it is wanted.
pub(super) struct Link {
    url: PostgresUrl,
    slot: Arc<Mutex<Slot>>,
    /// Told of each notice, where the connection listens for them.
    notices: Option<Notices>,
}

impl Link {
    pub(super) fn new(url: &PostgresUrl, notices: Option<Notices>) -> Link {
        Link { url: url.clone(), slot: Arc::default(), notices }
    }

    /// Asks something over the connection, within the time that anything may take.
    pub(super) async fn call<T>(
        &self,
        work: impl AsyncFnOnce(&Client) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.call_within(CALL, work).await
    }

    /// Asks something over the connection. One that fails, or takes too long, is not used again.
    pub(super) async fn call_within<T>(
        &self,
        limit: Duration,
        work: impl AsyncFnOnce(&Client) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let done = async {
            let mut slot = self.slot.lock().await;
            let client = self.client(&mut slot).await?;
            let done = work(&client).await?;
            slot.client = Some(client);
            Ok(done)
        };
        timeout(CONNECT + limit, done).await.unwrap_or_else(|_| Err(no_answer(limit)))
    }

    /// The connection for one caller alone, until it gives it back.
    pub(super) async fn take(&self) -> Result<(Client, OwnedMutexGuard<Slot>), StoreError> {
        let mut slot = Arc::clone(&self.slot).lock_owned().await;
        let client = self.client(&mut slot).await?;
        Ok((client, slot))
    }

    /// Takes the connection out of its place, made anew if need be. Whoever does not put it back closes it.
    pub(super) async fn client(&self, slot: &mut Slot) -> Result<Client, StoreError> {
        if let Some(client) = slot.client.take().filter(|it| !it.is_closed()) {
            return Ok(client);
        }
        if let Some((next, error)) = &slot.failed
            && Instant::now() < *next
        {
            return Err(error.again());
        }
        let connected = timeout(CONNECT, self.connect()).await;
        let connected = connected.unwrap_or_else(|_| Err(no_answer(CONNECT)));
        match &connected {
            Ok(_) => (slot.failures, slot.failed) = (0, None),
            Err(error) => {
                let pause = PAUSES.0.saturating_mul(1 << slot.failures.min(10)).min(PAUSES.1);
                // Daemons that lost the database together do not come back together.
                let pause = pause.mul_f64(rand::random_range(0.5..1.0));
                slot.failures += 1;
                slot.failed = Some((Instant::now() + pause, error.again()));
            }
        }
        connected
    }

    async fn connect(&self) -> Result<Client, StoreError> {
        let config = config(&self.url).map_err(StoreError::Unreachable)?;
        let client = match Tls::new(&self.url).map_err(StoreError::Unreachable)? {
            None => self.connect_by(&config, NoTls).await,
            Some(tls) => self.connect_by(&config, tls).await,
        }?;
        client.batch_execute(BEGIN).await.map_err(failed)?;
        schema::prepare(&client).await?;
        if self.notices.is_some() {
            let join = format!("SELECT pg_try_advisory_lock_shared({MEMBERS})");
            let joined = client.query_typed(&join, &[]).await.map_err(failed)?;
            if !joined.first().is_some_and(|row| row.get(0)) {
                let moving = "what is in it is being moved (`sluicegate control move`)";
                return Err(StoreError::Unreachable(moving.to_owned()));
            }
            client
                .batch_execute(&format!("LISTEN {CHANNEL}; LISTEN {COMMANDS}"))
                .await
                .map_err(failed)?;
        }
        Ok(client)
    }

    async fn connect_by<T>(&self, config: &Config, tls: T) -> Result<Client, StoreError>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let (client, mut connection) = config.connect(tls).await.map_err(failed)?;
        let notices = self.notices.clone();
        tokio::spawn(async move {
            // It ends with the connection; the next call finds that and makes another.
            while let Some(Ok(message)) =
                std::future::poll_fn(|context| connection.poll_message(context)).await
            {
                if let (AsyncMessage::Notification(notice), Some(notices)) = (message, &notices) {
                    notices.tell(&notice);
                }
            }
        });
        Ok(client)
    }
}

impl Slot {
    pub(super) fn put_back(&mut self, client: Client) {
        self.client = Some(client);
    }
}

/// The client's own settings for a URL.
pub(super) fn config(url: &PostgresUrl) -> Result<Config, String> {
    let parsed = url.url.expose().parse::<Config>();
    let mut config = parsed.map_err(|error| format!("is not understood: {}", cause(&error)))?;
    if config.get_hosts().is_empty() {
        return Err("names no host".to_owned());
    }
    config.ssl_mode(match url.mode {
        SslMode::Disable => ClientMode::Disable,
        SslMode::Prefer => ClientMode::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => ClientMode::Require,
    });
    config.connect_timeout(CONNECT);
    config.tcp_user_timeout(CALL);
    config.keepalives_idle(CALL);
    config.keepalives_interval(Duration::from_secs(1));
    config.keepalives_retries(3);
    // One that only reads is a standby, or was the primary.
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    if config.get_application_name().is_none() {
        config.application_name("sluicegate");
    }
    Ok(config)
}
