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

/// The value of `key` in the fragment, read like a query (`#room=kitchen&token=…`).
pub(crate) fn fragment(key: &str) -> Option<String> {
    let hash = super::window().location().hash().unwrap_or_default();
    parameters(&hash)?.get(key)
}

/// This page's URL with `key=value` in its fragment. What else is there stays.
pub(crate) fn link_with_fragment(key: &str, value: &str) -> String {
    let href = super::window().location().href().unwrap_or_default();
    link_with(&href, key, value)
}

fn link_with(href: &str, key: &str, value: &str) -> String {
    let (base, hash) = href.split_once('#').unwrap_or((href, ""));
    let Some(parameters) = parameters(hash) else {
        return href.to_owned();
    };
    parameters.set(key, value);
    let fragment = String::from(parameters.to_string()).replace('+', "%20");
    format!("{base}#{fragment}")
}

/// The parameters of a fragment. In a query `+` is a space; in a fragment that people type, it is a plus.
fn parameters(hash: &str) -> Option<web_sys::UrlSearchParams> {
    let hash = hash.trim_start_matches('#').replace('+', "%2B");
    web_sys::UrlSearchParams::new_with_str(&hash).ok()
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

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test(unsupported = test)]
    fn when_a_value_is_put_into_a_fragment_the_others_stay_and_it_is_read_as_it_was() {
        let page = "http://192.0.2.1/?relay=x";
        assert_eq!(link_with(page, "room", "kitchen"), format!("{page}#room=kitchen"));
        let link = link_with(&format!("{page}#room=a&token=b-c_d"), "room", "a + b & \u{e9}");
        assert_eq!(link, format!("{page}#room=a%20%2B%20b%20%26%20%C3%A9&token=b-c_d"));
        let (_, hash) = link.split_once('#').unwrap();
        let read = parameters(hash).unwrap();
        assert_eq!(read.get("room").as_deref(), Some("a + b & \u{e9}"));
        assert_eq!(read.get("token").as_deref(), Some("b-c_d"));
    }
}
