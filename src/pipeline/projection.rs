//! Projection: the chosen fields of an event, written into the delivered record.
//!
//! Values are copied as the sender wrote them; a field that the event does not have is left out, and
//! so is a group with nothing in it. Nothing is parsed or formatted here.

use crate::event::{Event, Root, Slot, SlotId, SlotPlan};

/// What a record begins with, and how many bytes stand before its event's id.
const START: &[u8] = b"{\"event_id\":";
pub(super) const BEFORE_ID: usize = START.len() + 1;

/// A field choice, compiled for a slot plan.
#[derive(Debug)]
pub(super) struct Projection {
    /// The object's members; `None` for the whole object as it is.
    members: Option<Vec<Member>>,
}

#[derive(Debug)]
struct Member {
    name: String,
    /// `{"name":` and `,"name":`, ready to be copied. Field names are identifiers and need no escapes.
    first: String,
    next: String,
    value: MemberValue,
}

#[derive(Debug)]
enum MemberValue {
    Field(SlotId),
    Group(Vec<Member>),
}

impl Projection {
    /// Compiles a field choice; the chosen paths become slots of `plan`.
    pub(super) fn compile(fields: Option<&[String]>, plan: &mut SlotPlan) -> Projection {
        let members = fields.map(|fields| {
            let mut members = Vec::new();
            for field in fields {
                let path: Vec<&str> = field.split('.').collect();
                let slot = plan.slot(Root::Object, &path);
                place(&mut members, &path, slot);
            }
            members
        });
        Projection { members }
    }

    /// Writes the delivered record: one JSON object, no newline.
    pub(super) fn write(&self, event: &Event<'_>, slots: &[Slot<'_>], out: &mut Vec<u8>) {
        out.extend_from_slice(START);
        out.extend_from_slice(event.event_id.as_bytes());
        out.extend_from_slice(b",\"event_type\":\"");
        // A type's name is of the catalog: letters that need no escape.
        out.extend_from_slice(event.event_type.as_bytes());
        out.extend_from_slice(b"\",\"event_timestamp\":");
        out.extend_from_slice(event.event_timestamp.as_bytes());
        let mut member = |key: &[u8], json: Option<&str>| {
            if let Some(json) = json {
                out.extend_from_slice(key);
                out.extend_from_slice(json.as_bytes());
            }
        };
        member(b",\"account_id\":", event.account_id);
        member(b",\"principal\":", event.principal);
        out.extend_from_slice(b",\"object\":");
        match &self.members {
            None => out.extend_from_slice(event.object.as_bytes()),
            Some(members) => {
                write_members(members, slots, out);
            }
        }
        out.push(b'}');
    }
}

fn place(members: &mut Vec<Member>, path: &[&str], slot: SlotId) {
    let [name, rest @ ..] = path else { return };
    let at = members.iter().position(|member| member.name == *name).unwrap_or_else(|| {
        members.push(Member {
            name: (*name).to_owned(),
            first: format!("{{\"{name}\":"),
            next: format!(",\"{name}\":"),
            value: MemberValue::Group(Vec::new()),
        });
        members.len() - 1
    });
    match &mut members[at].value {
        value if rest.is_empty() => *value = MemberValue::Field(slot),
        MemberValue::Group(inner) => place(inner, rest, slot),
        // No field's path is the start of another's, so nothing stands under a field.
        MemberValue::Field(_) => {}
    }
}

/// Writes `{…}` and tells whether anything is in it.
fn write_members(members: &[Member], slots: &[Slot<'_>], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    for member in members {
        let before = out.len();
        let key = if before == start { &member.first } else { &member.next };
        match &member.value {
            MemberValue::Field(slot) => {
                let Some(Slot::Json(json)) = slots.get(slot.index()) else { continue };
                out.extend_from_slice(key.as_bytes());
                out.extend_from_slice(json.as_bytes());
            }
            MemberValue::Group(inner) => {
                out.extend_from_slice(key.as_bytes());
                if !write_members(inner, slots, out) {
                    out.truncate(before);
                }
            }
        }
    }
    let any = out.len() > start;
    if !any {
        out.push(b'{');
    }
    out.push(b'}');
    any
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Slots, Timestamp};

    fn project(text: &str, fields: Option<&[&str]>) -> String {
        let event = Event::parse(text, Timestamp::MIN, || 0).unwrap();
        let mut plan = SlotPlan::default();
        let fields: Option<Vec<String>> =
            fields.map(|fields| fields.iter().map(|&field| field.to_owned()).collect());
        let projection = Projection::compile(fields.as_deref(), &mut plan);
        let mut slots = Slots::new();
        plan.extract(&event, &mut slots);
        let mut out = Vec::new();
        projection.write(&event, &slots, &mut out);
        String::from_utf8(out).unwrap()
    }

    const HEAD: &str =
        r#"{"event_id":"e","event_type":"t.v0","event_timestamp":"2025-09-04T10:11:14Z""#;

    #[test]
    fn chosen_fields_are_nested_as_in_the_event_and_keep_their_bytes() {
        let text = format!(
            r#"{HEAD},"account_id":"ac","principal":null,"object":{{"b":{{"y":1.500,"x":"\u00e9"}},"a":{{"k":[ 1, 2]}},"c":1}}}}"#
        );
        assert_eq!(
            project(&text, Some(&["a.k", "b.x", "b.y"])),
            format!(
                r#"{HEAD},"account_id":"ac","principal":null,"object":{{"a":{{"k":[ 1, 2]}},"b":{{"x":"\u00e9","y":1.500}}}}}}"#
            )
        );
    }

    #[test]
    fn what_is_absent_is_left_out_with_its_groups() {
        let text = format!(r#"{HEAD},"object":{{"b":{{"y":null}},"z":7}}}}"#);
        assert_eq!(
            project(&text, Some(&["a.k.deep", "b.x", "b.y", "z.under"])),
            format!(r#"{HEAD},"object":{{"b":{{"y":null}}}}}}"#)
        );
        assert_eq!(project(&text, Some(&["a.k"])), format!(r#"{HEAD},"object":{{}}}}"#));
    }

    #[test]
    fn without_a_choice_the_object_travels_whole() {
        let text = format!(r#"{HEAD},"object":{{ "any" : [1] }}}}"#);
        assert_eq!(project(&text, None), text);
    }
}
