//! How many daemons an event has come through, so that none goes round in a circle for ever: a delivery to a
//! callback says it in a header, and ingest refuses what has come through too many.
//!
//! Whoever takes the header away on the way begins anew; it keeps mistakes from growing, not enemies out.

/// The header of HTTP and of Kafka's messages. A number for each event of the body, with commas between them; the
/// last is that of all events behind it, too.
pub const HOPS_HEADER: &str = "sluicegate-hops";

/// Most daemons that an event may have come through. Chains in use have two or three; each hop may be a fan-out, so that
/// a circle of two subscriptions makes at most 2 to the power of 9 events of one.
pub const MAX_HOPS: u8 = 8;

/// The hops of a body's events, as the header tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hops(Vec<u8>);

impl Hops {
    /// Reads a header's octets. What is no number counts as too many: who spoils the header on the way does not
    /// begin anew.
    #[must_use]
    pub fn parse(header: &[u8]) -> Hops {
        let hops = |item: &[u8]| str::from_utf8(item).ok()?.trim().parse().ok();
        Hops(header.split(|it| *it == b',').map(|item| hops(item).unwrap_or(u8::MAX)).collect())
    }

    /// The hops of one event, by its place in the body.
    #[must_use]
    pub fn of(&self, index: usize) -> u8 {
        self.0.get(index).or(self.0.last()).copied().unwrap_or(0)
    }

    /// The header of a body whose events have made these hops so far and are about to make one more.
    #[must_use]
    pub fn header_of_next(hops: impl Iterator<Item = u8>) -> String {
        let mut next: Vec<u8> = hops.map(|it| it.saturating_add(1)).collect();
        while next.len() > 1 && next.last() == next.get(next.len() - 2) {
            next.pop();
        }
        let texts: Vec<String> = next.iter().map(u8::to_string).collect();
        texts.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_tells_the_hops_of_each_event_and_the_last_those_of_the_rest() {
        let hops = Hops::parse(b"3, 1,0");
        assert_eq!([0, 1, 2, 3, 99].map(|at| hops.of(at)), [3, 1, 0, 0, 0]);
        assert_eq!(Hops::default().of(7), 0);
    }

    #[test]
    fn what_is_no_number_counts_as_too_many() {
        for spoilt in [&b""[..], b" ", b"x", b"-1", b"1.5", b"\xff", b"300", &[b'9'; 99]] {
            assert_eq!(Hops::parse(&[b"2,", spoilt].concat()).of(1), u8::MAX, "{spoilt:?}");
        }
    }

    #[test]
    fn what_is_sent_counts_the_hop_that_it_makes_and_says_nothing_twice() {
        for (hops, header) in [
            (vec![0, 0, 0], "1"),
            (vec![0, 2, 2, 0, 0], "1,3,3,1"),
            (vec![u8::MAX], "255"),
            (vec![], ""),
        ] {
            assert_eq!(Hops::header_of_next(hops.iter().copied()), header);
            let read = Hops::parse(header.as_bytes());
            for (at, hops) in hops.iter().enumerate() {
                assert_eq!(read.of(at), hops.saturating_add(1));
            }
        }
    }
}
