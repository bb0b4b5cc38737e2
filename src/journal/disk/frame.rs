//! Frames: how one record lies in a segment. Bytes in, bytes out; no files.
//!
//! Little endian. The checksum covers everything from the length on.
//!
//! ```text
//!  0  4  marker FF 53 47 FE
//!  4  4  CRC-32C of bytes 8 to the frame's end
//!  8  4  length of the whole frame
//! 12  2  number of destinations
//! 14  2  length of the event's id in 12 bits, and above them the hops that the event had made
//! 16  4  length of the destinations
//! 20  4  the event's time: nanoseconds after the second
//! 24  8  the event's time: seconds since 1970, signed
//! 32  8  time appended: milliseconds since 1970
//! 40  …  destinations, each 1 byte length and its id
//!     …  the event's id, UTF-8
//!     …  the record's body, to the frame's end
//! ```
//!
//! A frame without destinations and id is no record but a *tally*: what filters turned down in the
//! append that it ends. Its body has a line for each destination: id, space, count. What they let
//! through needs none, since each record counts as one event accepted for each of its destinations.
//!
//! Earlier versions wrote no hops, which reads as none; they take a frame with hops for a damaged one.
//!
//! FF and FE occur nowhere in UTF-8, so no id and no body can hold a marker: whoever looks for the
//! next frame behind a damaged one is not misled by what senders wrote.

use std::sync::Arc;

use bytes::Bytes;

use crate::event::{MAX_HOPS, Record, Timestamp};
use crate::journal::{Entry, Offer};
use crate::resources::ResourceId;

/// What every frame begins with.
pub(super) const MARKER: [u8; 4] = [0xff, b'S', b'G', 0xfe];

/// Bytes before the destinations.
pub(super) const HEAD: usize = 40;

/// Bits of an event's id's length; an id has at most 256 bytes. Four are left for hops, of which there
/// are at most 8.
const ID_LENGTH_BITS: u32 = 12;
const _: () = assert!(MAX_HOPS < 1 << (u16::BITS - ID_LENGTH_BITS));

/// How many bytes an entry's frame has.
pub(super) fn length(entry: &Entry) -> usize {
    let destinations: usize = entry.destinations.iter().map(|it| 1 + it.as_str().len()).sum();
    HEAD + destinations + entry.record.event_id.len() + entry.record.body.len()
}

/// The tally of what was offered, if filters turned anything down.
pub(super) fn tally(offers: &[Offer]) -> Option<Entry> {
    let turned_down = offers.iter().filter(|offer| offer.filtered_out > 0);
    let lines: String =
        turned_down.map(|it| format!("{} {}\n", it.destination, it.filtered_out)).collect();
    let time = Timestamp { seconds: 0, nanos: 0 };
    let record = Record { event_id: "".into(), time, body: Bytes::from(lines), hops: 0 };
    let entry = Entry { record: Arc::new(record), destinations: Arc::new([]) };
    (!entry.record.body.is_empty()).then_some(entry)
}

/// Appends an entry's frame.
///
/// The lengths fit their fields: an id of an event has at most 256 bytes, one of a destination 64,
/// there are at most 1,000 destinations, and a body is at most one event (1 GiB).
pub(super) fn encode(entry: &Entry, appended: u64, out: &mut Vec<u8>) {
    let start = out.len();
    let record = &entry.record;
    let destinations: usize = entry.destinations.iter().map(|it| 1 + it.as_str().len()).sum();
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(length(entry) as u32).to_le_bytes());
    out.extend_from_slice(&(entry.destinations.len() as u16).to_le_bytes());
    let hops = u16::from(record.hops.min(MAX_HOPS)) << ID_LENGTH_BITS;
    out.extend_from_slice(&(record.event_id.len() as u16 | hops).to_le_bytes());
    out.extend_from_slice(&(destinations as u32).to_le_bytes());
    out.extend_from_slice(&record.time.nanos.to_le_bytes());
    out.extend_from_slice(&record.time.seconds.to_le_bytes());
    out.extend_from_slice(&appended.to_le_bytes());
    for destination in entry.destinations.iter() {
        out.push(destination.as_str().len() as u8);
        out.extend_from_slice(destination.as_str().as_bytes());
    }
    out.extend_from_slice(record.event_id.as_bytes());
    out.extend_from_slice(&record.body);
    let checksum = crc32c::crc32c(&out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// The length that a frame's first twelve bytes claim, if they can be a frame's.
pub(super) fn claimed_length(head: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(field(head, 8)?) as usize;
    (head.starts_with(&MARKER) && length >= HEAD).then_some(length)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// A whole frame whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    bytes: &'a [u8],
    destinations: &'a [u8],
    event_id: &'a str,
    body: &'a [u8],
    hops: u8,
}

impl<'a> Frame<'a> {
    /// Takes bytes for a frame; `None` if they are anything else.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Frame<'a>> {
        let checksum = u32::from_le_bytes(field(bytes, 4)?);
        if claimed_length(bytes)? != bytes.len() || crc32c::crc32c(bytes.get(8..)?) != checksum {
            return None;
        }
        Frame::verified(bytes)
    }

    /// The same for bytes whose length and checksum were compared already.
    pub(super) fn verified(bytes: &'a [u8]) -> Option<Frame<'a>> {
        let destinations_end = HEAD.checked_add(u32::from_le_bytes(field(bytes, 16)?) as usize)?;
        let id_and_hops = u16::from_le_bytes(field(bytes, 14)?);
        let id_length = id_and_hops & ((1 << ID_LENGTH_BITS) - 1);
        let id_end = destinations_end + usize::from(id_length);
        Some(Frame {
            bytes,
            hops: (id_and_hops >> ID_LENGTH_BITS) as u8,
            destinations: bytes.get(HEAD..destinations_end)?,
            event_id: std::str::from_utf8(bytes.get(destinations_end..id_end)?).ok()?,
            body: bytes.get(id_end..)?,
        })
    }

    /// Bytes of the whole frame.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The whole frame as it was written.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The id of its event.
    pub(super) fn event_id(&self) -> &'a str {
        self.event_id
    }

    /// When it was appended, in milliseconds since 1970.
    pub(super) fn appended(&self) -> u64 {
        field(self.bytes, 32).map_or(0, u64::from_le_bytes)
    }

    /// The list of destinations as it lies in the frame; the same bytes are the same list.
    pub(super) fn destination_bytes(&self) -> &'a [u8] {
        self.destinations
    }

    /// What filters turned down, if this is a tally; nothing otherwise.
    pub(super) fn turned_down(&self) -> impl Iterator<Item = (ResourceId, u64)> {
        let body = if self.destinations.is_empty() { self.body } else { &[] };
        let lines = str::from_utf8(body).unwrap_or_default().lines();
        lines.filter_map(|line| {
            let (id, count) = line.split_once(' ')?;
            Some((ResourceId::new(id).ok()?, count.parse().ok()?))
        })
    }

    pub(super) fn is_for(&self, destination: &ResourceId) -> bool {
        names(self.destinations).any(|name| name == destination.as_str().as_bytes())
    }

    /// What a destination is to receive.
    pub(super) fn record(&self) -> Arc<Record> {
        let nanos = field(self.bytes, 20).map_or(0, u32::from_le_bytes);
        let seconds = field(self.bytes, 24).map_or(0, i64::from_le_bytes);
        Arc::new(Record {
            event_id: self.event_id.into(),
            time: Timestamp { seconds, nanos },
            body: Bytes::copy_from_slice(self.body),
            hops: self.hops,
        })
    }
}

/// The ids in a frame's list of destinations.
pub(super) fn names(mut list: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = list.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        list = rest;
        Some(name)
    })
}

/// The destinations in a frame's list, but for what can be no id of one.
pub(super) fn destinations(list: &[u8]) -> impl Iterator<Item = ResourceId> {
    let names = names(list).filter_map(|name| std::str::from_utf8(name).ok());
    names.filter_map(|name| ResourceId::new(name).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(id: &str, body: &str, destinations: &[&str]) -> Entry {
        let record = Record {
            event_id: id.into(),
            time: Timestamp { seconds: -5, nanos: 999_999_999 },
            body: Bytes::copy_from_slice(body.as_bytes()),
            hops: 0,
        };
        let destinations = destinations.iter().map(|name| ResourceId::new(name).unwrap()).collect();
        Entry { record: Arc::new(record), destinations }
    }

    fn encoded(entry: &Entry) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(entry, 1_700_000_000_123, &mut bytes);
        bytes
    }

    #[test]
    fn a_frame_gives_back_what_went_in() {
        let entry = entry("ev_ö", "{\"n\":1}", &["a", "logs.eu-1"]);
        let bytes = encoded(&entry);
        assert_eq!(bytes.len(), length(&entry));
        let frame = Frame::parse(&bytes).unwrap();
        assert_eq!(frame.record(), entry.record);
        assert_eq!(frame.appended(), 1_700_000_000_123);
        let names: Vec<_> = names(frame.destination_bytes()).collect();
        assert_eq!(names, [&b"a"[..], b"logs.eu-1"]);
        assert!(frame.is_for(&ResourceId::new("a").unwrap()));
        assert!(!frame.is_for(&ResourceId::new("logs").unwrap()));
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let bytes = encoded(&entry("id", "{}", &["ab"]));
        assert_eq!(bytes[..4], [0xff, b'S', b'G', 0xfe]);
        assert_eq!(bytes[8..20], [47, 0, 0, 0, 1, 0, 2, 0, 3, 0, 0, 0]);
        assert_eq!(bytes[40..], *b"\x02abid{}");
    }

    #[test]
    fn hops_take_no_room_and_a_frame_without_them_is_that_of_earlier_versions() {
        let without = encoded(&entry("ev_1", "{}", &["a"]));
        assert_eq!(without[14..16], [4, 0]);
        for hops in 0..=MAX_HOPS {
            let mut entry = entry("ev_1", "{}", &["a"]);
            entry.record = Arc::new(Record { hops, ..(*entry.record).clone() });
            let bytes = encoded(&entry);
            assert_eq!(bytes.len(), without.len());
            assert_eq!(Frame::parse(&bytes).unwrap().record(), entry.record);
        }
    }

    #[test]
    fn a_tally_tells_what_was_turned_down_and_a_record_nothing() {
        let offer = |name, filtered_out| Offer {
            destination: ResourceId::new(name).unwrap(),
            accepted: 9,
            filtered_out,
        };
        assert!(tally(&[offer("a", 0)]).is_none(), "nothing to tell");
        let bytes = encoded(&tally(&[offer("a", 3), offer("b", 0), offer("c.d", 9)]).unwrap());
        let frame = Frame::parse(&bytes).unwrap();
        let counts: Vec<_> =
            frame.turned_down().map(|(id, count)| (id.to_string(), count)).collect();
        assert_eq!(counts, [("a".to_owned(), 3), ("c.d".to_owned(), 9)]);
        assert!(!frame.is_for(&ResourceId::new("a").unwrap()));
        let bytes = encoded(&entry("id", "a 3", &["a"]));
        assert_eq!(Frame::parse(&bytes).unwrap().turned_down().count(), 0);
    }

    proptest! {
        #[test]
        fn a_frame_with_any_bit_flipped_or_cut_short_is_no_frame(
            body in "[a-z]{0,64}", at in any::<prop::sample::Index>(), bit in 0..8u8,
        ) {
            let bytes = encoded(&entry("id", &body, &["a"]));
            let at = at.index(bytes.len());
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            prop_assert!(Frame::parse(&flipped).is_none());
            prop_assert!(Frame::parse(&bytes[..at]).is_none());
        }
    }
}
