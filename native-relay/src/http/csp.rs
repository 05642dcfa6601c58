//! The page's Content-Security-Policy: nothing but what the page is made of. Pure: the page's HTML in, a header out.
//!
//! - `script-src 'wasm-unsafe-eval'`: compiling WebAssembly. Trunk's inline loader is allowed by its hash.
//! - `connect-src ws: wss:`: relays other than ours are part of the design (`?relay=`, circuits through a peer's relay),
//!   at hosts that nobody knows in advance. WebRTC is not under `connect-src` at all.
//! - Everything else a browser could load or be led to is off.

use axum::http::HeaderValue;
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

/// The policy for a page whose `index.html` is `html`.
pub(super) fn policy(html: &str) -> HeaderValue {
    let scripts = hashes(html, "script");
    let styles = hashes(html, "style");
    let policy = format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{scripts}; style-src 'self'{styles}; \
         connect-src 'self' ws: wss:; img-src 'self' data:; manifest-src 'self'; \
         base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
    );
    policy.try_into().expect("every part of it is ASCII")
}

/// The policy for plain text of ours.
pub(super) const NOTHING: HeaderValue =
    HeaderValue::from_static("default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'");

/// ` 'sha256-…'` for every inline element called `name`, as CSP Level 3 hashes them: the text between the tags, byte for
/// byte.
fn hashes(html: &str, name: &str) -> String {
    inline_elements(html, name)
        .map(|text| format!(" 'sha256-{}'", STANDARD.encode(Sha256::digest(text))))
        .collect()
}

/// The texts of `<name …>text</name>` without a `src` attribute. Our own page is read, not the web: no parser is needed,
/// and text that is missed is refused by the browser, not let through.
fn inline_elements<'a>(html: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let lower = html.to_ascii_lowercase();
    let (open, close) = (format!("<{name}"), format!("</{name}"));
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let tag = from + lower.get(from..)?.find(&open)?;
            let attributes = tag + open.len();
            let text = attributes + lower.get(attributes..)?.find('>')? + 1;
            let end = text + lower.get(text..)?.find(&close)?;
            from = end + close.len();
            let tag_text = lower.get(attributes..text - 1)?;
            let is_this_element = tag_text.chars().next().is_none_or(|next| next.is_ascii_whitespace());
            let is_external = tag_text.split_ascii_whitespace().any(|part| part.starts_with("src="));
            if is_this_element && !is_external {
                return html.get(text..end);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_the_page_has_inline_scripts_each_is_allowed_by_its_hash_and_nothing_else_inline_is() {
        let html = "<html><SCRIPT type=module>alert(1)</SCRIPT><script src=\"a.js\"></script>\
                    <scripture>x</scripture><script>\n b \n</script></html>";
        let policy = policy(html);
        let policy = policy.to_str().unwrap();
        // printf 'alert(1)' | openssl dgst -sha256 -binary | base64
        assert!(
            policy.contains("'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"),
            "{policy}"
        );
        assert_eq!(policy.matches("sha256-").count(), 2, "{policy}");
        assert!(
            !policy.contains("'unsafe-inline'") && !policy.contains("'unsafe-eval'"),
            "{policy}"
        );
    }

    #[test]
    fn when_tags_are_left_open_nothing_is_allowed_and_nothing_panics() {
        for html in [
            "<script",
            "<script>",
            "<script>x",
            "<script src=x",
            "",
            "<script>ß</scrip",
            "<script é>x</script>",
        ] {
            let allowed = policy(html).to_str().unwrap().matches("sha256-").count();
            assert!(allowed <= 1, "{html}");
        }
    }
}
