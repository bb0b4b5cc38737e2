//! Where the journal's work on files is done: on threads beside the runtime or, in a simulation, in
//! the one thread that everything runs in, each piece after a delay that a seed decides.

use std::io;

use tokio::task::{self, JoinHandle};

/// Where work on files is done.
#[derive(Clone, Debug, Default)]
pub(super) enum Jobs {
    /// On threads of its own.
    #[default]
    OnThreads,
    /// As tasks of a runtime with one thread and a paused clock.
    #[cfg(test)]
    Simulated(Delays),
}

impl Jobs {
    /// Begins work. What was begun is finished even if nobody waits for it any more.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        match self {
            Jobs::OnThreads => task::spawn_blocking(work),
            #[cfg(test)]
            Jobs::Simulated(delays) => {
                let delays = delays.clone();
                task::spawn(async move {
                    delays.pass().await;
                    work()
                })
            }
        }
    }

    /// Does work and gives its result.
    ///
    /// # Errors
    /// When the work panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        self.begin(work).await.map_err(io::Error::other)
    }
}

/// How long pieces of work wait before they are done: most not at all, some as on a busy disk.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(crate) struct Delays(std::sync::Arc<std::sync::Mutex<rand::rngs::StdRng>>);

#[cfg(test)]
impl Delays {
    pub(crate) fn new(random: rand::rngs::StdRng) -> Delays {
        Delays(std::sync::Arc::new(std::sync::Mutex::new(random)))
    }

    pub(crate) async fn pass(&self) {
        use rand::RngExt as _;
        let millis = {
            let mut random = crate::lock::lock(&self.0);
            if random.random_bool(0.7) { 0 } else { random.random_range(1..30) }
        };
        tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
    }
}
