//! Who this tab is: an identity from a numbered slot that no other tab holds.
//!
//! Slots are kept in `localStorage`. A tab takes the one it held before a reload if that is free, else the lowest free
//! one. Whether a slot is free is decided by [`slot`] alone; the remembered number is only a wish, because a duplicated
//! tab inherits it. Without storage the identity lives in memory, and the page says so.

mod claim;
mod keys;
mod slot;

use libp2p::identity::Keypair;

pub(crate) use self::slot::SlotGuard;

use self::keys::{Found, KeyStore};
use crate::browser::Store;

/// Slots there are: tabs beyond them get an identity in memory.
const MAX_SLOTS: u32 = 32;

/// Where a tab remembers its slot over a reload.
const PREFERRED_SLOT: &str = "peerway.slot";

/// A slot's number, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(pub(crate) u32);

/// An identity, and what keeps other tabs from it.
pub(crate) struct Identity {
    pub(crate) keypair: Keypair,
    pub(crate) origin: IdentityOrigin,
    /// Held for as long as the node lives.
    pub(crate) guard: Option<SlotGuard>,
}

/// Where an identity comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IdentityOrigin {
    /// It was read from its slot.
    Remembered(Slot),
    /// It was made and kept in its slot.
    Made(Slot),
    /// What the slot held was no identity; it is kept under another name and a new one was made.
    Replaced { slot: Slot, kept_as: String },
    /// It is lost when the page is closed.
    InMemory(InMemoryReason),
}

/// Why an identity could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InMemoryReason {
    /// The browser keeps nothing for this page (a private window, blocked cookies, no space left).
    NoStorage,
    /// Nothing in this browser can keep two tabs from taking one slot.
    NoLocks,
    /// Every slot is held.
    TooManyTabs,
}

/// Takes an identity for this tab.
pub(crate) async fn take() -> Identity {
    let Some(local) = Store::local() else {
        return in_memory(InMemoryReason::NoStorage);
    };
    let session = Store::session();
    let preferred = session
        .as_ref()
        .and_then(|session| session.get(PREFERRED_SLOT))
        .and_then(|number| number.parse().ok())
        .filter(|number| (1..=MAX_SLOTS).contains(number))
        .map(Slot);
    let (slot, guard) = match slot::take(preferred).await {
        Ok(taken) => taken,
        Err(reason) => return in_memory(reason),
    };
    if let Some(session) = session {
        // Without it a reload takes the lowest free slot, which is as a rule the same.
        let _ = session.set(PREFERRED_SLOT, &slot.0.to_string());
    }
    let store = KeyStore::new(&local, slot);
    let (keypair, origin) = match store.read() {
        Found::Identity(keypair) => (*keypair, IdentityOrigin::Remembered(slot)),
        Found::Nothing => match store.make() {
            Ok(keypair) => (keypair, IdentityOrigin::Made(slot)),
            Err(_) => return in_memory(InMemoryReason::NoStorage),
        },
        Found::Corrupt => {
            let kept_as = store.put_aside();
            match store.make() {
                Ok(keypair) => (keypair, IdentityOrigin::Replaced { slot, kept_as }),
                Err(_) => return in_memory(InMemoryReason::NoStorage),
            }
        }
    };
    Identity {
        keypair,
        origin,
        guard: Some(guard),
    }
}

fn in_memory(reason: InMemoryReason) -> Identity {
    Identity {
        keypair: Keypair::generate_ed25519(),
        origin: IdentityOrigin::InMemory(reason),
        guard: None,
    }
}

#[cfg(test)]
#[cfg(target_family = "wasm")]
mod tests {
    use gloo_timers::future::TimeoutFuture;
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    fn forget_the_tab() {
        Store::session().unwrap().remove(PREFERRED_SLOT);
    }

    /// The browser hands a released lock on a moment later; a real tab's successor waits for it only if it wishes for it.
    async fn released<T>(held: T) {
        drop(held);
        TimeoutFuture::new(100).await;
    }

    #[wasm_bindgen_test]
    async fn when_a_tab_reloads_it_is_the_same_peer_and_a_duplicate_is_another() {
        let _alone = slot::tests::alone().await;
        forget_the_tab();
        let first = take().await;
        let id = first.keypair.public().to_peer_id();
        // A duplicated tab has the same session storage while the first one still lives.
        let duplicate = take().await;
        assert_ne!(duplicate.keypair.public().to_peer_id(), id);
        drop(duplicate);
        // The duplicate has changed the wish that both "tabs" of this test share.
        Store::session().unwrap().set(PREFERRED_SLOT, "1").unwrap();
        drop(first);
        let reloaded = take().await;
        assert_eq!(reloaded.keypair.public().to_peer_id(), id);
        assert_eq!(reloaded.origin, IdentityOrigin::Remembered(Slot(1)));
        forget_the_tab();
    }

    #[wasm_bindgen_test]
    async fn when_a_slot_is_free_again_the_lowest_is_taken() {
        let _alone = slot::tests::alone().await;
        forget_the_tab();
        let first = take().await;
        forget_the_tab();
        let second = take().await;
        let second_id = second.keypair.public().to_peer_id();
        released(first).await;
        forget_the_tab();
        let third = take().await;
        assert_ne!(third.keypair.public().to_peer_id(), second_id);
        assert_eq!(third.origin, IdentityOrigin::Remembered(Slot(1)));
        forget_the_tab();
    }

    #[wasm_bindgen_test]
    async fn when_the_wish_is_no_slot_it_is_ignored() {
        let _alone = slot::tests::alone().await;
        for wish in ["0", "33", "-1", "one", ""] {
            Store::session().unwrap().set(PREFERRED_SLOT, wish).unwrap();
            let identity = take().await;
            assert!(
                matches!(
                    identity.origin,
                    IdentityOrigin::Made(Slot(1)) | IdentityOrigin::Remembered(Slot(1))
                ),
                "{wish:?} led to {:?}",
                identity.origin
            );
            released(identity).await;
        }
        forget_the_tab();
    }
}
