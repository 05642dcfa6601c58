//! A page with a node and no screen: stories do with it what no user of the product does.
//!
//! `await peer.command({ cmd, … })` does something and says what came of it, as `tests/page/peer.js` does for a peer made
//! of js-libp2p. Decides nothing: whatever the node decides is in core.

mod peer;
mod streams;

use std::rc::Rc;

use anyhow::Context;
use js_sys::{JSON, Object, Promise, Reflect};
use wasm_bindgen::{JsValue, closure::Closure};
use wasm_bindgen_futures::{future_to_promise, spawn_local};
use web_sys::UrlSearchParams;

use crate::peer::{Command, Initiative, Peer, Start};

fn main() {
    console_error_panic_hook::set_once();
    let peer = Rc::new(Peer::default());
    publish(&peer);
    spawn_local(async move {
        if let Some(command) = start_by_query() {
            // Whoever asks how it stands hears that there is no node.
            let _ = peer.command(command).await;
        }
    });
}

/// Makes `window.peer`.
fn publish(peer: &Rc<Peer>) {
    let peer = Rc::clone(peer);
    let command = Closure::<dyn Fn(JsValue) -> Promise>::new(move |command: JsValue| {
        let peer = Rc::clone(&peer);
        future_to_promise(async move {
            let answer = answer(&peer, &command).await;
            answer.map_err(|error| js_sys::Error::new(&format!("{error:#}")).into())
        })
    });
    let object = Object::new();
    for (of, name, value) in [
        (&object, "command", command.into_js_value()),
        (js_sys::global().as_ref(), "peer", object.clone().into()),
    ] {
        Reflect::set(of, &name.into(), &value).expect("any object takes a property");
    }
}

async fn answer(peer: &Peer, command: &JsValue) -> anyhow::Result<JsValue> {
    let command = JSON::stringify(command).ok().and_then(|text| text.as_string());
    let command: Command = serde_json::from_str(&command.context("a command is an object")?)?;
    let answer = peer.command(command).await?.to_string();
    JSON::parse(&answer).map_err(|_| anyhow::anyhow!("no JSON: {answer}"))
}

/// `?relay=MULTIADDR&room=NAME&stun=stun:HOST:PORT&initiative=nobody` (`stun` repeatable): the node starts by itself.
fn start_by_query() -> Option<Command> {
    let search = web_sys::window()?.location().search().ok()?;
    let query = UrlSearchParams::new_with_str(&search).ok()?;
    let relay = query.get("relay")?;
    let room = query.get("room");
    let stun = query.get_all("stun");
    let stun = stun.iter().filter_map(|value| value.as_string()).collect();
    let initiative = match query.get("initiative").as_deref() {
        Some("nobody") => Initiative::Nobody,
        Some(_) | None => Initiative::ByPlan,
    };
    Some(Command::Start(Start {
        relay,
        room,
        stun,
        initiative,
    }))
}
