//! The page: two browsers that know nothing of each other meet here and talk.
//!
//! `session` drives the node and fills a model; `components` draw the model and say what the user wants; `browser` wraps
//! what the browser offers; `words` says what went wrong.

mod app;
mod browser;
mod components;
mod session;
mod words;

use leptos::{mount::mount_to, prelude::*};
use wasm_bindgen::JsCast;

use crate::{app::App, session::Session};

/// The element that holds the static shell until the page is alive.
const ROOT: &str = "app";

fn main() {
    console_error_panic_hook::set_once();
    let root: web_sys::HtmlElement = browser::window()
        .document()
        .and_then(|document| document.get_element_by_id(ROOT))
        .expect("index.html has the root element")
        .unchecked_into();
    root.set_inner_html("");
    mount_to(root, || {
        let session = Session::start();
        provide_context(session);
        view! { <App /> }
    })
    .forget();
}

#[cfg(test)]
#[cfg(target_family = "wasm")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);
