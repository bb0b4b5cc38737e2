//! How many requests are under way: learnt from a service that takes so many at a time, on a paused clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep};

use super::super::{Deliver, Orders};
use super::rig::{Rig, Service, kinesis};
use crate::sinks::{Ack, Batch, Fault, FaultKind};

/// Most requests that the service takes at a time.
const AT_ONCE: usize = 7;

/// A service that takes [`AT_ONCE`] requests at a time and throttles the others.
#[derive(Default)]
struct Narrow {
    millis: AtomicU64,
    under_way: AtomicUsize,
    taken: AtomicUsize,
    throttled: AtomicUsize,
}

impl Narrow {
    fn deliver(self: &Arc<Self>) -> Deliver {
        let narrow = Arc::clone(self);
        Arc::new(move |batch: Batch| Arc::clone(&narrow).answer(batch.records.len()).boxed())
    }

    async fn answer(self: Arc<Self>, records: usize) -> Vec<Ack> {
        let relaxed = Ordering::Relaxed;
        let one_too_many = self.under_way.fetch_add(1, relaxed) >= AT_ONCE;
        // A refusal costs no work, but the way there and back.
        let millis = self.millis.load(relaxed).min(if one_too_many { 20 } else { u64::MAX });
        sleep(Duration::from_millis(millis)).await;
        self.under_way.fetch_sub(1, relaxed);
        if one_too_many {
            self.throttled.fetch_add(1, relaxed);
            return vec![Ack::Retry(Fault::new(FaultKind::Throttled, "429")); records];
        }
        self.taken.fetch_add(1, relaxed);
        vec![Ack::Delivered; records]
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_takes_seven_requests_at_a_time_gets_about_seven_however_long_each_takes() {
    let narrow = Arc::new(Narrow::default());
    narrow.millis.store(20, Ordering::Relaxed);
    let unused = Service::each(|_| Ack::Delivered);
    let mut rig = Rig::start_with(tempfile::tempdir().unwrap(), &unused, kinesis(2));
    rig.orders.send_modify(|orders: &mut Orders| orders.deliver = narrow.deliver());
    rig.append(0..60_000).await;
    for millis in [20, 200, 20] {
        narrow.millis.store(millis, Ordering::Relaxed);
        sleep(Duration::from_secs(10)).await;
        let (began, before) = (Instant::now(), narrow.taken.load(Ordering::Relaxed));
        sleep(Duration::from_secs(20)).await;
        let limit = rig.health.read().request_limit;
        assert!((6..=8).contains(&limit), "{limit} at {millis} ms");
        let taken = narrow.taken.load(Ordering::Relaxed) - before;
        let best = AT_ONCE as u128 * began.elapsed().as_millis() / u128::from(millis);
        assert!(taken as u128 * 10 >= best * 9, "{taken} of {best} requests at {millis} ms");
    }
    let (taken, throttled) = (&narrow.taken, &narrow.throttled);
    let (taken, throttled) = (taken.load(Ordering::Relaxed), throttled.load(Ordering::Relaxed));
    assert!(throttled * 100 < taken, "{throttled} throttled beside {taken}");
    assert!(rig.account().pending_records > 0, "there was always more to send");
}
