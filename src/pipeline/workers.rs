//! Long work off the runtime's own threads, so that whoever has little to do does not wait for it.
//!
//! It decides where work is done, not what is long: the caller knows.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

#[cfg(test)]
use crate::journal::Delays;

/// Threads for long work: as many as there are cores. More would not finish earlier, and would leave
/// the runtime a smaller share of the processor.
#[derive(Clone, Debug)]
pub enum Workers {
    /// Threads, as many as there are permits.
    Threads(Arc<Semaphore>),
    /// The one thread of a simulation: all work is long there, and takes a while.
    #[cfg(test)]
    Simulated(Delays),
}

impl Default for Workers {
    fn default() -> Workers {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Workers::Threads(Arc::new(Semaphore::new(cores)))
    }
}

impl Workers {
    /// Does work that is long on a thread of its own, once one is free, and other work here and now.
    ///
    /// A panic in the work goes on in whoever waits for it. Work that was begun is finished even if
    /// nobody waits for it any more.
    pub async fn run<T: Send + 'static>(
        &self,
        is_long: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let free = match self {
            Workers::Threads(_) if !is_long => return work(),
            Workers::Threads(free) => free,
            #[cfg(test)]
            Workers::Simulated(delays) => {
                delays.pass().await;
                return work();
            }
        };
        // The permit goes with the work: work that nobody waits for any more takes a thread all the same.
        let permit = Arc::clone(free).acquire_owned().await;
        aside(move || {
            let _permit = permit;
            work()
        })
        .await
    }

    /// Does work that is long on one thread more, at once: for what is done one at a time, and waited for.
    ///
    /// A panic in the work goes on in whoever waits for it.
    pub async fn run_at_once<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        match self {
            Workers::Threads(_) => aside(work).await,
            #[cfg(test)]
            Workers::Simulated(_) => work(),
        }
    }
}

/// Does work on a thread that may block.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(value) => value,
        Err(failure) => match failure.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and nobody waits for anything any more.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}
