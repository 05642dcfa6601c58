//! Web Locks: exclusive between all tabs of an origin, and released by the browser itself when a tab dies.
//!
//! They are absent outside a secure context (`http://192.168.…`). `web-sys` has them only behind an unstable flag, so
//! they are called by name.

use futures::{
    FutureExt,
    channel::oneshot,
    future::{self, Either},
    select_biased,
};
use gloo_timers::future::TimeoutFuture;
use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;

/// A lock, held until this is dropped or the page is gone.
#[derive(Debug)]
#[must_use = "dropping it releases the lock"]
pub(crate) struct HeldLock {
    release: Function,
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        // It resolves a promise; there is nothing to fail.
        let _ = self.release.call0(&JsValue::UNDEFINED);
    }
}

/// How long to wait for whoever holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Not at all.
    None,
    /// At most so many milliseconds.
    Millis(u32),
}

/// Why a lock was not obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LockFailure {
    /// Another tab holds it.
    #[error("another tab holds the lock")]
    Held,
    /// This page has no Web Locks.
    #[error("the browser offers no locks to this page")]
    Unavailable,
}

/// Takes the lock `name`, exclusively.
pub(crate) async fn acquire(name: &str, patience: Patience) -> Result<HeldLock, LockFailure> {
    let (manager, request) = manager().ok_or(LockFailure::Unavailable)?;
    let options = Object::new();
    let abort = web_sys::AbortController::new().map_err(|_| LockFailure::Unavailable)?;
    let (key, value) = match patience {
        Patience::None => ("ifAvailable", JsValue::TRUE),
        // Browsers refuse a signal together with `ifAvailable`.
        Patience::Millis(_) => ("signal", abort.signal().into()),
    };
    Reflect::set(&options, &key.into(), &value).map_err(|_| LockFailure::Unavailable)?;

    let (granted, answer) = oneshot::channel();
    let callback = Closure::once_into_js(move |lock: JsValue| hold(&lock, granted));
    let request = request
        .call3(&manager, &name.into(), &options, &callback)
        .map_err(|_| LockFailure::Unavailable)?;
    let refused = JsFuture::from(Promise::resolve(&request));
    let patience = match patience {
        Patience::None => Either::Left(future::pending()),
        Patience::Millis(millis) => Either::Right(TimeoutFuture::new(millis)),
    };
    select_biased! {
        answer = answer.fuse() => answer.unwrap_or(None).ok_or(LockFailure::Held),
        // It settles before the lock was granted only if the browser refuses the request as such.
        _ = refused.fuse() => Err(LockFailure::Unavailable),
        () = patience.fuse() => {
            abort.abort();
            Err(LockFailure::Held)
        }
    }
}

/// What the browser is told when it grants the lock: a promise for as long as we want it.
fn hold(lock: &JsValue, granted: oneshot::Sender<Option<HeldLock>>) -> JsValue {
    if lock.is_null() {
        let _ = granted.send(None);
        return JsValue::UNDEFINED;
    }
    let mut granted = Some(granted);
    Promise::new(&mut |release, _| {
        if let Some(granted) = granted.take() {
            // If nobody waits any more, the guard comes back in the error and releases the lock as it is dropped.
            let _ = granted.send(Some(HeldLock { release }));
        }
    })
    .into()
}

fn manager() -> Option<(JsValue, Function)> {
    let manager = Reflect::get(&super::window().navigator(), &"locks".into()).ok()?;
    let request = Reflect::get(&manager, &"request".into()).ok()?.dyn_into().ok()?;
    Some((manager, request))
}

#[cfg(test)]
#[cfg(target_family = "wasm")]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test]
    async fn when_a_lock_is_held_a_second_request_is_refused_until_it_is_dropped() {
        let first = acquire("test.lock.drop", Patience::None).await.unwrap();
        assert_eq!(
            acquire("test.lock.drop", Patience::None).await.unwrap_err(),
            LockFailure::Held
        );
        drop(first);
        assert!(acquire("test.lock.drop", Patience::Millis(1_000)).await.is_ok());
    }

    #[wasm_bindgen_test]
    async fn when_patience_ends_the_request_is_withdrawn() {
        let first = acquire("test.lock.patience", Patience::None).await.unwrap();
        assert_eq!(
            acquire("test.lock.patience", Patience::Millis(20)).await.unwrap_err(),
            LockFailure::Held
        );
        drop(first);
        assert!(
            acquire("test.lock.patience", Patience::Millis(1_000)).await.is_ok(),
            "the withdrawn request must not have taken the lock"
        );
    }

    #[wasm_bindgen_test]
    async fn locks_of_different_names_do_not_meet() {
        let _one = acquire("test.lock.one", Patience::None).await.unwrap();
        assert!(acquire("test.lock.two", Patience::None).await.is_ok());
    }
}
