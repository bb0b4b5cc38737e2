//! Delivery against a scripted service, on a paused clock: an hour takes no time, and what happens
//! depends on nothing but the script and the seed.

mod limit;
mod memory;
mod rig;

use rand::SeedableRng as _;

use super::super::burial::{BuryError, burials};
use super::super::set_aside::MAX_ASIDE;
use super::super::verdicts::PATIENCE;
use super::letters::LOOK_FOR_ROOM;
use super::*;
use crate::journal::Terms;
use rig::{Rig, Service, destination, id};

fn transient(message: &str) -> Ack {
    Ack::Retry(Fault::new(FaultKind::Transient, message))
}

/// A service that answers a whole request with a fault if a record of it is bad.
fn failing_on(bad: impl Fn(&str) -> bool + Send + 'static) -> Service {
    Service::new(move |request| {
        let ack = match request.ids.iter().any(|id| bad(id)) {
            true => transient("500"),
            false => Ack::Delivered,
        };
        vec![ack; request.ids.len()]
    })
}

#[tokio::test(start_paused = true)]
async fn records_go_out_in_order_in_full_batches_and_each_once() {
    let service = Service::each(|_| Ack::Delivered);
    let mut rig = Rig::start(&service, 10);
    rig.append(0..95).await;
    rig.until_pending(0).await;
    let sent: Vec<String> = service.requests().into_iter().flat_map(|it| it.ids).collect();
    assert_eq!(sent, (0..95).map(|it| it.to_string()).collect::<Vec<_>>());
    assert_eq!(service.requests().len(), 10);
    assert_eq!((rig.account().delivered, rig.state()), (95, State::Healthy));
}

#[tokio::test(start_paused = true)]
async fn only_what_failed_is_sent_again() {
    let mut odd = 0;
    let service = Service::each(move |id| {
        odd += 1;
        if id.ends_with('3') && odd < 50 { transient("busy") } else { Ack::Delivered }
    });
    let mut rig = Rig::start(&service, 10);
    rig.append(0..20).await;
    rig.until_pending(0).await;
    let copies = service.copies();
    assert!(copies["3"] > 1 && copies["13"] > 1, "{copies:?}");
    assert!(copies.iter().all(|(id, times)| id.ends_with('3') || *times == 1), "{copies:?}");
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_is_missing_loses_no_record() {
    let mut first = true;
    let service = Service::new(move |request| {
        let answered = if std::mem::take(&mut first) { 2 } else { request.ids.len() };
        vec![Ack::Delivered; answered]
    });
    let mut rig = Rig::start(&service, 10);
    rig.append(0..10).await;
    rig.until_pending(0).await;
    assert_eq!(rig.account().delivered, 10);
    assert_eq!(service.copies().values().sum::<usize>(), 18);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_too_slow_for_large_requests_gets_smaller_ones() {
    let service = Service::slow(|request| {
        let lost =
            Fault { unanswered: true, ..Fault::new(FaultKind::Transient, "no answer within 10 s") };
        match request.ids.len() {
            0..=60 => (Duration::from_millis(20), vec![Ack::Delivered; request.ids.len()]),
            more => (Duration::from_secs(10), vec![Ack::Retry(lost); more]),
        }
    });
    let mut rig = Rig::start(&service, 500);
    rig.append(0..10_000).await;
    rig.until_pending(0).await;
    let requests = service.requests();
    let lost = requests.iter().filter(|it| it.ids.len() > 60).count();
    assert!(lost <= 12, "{lost} requests of {} were too large", requests.len());
    let largest = requests.iter().map(|it| it.ids.len()).rfind(|size| *size <= 60);
    assert!(largest > Some(15), "{largest:?}");
    assert_eq!(rig.account().delivered, 10_000);
    service.becomes(Service::each(|_| Ack::Delivered));
    rig.append(10_000..60_000).await;
    rig.until_pending(0).await;
    let sizes: Vec<usize> = service.requests().iter().map(|it| it.ids.len()).collect();
    assert!(sizes.iter().filter(|size| **size == 500).count() > 10, "never full again");
}

#[tokio::test(start_paused = true)]
async fn one_event_that_fails_every_request_stops_no_other_and_is_set_aside() {
    for bad in [0, 37, 99] {
        let service = failing_on(move |id| id == bad.to_string());
        let mut rig = Rig::start(&service, 100);
        rig.append(0..100).await;
        rig.until_pending(1).await;
        let requests = service.requests().len();
        assert!(requests < 40, "{requests} requests to deliver 99 records");
        let took = service.requests().last().unwrap().at - service.requests()[0].at;
        assert!(took < Duration::from_secs(10), "{took:?}");
        rig.append(100..200).await;
        rig.until("set aside", |rig| !rig.health.read().set_aside.is_empty()).await;
        rig.until_pending(1).await;
        let condition = rig.health.read();
        assert_eq!(*condition.set_aside[0].event_id, *bad.to_string());
        assert_eq!(condition.set_aside[0].last_answer, "500");
        assert!(condition.set_aside[0].attempts >= 3);
        assert_eq!(condition.state, State::Retrying);
        rig.append(200..10_000).await;
        rig.until_pending(1).await;
        let copies = service.copies();
        let again = (200..10_000).filter(|id| copies[&id.to_string()] > 1).count();
        assert_eq!(again, 0, "what is set aside spoils no request");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_set_aside_is_tried_at_growing_intervals_and_delivered_in_the_end() {
    let service = failing_on(|id| id == "0");
    let mut rig = Rig::start(&service, 100);
    rig.append(0..100).await;
    rig.until("set aside", |rig| !rig.health.read().set_aside.is_empty()).await;
    let before = service.copies()["0"];
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    let tried = service.copies()["0"] - before;
    // At most ten minutes apart, five on average: 288 a day.
    assert!((144..600).contains(&tried), "{tried} times in a day");
    service.becomes(Service::each(|_| Ack::Delivered));
    rig.until_pending(0).await;
    let condition = rig.health.read();
    assert_eq!((condition.state, condition.set_aside), (State::Healthy, Vec::new()));
    assert_eq!((rig.account().delivered, rig.account().dead_lettered), (100, 0));
}

#[tokio::test(start_paused = true)]
async fn an_outage_sets_nothing_aside_and_is_asked_rarely() {
    let service = failing_on(|_| true);
    let mut rig = Rig::start(&service, 100);
    rig.append(0..1_000).await;
    tokio::time::sleep(Duration::from_secs(3 * 3_600)).await;
    let condition = rig.health.read();
    assert_eq!((condition.state, condition.set_aside), (State::Retrying, Vec::new()));
    let requests = service.requests();
    assert!(requests.len() < 3_000, "{} requests in three hours", requests.len());
    service.becomes(Service::each(|_| Ack::Delivered));
    let recovered = Instant::now();
    rig.until_pending(0).await;
    assert!(recovered.elapsed() < Duration::from_secs(60), "{:?}", recovered.elapsed());
    let requests = service.requests().len() - requests.len();
    assert!(requests < 150, "{requests} requests for 1,000 records");
    assert_eq!((rig.account().delivered, rig.state()), (1_000, State::Healthy));
}

#[tokio::test(start_paused = true)]
async fn one_record_that_fails_alone_with_nothing_else_to_send_does_not_hold_up_the_next() {
    let service = failing_on(|id| id == "bad");
    let mut rig = Rig::start(&service, 100);
    rig.append(["bad"]).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.health.read().set_aside, Vec::new(), "nothing tells it from an outage");
    for id in 0..5 {
        let sent = Instant::now();
        rig.append([id]).await;
        rig.until_pending(1).await;
        assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(*rig.health.read().set_aside[0].event_id, *"bad");
}

#[tokio::test(start_paused = true)]
async fn more_bad_records_than_can_be_set_aside_are_an_outage() {
    let service = failing_on(|id| id.starts_with("bad"));
    let mut rig = Rig::start(&service, 10);
    for round in 0..MAX_ASIDE {
        rig.append([format!("bad{round}"), format!("good{round}")]).await;
        rig.until("the good one is delivered", |rig| rig.account().delivered > round as u64).await;
    }
    while rig.health.read().set_aside.len() < MAX_ASIDE {
        rig.append([format!("good at {:?}", Instant::now())]).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    rig.until_pending(MAX_ASIDE as u64).await;
    rig.append(["bad, one too many"]).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    rig.append(["late"]).await;
    let asked = service.requests().len();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(!service.copies().contains_key("late"), "it goes on as if nothing were wrong");
    let asked = service.requests().len() - asked;
    assert!((60..400).contains(&asked), "{asked} requests in an hour of outage");
    let first = rig.health.read().set_aside[0].event_id.clone();
    assert_eq!(rig.burial_sender.bury(&first).await, Ok(1));
    rig.until("the late one is delivered", |_| service.copies().contains_key("late")).await;
    rig.account();
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_set_aside_can_be_given_up() {
    let service = failing_on(|id| id == "0");
    let mut rig = Rig::start(&service, 100);
    rig.append(0..100).await;
    rig.until("set aside", |rig| !rig.health.read().set_aside.is_empty()).await;
    assert_eq!(rig.burial_sender.bury("1").await, Err(BuryError::NotThere));
    assert_eq!(rig.burial_sender.bury("0").await, Ok(1));
    assert_eq!(rig.burial_sender.bury("0").await, Err(BuryError::NotThere));
    let [letter] = rig.letters().try_into().unwrap();
    assert_eq!((&*letter.record.event_id, &*letter.reason), ("0", "500"));
    assert!(letter.attempts >= 3);
    let account = rig.account();
    assert_eq!((account.delivered, account.dead_lettered, account.pending_records), (99, 1, 0));
    assert_eq!((rig.state(), rig.health.read().set_aside), (State::Healthy, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn giving_up_waits_for_a_record_that_is_just_being_sent() {
    let service = failing_on(|id| id == "0");
    let mut rig = Rig::start(&service, 100);
    rig.append(0..100).await;
    rig.until("set aside", |rig| !rig.health.read().set_aside.is_empty()).await;
    service.becomes(Service::slow(|request| {
        (Duration::from_secs(5), vec![transient("still 500"); request.ids.len()])
    }));
    rig.until("being sent", |rig| rig.health.read().set_aside[0].retry_at.is_none()).await;
    assert_eq!(rig.burial_sender.bury("0").await, Ok(1));
    assert_eq!(rig.letters()[0].reason, "still 500");
}

#[tokio::test(start_paused = true)]
async fn a_new_task_takes_over_what_was_set_aside() {
    let service = failing_on(|id| id == "0");
    let mut rig = Rig::start(&service, 100);
    rig.append(0..100).await;
    rig.until("set aside", |rig| !rig.health.read().set_aside.is_empty()).await;
    let orders = rig.orders.borrow().clone();
    let (orders, receiver) = watch::channel(orders);
    rig.orders = orders; // the old task ends with its orders
    let cursor = rig.journal.cursor(&id(), Terms::default());
    let (_burial_sender, burials) = burials();
    let random = StdRng::seed_from_u64(8);
    let health = Arc::new(Health::default());
    let pool = Pool::new(crate::budget::POOL_BYTES);
    let shared = Shared { health, pool };
    tokio::spawn(Delivery::new(receiver, burials, cursor, shared, random).run());
    service.becomes(Service::each(|_| Ack::Delivered));
    rig.until_pending(0).await;
    assert_eq!(rig.account().delivered, 100);
}

#[tokio::test(start_paused = true)]
async fn refusals_among_deliveries_are_buried_at_once_and_sent_once() {
    let service = Service::each(|id| match id.ends_with('7') {
        true => Ack::Rejected("too strange".to_owned()),
        false => Ack::Delivered,
    });
    let mut rig = Rig::start(&service, 10);
    let began = Instant::now();
    rig.append(0..100).await;
    rig.until_pending(0).await;
    assert!(began.elapsed() < PATIENCE);
    assert_eq!((rig.account().delivered, rig.account().dead_lettered), (90, 10));
    assert!(service.copies().values().all(|copies| *copies == 1));
    assert_eq!(rig.letters().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_few_refusals_and_nothing_else_are_buried_after_a_while_and_sent_once() {
    let service = Service::each(|_| Ack::Rejected("too strange".to_owned()));
    let mut rig = Rig::start(&service, 10);
    rig.append(0..IN_A_ROW - 1).await;
    tokio::time::sleep(PATIENCE / 2).await;
    assert_eq!(rig.account().dead_lettered, 0, "perhaps more will be refused");
    rig.until_pending(0).await;
    assert_eq!(rig.account().dead_lettered, 19);
    assert_eq!(service.copies().values().sum::<usize>(), 19);
    assert_eq!(rig.state(), State::Healthy);
    // They still count: the next one makes twenty.
    rig.append(["twentieth"]).await;
    rig.until("paused", |rig| rig.state() == State::Paused).await;
    tokio::time::sleep(2 * PATIENCE).await;
    assert_eq!((rig.account().dead_lettered, rig.account().pending_records), (19, 1));
}

#[tokio::test(start_paused = true)]
async fn twenty_refusals_in_a_row_pause_and_keep_everything() {
    let service = Service::each(|_| Ack::Rejected("400 no such index".to_owned()));
    let mut rig = Rig::start(&service, 25);
    rig.append(0..200).await;
    rig.until("paused", |rig| rig.state() == State::Paused).await;
    let first = service.requests().len();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let account = rig.account();
    assert_eq!((account.pending_records, account.dead_lettered, account.delivered), (200, 0, 0));
    let condition = rig.health.read();
    let said = condition.last_error.unwrap().message;
    assert!(said.contains("20 records in a row") && said.contains("400 no such index"), "{said}");
    assert!(condition.retry_at.is_some());
    let probes = service.requests().split_off(first);
    assert!((60..300).contains(&probes.len()), "{} probes in an hour", probes.len());
    assert!(probes.iter().all(|probe| probe.ids.len() == 1), "a probe is one record");
    let mut early: Vec<_> = probes.iter().take(60).flat_map(|it| it.ids.clone()).collect();
    early.sort();
    early.dedup();
    assert_eq!(early.len(), 60, "each probe is another record");
}

#[tokio::test(start_paused = true)]
async fn one_success_ends_the_pause_and_what_was_refused_goes_out_once_more() {
    let service = Service::each(|_| Ack::Rejected("400".to_owned()));
    let mut rig = Rig::start(&service, 25);
    rig.append(0..100).await;
    rig.until("paused", |rig| rig.state() == State::Paused).await;
    let before = service.copies();
    let bad = |id: &str| id.ends_with('1');
    service.becomes(Service::each(move |id| match bad(id) {
        true => Ack::Rejected("422".to_owned()),
        false => Ack::Delivered,
    }));
    rig.until_pending(0).await;
    let account = rig.account();
    assert_eq!((account.delivered, account.dead_lettered), (90, 10));
    assert!(rig.letters().iter().all(|it| bad(&it.record.event_id) && it.reason == "422"));
    for (id, copies) in service.copies() {
        let before = before.get(&id).copied().unwrap_or(0);
        assert!(copies <= before + 2, "{id}: {copies}, {before} before");
    }
    assert_eq!(rig.state(), State::Healthy);
}

#[tokio::test(start_paused = true)]
async fn bad_records_that_a_kill_left_in_front_of_good_ones_end_in_a_short_pause() {
    // What could not be buried before the kill is all that is left of the oldest records.
    let is_bad = |id: &str| id.parse().is_ok_and(|id: usize| id < 60);
    let service = Service::each(move |id| match is_bad(id) {
        true => Ack::Rejected("too strange".to_owned()),
        false => Ack::Delivered,
    });
    let mut rig = Rig::start(&service, 20);
    let began = Instant::now();
    rig.append(0..100).await;
    rig.until_pending(0).await;
    assert_eq!((rig.account().delivered, rig.account().dead_lettered), (40, 60));
    assert!(began.elapsed() < Duration::from_secs(100), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_also_where_every_record_was_refused_and_none_comes() {
    let service = Service::each(|_| Ack::Rejected("400".to_owned()));
    let mut rig = Rig::start(&service, 1);
    rig.append(0..20).await;
    rig.until("paused", |rig| rig.state() == State::Paused).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(rig.account().pending_records, 20);
    service.becomes(Service::each(|_| Ack::Delivered));
    rig.until_pending(0).await;
    assert_eq!((rig.account().delivered, rig.account().dead_lettered), (20, 0));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_to_the_second_and_shown() {
    let mut asked = 0;
    let service = Service::new(move |request| {
        asked += 1;
        let busy = Fault {
            retry_after: Some(Duration::from_secs(90)),
            ..Fault::new(FaultKind::Throttled, "429")
        };
        let ack = if asked == 1 { Ack::Retry(busy) } else { Ack::Delivered };
        vec![ack; request.ids.len()]
    });
    let mut rig = Rig::start(&service, 10);
    rig.append(0..10).await;
    rig.until("held", |rig| rig.health.read().retry_at.is_some()).await;
    rig.append(10..50).await;
    rig.until_pending(0).await;
    let [first, second] = [0, 1].map(|at| service.requests()[at].at);
    assert!((90..92).contains(&(second - first).as_secs()), "{:?}", second - first);
    assert_eq!(rig.health.read().retry_at, None);
}

#[tokio::test(start_paused = true)]
async fn retry_after_of_some_records_holds_up_only_these() {
    let mut asked = 0;
    let service = Service::each(move |id| {
        asked += 1;
        let busy = Fault {
            retry_after: Some(Duration::from_secs(90)),
            ..Fault::new(FaultKind::Throttled, "429")
        };
        if id == "3" && asked < 11 { Ack::Retry(busy) } else { Ack::Delivered }
    });
    let mut rig = Rig::start(&service, 10);
    rig.append(0..50).await;
    let began = Instant::now();
    rig.until_pending(1).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    rig.until_pending(0).await;
    assert!((90..92).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

/// A service that asks to be left alone for a day, once.
fn asks_for_a_day() -> Service {
    let mut asked = 0;
    Service::new(move |request| {
        asked += 1;
        let busy = Fault {
            retry_after: Some(Duration::from_secs(86_400)),
            ..Fault::new(FaultKind::Transient, "503")
        };
        let ack = if asked == 1 { Ack::Retry(busy) } else { Ack::Delivered };
        vec![ack; request.ids.len()]
    })
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_for_an_hour_at_most() {
    let mut rig = Rig::start(&asks_for_a_day(), 10);
    rig.append(0..10).await;
    let began = Instant::now();
    rig.until_pending(0).await;
    assert!((3_600..3_602).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn new_settings_and_the_drain_end_every_wait_and_equal_settings_do_not() {
    for change in ["settings", "drain"] {
        let mut rig = Rig::start(&asks_for_a_day(), 10);
        rig.append(0..10).await;
        rig.until("held", |rig| rig.health.read().retry_at.is_some()).await;
        rig.orders.send_modify(|orders| orders.destination = destination(10));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(rig.account().pending_records, 10, "a reload that changes nothing");
        rig.orders.send_modify(|orders| match change {
            "settings" => orders.destination = destination(5),
            _ => orders.hurry = true,
        });
        let began = Instant::now();
        rig.until_pending(0).await;
        assert!(began.elapsed() < Duration::from_secs(1), "{change}: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_buries_what_was_refused_without_further_patience() {
    let service = Service::each(|_| Ack::Rejected("too strange".to_owned()));
    let mut rig = Rig::start(&service, 10);
    rig.append(0..5).await;
    rig.orders.send_modify(|orders| orders.hurry = true);
    let began = Instant::now();
    rig.until_pending(0).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(rig.account().dead_lettered, 5);
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_configuration_pauses_and_one_success_ends_it() {
    let service = Service::each(|_| {
        Ack::Retry(Fault::new(FaultKind::Configuration, "403 no such permission"))
    });
    let mut rig = Rig::start(&service, 10);
    rig.append(0..30).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!((rig.state(), rig.account().pending_records), (State::Paused, 30));
    let asked = service.requests().len();
    assert!((60..300).contains(&asked), "{asked} requests in an hour");
    service.becomes(Service::each(|_| Ack::Delivered));
    rig.until_pending(0).await;
    assert_eq!(rig.state(), State::Healthy);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_that_cannot_be_written_are_kept_until_they_can_and_not_sent_again() {
    let service = Service::each(|id| match id {
        "3" => Ack::Rejected("too strange".to_owned()),
        _ => Ack::Delivered,
    });
    let folder = tempfile::tempdir().unwrap();
    let letters = folder.path().join("dead-letters");
    let mut rig = Rig::start_in(folder, &service, 10);
    // No file can be made in what is no folder. In what is taken away at once no file is made meanwhile either.
    std::fs::rename(&letters, letters.with_extension("gone")).unwrap();
    std::fs::write(&letters, "").unwrap();
    rig.append(0..10).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let said = rig.health.read().last_error.unwrap().message;
    assert!(said.contains("dead letters cannot be written"), "{said}");
    let account = rig.account();
    assert_eq!((account.pending_records, account.delivered, account.dead_lettered), (1, 9, 0));
    std::fs::remove_file(&letters).unwrap();
    tokio::time::sleep(LOOK_FOR_ROOM).await;
    rig.until_pending(0).await;
    assert_eq!((rig.account().dead_lettered, rig.letters().len()), (1, 1));
    assert_eq!(service.copies()["3"], 1);
}
