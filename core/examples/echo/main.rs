//! Where [`echo`] gets its arguments and puts its words.
//!
//! Natively: `cargo run -p peerway-core --example echo -- RELAY` prints a peer id and serves; `-- RELAY PEER` asks it.
//! In a page: built for wasm32 and loaded by any page, it reads `?relay=…&peer=…` and writes into the document.

mod echo;

#[cfg(not(target_family = "wasm"))]
#[tokio::main]
#[expect(clippy::print_stdout, reason = "it is what the programme is for")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let relay = arguments.first().ok_or("usage: echo RELAY [PEER]")?;
    echo::run(relay, arguments.get(1).map(String::as_str), |line| println!("{line}")).await
}

#[cfg(target_family = "wasm")]
fn main() {
    use wasm_bindgen::JsValue;

    let global = js_sys::global();
    let get = |of: &JsValue, name: &str| js_sys::Reflect::get(of, &name.into()).unwrap_or_default();
    let query = get(&get(&global, "location"), "search").as_string().unwrap_or_default();
    let body = get(&get(&global, "document"), "body");
    let value = move |name: &str| {
        let pairs = query.trim_start_matches('?').split('&');
        pairs
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    };
    let say = move |line: String| {
        let text = get(&body, "textContent").as_string().unwrap_or_default() + &line + "\n";
        // A document without a body shows nothing.
        let _ = js_sys::Reflect::set(&body, &"textContent".into(), &text.into());
    };
    wasm_bindgen_futures::spawn_local(async move {
        let relay = value("relay").unwrap_or_default();
        if let Err(error) = echo::run(&relay, value("peer").as_deref(), &say).await {
            say(error.to_string());
        }
    });
}
