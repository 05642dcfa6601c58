//! Taking a slot: through Web Locks where the page has them, else by asking the other tabs over a `BroadcastChannel`.
//!
//! A lock is the browser's own word and cannot be wrong. The question ([`Claim`]) is answered by script: a tab that the
//! browser has frozen does not answer, and its slot is taken; its connections are dead then as well.

use futures::{FutureExt, StreamExt, channel::mpsc, select_biased};
use gloo_timers::future::TimeoutFuture;
use wasm_bindgen_futures::spawn_local;

use super::{
    InMemoryReason, MAX_SLOTS, Slot,
    claim::{Claim, Outcome, Word},
};
use crate::browser::{self, Channel, HeldLock, LockFailure, Patience, Store};

/// How long a reloaded page waits until the browser has released the lock of the page it replaces.
const RELOAD_PATIENCE: Patience = Patience::Millis(250);

/// How long the other tabs have to answer. Tabs of one browser answer in a few milliseconds, if they are not busy.
const ANSWER_WITHIN_MILLIS: u32 = 150;
/// The same for a tab to which one has answered too late before.
const BUSY_ANSWER_WITHIN_MILLIS: u32 = 1_500;
/// Where a tab remembers that.
const DISPUTED: &str = "peerway.disputed";

const CHANNEL: &str = "peerway.slots";

/// What keeps other tabs from a slot.
pub(crate) enum SlotGuard {
    /// The browser does, until this is dropped.
    Lock(#[expect(dead_code, reason = "held for its drop")] HeldLock),
    /// Our answers do, until this is dropped.
    Answers(#[expect(dead_code, reason = "dropping it ends the task that answers")] mpsc::Sender<()>),
}

/// Takes a slot: `preferred` if it is free, else the lowest that is.
pub(super) async fn take(preferred: Option<Slot>) -> Result<(Slot, SlotGuard), InMemoryReason> {
    match take_by_lock(preferred).await {
        Err(InMemoryReason::NoLocks) => take_by_asking(preferred).await,
        taken => taken,
    }
}

async fn take_by_lock(preferred: Option<Slot>) -> Result<(Slot, SlotGuard), InMemoryReason> {
    let wish = preferred.map(|slot| (slot, RELOAD_PATIENCE));
    let others = (1..=MAX_SLOTS).map(|number| (Slot(number), Patience::None));
    for (slot, patience) in wish.into_iter().chain(others) {
        match browser::acquire(&slot.storage_key(), patience).await {
            Ok(lock) => return Ok((slot, SlotGuard::Lock(lock))),
            Err(LockFailure::Held) => {}
            Err(LockFailure::Unavailable) => return Err(InMemoryReason::NoLocks),
        }
    }
    Err(InMemoryReason::TooManyTabs)
}

async fn take_by_asking(preferred: Option<Slot>) -> Result<(Slot, SlotGuard), InMemoryReason> {
    let (channel, mut heard) = Channel::open(CHANNEL).ok_or(InMemoryReason::NoLocks)?;
    let nonce = (browser::random_fraction() * f64::from(u32::MAX)) as u32;
    let mut claim = Claim::new(preferred, nonce);
    let session = Store::session();
    let was_disputed = session.as_ref().is_some_and(|session| session.get(DISPUTED).is_some());
    let within = if was_disputed {
        BUSY_ANSWER_WITHIN_MILLIS
    } else {
        ANSWER_WITHIN_MILLIS
    };
    loop {
        channel.post(&claim.word().encode());
        let mut window = TimeoutFuture::new(within).fuse();
        loop {
            select_biased! {
                text = heard.select_next_some() => answer(&channel, &mut claim, &text),
                () = window => break,
            }
        }
        match claim.handle_window_end() {
            Outcome::Held(slot) => {
                let (guard, released) = mpsc::channel(0);
                spawn_local(keep_answering(channel, heard, claim, released));
                return Ok((slot, SlotGuard::Answers(guard)));
            }
            Outcome::Claim => {}
            Outcome::NoneLeft => return Err(InMemoryReason::TooManyTabs),
        }
    }
}

/// Defends the slot until its guard is dropped. If it turns out to be another tab's, this page has that tab's identity: it is
/// loaded anew, and waits longer for answers then.
async fn keep_answering(
    channel: Channel,
    mut heard: mpsc::Receiver<String>,
    mut claim: Claim,
    mut released: mpsc::Receiver<()>,
) {
    loop {
        select_biased! {
            _ = released.next() => return,
            text = heard.next() => match text {
                Some(text) => answer(&channel, &mut claim, &text),
                None => return,
            },
        }
        if claim.is_disputed() {
            if let Some(session) = Store::session() {
                session.remove(super::PREFERRED_SLOT);
                let _ = session.set(DISPUTED, "1");
            }
            return browser::reload();
        }
    }
}

fn answer(channel: &Channel, claim: &mut Claim, text: &str) {
    if let Some(reply) = Word::decode(text).and_then(|word| claim.handle_word(word)) {
        channel.post(&reply.encode());
    }
}

#[cfg(test)]
#[cfg(target_family = "wasm")]
pub(super) mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    /// Tests that take slots run one after the other: they share the browser's only set.
    pub(in super::super) async fn alone() -> HeldLock {
        browser::acquire("test.slots", Patience::Millis(10_000)).await.unwrap()
    }

    #[wasm_bindgen_test]
    async fn without_locks_three_tabs_that_start_at_once_take_three_slots() {
        let _alone = alone().await;
        let (a, b, c) = futures::join!(take_by_asking(None), take_by_asking(None), take_by_asking(None));
        let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
        let mut slots = [a.0, b.0, c.0];
        slots.sort();
        assert_eq!(slots, [Slot(1), Slot(2), Slot(3)]);
    }

    #[wasm_bindgen_test]
    async fn without_locks_a_slot_that_is_held_is_not_taken_and_one_that_was_released_is() {
        let _alone = alone().await;
        let (slot, guard) = take_by_asking(None).await.unwrap();
        assert_eq!(slot, Slot(1));
        // A duplicated tab wishes for the slot that the first one still holds.
        let (duplicate, _duplicate_guard) = take_by_asking(Some(slot)).await.unwrap();
        assert_eq!(duplicate, Slot(2));
        drop(guard);
        let (reloaded, _reloaded_guard) = take_by_asking(Some(slot)).await.unwrap();
        assert_eq!(reloaded, slot);
    }

    #[wasm_bindgen_test]
    async fn when_every_slot_is_held_the_reason_is_too_many_tabs() {
        let _alone = alone().await;
        let mut guards = Vec::new();
        for _ in 0..MAX_SLOTS {
            guards.push(take_by_lock(None).await.unwrap());
        }
        assert!(matches!(take_by_lock(None).await, Err(InMemoryReason::TooManyTabs)));
    }
}
