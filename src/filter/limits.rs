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

/// Most different regular expressions in one filter: each may take [`MAX_REGEX_PROGRAM`] of memory
/// and some milliseconds to compile.
pub const MAX_REGEXES: usize = 32;

/// Largest compiled regular expression that is not a constant. It is compiled anew in each
/// evaluation, so it must be small enough to be compiled in about a millisecond.
pub const MAX_DYNAMIC_REGEX_PROGRAM: usize = 64 * 1024;

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

/// What compiling a regular expression that is not a constant costs, in iterations: ten of them use
/// up an evaluation.
pub const DYNAMIC_REGEX_ITERATIONS: u32 = 1_000;

/// So many bytes of text searched cost as much as one iteration.
pub const BYTES_PER_ITERATION: usize = 1_024;

/// So many items of lists compared cost as much as one iteration.
pub const ITEMS_PER_ITERATION: usize = 64;

/// Most digits after the point in `format`; it is the C++ runtime's. No double has more than 1,074.
pub const MAX_FORMAT_PRECISION: usize = 1_000;
