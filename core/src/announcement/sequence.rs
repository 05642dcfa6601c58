//! Whether a message is news: decides by its gossip sequence number, so that a recorded message does not work twice.

/// Sequence numbers from here on are random rather than counted: js-libp2p draws 64 random bits for each message, while
/// rust- and go-libp2p count from the nanoseconds since 1970, which stay below this until the year 2116.
const FIRST_RANDOM: u64 = 1 << 62;

/// The last number that a source signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LastSequence {
    /// Nothing was heard yet, or nothing with a number.
    #[default]
    Unknown,
    /// The source counts.
    Counted(u64),
    /// The source draws its numbers: a quarter of them look counted, so none of them is ever compared.
    Random,
}

/// How a message stands to what its source said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Novelty {
    /// Said later than everything else.
    Newer,
    /// Said before, or a copy.
    Older,
    /// Nobody can tell: it is believed, but it cannot say goodbye.
    Unordered,
}

impl LastSequence {
    pub(crate) fn novelty(self, sequence: Option<u64>) -> Novelty {
        match (self, sequence) {
            (_, None) | (Self::Random, _) => Novelty::Unordered,
            (_, Some(FIRST_RANDOM..)) => Novelty::Unordered,
            (Self::Unknown, Some(_)) => Novelty::Newer,
            (Self::Counted(last), Some(sequence)) if sequence > last => Novelty::Newer,
            (Self::Counted(_), Some(_)) => Novelty::Older,
        }
    }

    /// What is remembered once a message with this number was believed.
    #[must_use]
    pub(crate) fn after(self, sequence: Option<u64>) -> Self {
        match (self, sequence) {
            (last, None) => last,
            (Self::Random, _) | (_, Some(FIRST_RANDOM..)) => Self::Random,
            (Self::Unknown, Some(sequence)) => Self::Counted(sequence),
            (Self::Counted(last), Some(sequence)) => Self::Counted(last.max(sequence)),
        }
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::{LastSequence::*, Novelty::*, *};

    #[wasm_bindgen_test(unsupported = test)]
    fn only_a_higher_counted_number_is_newer() {
        let table = [
            (Unknown, Some(0), Newer, Counted(0)),
            (Unknown, None, Unordered, Unknown),
            (Unknown, Some(FIRST_RANDOM), Unordered, Random),
            (Unknown, Some(FIRST_RANDOM - 1), Newer, Counted(FIRST_RANDOM - 1)),
            (Counted(7), Some(8), Newer, Counted(8)),
            (Counted(7), Some(7), Older, Counted(7)),
            (Counted(7), Some(6), Older, Counted(7)),
            (Counted(7), None, Unordered, Counted(7)),
            (Counted(7), Some(u64::MAX), Unordered, Random),
            (Random, Some(8), Unordered, Random),
            (Random, None, Unordered, Random),
        ];
        for (last, sequence, novelty, after) in table {
            assert_eq!(last.novelty(sequence), novelty, "{last:?} {sequence:?}");
            assert_eq!(last.after(sequence), after, "{last:?} {sequence:?}");
        }
    }
}
