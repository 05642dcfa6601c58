//! The page's own URL.

use wasm_bindgen::JsValue;

/// The URL's origin: scheme without colon, host (IPv6 in brackets), port.
pub(crate) fn origin() -> Option<(String, String, u16)> {
    let location = super::window().location();
    let scheme = location.protocol().ok()?.trim_end_matches(':').to_owned();
    let port = match location.port().ok()?.as_str() {
        "" if scheme == "https" => 443,
        "" => 80,
        port => port.parse().ok()?,
    };
    Some((scheme, location.hostname().ok()?, port))
}

/// Every value that the query gives to `key`, decoded, in order.
pub(crate) fn query_values(key: &str) -> Vec<String> {
    let query = super::window().location().search().unwrap_or_default();
    web_sys::UrlSearchParams::new_with_str(&query)
        .map(|params| {
            params
                .get_all(key)
                .iter()
                .filter_map(|value| value.as_string())
                .collect()
        })
        .unwrap_or_default()
}

/// The value of `key` in the fragment, read like a query (`#room=kitchen`).
pub(crate) fn fragment(key: &str) -> Option<String> {
    let hash = super::window().location().hash().unwrap_or_default();
    // In a query `+` is a space; in a fragment that people type, it is a plus.
    let hash = hash.trim_start_matches('#').replace('+', "%2B");
    web_sys::UrlSearchParams::new_with_str(&hash).ok()?.get(key)
}

/// This page's URL with the fragment `key=value`.
pub(crate) fn link_with_fragment(key: &str, value: &str) -> String {
    let href = super::window().location().href().unwrap_or_default();
    let base = href.split('#').next().unwrap_or_default();
    format!("{base}#{key}={}", js_sys::encode_uri_component(value))
}

/// Puts `key=value` into the fragment, without a step in the history.
pub(crate) fn set_fragment(key: &str, value: &str) {
    if let Ok(history) = super::window().history() {
        let link = link_with_fragment(key, value);
        // Browsers refuse only when it is called hundreds of times a minute; the room is joined all the same.
        let _ = history.replace_state_with_url(&JsValue::NULL, "", Some(&link));
    }
}

/// Loads the page anew.
pub(crate) fn reload() {
    // A page that may not reload stays as it is; the user still can.
    let _ = super::window().location().reload();
}
