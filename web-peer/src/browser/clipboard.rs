//! Copying text, also where `navigator.clipboard` is missing (no secure context).

use js_sys::Reflect;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// Whether the text is in the clipboard now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    /// It is.
    Yes,
    /// The browser refused: the user has to select and copy by hand.
    No,
}

/// Copies `text`. Call it from a user's click: browsers refuse otherwise.
pub(crate) async fn copy(text: String) -> Copied {
    let navigator = super::window().navigator();
    let offered = Reflect::get(&navigator, &"clipboard".into()).is_ok_and(|clipboard| !clipboard.is_undefined());
    if offered && JsFuture::from(navigator.clipboard().write_text(&text)).await.is_ok() {
        return Copied::Yes;
    }
    match copy_by_selection(&text) {
        Ok(true) => Copied::Yes,
        Ok(false) | Err(_) => Copied::No,
    }
}

/// The way of old: select the text in a field nobody sees, and tell the document to copy.
fn copy_by_selection(text: &str) -> Result<bool, JsValue> {
    let window = super::window();
    let document: web_sys::HtmlDocument = window.document().ok_or(JsValue::NULL)?.unchecked_into();
    let focused: Option<web_sys::HtmlElement> = document.active_element().and_then(|e| e.dyn_into().ok());
    let field: web_sys::HtmlTextAreaElement = document.create_element("textarea")?.unchecked_into();
    field.set_value(text);
    field.set_class_name("offscreen");
    field.set_read_only(true);
    document.body().ok_or(JsValue::NULL)?.append_child(&field)?;
    field.select();
    let copied = document.exec_command("copy");
    field.remove();
    if let Some(focused) = focused {
        focused.focus()?;
    }
    copied
}
