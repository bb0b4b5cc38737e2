//! The whole way of events in one thread, from a seed: intake, the disk journal on a disk that fails,
//! delivery, and a service of each kind, on a paused clock.
//!
//! Each step does one random thing: a body comes, a service falls ill, the subscriptions change, the
//! daemon stops or is killed with the log's end torn. After each step the promises must hold: what was
//! accepted is delivered at least once and by nobody else, each record has one verdict, the ledger adds
//! up, a sick service holds up no healthy one, and nothing is delivered twice without a cause. A run
//! is its seed's: a failing one is printed and runs again exactly.
//!
//! `SLUICEGATE_SIMULATION_SEEDS` is the number of seeds, or one seed as `=123`, whose steps are printed
//! then; `make simulate` sets it. It simulates no network and no second daemon.

mod service;
mod truth;
mod world;

use world::World;

/// Runs that a normal test makes, each with its own seed.
const SEEDS: u64 = 60;

/// Steps of one run.
const STEPS: usize = 400;

#[test]
fn whatever_happens_the_promises_hold() {
    let seeds = match std::env::var("SLUICEGATE_SIMULATION_SEEDS") {
        Err(_) => 0..SEEDS,
        Ok(text) => match text.strip_prefix('=') {
            Some(seed) => {
                let seed = seed.parse().unwrap();
                seed..seed + 1
            }
            None => 0..text.parse().unwrap(),
        },
    };
    let alone = seeds.end - seeds.start == 1;
    for seed in seeds {
        let run = std::panic::catch_unwind(|| World::new(seed).verbose(alone).run(STEPS));
        if let Err(broken) = run {
            println!("seed {seed} broke a promise: SLUICEGATE_SIMULATION_SEEDS='={seed}'");
            std::panic::resume_unwind(broken);
        }
    }
}

#[test]
fn a_run_is_repeated_exactly_by_its_seed() {
    let trace = |seed| World::new(seed).trace(120);
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}
