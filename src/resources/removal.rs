//! How much a change of the settings takes away. A file that was cut at the end of an item is a file
//! without mistakes, and must not end most of what runs: whoever means it says so.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::{ResourceId, Resources, Source, Subscription};
use crate::filter::CheckedFilter;
use crate::report::counted;

/// Fewer than this are taken away without a question.
const FEW: usize = 3;

/// Most ids that are named.
const NAMED: usize = 8;

/// What a change would take away, where it is so much that somebody must have said that it is meant: all
/// of one kind, or more than half and at least three. What only has another id counts as there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    kinds: Vec<Gone>,
}

/// What goes of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gone {
    kind: &'static str,
    ids: Vec<ResourceId>,
    of: usize,
}

impl Removal {
    /// What is too much to take away unasked, if anything is.
    #[must_use]
    pub fn of(before: &Resources, after: &Resources) -> Option<Removal> {
        let of_destinations = gone("destination", &destinations(before), &destinations(after));
        let of_subscriptions = gone("subscription", &subscriptions(before), &subscriptions(after));
        let is_much = |gone: &Gone, left: usize| {
            (gone.ids.len() >= FEW && gone.ids.len() * 2 > gone.of)
                || (!gone.ids.is_empty() && left == 0)
        };
        let kinds = [
            (of_destinations, after.destinations().len()),
            (of_subscriptions, after.subscriptions().len()),
        ];
        let much = kinds.into_iter().filter(|(gone, left)| is_much(gone, *left));
        let kinds: Vec<Gone> = much.map(|(gone, _)| gone).collect();
        (!kinds.is_empty()).then_some(Removal { kinds })
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, gone) in self.kinds.iter().enumerate() {
            let (number, of) = (gone.ids.len(), counted(gone.of as u64, gone.kind));
            let named: Vec<_> = gone.ids.iter().take(NAMED).map(|id| format!("`{id}`")).collect();
            let more = if number > NAMED { ", …" } else { "" };
            let and = if at > 0 { " and " } else { "" };
            write!(f, "{and}{number} of {of} ({}{more})", named.join(", "))?;
        }
        Ok(())
    }
}

/// What goes: by its id, unless something new says the same of itself.
fn gone(
    kind: &'static str,
    before: &[(&ResourceId, String)],
    after: &[(&ResourceId, String)],
) -> Gone {
    let ids = |all: &[(&ResourceId, String)]| -> HashSet<ResourceId> {
        all.iter().map(|(id, _)| (*id).clone()).collect()
    };
    let (old, new) = (ids(before), ids(after));
    let mut renamed: HashMap<&str, usize> = HashMap::new();
    for (_, content) in after.iter().filter(|(id, _)| !old.contains(id)) {
        *renamed.entry(content).or_default() += 1;
    }
    let mut ids = Vec::new();
    for (id, content) in before.iter().filter(|(id, _)| !new.contains(id)) {
        match renamed.get_mut(content.as_str()).filter(|left| **left > 0) {
            Some(left) => *left -= 1,
            None => ids.push((*id).clone()),
        }
    }
    Gone { kind, ids, of: before.len() }
}

/// Each destination, and what makes it the same under another id.
fn destinations(of: &Resources) -> Vec<(&ResourceId, String)> {
    of.destinations().iter().map(|it| (&it.id, format!("{:?}", it.target))).collect()
}

/// The same of subscriptions; their destinations may have been renamed with them.
fn subscriptions(of: &Resources) -> Vec<(&ResourceId, String)> {
    let source = |source: &Source| {
        let filter = source.filter.as_ref().map(CheckedFilter::text);
        format!("{} {filter:?} {:?}", source.event_type.name, source.fields)
    };
    let content = |it: &Subscription| {
        let sources: Vec<String> = it.sources.iter().map(source).collect();
        format!("{} {sources:?}", it.destinations.len())
    };
    of.subscriptions().iter().map(|it| (&it.id, content(it))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Catalog;
    use crate::resources::Destination;
    use crate::resources::{BatchSettings, Overflow};
    use crate::sinks::{DEFAULT_TIMEOUT, FileTarget, Target};

    /// A destination for each id, which writes to a file of the other name, and a subscription to each.
    fn resources(names: &[(&str, &str)]) -> Resources {
        let mut all = Resources::new(Catalog::builtin());
        for (id, file) in names {
            let target = Target::File(FileTarget::new(*file).unwrap());
            let id = ResourceId::new(id).unwrap();
            let batch = BatchSettings::new(&target, None, None, None).unwrap();
            all.add_destination(Destination {
                enabled: true,
                id: id.clone(),
                description: String::new(),
                target,
                batch,
                timeout: DEFAULT_TIMEOUT,
                overflow: Overflow::Block,
                max_pending_bytes: None,
                format: crate::sinks::Format::Json,
                bounds: None,
            })
            .unwrap();
            let filter = format!("ev.http.request.method == '{file}'");
            let source = Source::new(&all.catalog, "http_request_complete.v0", Some(&filter), None);
            let sources = vec![source.unwrap()];
            all.add_subscription(
                Subscription::new(id.clone(), String::new(), sources, vec![id]).unwrap(),
            )
            .unwrap();
        }
        all
    }

    /// What is asked of a change between settings in which each name is all that there is of one.
    fn asked(before: &[&str], after: &[&str]) -> Option<String> {
        let twice = |names: &[&'static str]| names.iter().map(|it| (*it, *it)).collect::<Vec<_>>();
        let known = ["a", "b", "c", "d", "e", "x", "y", "z"];
        let of = |names: &[&str]| -> Vec<&'static str> {
            names.iter().map(|it| *known.iter().find(|name| *name == it).unwrap()).collect()
        };
        let (before, after) = (of(before), of(after));
        Removal::of(&resources(&twice(&before)), &resources(&twice(&after)))
            .map(|it| it.to_string())
    }

    #[test]
    fn most_of_many_or_all_of_any_is_asked_about_and_less_is_not() {
        for (before, after) in [
            (&["a", "b", "c", "d", "e"][..], &["a", "b", "c"][..]),
            (&["a", "b", "c", "d"], &["a", "b"]),
            (&["a", "b", "c"], &["a"]),
            (&["a"], &["x"]),
            (&[], &["x"]),
            (&[], &[]),
        ] {
            assert_eq!(asked(before, after), None, "{before:?} {after:?}");
        }
        assert_eq!(
            asked(&["a", "b", "c", "d", "e"], &["a", "b"]).unwrap(),
            "3 of 5 destinations (`c`, `d`, `e`) and 3 of 5 subscriptions (`c`, `d`, `e`)"
        );
        for (before, after) in [
            (&["a"][..], &[][..]),
            (&["a", "b"], &[]),
            (&["a", "b", "c"], &["x", "y", "z"]),
            (&["a", "b", "c", "d"], &["a", "x", "y", "z"]),
        ] {
            assert!(asked(before, after).is_some(), "{before:?} {after:?}");
        }
    }

    #[test]
    fn what_has_another_id_only_is_still_there() {
        let before = resources(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let renamed = resources(&[("x", "1"), ("y", "2"), ("z", "3")]);
        assert_eq!(Removal::of(&before, &renamed), None);
        // One that stands in for one stands in for no other.
        let before = resources(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
        assert!(Removal::of(&before, &resources(&[("x", "1")])).is_some());
    }
}
