//! How tabs that have no locks agree on slots: a state machine for one tab.
//!
//! A tab says which slot it claims and waits a while. Whoever holds *any* slot answers with its number, so one round
//! tells which are held. Two tabs that claim one slot in the same moment are told apart by a random number: the lower
//! one stays. A holder that is too busy to answer in time answers late: whoever took its slot meanwhile hears that it is
//! disputed, and has to begin again. Never waits or sends; [`slot`](super::slot) does.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{MAX_SLOTS, Slot};

/// What tabs say to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Word {
    /// "I would like this slot."
    Claim { slot: u32, nonce: u32 },
    /// "This slot is mine."
    Held { slot: u32 },
}

impl Word {
    pub(super) fn encode(self) -> String {
        serde_json::to_string(&self).expect("two numbers always make JSON")
    }

    /// `None` for anything else that is said on the channel.
    pub(super) fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// Where a claim stands after its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The slot is ours: answer every word from now on.
    Held(Slot),
    /// It was not: claim the next one, which [`Claim::word`] names.
    Claim,
    /// There is no slot left.
    NoneLeft,
}

/// One tab's claim.
#[derive(Debug)]
pub(super) struct Claim {
    slot: Slot,
    nonce: u32,
    state: State,
    /// Slots that others hold or claim before us; bounded by [`MAX_SLOTS`].
    taken: BTreeSet<Slot>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Claiming,
    Held,
    /// Held, but another tab held it before.
    Disputed,
}

impl Claim {
    pub(super) fn new(preferred: Option<Slot>, nonce: u32) -> Self {
        Self {
            slot: preferred.unwrap_or(Slot(1)),
            nonce,
            state: State::Claiming,
            taken: BTreeSet::new(),
        }
    }

    /// What to say at the beginning of a window.
    pub(super) fn word(&self) -> Word {
        Word::Claim {
            slot: self.slot.0,
            nonce: self.nonce,
        }
    }

    /// Another tab spoke; what to answer.
    pub(super) fn handle_word(&mut self, word: Word) -> Option<Word> {
        match (word, &self.state) {
            (Word::Held { slot }, State::Held) if slot == self.slot.0 => {
                self.state = State::Disputed;
                None
            }
            (Word::Claim { .. }, State::Held) => Some(Word::Held { slot: self.slot.0 }),
            // Of two claims the lower number stays. It repeats its claim, which the other tab may not have heard; it does
            // not say that it holds the slot, because a third tab with a lower number still may.
            (Word::Claim { slot, nonce }, State::Claiming) if slot == self.slot.0 && nonce > self.nonce => {
                Some(self.word())
            }
            (Word::Claim { slot, nonce }, State::Claiming) if slot == self.slot.0 && nonce < self.nonce => {
                self.note(slot);
                None
            }
            (Word::Claim { .. }, State::Claiming) => None,
            (Word::Held { slot }, State::Claiming) => {
                self.note(slot);
                None
            }
            (Word::Held { .. }, State::Held) | (_, State::Disputed) => None,
        }
    }

    /// Whether the slot that we took turned out to be another tab's.
    pub(super) fn is_disputed(&self) -> bool {
        self.state == State::Disputed
    }

    /// The time to answer is over.
    pub(super) fn handle_window_end(&mut self) -> Outcome {
        if !self.taken.contains(&self.slot) {
            self.state = State::Held;
            return Outcome::Held(self.slot);
        }
        match (1..=MAX_SLOTS).map(Slot).find(|slot| !self.taken.contains(slot)) {
            Some(free) => {
                self.slot = free;
                Outcome::Claim
            }
            None => Outcome::NoneLeft,
        }
    }

    fn note(&mut self, slot: u32) {
        if (1..=MAX_SLOTS).contains(&slot) {
            self.taken.insert(Slot(slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test(unsupported = test)]
    fn when_nobody_answers_the_wish_is_held() {
        let mut claim = Claim::new(Some(Slot(5)), 1);
        assert_eq!(claim.handle_window_end(), Outcome::Held(Slot(5)));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_the_wish_is_held_the_lowest_free_slot_is_claimed() {
        let mut claim = Claim::new(Some(Slot(2)), 1);
        for slot in [2, 1, 4] {
            assert_eq!(claim.handle_word(Word::Held { slot }), None);
        }
        assert_eq!(claim.handle_window_end(), Outcome::Claim);
        assert_eq!(claim.word(), Word::Claim { slot: 3, nonce: 1 });
        assert_eq!(claim.handle_window_end(), Outcome::Held(Slot(3)));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_two_claim_one_slot_the_lower_number_stays_whoever_hears_first() {
        let mut low = Claim::new(None, 1);
        let mut high = Claim::new(None, 2);
        assert_eq!(high.handle_word(low.word()), None);
        let answer = low.handle_word(high.word()).unwrap();
        assert_eq!(high.handle_word(answer), None);
        assert_eq!(low.handle_window_end(), Outcome::Held(Slot(1)));
        assert_eq!(high.handle_window_end(), Outcome::Claim);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_three_claim_one_slot_the_middle_one_does_not_drive_the_lowest_away() {
        let [mut low, mut middle, mut high] = [1, 2, 3].map(|nonce| Claim::new(None, nonce));
        // The middle one hears the highest first and defends a slot that is not its own.
        let defence = middle.handle_word(high.word()).unwrap();
        let answer = low.handle_word(defence).unwrap();
        assert_eq!(high.handle_word(defence), None);
        assert_eq!(middle.handle_word(answer), None);
        assert_eq!(low.handle_window_end(), Outcome::Held(Slot(1)));
        assert_eq!(middle.handle_window_end(), Outcome::Claim);
        assert_eq!(high.handle_window_end(), Outcome::Claim);
        assert_eq!(middle.word(), Word::Claim { slot: 2, nonce: 2 });
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_a_holder_hears_any_claim_it_names_its_own_slot() {
        let mut holder = Claim::new(Some(Slot(7)), 1);
        holder.handle_window_end();
        let claim = Word::Claim { slot: 1, nonce: 9 };
        assert_eq!(holder.handle_word(claim), Some(Word::Held { slot: 7 }));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_a_holder_answers_late_whoever_took_its_slot_meanwhile_gives_way_and_it_does_not() {
        let [mut first, mut second, mut third] = [1, 2, 3].map(|nonce| Claim::new(None, nonce));
        first.handle_window_end();
        let claim = second.word();
        second.handle_window_end();
        third.handle_word(Word::Held { slot: 1 });
        third.handle_window_end();
        third.handle_window_end();

        let late = first.handle_word(claim).unwrap();
        for (claim, disputed) in [(&mut second, true), (&mut third, false)] {
            assert_eq!(claim.handle_word(late), None);
            assert_eq!(claim.is_disputed(), disputed);
        }
        assert!(!first.is_disputed());
        assert_eq!(second.handle_word(third.word()), None, "it defends nothing any more");
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_every_slot_is_held_none_is_left() {
        let mut claim = Claim::new(None, 1);
        for slot in 0..=MAX_SLOTS + 100 {
            claim.handle_word(Word::Held { slot });
        }
        assert_eq!(claim.taken.len(), MAX_SLOTS as usize);
        assert_eq!(claim.handle_window_end(), Outcome::NoneLeft);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn words_survive_the_channel_and_noise_is_no_word() {
        for word in [
            Word::Claim {
                slot: 3,
                nonce: u32::MAX,
            },
            Word::Held { slot: 1 },
        ] {
            assert_eq!(Word::decode(&word.encode()), Some(word));
        }
        for noise in ["", "claim", "{}", r#"{"held":{"slot":-1}}"#] {
            assert_eq!(Word::decode(noise), None, "{noise:?}");
        }
    }
}
