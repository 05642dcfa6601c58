//! A room's name and the topic made from it. Names are parsed once; whoever holds a [`RoomName`] holds a valid one.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use crate::name::is_control_or_bidi;
use crate::protocol::{ROOM_HASH_PREFIX, ROOM_TOPIC_PREFIX};

/// The longest name, in bytes of UTF-8 after normalisation.
pub const ROOM_NAME_MAX_BYTES: usize = 64;

/// The room of those who name none.
const DEFAULT_ROOM: &str = "lobby";

/// How many bytes of the hash go into the topic: enough that names do not collide, short on the wire.
const TOPIC_HASH_BYTES: usize = 16;

/// A valid room name: 1–64 bytes, NFC, without control or bidi characters or surrounding white space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomName(String);

/// Why a string is no room name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoomNameError {
    /// Nothing is left of it once surrounding white space is gone.
    #[error("a room's name must not be empty")]
    Empty,
    /// It is longer than [`ROOM_NAME_MAX_BYTES`].
    #[error("a room's name must not be longer than {ROOM_NAME_MAX_BYTES} bytes")]
    TooLong,
    /// It holds a control or bidi character, which would make two names look alike.
    #[error("a room's name must not contain the invisible character U+{:04X}", u32::from(*.0))]
    Forbidden(char),
}

impl RoomName {
    /// Normalises `raw` (NFC, surrounding white space removed) and checks what is left.
    pub fn parse(raw: &str) -> Result<Self, RoomNameError> {
        let normal: String = raw.nfc().collect();
        let name = normal.trim();
        if name.is_empty() {
            return Err(RoomNameError::Empty);
        }
        if name.len() > ROOM_NAME_MAX_BYTES {
            return Err(RoomNameError::TooLong);
        }
        match name.chars().find(|&c| is_control_or_bidi(c)) {
            Some(forbidden) => Err(RoomNameError::Forbidden(forbidden)),
            None => Ok(Self(name.to_owned())),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The gossipsub topic of the room: a truncated hash, so that strangers do not read names off subscriptions.
    #[must_use]
    pub fn topic(&self) -> String {
        let hash = Sha256::new()
            .chain_update(ROOM_HASH_PREFIX)
            .chain_update(&self.0)
            .finalize();
        let mut topic = String::from(ROOM_TOPIC_PREFIX);
        for byte in hash.iter().take(TOPIC_HASH_BYTES) {
            for nibble in [byte >> 4, byte & 0xf] {
                topic.extend(char::from_digit(u32::from(nibble), 16));
            }
        }
        topic
    }
}

impl Default for RoomName {
    fn default() -> Self {
        Self(DEFAULT_ROOM.to_owned())
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for RoomName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoomName {
    type Err = RoomNameError;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        Self::parse(raw)
    }
}

impl TryFrom<&str> for RoomName {
    type Error = RoomNameError;

    fn try_from(raw: &str) -> Result<Self, Self::Error> {
        Self::parse(raw)
    }
}

impl TryFrom<String> for RoomName {
    type Error = RoomNameError;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        Self::parse(&raw)
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test(unsupported = test)]
    fn the_topic_is_the_prefix_and_half_of_the_hash() {
        // printf 'peerway room lobby' | sha256sum | cut -c1-32
        assert_eq!(
            RoomName::default().topic(),
            "peerway/room/1/f3c197589e19f4398420beb90e373258"
        );
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn names_that_differ_only_in_normal_form_are_one_room() {
        let composed = RoomName::parse("caf\u{e9}").unwrap();
        let decomposed = RoomName::parse("  cafe\u{301} ").unwrap();
        assert_eq!(composed, decomposed);
        assert_eq!(composed.topic(), decomposed.topic());
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn length_counts_bytes_after_normalisation() {
        assert!(RoomName::parse(&"e\u{301}".repeat(32)).is_ok());
        assert_eq!(RoomName::parse(&"\u{e9}".repeat(33)), Err(RoomNameError::TooLong));
        assert_eq!(RoomName::parse(&"a".repeat(65)), Err(RoomNameError::TooLong));
        assert_eq!(RoomName::parse(" \t "), Err(RoomNameError::Empty));
        assert_eq!(RoomName::parse(""), Err(RoomNameError::Empty));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn control_and_bidi_characters_are_refused_and_named() {
        for c in [
            '\0', '\u{7f}', '\u{85}', '\u{61c}', '\u{200e}', '\u{202e}', '\u{2028}', '\u{2066}', '\u{2069}',
        ] {
            assert_eq!(
                RoomName::parse(&format!("a{c}b")),
                Err(RoomNameError::Forbidden(c)),
                "{c:?}"
            );
        }
        assert_eq!(
            RoomNameError::Forbidden('\u{202e}').to_string(),
            "a room's name must not contain the invisible character U+202E"
        );
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn every_way_to_parse_agrees_and_a_name_parses_to_itself() {
        let name = RoomName::parse("Straße 👩‍👩‍👧").unwrap();
        assert_eq!("Straße 👩‍👩‍👧".parse(), Ok(name.clone()));
        assert_eq!(RoomName::try_from("Straße 👩‍👩‍👧"), Ok(name.clone()));
        assert_eq!(RoomName::try_from(name.to_string()), Ok(name.clone()));
        assert_eq!(RoomName::parse(name.as_str()), Ok(name));
        assert_eq!(RoomName::parse("lobby"), Ok(RoomName::default()));
    }
}
