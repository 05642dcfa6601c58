//! What a slot holds: a key pair and when it was made, as JSON, in `localStorage`.
//!
//! Never overwrites a value that it does not understand.

use libp2p::identity::Keypair;
use serde::{Deserialize, Serialize};

use super::Slot;
use crate::browser::{self, StorageFull, Store};

/// Values put aside in all; the oldest goes when another comes.
const MAX_PUT_ASIDE: usize = 4;

/// What stands in a slot.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    /// The protobuf form of the key pair, in hex.
    key: String,
    /// When it was made, in milliseconds since the Unix epoch.
    created: u64,
}

/// What was found in a slot.
pub(super) enum Found {
    Identity(Box<Keypair>),
    Nothing,
    Corrupt,
}

/// One slot's place in the store.
pub(super) struct KeyStore<'a> {
    store: &'a Store,
    name: String,
}

impl<'a> KeyStore<'a> {
    pub(super) fn new(store: &'a Store, slot: Slot) -> Self {
        Self {
            store,
            name: slot.storage_key(),
        }
    }

    pub(super) fn read(&self) -> Found {
        match self.store.get(&self.name) {
            None => Found::Nothing,
            Some(value) => decode(&value).map_or(Found::Corrupt, |keypair| Found::Identity(Box::new(keypair))),
        }
    }

    /// Makes a key pair and keeps it.
    pub(super) fn make(&self) -> Result<Keypair, StorageFull> {
        let keypair = Keypair::generate_ed25519();
        let value = encode(&keypair, browser::wall_millis() as u64).ok_or(StorageFull)?;
        self.store.set(&self.name, &value)?;
        // Some browsers accept a value and keep nothing.
        if self.store.get(&self.name).as_deref() != Some(value.as_str()) {
            return Err(StorageFull);
        }
        Ok(keypair)
    }

    /// Moves the value to another name, which is returned.
    pub(super) fn put_aside(&self) -> String {
        let aside = self.store.keys(CORRUPT_PREFIX);
        for old in aside.iter().take((aside.len() + 1).saturating_sub(MAX_PUT_ASIDE)) {
            self.store.remove(old);
        }
        let name = format!("{CORRUPT_PREFIX}{:015}.{}", browser::wall_millis() as u64, self.name);
        if let Some(value) = self.store.get(&self.name) {
            self.store.remove(&self.name);
            // There was room for it a moment ago.
            let _ = self.store.set(&name, &value);
        }
        name
    }
}

/// Names begin with the time, so that their order is their age.
const CORRUPT_PREFIX: &str = "peerway.corrupt.";

impl Slot {
    /// The slot's name in `localStorage`, and that of its lock.
    pub(super) fn storage_key(self) -> String {
        format!("peerway.identity.{}", self.0)
    }
}

fn encode(keypair: &Keypair, created: u64) -> Option<String> {
    let bytes = keypair.to_protobuf_encoding().ok()?;
    let key = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    serde_json::to_string(&Stored { key, created }).ok()
}

fn decode(value: &str) -> Option<Keypair> {
    let stored: Stored = serde_json::from_str(value).ok()?;
    let digits: Option<Vec<u32>> = stored.key.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    let bytes: Option<Vec<u8>> = digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok())
        .collect();
    Keypair::from_protobuf_encoding(&bytes?).ok()
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test(unsupported = test)]
    fn what_is_encoded_is_decoded() {
        let keypair = Keypair::generate_ed25519();
        let decoded = decode(&encode(&keypair, 7).unwrap()).unwrap();
        assert_eq!(decoded.public(), keypair.public());
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_the_value_is_damaged_it_is_no_identity() {
        let good = encode(&Keypair::generate_ed25519(), 7).unwrap();
        for bad in [
            "",
            "null",
            "{}",
            r#"{"key":"","created":0}"#,
            r#"{"key":"zz","created":0}"#,
            r#"{"key":"é0","created":0}"#,
            r#"{"key":"080","created":0}"#,
            &good[..good.len() / 2],
            &good.replace(r#""key":"08"#, r#""key":"09"#),
        ] {
            assert!(decode(bad).is_none(), "{bad:?}");
        }
    }

    #[cfg(target_family = "wasm")]
    #[wasm_bindgen_test]
    fn when_a_value_is_corrupt_it_is_kept_aside_and_a_new_one_is_made() {
        let local = Store::local().unwrap();
        let slot = Slot(901);
        local.set(&slot.storage_key(), "what is this").unwrap();
        let store = KeyStore::new(&local, slot);
        assert!(matches!(store.read(), Found::Corrupt));
        let kept_as = store.put_aside();
        assert_eq!(local.get(&kept_as).as_deref(), Some("what is this"));
        let made = store.make().unwrap();
        assert!(matches!(store.read(), Found::Identity(read) if read.public() == made.public()));
        local.remove(&slot.storage_key());
        local.remove(&kept_as);
    }

    #[cfg(target_family = "wasm")]
    #[wasm_bindgen_test]
    fn when_many_values_are_corrupt_the_newest_few_are_kept() {
        let local = Store::local().unwrap();
        for number in 910..920 {
            let slot = Slot(number);
            local.set(&slot.storage_key(), "broken").unwrap();
            KeyStore::new(&local, slot).put_aside();
            assert_eq!(local.get(&slot.storage_key()), None);
        }
        let kept = local.keys(CORRUPT_PREFIX);
        assert_eq!(kept.len(), MAX_PUT_ASIDE);
        assert!(kept.iter().any(|name| name.ends_with(".919")));
        for name in kept {
            local.remove(&name);
        }
    }
}
