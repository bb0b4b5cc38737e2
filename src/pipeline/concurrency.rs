//! How many requests may be under way to one destination at a time: learnt from what its service does.
//!
//! A round is as many answers as there may be requests. After a good one there may be one request
//! more; if that brought no more through, it is taken back. Throttling, answers that do not come and
//! answers that come later since more was asked for make it fewer, by a part of what it was. Where
//! more hurt before, it is tried ever more rarely.
//!
//! Only rounds teach in which all requests that may be under way were: a destination with little to do
//! tells nothing. Pure: time comes in as an argument. When a request may go, and how large it may be,
//! is the matter of `pace`; how many bytes all of them may hold, of `in_flight`.

use tokio::time::Instant;

/// Requests at the beginning: hides the latency of a distant region without flooding a service that
/// nothing is known of.
const FIRST: usize = 4;

/// Most good rounds that are waited for before more is tried than hurt before.
const MOST_ROUNDS: u32 = 64;

/// What is left of the limit, in hundredths, where a service throttles or slows down.
const AFTER_THROTTLE: usize = 90;
/// The same where no answer came, or nothing got through since the last cut.
const AFTER_SILENCE: usize = 50;

/// An answer that takes this many times as long as usual is looked into.
const LATE: f64 = 1.5;

/// How much of the gain that one more request promises has to show for it to stay.
const WORTH_IT: f64 = 0.5;

/// Weight of the latest round in what is usual.
const NEWEST: f64 = 0.3;

/// A request that was sent, with what is needed to learn from its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub at: Instant,
    round: u64,
    /// Whether all requests that may be under way were.
    full: bool,
}

/// What an answer says of how much the service takes at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Taken,
    /// It asks for less.
    Throttled,
    /// No answer came.
    Silent,
    /// It failed for other reasons.
    None,
}

/// Whether a round tries something out.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trial {
    No,
    /// One request more, where before so many requests a second were answered.
    More {
        per_second: f64,
    },
    /// Fewer, since answers took so many seconds with this limit.
    Fewer {
        limit: usize,
        seconds: f64,
    },
}

#[derive(Debug)]
pub(super) struct Concurrency {
    limit: usize,
    round: u64,
    /// Answers of this round, and the seconds that they took together.
    answers: usize,
    seconds: f64,
    /// How long answers take usually, in seconds.
    usual: Option<f64>,
    trial: Trial,
    /// The round that began with the last cut.
    cut: u64,
    /// Whether anything got through since.
    through: bool,
    /// Good rounds since the limit changed, and how many of them let it grow.
    good: u32,
    good_to_grow: u32,
}

impl Concurrency {
    /// For a service that nothing is known of.
    pub(super) fn new() -> Concurrency {
        Concurrency {
            limit: FIRST,
            round: 1,
            answers: 0,
            seconds: 0.0,
            usual: None,
            trial: Trial::No,
            cut: 0,
            through: true,
            good: 0,
            good_to_grow: 1,
        }
    }

    /// How many requests may be under way, where the kind of target allows so many at most.
    pub(super) fn limit(&self, most: usize) -> usize {
        self.limit.min(most)
    }

    /// A request goes out; with it so many are under way.
    pub(super) fn sent(&self, under_way: usize, now: Instant) -> Sent {
        Sent { at: now, round: self.round, full: under_way >= self.limit }
    }

    /// Takes in what came of a request. Tells whether the limit was cut for it, which may be all that
    /// was needed: something had got through since the last cut.
    pub(super) fn answered(&mut self, sent: Sent, sign: Sign, most: usize, now: Instant) -> bool {
        match sign {
            Sign::Taken => {
                self.through = true;
                let counts = sent.full && sent.round == self.round;
                if counts {
                    self.answers += 1;
                    self.seconds += (now - sent.at).as_secs_f64();
                    if self.answers >= self.limit {
                        self.end_round(most);
                    }
                }
                false
            }
            Sign::Throttled | Sign::Silent => {
                // Sent before the last cut, it says nothing that is not known.
                if sent.round < self.cut {
                    return false;
                }
                let helps = self.through && self.limit > 1;
                let gentle = sign == Sign::Throttled && self.through;
                self.hurt(if gentle { AFTER_THROTTLE } else { AFTER_SILENCE });
                helps && sign == Sign::Throttled
            }
            Sign::None => false,
        }
    }

    fn begin_round(&mut self, limit: usize, trial: Trial) {
        self.limit = limit;
        self.trial = trial;
        self.round += 1;
        self.answers = 0;
        self.seconds = 0.0;
    }

    fn hurt(&mut self, left: usize) {
        self.try_more_rarely();
        let limit = self.limit.min(self.limit * left / 100).max(1);
        self.begin_round(limit, Trial::No);
        self.cut = self.round;
        self.through = false;
    }

    /// After one request more was too many.
    fn try_more_rarely(&mut self) {
        if matches!(self.trial, Trial::More { .. }) {
            self.good_to_grow = (self.good_to_grow * 2).min(MOST_ROUNDS);
        }
        self.good = 0;
    }

    fn end_round(&mut self, most: usize) {
        let limit = self.limit;
        let seconds = (self.seconds / self.answers.max(1) as f64).max(1e-6);
        let usual = *self.usual.get_or_insert(seconds);
        let per_second = limit as f64 / seconds;
        match self.trial {
            Trial::More { per_second: before } => {
                let promised = 1.0 / (limit.max(2) - 1) as f64;
                if per_second < before * (1.0 + WORTH_IT * promised) {
                    self.try_more_rarely();
                    return self.begin_round(limit - 1, Trial::No);
                }
                self.good_to_grow = 1;
            }
            Trial::Fewer { limit: before, seconds: then } => {
                let hoped = 1.0 - limit as f64 / before as f64;
                if seconds > then * (1.0 - WORTH_IT * hoped) {
                    // The service is slower whatever we do: that is how it is now.
                    self.usual = Some(seconds);
                    return self.begin_round(before, Trial::No);
                }
            }
            Trial::No => {}
        }
        let fewer = (limit * AFTER_THROTTLE / 100).max(1);
        if seconds > usual * LATE && fewer < limit {
            self.good = 0;
            return self.begin_round(fewer, Trial::Fewer { limit, seconds });
        }
        self.usual = Some(usual + NEWEST * (seconds - usual));
        self.good += 1;
        if self.good >= self.good_to_grow && limit < most {
            self.good = 0;
            return self.begin_round(limit + 1, Trial::More { per_second });
        }
        self.begin_round(limit, Trial::No);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MOST: usize = 32;

    /// Lets the limit meet a service, for so many rounds of as many requests as may be under way:
    /// given how many are, it tells what comes of each and after how long.
    fn meet(
        concurrency: &mut Concurrency,
        rounds: usize,
        mut service: impl FnMut(usize) -> (Sign, Duration),
    ) {
        let mut now = Instant::now();
        for _ in 0..rounds {
            let under_way = concurrency.limit(MOST);
            let sent = concurrency.sent(under_way, now);
            for place in 1..=under_way {
                let (sign, took) = service(place);
                now = now.max(sent.at + took);
                concurrency.answered(sent, sign, MOST, sent.at + took);
            }
        }
    }

    /// Requests past the seventh are refused.
    fn refusing(millis: u64) -> impl FnMut(usize) -> (Sign, Duration) {
        move |place| {
            let sign = if place > 7 { Sign::Throttled } else { Sign::Taken };
            (sign, Duration::from_millis(millis))
        }
    }

    /// Requests past the seventh wait for one of the seven.
    fn queueing(concurrency: &Concurrency) -> Duration {
        Duration::from_millis(20).mul_f64(concurrency.limit(MOST).max(7) as f64 / 7.0)
    }

    #[test]
    fn a_service_that_refuses_the_eighth_request_gets_seven_however_long_it_takes() {
        let mut concurrency = Concurrency::new();
        for millis in [20, 200, 20] {
            meet(&mut concurrency, 100, refusing(millis));
            let limit = concurrency.limit(MOST);
            assert!((6..=8).contains(&limit), "{millis} ms: {concurrency:?}");
        }
    }

    #[test]
    fn where_more_requests_only_wait_they_are_taken_back() {
        let mut concurrency = Concurrency::new();
        for _ in 0..300 {
            let took = queueing(&concurrency);
            meet(&mut concurrency, 1, |_| (Sign::Taken, took));
        }
        assert!((6..=8).contains(&concurrency.limit(MOST)), "{concurrency:?}");
    }

    #[test]
    fn a_service_that_takes_all_gets_all_that_its_kind_allows() {
        let mut concurrency = Concurrency::new();
        meet(&mut concurrency, 60, |_| (Sign::Taken, Duration::from_millis(20)));
        assert_eq!(concurrency.limit(MOST), MOST);
        // Later than before whatever is asked: no reason to ask for less.
        meet(&mut concurrency, 20, |_| (Sign::Taken, Duration::from_millis(300)));
        assert_eq!(concurrency.limit(MOST), MOST);
    }

    #[test]
    fn answers_that_come_later_the_more_is_asked_for_make_requests_fewer() {
        let mut concurrency = Concurrency::new();
        meet(&mut concurrency, 60, |_| (Sign::Taken, Duration::from_millis(20)));
        for _ in 0..40 {
            let took = Duration::from_millis(2) * concurrency.limit(MOST).pow(2) as u32 / 10;
            meet(&mut concurrency, 1, |_| (Sign::Taken, took.max(Duration::from_millis(20))));
        }
        assert!(concurrency.limit(MOST) < 16, "{concurrency:?}");
    }

    #[test]
    fn silence_halves_and_so_does_throttling_while_nothing_gets_through() {
        let now = Instant::now();
        let mut concurrency = Concurrency { limit: 32, ..Concurrency::new() };
        let mut refused = |sign| {
            let sent = concurrency.sent(concurrency.limit(MOST), now);
            let cured = concurrency.answered(sent, sign, MOST, now);
            (concurrency.limit(MOST), cured)
        };
        assert_eq!(refused(Sign::Throttled), (28, true));
        assert_eq!(refused(Sign::Throttled), (14, false));
        assert_eq!(refused(Sign::Silent), (7, false));
        assert_eq!(refused(Sign::None), (7, false));
        for _ in 0..9 {
            refused(Sign::Throttled);
        }
        assert_eq!(refused(Sign::Throttled), (1, false));
    }

    #[test]
    fn of_requests_that_were_sent_together_one_refusal_counts() {
        let now = Instant::now();
        let mut concurrency = Concurrency { limit: 20, ..Concurrency::new() };
        let sent: Vec<Sent> = (1..=20).map(|under_way| concurrency.sent(under_way, now)).collect();
        for it in sent {
            concurrency.answered(it, Sign::Throttled, MOST, now);
        }
        assert_eq!(concurrency.limit(MOST), 18);
    }

    #[test]
    fn a_destination_with_little_to_do_learns_nothing() {
        let mut concurrency = Concurrency::new();
        let mut now = Instant::now();
        for _ in 0..1_000 {
            let sent = concurrency.sent(1, now);
            now += Duration::from_millis(5);
            concurrency.answered(sent, Sign::Taken, MOST, now);
        }
        assert_eq!(concurrency.limit(MOST), FIRST);
    }
}
