//! The limits of the filter language, each with its reason. A filter is written by a user of the
//! service and run on every event, so each dimension of it has an end.
//!
//! Nothing is enforced here; the constant's name is what the code that enforces it refers to.

/// Longest filter, in bytes. A list of 800 addresses fits; a program does not.
pub const MAX_SOURCE: usize = 16 * 1024;

/// Deepest nesting of brackets in the text; CEL asks for 12 to 32. The parser recurses at brackets,
/// with up to 22 KiB of stack a level in a debug build: 64 levels keep every stage well below
/// 2 MiB, the default stack of a thread (tested).
pub const MAX_NESTING: usize = 64;

/// Deepest tree, each operand of `a + b + …` counting as a level; chains of `&&`, `||` and elements
/// of lists count as one. It is the depth that an event's JSON may have.
pub const MAX_TREE_DEPTH: usize = 128;

/// Deepest evaluation: the depth of a tree, and once more for variables of `cel.bind` that are
/// evaluated where they are used.
pub const MAX_EVALUATION_DEPTH: usize = 2 * MAX_TREE_DEPTH;

/// Deepest nesting of lists and maps that are compared or formatted; more than any event has.
pub const MAX_VALUE_DEPTH: usize = 256;

/// Most nodes of the tree after macros are expanded: the work of checking is proportional to it.
pub const MAX_NODES: usize = 10_000;

/// Deepest nesting of comprehensions: each level multiplies the work by the length of a list.
pub const MAX_COMPREHENSION_NESTING: usize = 3;

/// Most elements of a list or map that is written out in a filter.
pub const MAX_LITERAL_ITEMS: usize = 4_096;

/// Largest compiled regular expression, in bytes: wide repetitions of Unicode classes grow to
/// megabytes from a few characters.
pub const MAX_REGEX_PROGRAM: usize = 1024 * 1024;

/// Most memory for all compiled regular expressions of one filter, in bytes. Ordinary ones take 2 to
/// 20 KiB each.
pub const MAX_COMPILED: usize = 1024 * 1024;

/// Most different regular expressions in one filter: each may take some milliseconds to compile.
pub const MAX_REGEXES: usize = 32;

/// Largest compiled regular expression that is not a constant. It is compiled anew in each
/// evaluation, so it must be small enough to be compiled in a fraction of a millisecond.
pub const MAX_DYNAMIC_REGEX_PROGRAM: usize = 64 * 1024;

/// Longest regular expression that is not a constant, in bytes, for the same reason.
pub const MAX_DYNAMIC_REGEX: usize = 96;

/// Largest table of a regular expression's states, in bytes. What is larger is searched with states
/// that are made when they are needed: such tables grow to gigabytes from a few characters.
pub const MAX_DENSE: usize = 256 * 1024;

/// Most states of a regular expression's automaton for which a table is tried: making one costs states
/// times the size of the table.
pub const MAX_DENSE_STATES: usize = 256;

/// Most memory for the states that one regular expression has made, in bytes; then it begins anew.
pub const MAX_LAZY_CACHE: usize = 256 * 1024;

/// Most memory for the states that all regular expressions have made and keep, in bytes.
pub const MAX_LAZY_CACHES_BYTES: usize = 16 * 1024 * 1024;

/// Most regular expressions whose states are kept; those used last.
pub const MAX_LAZY_CACHES: usize = 256;

/// Highest repetition count in a regular expression; it is RE2's.
pub const MAX_REGEX_REPEAT: u32 = 1_000;

/// Deepest nesting of groups in a regular expression: compiling it recurses.
pub const MAX_REGEX_NESTING: u32 = 100;

/// Most units that a filter may be estimated to cost: CEL's unit is about 50 ns, so that an event
/// costs at most 5 ms.
pub const MAX_COST: u64 = 100_000;

/// So many characters count for a text of an event when cost is estimated; whole events of the
/// platform have about 1,300 bytes.
pub const EVENT_TEXT: u64 = 1_024;

/// So many items count for a list or map of an event when cost is estimated.
pub const EVENT_ITEMS: u64 = 64;

/// So many characters count for an item of such a list.
pub const EVENT_ITEM: u64 = 64;

/// Most mistakes that are reported together: more do not help, and a broken filter may have
/// thousands.
pub const MAX_MISTAKES: usize = 16;

/// Most iterations of comprehensions in one evaluation, nested ones counted together; it is the
/// C++ runtime's.
pub const MAX_ITERATIONS: u32 = 10_000;

/// Most bytes that all strings and lists built in one evaluation may have together.
pub const MAX_RESULT: usize = 1024 * 1024;

/// Most work of one evaluation, in units of about a nanosecond: 5 ms on a machine that is half as fast as
/// the one of `benches/README.md`. `cargo bench --bench worst` looks for filters that take longer.
pub const MAX_WORK: u64 = 2_500_000;

/// From this size on, in bytes, the largest value that a filter reads adds to [`MAX_WORK`].
pub const LARGE_VALUE: usize = 16 * 1024;

/// Up to this size, so that an evaluation takes at most 20 ms. It is the largest event by default.
pub const MAX_LARGE_VALUE: usize = 1024 * 1024;

/// What each byte of such a value adds: as much as to read it and to search it a few times.
pub const WORK_PER_LARGE_BYTE: u64 = 6;

/// Most digits after the point in `format`; it is the C++ runtime's. No double has more than 1,074.
pub const MAX_FORMAT_PRECISION: usize = 1_000;

/// What the parts of an evaluation cost, in units of work, or in 64ths of one for what is counted in
/// bytes. They are rather too high than too low: the dearest kind of each thing was measured.
pub mod price {
    /// A node of the general evaluator.
    pub const NODE: u64 = 40;
    /// A field's value, apart from its size, and a simple test on it.
    pub const FIELD: u64 = 16;
    /// A step of a comprehension, apart from its body.
    pub const ITERATION: u64 = 80;
    /// An item of a list that is looked at, or a value that is read from JSON.
    pub const ITEM: u64 = 40;
    /// A list or map that is read from JSON, apart from what is in it.
    pub const CONTAINER: u64 = 80;
    /// A key of a map that is read from JSON: it is sorted too.
    pub const KEY: u64 = 120;

    /// A byte of JSON text that is read once, unescaped.
    pub const READ: u64 = 8;
    /// A byte of JSON text with escapes.
    pub const UNESCAPE: u64 = 512;
    /// A byte of text that is compared or counted.
    pub const COMPARE: u64 = 16;
    /// A byte of text that is searched.
    pub const SEARCH: u64 = 64;
    /// A byte of text that is made.
    pub const BUILD: u64 = 192;

    /// Beginning a search by a regular expression.
    pub const SEARCH_BEGUN: u64 = 50;
    /// A byte searched by a table, in whole units.
    pub const DENSE: u64 = 3;
    /// A byte searched by states made before, in whole units.
    pub const LAZY: u64 = 3;
    /// Compiling a regular expression that is not a constant, apart from its length.
    pub const DYNAMIC_REGEX: u64 = 500_000;
    /// A byte of it, in whole units: three bytes may name thousands of characters.
    pub const DYNAMIC_REGEX_BYTE: u64 = 20_000;

    /// An error that `||` or `&&` forgives: its message was made.
    pub const ERROR: u64 = 200;

    /// Making one state of a lazy automaton, by the bytes of the automaton.
    pub const fn step(bytes: usize) -> u64 {
        bytes as u64 / 2
    }

    /// Searching one byte for groups, by the bytes of the automaton.
    pub const fn groups(bytes: usize) -> u64 {
        bytes as u64 / 8
    }
}
