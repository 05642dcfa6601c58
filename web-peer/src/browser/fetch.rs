//! One HTTP GET with a time-out.

use futures::{FutureExt, pin_mut, select_biased};
use gloo_timers::future::TimeoutFuture;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// What a server answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// The body.
    pub(crate) body: String,
    /// The server's clock (`Date`), in milliseconds since the Unix epoch, if it said.
    pub(crate) server_millis: Option<f64>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FetchError {
    /// Nobody answers: the server is down, or there is no network.
    #[error("no answer")]
    Unreachable,
    /// No complete answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// An answer that is none.
    #[error("HTTP status {0}")]
    Status(u16),
}

/// Fetches `url` past every cache.
pub(crate) async fn get_text(url: &str, timeout_millis: u32) -> Result<Answer, FetchError> {
    let abort = web_sys::AbortController::new().map_err(|_| FetchError::Unreachable)?;
    let init = web_sys::RequestInit::new();
    init.set_cache(web_sys::RequestCache::NoStore);
    init.set_signal(Some(&abort.signal()));
    let answer = fetch(url, &init).fuse();
    pin_mut!(answer);
    select_biased! {
        answer = answer => answer,
        () = TimeoutFuture::new(timeout_millis).fuse() => {
            abort.abort();
            Err(FetchError::TimedOut)
        }
    }
}

async fn fetch(url: &str, init: &web_sys::RequestInit) -> Result<Answer, FetchError> {
    let unreachable = |_: JsValue| FetchError::Unreachable;
    let response: web_sys::Response = JsFuture::from(super::window().fetch_with_str_and_init(url, init))
        .await
        .map_err(unreachable)?
        .unchecked_into();
    if !response.ok() {
        return Err(FetchError::Status(response.status()));
    }
    let server_millis = response
        .headers()
        .get("date")
        .ok()
        .flatten()
        .map(|date| js_sys::Date::parse(&date))
        .filter(|millis| millis.is_finite());
    let body = JsFuture::from(response.text().map_err(unreachable)?)
        .await
        .map_err(unreachable)?
        .as_string()
        .unwrap_or_default();
    Ok(Answer { body, server_millis })
}
