//! What is drawn, in a real document: the contract with tests and scripts, and that peers' text stays text.

use std::time::Duration;

use futures::{StreamExt, channel::mpsc};
use gloo_timers::future::TimeoutFuture;
use leptos::{mount::mount_to, prelude::*};
use libp2p::PeerId;
use peerway_core::{
    chat::{ChatMessage, RoomName},
    dial::{DialFailure, Route},
    node::Event,
    now::{Now, UnixMillis},
    reservation::{RelayFailure, RelayKey},
    view::{Changed, View as NodeView},
};
use wasm_bindgen::JsCast;
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{
    app::App,
    session::{Intent, Session},
};

/// The page, drawn into an element of its own.
struct Page {
    root: web_sys::HtmlElement,
    session: Session,
    wanted: mpsc::Receiver<Intent>,
    view: NodeView,
}

impl Page {
    fn draw() -> Self {
        let document = crate::browser::window().document().unwrap();
        let root: web_sys::HtmlElement = document.create_element("div").unwrap().unchecked_into();
        document.body().unwrap().append_child(&root).unwrap();
        let (session, wanted) = Session::unconnected();
        let context = session.clone();
        mount_to(root.clone(), move || {
            provide_context(context);
            view! { <App /> }
        })
        .forget();
        let mut page = Self {
            root,
            session,
            wanted,
            view: NodeView::new(PeerId::random()),
        };
        page.apply(Event::RoomJoined {
            room: RoomName::default(),
        });
        page
    }

    fn apply(&mut self, event: Event) {
        let changed = self.view.apply(&event, Now::default());
        self.session.model.draw(&self.view, &changed);
    }

    fn all(&self, css: &str) -> Vec<web_sys::Element> {
        let found = self.root.query_selector_all(css).unwrap();
        (0..found.length())
            .map(|index| found.item(index).unwrap().unchecked_into())
            .collect()
    }

    fn one(&self, css: &str) -> web_sys::Element {
        let mut found = self.all(css);
        assert_eq!(found.len(), 1, "{css}");
        found.remove(0)
    }

    fn row(&self, peer: PeerId) -> web_sys::Element {
        self.one(&format!("[data-testid=peer-row][data-peer-id='{peer}']"))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.root.remove();
    }
}

/// Lets the effects run that draw.
async fn drawn() {
    TimeoutFuture::new(20).await;
}

fn attribute(element: &web_sys::Element, name: &str) -> String {
    element.get_attribute(name).unwrap_or_default()
}

fn line(from: PeerId, id: &str, text: &str) -> Event {
    Event::MessageReceived {
        room: RoomName::default(),
        message: ChatMessage {
            id: id.to_owned(),
            from,
            name: Some("<b>Mallory</b>".to_owned()),
            text: text.to_owned(),
            sent_at: None,
            received_at: UnixMillis(1_800_000_000_000),
            own: false,
        },
    }
}

#[wasm_bindgen_test]
async fn when_a_peer_sends_markup_it_stays_text() {
    let mut page = Page::draw();
    let peer = PeerId::random();
    let text = "<img src=x onerror=\"document.title='taken'\">\n  &amp; two  spaces";
    page.apply(Event::PeerDiscovered {
        peer,
        name: Some("<script>1</script>".to_owned()),
    });
    page.apply(line(peer, "1", text));
    drawn().await;
    let message = page.one("[data-testid=chat-log] [data-testid=chat-message]");
    assert_eq!(message.text_content().unwrap(), text);
    assert_eq!(attribute(&message, "data-peer-id"), peer.to_string());
    assert!(page.all("img, script, b").is_empty());
    assert!(page.row(peer).text_content().unwrap().contains("<script>1</script>"));
}

#[wasm_bindgen_test]
async fn when_one_peer_changes_no_other_row_and_no_line_is_drawn_anew() {
    let mut page = Page::draw();
    let (relay, peers) = (PeerId::random(), [PeerId::random(), PeerId::random()]);
    for peer in peers {
        page.apply(Event::PeerDiscovered { peer, name: None });
    }
    page.apply(line(peers[0], "1", "hello"));
    drawn().await;
    let rows = peers.map(|peer| page.row(peer));
    let message = page.one("[data-testid=chat-message]");
    let route = Some(Route::Circuit { relay });
    page.apply(Event::RouteChanged { peer: peers[1], route });
    page.apply(Event::PeerMeasured {
        peer: peers[1],
        round_trip: Duration::from_millis(12),
    });
    page.apply(line(peers[1], "2", "hello to you"));
    drawn().await;
    for (row, peer) in rows.iter().zip(peers) {
        assert!(page.row(peer).is_same_node(Some(row)));
    }
    assert!(page.all("[data-testid=chat-message]")[0].is_same_node(Some(&message)));
    assert_eq!(attribute(&rows[0], "data-route"), "none");
    assert_eq!(attribute(&rows[1], "data-route"), "circuit");
    assert!(rows[1].text_content().unwrap().contains("12 ms"));
}

#[wasm_bindgen_test]
async fn when_a_peer_is_relayed_its_row_says_by_which_relay_and_why() {
    let mut page = Page::draw();
    let (relay, peer) = (PeerId::random(), PeerId::random());
    let route = Some(Route::Circuit { relay });
    page.apply(Event::PeerDiscovered { peer, name: None });
    page.apply(Event::RouteChanged { peer, route });
    drawn().await;
    let text = |page: &Page| page.row(peer).text_content().unwrap();
    let id = crate::words::short_id(&relay.to_string());
    assert!(
        text(&page).contains(&format!("Through the relay {id}, which carries")),
        "{}",
        text(&page)
    );
    page.apply(Event::RelayAdded {
        relay: RelayKey(1),
        peer: Some(relay),
    });
    page.apply(Event::RelayReserved {
        relay: RelayKey(1),
        peer: relay,
        address: "/ip4/127.0.0.1/tcp/8080/ws".parse().unwrap(),
    });
    page.apply(Event::OfferFailed {
        peer,
        reason: DialFailure::NoDirectWay("the networks do not let it".to_owned()),
    });
    drawn().await;
    let expected = "Through the relay 127.0.0.1:8080, because the networks do not let it.";
    assert!(text(&page).contains(expected), "{}", text(&page));
}

#[wasm_bindgen_test]
async fn when_a_peer_is_gone_its_row_says_so() {
    let mut page = Page::draw();
    let peer = PeerId::random();
    page.apply(Event::PeerDiscovered { peer, name: None });
    page.apply(Event::RouteChanged {
        peer,
        route: Some(Route::WebRtc),
    });
    drawn().await;
    assert_eq!(attribute(&page.row(peer), "data-route"), "webrtc");
    assert_eq!(attribute(&page.row(peer), "data-presence"), "here");
    page.apply(Event::RouteChanged { peer, route: None });
    page.apply(Event::PeerGone { peer });
    drawn().await;
    assert_eq!(attribute(&page.row(peer), "data-route"), "none");
    assert_eq!(attribute(&page.row(peer), "data-presence"), "gone");
}

#[wasm_bindgen_test]
async fn the_relay_status_follows_the_node_and_trouble_is_put_in_words() {
    let mut page = Page::draw();
    let (relay, peer) = (RelayKey(1), PeerId::random());
    let state = |page: &Page| attribute(&page.one("[data-testid=relay-status]"), "data-state");
    drawn().await;
    assert_eq!(state(&page), "connecting");
    page.apply(Event::RelayAdded {
        relay,
        peer: Some(peer),
    });
    page.apply(Event::RelayReserved {
        relay,
        peer,
        address: "/ip4/127.0.0.1/tcp/8080/ws".parse().unwrap(),
    });
    drawn().await;
    assert_eq!(state(&page), "reserved");
    assert!(page.all("[data-testid=relay-trouble]").is_empty());
    for (reason, expected) in [
        (RelayFailure::Disconnected, "lost"),
        (RelayFailure::Refused("full".to_owned()), "refused"),
    ] {
        let retry_in = Duration::from_secs(1);
        page.apply(Event::RelayLost {
            relay,
            reason,
            retry_in,
        });
        drawn().await;
        assert_eq!(state(&page), expected);
        assert!(
            !page
                .one("[data-testid=relay-trouble]")
                .text_content()
                .unwrap()
                .is_empty()
        );
    }
}

#[wasm_bindgen_test]
async fn when_a_line_is_typed_and_sent_it_becomes_an_intent_and_the_field_is_empty() {
    let mut page = Page::draw();
    drawn().await;
    let field: web_sys::HtmlTextAreaElement = page.one("[data-testid=chat-input]").unchecked_into();
    let send: web_sys::HtmlElement = page.one("[data-testid=chat-send]").unchecked_into();
    field.set_value("  ");
    send.click();
    field.set_value("good morning");
    send.click();
    assert_eq!(page.wanted.next().await, Some(Intent::Say("good morning".to_owned())));
    assert_eq!(field.value(), "");
    assert!(page.wanted.try_recv().is_err(), "an empty line is no intent");
    field.set_value(&"x".repeat(5_000));
    send.click();
    drawn().await;
    assert_eq!(field.value().len(), 5_000, "what was not sent is not lost");
    assert!(
        page.one("[data-testid=chat-problem]")
            .text_content()
            .unwrap()
            .contains("too long")
    );
}

#[wasm_bindgen_test]
async fn when_the_node_says_that_all_changed_everything_is_drawn() {
    let mut page = Page::draw();
    let peers = [PeerId::random(), PeerId::random()];
    page.apply(Event::PeerDiscovered {
        peer: peers[0],
        name: None,
    });
    drawn().await;
    let mut other = NodeView::new(page.view.local);
    let now = Now::default();
    for event in [
        Event::RoomJoined {
            room: RoomName::default(),
        },
        Event::PeerDiscovered {
            peer: peers[1],
            name: None,
        },
        line(peers[1], "9", "missed"),
    ] {
        let _ = other.apply(&event, now);
    }
    page.session.model.draw(&other, &Changed::All);
    drawn().await;
    assert_eq!(page.all("[data-testid=peer-row]").len(), 1);
    assert_eq!(
        attribute(&page.one("[data-testid=peer-row]"), "data-peer-id"),
        peers[1].to_string()
    );
    assert_eq!(page.one("[data-testid=chat-message]").text_content().unwrap(), "missed");
}
