//! Stories that cross crates, told with a real relay and real browsers.

mod access;
mod channels;
mod chat;
mod clipboard;
mod clock;
mod cycles;
mod direct;
mod driver;
mod exposure;
mod field_trial;
mod firefox;
mod hostile;
mod interop;
mod js;
mod lifecycle;
mod loss;
mod mesh;
mod nat;
mod network;
mod one_file;
mod relays;
mod signaling;
mod tabs;
mod words;

use peerway_tests::{browser::Browser, page::Page};

/// One page in a browser of its own.
async fn open_one(url: &str) -> anyhow::Result<Page> {
    Browser::launch().await?.open(url).await
}

/// Two pages in two browser processes.
async fn two_pages(url: &str) -> anyhow::Result<(Page, Page)> {
    futures::try_join!(open_one(url), open_one(url))
}

/// The page's URL with a relay that the user names.
fn with_relay(url: &str, relay: &str) -> anyhow::Result<String> {
    let mut url = url::Url::parse(url)?;
    url.query_pairs_mut().append_pair("relay", relay);
    Ok(url.into())
}
