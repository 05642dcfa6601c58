//! The name a user gives to this identity, kept beside its slot.

use peerway_core::name::clean_name;

use super::identity::{IdentityOrigin, Slot};
use crate::browser::Store;

/// The name kept for this identity.
pub(super) fn load(origin: &IdentityOrigin) -> Option<String> {
    clean_name(&Store::local()?.get(&key(slot(origin)?))?)
}

/// Keeps the name for this identity; one in memory keeps none.
pub(super) fn save(origin: &IdentityOrigin, name: Option<&str>) {
    let (Some(store), Some(slot)) = (Store::local(), slot(origin)) else {
        return;
    };
    match name {
        // A name that the browser does not keep has to be typed again; that is all.
        Some(name) => drop(store.set(&key(slot), name)),
        None => store.remove(&key(slot)),
    }
}

fn slot(origin: &IdentityOrigin) -> Option<Slot> {
    match origin {
        IdentityOrigin::Remembered(slot) | IdentityOrigin::Made(slot) | IdentityOrigin::Replaced { slot, .. } => {
            Some(*slot)
        }
        IdentityOrigin::InMemory(_) => None,
    }
}

fn key(slot: Slot) -> String {
    format!("peerway.name.{}", slot.0)
}

#[cfg(test)]
#[cfg(target_family = "wasm")]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;
    use crate::session::InMemoryReason;

    #[wasm_bindgen_test]
    fn a_name_is_kept_for_its_identity_alone_until_it_is_taken_back() {
        let [one, other] = [930, 931].map(|number| IdentityOrigin::Made(Slot(number)));
        save(&one, Some("Ada"));
        assert_eq!(load(&one).as_deref(), Some("Ada"));
        assert_eq!(load(&other), None);
        save(&one, None);
        assert_eq!(load(&one), None);
    }

    #[wasm_bindgen_test]
    fn an_identity_in_memory_keeps_no_name() {
        let origin = IdentityOrigin::InMemory(InMemoryReason::TooManyTabs);
        save(&origin, Some("Ada"));
        assert_eq!(load(&origin), None);
    }
}
