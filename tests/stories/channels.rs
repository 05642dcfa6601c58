//! A peer that breaks the rules of streams on a direct connection: that stream ends, or that connection does. Our page goes on.

use std::time::Duration;

use peerway_tests::{
    browser::Browser,
    page_peer::{PagePeer, Reach, page_peer_site},
    relay::Relay,
};
use serde::Deserialize;

use crate::interop::websocket;

/// For the other side to say what it thinks of a stream, and to close it.
const SOON: Duration = Duration::from_secs(5);

/// Opens a channel of its own on the newest connection, sends messages, and tells how the other side took them.
const BREAK_THE_RULES: &str = "
    const channel = connections.newest.deref().createDataChannel('');
    channel.binaryType = 'arraybuffer';
    const heard = [];
    channel.onmessage = ({ data }) => heard.push(...new Uint8Array(data));
    const event = (name) => new Promise((resolve) => channel.addEventListener(name, () => resolve(true), { once: true }));
    await event('open');
    const closed = event('close');
    for (const message of messages) {
        channel.send(Uint8Array.from(message));
    }
    const late = new Promise((resolve) => setTimeout(resolve, patience, false));
    return { heard, closed: await Promise.race([closed, late]) };
";

/// Opens as many channels as it is told to, or as the browser lets it; tells how many those were.
const OPEN_MANY: &str = "
    let opened = 0;
    for (let count = 0; count < 10_000; count += 1) {
        try {
            connections.newest.deref().createDataChannel('');
            opened += 1;
        } catch {
            await new Promise((resolve) => setTimeout(resolve));
        }
    }
    return opened;
";

/// How the other side took it.
#[derive(Debug, Deserialize)]
struct Taken {
    heard: Vec<u8>,
    closed: bool,
}

/// A frame that says RESET.
const RESET: [u8; 3] = [2, 0x08, 2];
/// A frame that says FIN.
const FIN: [u8; 3] = [2, 0x08, 0];

struct Met {
    relay: Relay,
    browsers: (Browser, Browser),
    hostile: PagePeer,
    page: PagePeer,
}

impl Met {
    async fn directly() -> anyhow::Result<Self> {
        let (relay, site, browsers) = (Relay::start().await?, page_peer_site()?, Browser::launch_two().await?);
        let address = websocket(&relay).await?;
        let (hostile, page) = futures::try_join!(
            PagePeer::open_passive(&browsers.0, &site, &address),
            PagePeer::open_passive(&browsers.1, &site, &address)
        )?;
        hostile.connect(page.id(), Reach::DirectOnly).await?;
        page.measures(hostile.id()).await?;
        Ok(Self {
            relay,
            browsers,
            hostile,
            page,
        })
    }

    async fn breaks_the_rules(&self, messages: &[Vec<u8>]) -> anyhow::Result<Taken> {
        let (messages, patience) = (serde_json::to_string(messages)?, SOON.as_millis());
        let script = format!(
            "return (async () => {{ const messages = {messages}, patience = {patience}; {BREAK_THE_RULES} }})();"
        );
        Ok(serde_json::from_value(self.hostile.page().run(&script).await?)?)
    }

    async fn our_console_is_clean(&self) -> anyhow::Result<()> {
        assert_eq!(self.browsers.1.console_errors().await?, Vec::<String>::new());
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_stream_breaks_the_framing_it_is_reset_and_the_others_go_on() -> anyhow::Result<()> {
    let met = Met::directly().await?;
    let mut large = vec![0x81, 0x80, 0x01];
    large.resize(20_000, 7);
    let cases: [(&str, Vec<Vec<u8>>); 5] = [
        ("a flag that nobody knows", vec![vec![2, 0x08, 9]]),
        ("a frame of more than 16 KiB", vec![large]),
        ("a length of four gigabytes", vec![vec![0xff, 0xff, 0xff, 0xff, 0x0f]]),
        ("no protobuf", vec![vec![3, 0xff, 0xff, 0xff]]),
        ("data after its end", vec![FIN.to_vec(), vec![3, 0x12, 1, 7]]),
    ];
    for (what, messages) in cases {
        let taken = met.breaks_the_rules(&messages).await?;
        let reset = taken.heard.windows(RESET.len()).any(|heard| heard == RESET);
        assert!(reset && taken.closed, "{what}: {taken:?}");
        met.hostile.echo(met.page.id(), 100_000).await?;
        met.page.echo(met.hostile.id(), 100_000).await?;
    }
    met.our_console_is_clean().await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_ten_thousand_channels_are_opened_the_page_goes_on_with_everybody_else() -> anyhow::Result<()> {
    let met = Met::directly().await?;
    let opened = met
        .hostile
        .page()
        .run(&format!("return (async () => {{ {OPEN_MANY} }})();"))
        .await?;
    assert!(opened.as_u64() > Some(500), "the browser let it open only {opened}");
    let (site, address) = (page_peer_site()?, websocket(&met.relay).await?);
    let honest = PagePeer::open_passive(&met.browsers.0, &site, &address).await?;
    honest.connect(met.page.id(), Reach::DirectOnly).await?;
    honest.echo(met.page.id(), 100_000).await?;
    met.page.hang_up(met.hostile.id()).await?;
    met.page.closes_all_but(1).await?;
    honest.echo(met.page.id(), 100_000).await?;
    met.our_console_is_clean().await
}
