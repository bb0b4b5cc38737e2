//! Every operator and function: the types it takes, the type it gives, and what runs it.
//!
//! One table for the checker and the evaluator, so that what is accepted is what is implemented.
//! The implementations stand in `functions/`; macros are not functions and not here.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::extensions::EXTENSIONS;
use super::family::Style::{Both, Global, Receiver};
use super::family::{Family, Style, family};
use super::functions::{Implementation, arithmetic, containers, convert, regex, text, time};
use super::types::{Type, split_types};

const ORDERED: &[(&str, &str)] = &[
    ("bool, bool", "bool"),
    ("int, int", "bool"),
    ("uint, uint", "bool"),
    ("double, double", "bool"),
    ("string, string", "bool"),
    ("bytes, bytes", "bool"),
    ("timestamp, timestamp", "bool"),
    ("duration, duration", "bool"),
];
const DIVISION: &[(&str, &str)] =
    &[("int, int", "int"), ("uint, uint", "uint"), ("double, double", "double")];
const TEXT_TEST: &[(&str, &str)] = &[("string, string", "bool")];
const CALENDAR: &[(&str, &str)] = &[("timestamp", "int"), ("timestamp, string", "int")];
const CLOCK: &[(&str, &str)] =
    &[("timestamp", "int"), ("timestamp, string", "int"), ("duration", "int")];

const FAMILIES: &[Family] = &[
    family("==", Global, arithmetic::equals, &[("A, A", "bool")]),
    family("!=", Global, arithmetic::differs, &[("A, A", "bool")]),
    family("<", Global, arithmetic::less, ORDERED),
    family("<=", Global, arithmetic::at_most, ORDERED),
    family(">", Global, arithmetic::greater, ORDERED),
    family(">=", Global, arithmetic::at_least, ORDERED),
    family("!_", Global, arithmetic::not, &[("bool", "bool")]),
    family("-_", Global, arithmetic::negate, &[("int", "int"), ("double", "double")]),
    family(
        "+",
        Global,
        arithmetic::add,
        &[
            ("int, int", "int"),
            ("uint, uint", "uint"),
            ("double, double", "double"),
            ("string, string", "string"),
            ("bytes, bytes", "bytes"),
            ("list(A), list(A)", "list(A)"),
            ("timestamp, duration", "timestamp"),
            ("duration, timestamp", "timestamp"),
            ("duration, duration", "duration"),
        ],
    ),
    family(
        "-",
        Global,
        arithmetic::subtract,
        &[
            ("int, int", "int"),
            ("uint, uint", "uint"),
            ("double, double", "double"),
            ("timestamp, timestamp", "duration"),
            ("timestamp, duration", "timestamp"),
            ("duration, duration", "duration"),
        ],
    ),
    family("*", Global, arithmetic::multiply, DIVISION),
    family("/", Global, arithmetic::divide, DIVISION),
    family("%", Global, arithmetic::remainder, &[("int, int", "int"), ("uint, uint", "uint")]),
    family(
        "in",
        Global,
        containers::contained,
        &[("A, list(A)", "bool"), ("A, map(A, B)", "bool")],
    ),
    family(
        "[]",
        Global,
        containers::index,
        &[
            ("list(A), int", "A"),
            ("map(A, B), A", "B"),
            ("optional(list(A)), int", "optional(A)"),
            ("optional(map(A, B)), A", "optional(B)"),
        ],
    ),
    family(
        "[?]",
        Global,
        containers::optional_index,
        &[
            ("list(A), int", "optional(A)"),
            ("map(A, B), A", "optional(B)"),
            ("optional(list(A)), int", "optional(A)"),
            ("optional(map(A, B)), A", "optional(B)"),
        ],
    ),
    family(
        "size",
        Both,
        containers::size,
        &[("string", "int"), ("bytes", "int"), ("list(A)", "int"), ("map(A, B)", "int")],
    ),
    family("contains", Receiver, text::contains, TEXT_TEST),
    family("startsWith", Receiver, text::starts_with, TEXT_TEST),
    family("endsWith", Receiver, text::ends_with, TEXT_TEST),
    family("matches", Both, regex::matches, TEXT_TEST),
    family(
        "int",
        Global,
        convert::int,
        &[
            ("int", "int"),
            ("uint", "int"),
            ("double", "int"),
            ("string", "int"),
            ("timestamp", "int"),
        ],
    ),
    family(
        "uint",
        Global,
        convert::uint,
        &[("uint", "uint"), ("int", "uint"), ("double", "uint"), ("string", "uint")],
    ),
    family(
        "double",
        Global,
        convert::double,
        &[("double", "double"), ("int", "double"), ("uint", "double"), ("string", "double")],
    ),
    family(
        "string",
        Global,
        convert::string,
        &[
            ("string", "string"),
            ("bool", "string"),
            ("int", "string"),
            ("uint", "string"),
            ("double", "string"),
            ("bytes", "string"),
            ("timestamp", "string"),
            ("duration", "string"),
            ("net.IP", "string"),
            ("net.CIDR", "string"),
        ],
    ),
    family("bytes", Global, convert::bytes, &[("bytes", "bytes"), ("string", "bytes")]),
    family("bool", Global, convert::bool, &[("bool", "bool"), ("string", "bool")]),
    family(
        "timestamp",
        Global,
        convert::timestamp,
        &[("timestamp", "timestamp"), ("string", "timestamp"), ("int", "timestamp")],
    ),
    family(
        "duration",
        Global,
        convert::duration,
        &[("duration", "duration"), ("string", "duration")],
    ),
    family("type", Global, convert::type_of, &[("A", "type")]),
    family("dyn", Global, convert::to_dyn, &[("A", "dyn")]),
    family("getFullYear", Receiver, time::full_year, CALENDAR),
    family("getMonth", Receiver, time::month, CALENDAR),
    family("getDate", Receiver, time::date, CALENDAR),
    family("getDayOfMonth", Receiver, time::day_of_month, CALENDAR),
    family("getDayOfWeek", Receiver, time::day_of_week, CALENDAR),
    family("getDayOfYear", Receiver, time::day_of_year, CALENDAR),
    family("getHours", Receiver, time::hours, CLOCK),
    family("getMinutes", Receiver, time::minutes, CLOCK),
    family("getSeconds", Receiver, time::seconds, CLOCK),
    family("getMilliseconds", Receiver, time::milliseconds, CLOCK),
];

/// What filters on lists have besides; they are no part of CEL, nor of its extensions.
const LIST_HELPERS: &[Family] = &[
    family("add", Receiver, time::later, &[("timestamp, string", "timestamp")]),
    family("subtract", Receiver, time::earlier, &[("timestamp, string", "timestamp")]),
];

/// A function as the checker sees it.
pub(super) struct Function {
    pub name: &'static str,
    pub style: Style,
    pub run: Implementation,
    pub signatures: Vec<Signature>,
}

pub(super) struct Signature {
    pub parameters: Vec<Type>,
    pub result: Type,
    /// How many type variables there are.
    pub variables: usize,
}

impl Signature {
    pub fn new(parameters: Vec<Type>, result: Type) -> Signature {
        let types = parameters.iter().chain([&result]);
        let variables = types.map(Type::variables).max().unwrap_or(0);
        Signature { parameters, result, variables }
    }

    fn read(parameters: &str, result: &str) -> Signature {
        let read = |text: &str| Type::parse(text).unwrap_or(Type::Dyn);
        Signature::new(split_types(parameters).into_iter().map(read).collect(), read(result))
    }
}

/// All families: those of the language, then those of its extensions.
pub(super) fn families() -> impl Iterator<Item = &'static Family> {
    FAMILIES.iter().chain(EXTENSIONS)
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Vec<Function>>> = LazyLock::new(|| {
    let mut functions: HashMap<_, Vec<Function>> = HashMap::new();
    for family in families() {
        functions.entry(family.name).or_default().push(Function::new(family));
    }
    functions
});

static HELPERS: LazyLock<Vec<Function>> =
    LazyLock::new(|| LIST_HELPERS.iter().map(Function::new).collect());

impl Function {
    fn new(family: &Family) -> Function {
        let signature = |(parameters, result): &(&str, &str)| Signature::read(parameters, result);
        Function {
            name: family.name,
            style: family.style,
            run: family.run,
            signatures: family.signatures.iter().map(signature).collect(),
        }
    }
}

/// The function of a name that only filters on lists have.
pub(super) fn list_helper(name: &str) -> Option<&'static Function> {
    HELPERS.iter().find(|function| function.name == name)
}

/// The functions or the operator of a name, one for each way of calling it.
pub(super) fn function(name: &str) -> Option<&'static [Function]> {
    FUNCTIONS.get(name).map(Vec::as_slice)
}

/// The names of all functions, without operators.
pub(super) fn function_names() -> impl Iterator<Item = &'static str> {
    families().map(|family| family.name).filter(|name| name.starts_with(char::is_alphabetic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_is_well_written_and_every_call_has_one_family() {
        for family in families() {
            for (parameters, result) in family.signatures {
                for text in split_types(parameters).into_iter().chain([*result]) {
                    assert!(Type::parse(text).is_some(), "{}: {text}", family.name);
                }
            }
        }
        for (name, functions) in FUNCTIONS.iter() {
            for receiver in [false, true] {
                let fitting = functions.iter().filter(|it| it.style.takes(receiver)).count();
                assert!(fitting <= 1, "{name}");
            }
        }
    }
}
