//! The form in which the tables of functions (`overloads.rs`, `extensions.rs`) are written: one line for
//! all functions of a name. It knows no function.

use super::functions::Implementation;

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `f(x, y)`, and operators.
    Global,
    /// `x.f(y)`; the receiver is the first parameter.
    Receiver,
    /// Either way.
    Both,
}

impl Style {
    /// Whether it is called so, with or without a receiver.
    pub fn takes(self, receiver: bool) -> bool {
        match self {
            Style::Global => !receiver,
            Style::Receiver => receiver,
            Style::Both => true,
        }
    }
}

/// All functions of one name. The implementation tells the types of its arguments apart when it
/// runs, because they may be `dyn` until then.
pub(super) struct Family {
    pub name: &'static str,
    pub style: Style,
    pub run: Implementation,
    /// Parameters and result.
    pub signatures: &'static [(&'static str, &'static str)],
}

pub(super) const fn family(
    name: &'static str,
    style: Style,
    run: Implementation,
    signatures: &'static [(&'static str, &'static str)],
) -> Family {
    Family { name, style, run, signatures }
}
