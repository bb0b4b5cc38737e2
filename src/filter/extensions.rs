//! The functions of CEL's extension libraries: strings, math, lists, sets, regex, network, encoders,
//! optionals. The table has the form of the one in `overloads.rs`.

use super::family::Style::{Global, Receiver};
use super::family::{Family, family};
use super::functions::{encode, extreme, format, lists, math, network, optional, regex, text};

const ROUNDING: &[(&str, &str)] = &[("double", "double")];
const SIGNED: &[(&str, &str)] = &[("int", "int"), ("uint", "uint"), ("double", "double")];
const DOUBLE_TEST: &[(&str, &str)] = &[("double", "bool")];
const BITS: &[(&str, &str)] = &[("int, int", "int"), ("uint, uint", "uint")];
const SHIFT: &[(&str, &str)] = &[("int, int", "int"), ("uint, int", "uint")];
const ADDRESS_TEST: &[(&str, &str)] = &[("net.IP", "bool")];
const SET_TEST: &[(&str, &str)] = &[("list(A), list(A)", "bool")];
const END: &[(&str, &str)] = &[("list(A)", "optional(A)")];
const FIND: &[(&str, &str)] = &[("string, string", "int"), ("string, string, int", "int")];
const RECASED: &[(&str, &str)] = &[("string", "string")];
const EXTREME: &[(&str, &str)] = &[
    ("int", "int"),
    ("uint", "uint"),
    ("double", "double"),
    ("int, int", "int"),
    ("uint, uint", "uint"),
    ("double, double", "double"),
    ("int, uint", "dyn"),
    ("int, double", "dyn"),
    ("uint, int", "dyn"),
    ("uint, double", "dyn"),
    ("double, int", "dyn"),
    ("double, uint", "dyn"),
    ("list(int)", "int"),
    ("list(uint)", "uint"),
    ("list(double)", "double"),
];

pub(super) const EXTENSIONS: &[Family] = &[
    // strings
    family("charAt", Receiver, text::char_at, &[("string, int", "string")]),
    family("indexOf", Receiver, text::index_of, FIND),
    family("lastIndexOf", Receiver, text::last_index_of, FIND),
    family("lowerAscii", Receiver, text::lower_ascii, RECASED),
    family("upperAscii", Receiver, text::upper_ascii, RECASED),
    family(
        "replace",
        Receiver,
        text::replace,
        &[("string, string, string", "string"), ("string, string, string, int", "string")],
    ),
    family(
        "split",
        Receiver,
        text::split,
        &[("string, string", "list(string)"), ("string, string, int", "list(string)")],
    ),
    family(
        "join",
        Receiver,
        text::join,
        &[("list(string)", "string"), ("list(string), string", "string")],
    ),
    family(
        "substring",
        Receiver,
        text::substring,
        &[("string, int", "string"), ("string, int, int", "string")],
    ),
    family("trim", Receiver, text::trim, RECASED),
    family("strings.quote", Global, text::quote, RECASED),
    family("format", Receiver, format::format, &[("string, list(dyn)", "string")]),
    // strings and lists
    family("reverse", Receiver, lists::reverse, &[("string", "string"), ("list(A)", "list(A)")]),
    // lists
    family("slice", Receiver, lists::slice, &[("list(A), int, int", "list(A)")]),
    family(
        "flatten",
        Receiver,
        lists::flatten,
        &[("list(list(A))", "list(A)"), ("list(A), int", "list(dyn)")],
    ),
    family("distinct", Receiver, lists::distinct, &[("list(A)", "list(A)")]),
    family("sort", Receiver, lists::sort, &[("list(A)", "list(A)")]),
    family("lists.range", Global, lists::range, &[("int", "list(int)")]),
    family("first", Receiver, lists::first, END),
    family("last", Receiver, lists::last, END),
    // sets
    family("sets.contains", Global, lists::set_contains, SET_TEST),
    family("sets.equivalent", Global, lists::set_equivalent, SET_TEST),
    family("sets.intersects", Global, lists::set_intersects, SET_TEST),
    // regex
    family(
        "regex.replace",
        Global,
        regex::replace,
        &[("string, string, string", "string"), ("string, string, string, int", "string")],
    ),
    family("regex.extract", Global, regex::extract, &[("string, string", "optional(string)")]),
    family("regex.extractAll", Global, regex::extract_all, &[("string, string", "list(string)")]),
    // math
    family("math.greatest", Global, extreme::greatest, EXTREME),
    family("math.least", Global, extreme::least, EXTREME),
    family("math.ceil", Global, math::ceil, ROUNDING),
    family("math.floor", Global, math::floor, ROUNDING),
    family("math.round", Global, math::round, ROUNDING),
    family("math.trunc", Global, math::trunc, ROUNDING),
    family("math.abs", Global, math::abs, SIGNED),
    family("math.sign", Global, math::sign, SIGNED),
    family(
        "math.sqrt",
        Global,
        math::sqrt,
        &[("int", "double"), ("uint", "double"), ("double", "double")],
    ),
    family("math.isNaN", Global, math::is_nan, DOUBLE_TEST),
    family("math.isInf", Global, math::is_inf, DOUBLE_TEST),
    family("math.isFinite", Global, math::is_finite, DOUBLE_TEST),
    family("math.bitAnd", Global, math::bit_and, BITS),
    family("math.bitOr", Global, math::bit_or, BITS),
    family("math.bitXor", Global, math::bit_xor, BITS),
    family("math.bitNot", Global, math::bit_not, &[("int", "int"), ("uint", "uint")]),
    family("math.bitShiftLeft", Global, math::shift_left, SHIFT),
    family("math.bitShiftRight", Global, math::shift_right, SHIFT),
    // encoders
    family("base64.encode", Global, encode::base64_encode, &[("bytes", "string")]),
    family("base64.decode", Global, encode::base64_decode, &[("string", "bytes")]),
    // network
    family("ip", Global, network::ip, &[("string", "net.IP")]),
    family("ip", Receiver, network::address, &[("net.CIDR", "net.IP")]),
    family("cidr", Global, network::cidr, &[("string", "net.CIDR")]),
    family("isIP", Global, network::is_ip, &[("string", "bool")]),
    family("isCIDR", Global, network::is_cidr, &[("string", "bool")]),
    family("ip.isCanonical", Global, network::is_canonical, &[("string", "bool")]),
    family("family", Receiver, network::family, &[("net.IP", "int")]),
    family("isUnspecified", Receiver, network::is_unspecified, ADDRESS_TEST),
    family("isLoopback", Receiver, network::is_loopback, ADDRESS_TEST),
    family("isGlobalUnicast", Receiver, network::is_global_unicast, ADDRESS_TEST),
    family("isLinkLocalMulticast", Receiver, network::is_link_local_multicast, ADDRESS_TEST),
    family("isLinkLocalUnicast", Receiver, network::is_link_local_unicast, ADDRESS_TEST),
    family(
        "containsIP",
        Receiver,
        network::contains_ip,
        &[("net.CIDR, net.IP", "bool"), ("net.CIDR, string", "bool")],
    ),
    family(
        "containsCIDR",
        Receiver,
        network::contains_cidr,
        &[("net.CIDR, net.CIDR", "bool"), ("net.CIDR, string", "bool")],
    ),
    family("masked", Receiver, network::masked, &[("net.CIDR", "net.CIDR")]),
    family("prefixLength", Receiver, network::prefix_length, &[("net.CIDR", "int")]),
    family("isMask", Receiver, network::is_mask, &[("net.CIDR", "bool")]),
    // optionals
    family("optional.of", Global, optional::of, &[("A", "optional(A)")]),
    family("optional.none", Global, optional::none, &[("", "optional(A)")]),
    family("optional.ofNonZeroValue", Global, optional::of_non_zero, &[("A", "optional(A)")]),
    family("optional.unwrap", Global, optional::unwrap, &[("list(optional(A))", "list(A)")]),
    family("unwrapOpt", Receiver, optional::unwrap, &[("list(optional(A))", "list(A)")]),
    family("hasValue", Receiver, optional::has_value, &[("optional(A)", "bool")]),
    family("value", Receiver, optional::value, &[("optional(A)", "A")]),
    family("or", Receiver, optional::or, &[("optional(A), optional(A)", "optional(A)")]),
    family("orValue", Receiver, optional::or_value, &[("optional(A), A", "A")]),
];
