//! Regular expressions as automata whose work is counted while it is done, so that it can be stopped
//! anywhere.
//!
//! A small pattern becomes a table of states (a dense DFA), which costs the same for each byte. The
//! states of others are made as texts ask for them (a lazy DFA): a state that is there costs as a dense
//! one does, a new one by the size of the pattern. Nothing is ever searched by states × bytes without
//! its price being paid first. The syntax is not known here; see `pattern.rs`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::hybrid::dfa as lazy;
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures, pikevm::PikeVM};
use regex_automata::util::prefilter::Prefilter;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Input, MatchKind, PatternID, Span};
use regex_syntax::hir::Hir;

use super::super::error::EvalError;
use super::super::limits::{
    MAX_DENSE, MAX_DENSE_STATES, MAX_LAZY_CACHE, MAX_LAZY_CACHES, MAX_LAZY_CACHES_BYTES, price,
};
use super::Budget;
use crate::lock::lock;

/// What a pattern is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) enum Use {
    /// Whether it matches.
    Test,
    /// The same, of one text.
    TestOnce,
    /// Where it and its groups match.
    Capture,
}

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Automaton {
    engine: Engine,
    /// Finds where a match may begin, much faster than an automaton; only where that is so.
    prefilter: Option<Prefilter>,
    groups: Option<PikeVM>,
    /// Bytes of the automaton that the others are made from.
    size: usize,
    /// Bytes of all.
    bytes: usize,
}

#[derive(Debug)]
enum Engine {
    Dense(Box<dense::DFA<Vec<u32>>>),
    Lazy(Box<lazy::DFA>, u64),
}

/// Where a match ends, or `None`.
type End = Result<Option<usize>, EvalError>;

impl Automaton {
    /// Compiles a pattern to at most `max` bytes.
    ///
    /// # Errors
    /// When it is larger.
    pub fn new(hir: &Hir, max: usize, used: Use) -> Result<Automaton, EvalError> {
        let too_large = || EvalError::Limit(max, "bytes of a compiled regular expression");
        let captures = match used {
            Use::Test | Use::TestOnce => WhichCaptures::None,
            Use::Capture => WhichCaptures::All,
        };
        let config = thompson::Config::new().utf8(false).nfa_size_limit(Some(max));
        let nfa = thompson::Compiler::new()
            .configure(config.which_captures(captures))
            .build_from_hir(hir)
            .map_err(|_| too_large())?;
        let groups = match used {
            Use::Test | Use::TestOnce => None,
            Use::Capture => Some(PikeVM::new_from_nfa(nfa.clone()).map_err(|_| too_large())?),
        };
        let engine = match Some(&nfa).filter(|_| used != Use::TestOnce).and_then(dense) {
            Some(dense) => Engine::Dense(Box::new(dense)),
            None => Engine::Lazy(Box::new(lazy(&nfa).ok_or_else(too_large)?), number()),
        };
        let size = nfa.memory_usage();
        let bytes = size
            + match &engine {
                Engine::Dense(dense) => dense.memory_usage(),
                Engine::Lazy(lazy, _) => lazy.memory_usage(),
            };
        let prefilter = match used {
            Use::Test => Prefilter::from_hir_prefix(MatchKind::LeftmostFirst, hir),
            Use::TestOnce | Use::Capture => None,
        };
        let prefilter = prefilter.filter(Prefilter::is_fast);
        let bytes = bytes + prefilter.as_ref().map_or(0, Prefilter::memory_usage);
        let automaton = Automaton { engine, prefilter, groups, size, bytes };
        // The table of a search for groups has a place for each group of each state.
        if automaton.slots().saturating_mul(size_of::<usize>()).max(bytes) > max {
            return Err(too_large());
        }
        Ok(automaton)
    }

    /// Bytes of memory that it takes, without what is kept between searches for all patterns together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Places in the table of a search for groups.
    fn slots(&self) -> usize {
        self.groups.as_ref().map_or(0, |groups| {
            groups.get_nfa().states().len() * groups.get_nfa().group_info().slot_len()
        })
    }

    /// Whether it matches somewhere.
    pub fn is_match(&self, text: &str, budget: &mut Budget) -> Result<bool, EvalError> {
        budget.work(price::SEARCH_BEGUN)?;
        let mut input = Input::new(text).earliest(true);
        if let Some(prefilter) = &self.prefilter {
            // Asked once, so that a text full of what looks like a match is not searched twice.
            budget.search(text.len())?;
            let all = Span { start: 0, end: text.len() };
            match prefilter.find(text.as_bytes(), all) {
                Some(found) => input.set_start(found.start),
                None => return Ok(false),
            }
        }
        match &self.engine {
            Engine::Dense(dense) => {
                budget.work(input.get_range().len() as u64 * price::DENSE)?;
                let found = dense.try_search_fwd(&input);
                found.map(|end| end.is_some()).map_err(|_| unsearchable())
            }
            Engine::Lazy(..) => {
                let mut search = self.search(budget)?;
                let end = search.end(&input, budget);
                search.finish();
                Ok(end?.is_some())
            }
        }
    }

    fn search(&self, budget: &mut Budget) -> Result<Search<'_>, EvalError> {
        Ok(match &self.engine {
            Engine::Dense(dense) => Search::Dense(dense),
            Engine::Lazy(lazy, number) => {
                Search::Lazy(LazySearch::begin(lazy, *number, price::step(self.size), budget)?)
            }
        })
    }

    /// The matches and their groups from left to right, each given to `each` until that says no.
    /// Places are in pairs, the whole match first; at most `places` pairs are found.
    pub fn captures(
        &self,
        text: &str,
        pairs: usize,
        budget: &mut Budget,
        mut each: impl FnMut(&[Option<NonMaxUsize>], &mut Budget) -> Result<bool, EvalError>,
    ) -> Result<(), EvalError> {
        let Some(groups) = &self.groups else { return Err(unsearchable()) };
        let mut table = None;
        let pairs = pairs.min(groups.get_nfa().group_info().group_len(PatternID::ZERO));
        let mut slots = vec![None; 2 * pairs];
        let mut search = self.search(budget)?;
        let (mut at, mut before) = (0, None);
        while at <= text.len() {
            let Some(end) = search.end(&Input::new(text).range(at..), budget)? else { break };
            // Up to the end of the match alone: so all searches together cost states × bytes, once.
            budget.work(price::groups(self.size).saturating_mul((end - at) as u64 + 1))?;
            if table.is_none() {
                budget.work(self.slots() as u64 / 4 + price::step(self.size))?;
            }
            let table = table.get_or_insert_with(|| groups.create_cache());
            groups.search_slots(table, &Input::new(text).range(at..end), &mut slots);
            let Some(start) = slots[0].map(NonMaxUsize::get) else { break };
            // An empty match where the last one ended is none.
            if start == end && before == Some(end) {
                at += 1;
                continue;
            }
            (at, before) = (end, Some(end));
            if !each(&slots, budget)? {
                break;
            }
        }
        search.finish();
        Ok(())
    }
}

/// Cannot be: patterns have no Unicode word boundaries, which alone make a search give up.
fn unsearchable() -> EvalError {
    EvalError::Invalid("the regular expression cannot be searched for".into())
}

/// A dense DFA, if it is small, and made in a millisecond.
fn dense(nfa: &NFA) -> Option<dense::DFA<Vec<u32>>> {
    if nfa.states().len() > MAX_DENSE_STATES {
        return None;
    }
    let config = dense::Config::new()
        .start_kind(StartKind::Unanchored)
        // A search for bytes that are in the text every time costs several times as much as the table.
        .accelerate(false)
        .dfa_size_limit(Some(MAX_DENSE))
        .determinize_size_limit(Some(MAX_DENSE));
    dense::Builder::new().configure(config).build_from_nfa(nfa).ok()
}

/// A lazy DFA. When its cache is full it begins anew; that it may do so again and again costs the
/// evaluation, which ends it.
fn lazy(nfa: &NFA) -> Option<lazy::DFA> {
    let config = lazy::Config::new().cache_capacity(MAX_LAZY_CACHE).skip_cache_capacity_check(true);
    lazy::Builder::new().configure(config).build_from_nfa(nfa.clone()).ok()
}

/// A search that tells how far it went.
enum Search<'s> {
    Dense(&'s dense::DFA<Vec<u32>>),
    Lazy(LazySearch<'s>),
}

impl Search<'_> {
    /// Where the leftmost match from the input's start ends, or the earliest end if that is asked for.
    fn end(&mut self, input: &Input<'_>, budget: &mut Budget) -> End {
        match self {
            Search::Dense(dense) => dense_end(dense, input, budget),
            Search::Lazy(search) => search.end(input, budget),
        }
    }

    /// Keeps the states that were made for the next search.
    fn finish(self) {
        if let Search::Lazy(search) = self {
            keep(search.number, search.cache);
        }
    }
}

/// The crate's own search does not tell how far it looked, and whoever looks for all matches may make it
/// look at everything again and again.
fn dense_end(dense: &dense::DFA<Vec<u32>>, input: &Input<'_>, budget: &mut Budget) -> End {
    let text = input.haystack();
    budget.work(price::SEARCH_BEGUN)?;
    let mut state = dense.start_state_forward(input).map_err(|_| unsearchable())?;
    let (mut at, mut found) = (input.start(), None);
    while at < text.len() {
        let until = text.len().min(at + PIECE);
        budget.work((until - at) as u64 * price::DENSE)?;
        for (at, byte) in text.iter().enumerate().take(until).skip(at) {
            state = dense.next_state(state, *byte);
            if dense.is_special_state(state) {
                if dense.is_dead_state(state) {
                    return Ok(found);
                }
                if dense.is_match_state(state) {
                    // A match is known one byte after its end.
                    found = Some(at);
                }
            }
        }
        at = until;
    }
    let last = dense.next_eoi_state(state);
    Ok(if dense.is_match_state(last) { Some(text.len()) } else { found })
}

/// A search by a lazy DFA, with the states that earlier ones made.
struct LazySearch<'l> {
    lazy: &'l lazy::DFA,
    number: u64,
    step: u64,
    cache: Box<lazy::Cache>,
}

impl<'l> LazySearch<'l> {
    fn begin(
        lazy: &'l lazy::DFA,
        number: u64,
        step: u64,
        budget: &mut Budget,
    ) -> Result<LazySearch<'l>, EvalError> {
        let cache = match kept(number) {
            Some(cache) => cache,
            None => {
                budget.work(step.saturating_mul(2))?;
                Box::new(lazy.create_cache())
            }
        };
        Ok(LazySearch { lazy, number, step, cache })
    }

    /// As [`Search::end`].
    fn end(&mut self, input: &Input<'_>, budget: &mut Budget) -> End {
        let text = input.haystack();
        let made = |state: Result<_, _>| state.map_err(|_| unsearchable());
        budget.work(price::SEARCH_BEGUN)?;
        let start = self.lazy.start_state_forward(&mut self.cache, input);
        let mut state = start.map_err(|_| unsearchable())?;
        if state.is_dead() {
            return Ok(None);
        }
        let (mut at, mut found) = (input.start(), None);
        while at < text.len() {
            let until = text.len().min(at + PIECE);
            budget.work((until - at) as u64 * price::LAZY)?;
            while at < until {
                // Behind a tagged state it cannot be told whether the next one is there already.
                let next = (!state.is_tagged())
                    .then(|| self.lazy.next_state_untagged(&self.cache, state, text[at]))
                    .filter(|next| !next.is_unknown());
                state = match next {
                    Some(next) => next,
                    None => {
                        budget.work(self.step)?;
                        made(self.lazy.next_state(&mut self.cache, state, text[at]))?
                    }
                };
                if state.is_tagged() {
                    if state.is_dead() {
                        return Ok(found);
                    }
                    if state.is_match() {
                        // A match is known one byte after its end.
                        found = Some(at);
                        if input.get_earliest() {
                            return Ok(found);
                        }
                    }
                }
                at += 1;
            }
        }
        budget.work(self.step)?;
        let last = made(self.lazy.next_eoi_state(&mut self.cache, state))?;
        Ok(if last.is_match() { Some(text.len()) } else { found })
    }
}

/// So many bytes are paid for at a time: what a search that ends early pays in vain.
const PIECE: usize = 64;

/// The caches of lazy DFAs that no search uses now, the one used last at the end: few for all patterns
/// together, however many there are.
static KEPT: Mutex<Kept> = Mutex::new(Kept { caches: Vec::new(), bytes: 0 });

struct Kept {
    /// The pattern's number, the cache, and its bytes.
    caches: Vec<(u64, Box<lazy::Cache>, usize)>,
    bytes: usize,
}

/// A number for a pattern, never used again.
fn number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

fn kept(number: u64) -> Option<Box<lazy::Cache>> {
    let mut kept = lock(&KEPT);
    let at = kept.caches.iter().rposition(|(other, ..)| *other == number)?;
    let (_, cache, bytes) = kept.caches.remove(at);
    kept.bytes -= bytes;
    Some(cache)
}

fn keep(number: u64, cache: Box<lazy::Cache>) {
    let bytes = cache.memory_usage();
    let mut kept = lock(&KEPT);
    kept.bytes += bytes;
    kept.caches.push((number, cache, bytes));
    while kept.bytes > MAX_LAZY_CACHES_BYTES || kept.caches.len() > MAX_LAZY_CACHES {
        let (_, _, bytes) = kept.caches.remove(0);
        kept.bytes -= bytes;
    }
}
