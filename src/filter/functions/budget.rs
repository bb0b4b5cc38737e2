//! What one evaluation may spend: work, loops, and memory for what it makes.
//!
//! Work is counted, not timed, so that a filter gives the same answer on every machine. A unit is about
//! a nanosecond of the machine that the prices were taken on; `benches/worst.rs` looks for what is
//! priced too low.

use super::super::error::EvalError;
use super::super::limits::{
    LARGE_VALUE, MAX_ITERATIONS, MAX_LARGE_VALUE, MAX_RESULT, MAX_VALUE_DEPTH, MAX_WORK,
    WORK_PER_LARGE_BYTE, price,
};
use super::super::value::{Value, equal_within};

/// What one evaluation may still spend, and what it has spent.
#[derive(Debug)]
pub(in super::super) struct Budget {
    /// Work that is left.
    left: u64,
    /// Work that there was, for messages and for who asks what was spent.
    all: u64,
    /// Bytes of the largest value read, once it is larger than [`LARGE_VALUE`].
    largest: usize,
    iterations: u32,
    result: usize,
}

impl Budget {
    pub fn new() -> Budget {
        Budget {
            left: MAX_WORK,
            all: MAX_WORK,
            largest: LARGE_VALUE,
            iterations: MAX_ITERATIONS,
            result: MAX_RESULT,
        }
    }

    /// Units of work spent so far.
    pub fn spent(&self) -> u64 {
        self.all - self.left
    }

    /// Spends work.
    #[inline]
    pub fn work(&mut self, units: u64) -> Result<(), EvalError> {
        match self.left.checked_sub(units) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.exhausted()),
        }
    }

    /// Nothing is left, so that what comes after an error that `||` forgives fails at once.
    #[cold]
    fn exhausted(&mut self) -> EvalError {
        self.left = 0;
        EvalError::Limit(
            usize::try_from(self.all).unwrap_or(usize::MAX),
            "units of work in one evaluation",
        )
    }

    /// Spends work on so many bytes at a price in 64ths of a unit a byte.
    #[inline]
    pub fn bytes(&mut self, bytes: usize, price: u64) -> Result<(), EvalError> {
        self.work((bytes as u64).saturating_mul(price) / 64)
    }

    /// Spends the reading of a field's JSON text. A large one brings work with it, so that what is
    /// done once with a large value fits where the same done often does not.
    #[inline]
    pub fn read(&mut self, json: usize) -> Result<(), EvalError> {
        if json > self.largest {
            let more = (json.min(MAX_LARGE_VALUE) - self.largest) as u64 * WORK_PER_LARGE_BYTE;
            self.largest = json.min(MAX_LARGE_VALUE);
            self.all += more;
            self.left += more;
        }
        self.work(price::FIELD + json as u64 * price::READ / 64)
    }

    /// Spends iterations of comprehensions.
    pub fn iterate(&mut self, count: u32) -> Result<(), EvalError> {
        match self.iterations.checked_sub(count) {
            Some(left) => {
                self.iterations = left;
                self.work(u64::from(count) * price::ITERATION)
            }
            None => Err(EvalError::Limit(MAX_ITERATIONS as usize, "iterations in one evaluation")),
        }
    }

    /// Spends the work of searching text.
    #[inline]
    pub fn search(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.bytes(bytes, price::SEARCH)
    }

    /// Spends the work of comparing texts, or of going over one.
    #[inline]
    pub fn compare(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.bytes(bytes, price::COMPARE)
    }

    /// Spends the work of reading what a text says, such as a number or a span of time.
    #[inline]
    pub fn parse(&mut self, text: &str) -> Result<(), EvalError> {
        self.search(text.len().saturating_mul(4))
    }

    /// Spends the work of searching a list.
    pub fn search_list(&mut self, items: usize) -> Result<(), EvalError> {
        self.work((items as u64).saturating_mul(price::ITEM))
    }

    /// Whether two values are equal; items inside them cost as much as items searched.
    pub fn equal(&mut self, a: &Value<'_>, b: &Value<'_>) -> Result<bool, EvalError> {
        let (left, mut spent, mut too_deep) = (self.left, 0u64, false);
        let equal = equal_within((a, b), 0, &mut |work, depth| {
            too_deep = depth > MAX_VALUE_DEPTH;
            spent = spent.saturating_add(work);
            spent <= left && !too_deep
        });
        if too_deep {
            return Err(EvalError::Limit(MAX_VALUE_DEPTH, "lists inside each other"));
        }
        self.work(spent)?;
        equal.ok_or_else(|| self.exhausted())
    }

    /// Spends bytes of a result that is about to be built.
    pub fn build(&mut self, bytes: usize) -> Result<(), EvalError> {
        match self.result.checked_sub(bytes) {
            Some(left) => {
                self.result = left;
                self.bytes(bytes, price::BUILD)
            }
            None => Err(EvalError::Limit(MAX_RESULT, "bytes of results in one evaluation")),
        }
    }

    /// Spends the memory of a list that is about to be built.
    pub fn build_list(&mut self, items: usize) -> Result<(), EvalError> {
        self.build(items.saturating_mul(size_of::<Value<'_>>()))
    }
}
