//! A peer that breaks the rules of signalling, towards our page: the page lives on, the circuit lives on, and whoever
//! asked hears why.

use std::time::Duration;

use futures::future::try_join_all;
use libp2p::multiaddr::Protocol;
use peerway_tests::{
    browser::Browser,
    js::{End, JsPeer, JsRoute},
    page::SOON,
    page_peer::{PagePeer, Reach, page_peer_site},
    relay::Relay,
};

use crate::interop::websocket;

/// Far less than a deadline: whoever ends so soon has not waited for it.
const AT_ONCE: Duration = Duration::from_secs(10);

/// What our page allows from the open stream to the connection, and a little more.
const DEADLINE: Duration = Duration::from_secs(40);

/// Where it stops when the browsers know of each other and one of them is not there.
const NOT_CONNECTED: &str = "it stopped at: trying network addresses";

const OFFER: u8 = 0;
const ANSWER: u8 = 1;
const CANDIDATE: u8 = 2;

/// What a browser takes for another browser's offer. Nobody is there.
const SDP: &str = concat!(
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n",
    "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=ice-options:trickle\r\n",
    "a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:",
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n",
    "a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n",
);

/// A message as it goes over the stream: its length, its type, its text.
fn message(kind: u8, text: &str) -> Vec<u8> {
    let mut body = vec![0x08, kind, 0x12];
    body.extend(varint(text.len()));
    body.extend(text.as_bytes());
    let mut message = varint(body.len());
    message.extend(body);
    message
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn candidates(count: usize) -> Vec<Vec<u8>> {
    let candidate = r#"{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host","sdpMid":"0","sdpMLineIndex":0}"#;
    vec![message(CANDIDATE, candidate); count]
}

async fn one_page() -> anyhow::Result<(Relay, PagePeer)> {
    let (relay, site, browser) = (Relay::start().await?, page_peer_site()?, Browser::launch().await?);
    let page = PagePeer::open(&browser, &site, &websocket(&relay).await?).await?;
    Ok((relay, page))
}

/// A peer that has a circuit to the page.
async fn meet_at(relay: &Relay, page: &PagePeer) -> anyhow::Result<JsPeer> {
    let address = websocket(relay).await?;
    let js = JsPeer::start_silent(&address).await?;
    let circuit = address.with(Protocol::P2pCircuit).with(Protocol::P2p(page.id()));
    js.dial(&circuit).await?;
    page.reaches(js.id(), Some(JsRoute::Circuit)).await?;
    Ok(js)
}

async fn meet() -> anyhow::Result<(Relay, JsPeer, PagePeer)> {
    let (relay, page) = one_page().await?;
    let js = meet_at(&relay, &page).await?;
    Ok((relay, js, page))
}

/// Waits until the page gives this as the reason for which there is no direct connection.
async fn says_why(page: &PagePeer, js: &JsPeer, why: &str) -> anyhow::Result<()> {
    let peer = js.id().to_string();
    page.until(
        SOON,
        &format!("no direct connection to {peer}, because {why}"),
        |status| {
            let failure = status.peers.get(&peer)?.failure.as_ref()?;
            failure.contains(why).then_some(())
        },
    )
    .await
}

/// The circuit carries what is said, and the browser has nothing left to close.
async fn all_is_well(js: &JsPeer, page: &PagePeer) -> anyhow::Result<()> {
    js.echo(page.id(), JsRoute::Circuit, 1000).await?;
    page.echo(js.id(), 1000).await?;
    page.closes_all_but(0).await?;
    assert_eq!(page.page().browser().console_errors().await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_an_offer_breaks_the_rules_its_stream_is_ended_at_once_and_the_circuit_lives_on() -> anyhow::Result<()> {
    let (_relay, js, page) = meet().await?;
    let offer = message(OFFER, SDP);
    let mut half = message(OFFER, SDP);
    half.truncate(half.len() / 2);
    let mut too_many = vec![offer.clone()];
    too_many.extend(candidates(300));
    let cases: [(&str, Vec<Vec<u8>>, End); 8] = [
        (
            "a length of a megabyte",
            vec![varint(1 << 20), vec![0; 1 << 16]],
            End::Nothing,
        ),
        ("half a message", vec![half], End::Half),
        ("no message", vec![], End::Half),
        ("no protobuf", vec![vec![3, 0xff, 0xff, 0xff]], End::Nothing),
        ("an answer first", vec![message(ANSWER, SDP)], End::Nothing),
        ("a candidate first", candidates(1), End::Nothing),
        ("a second offer", vec![offer.clone(), offer], End::Nothing),
        ("300 candidates", too_many, End::Nothing),
    ];
    for (what, messages, end) in cases {
        let signalled = js.signal(page.id(), &messages, end).await?;
        assert!(signalled.took()? < AT_ONCE, "{what}: {signalled:?}");
    }
    let refused = js
        .signal(page.id(), &[message(OFFER, "v=0\r\nnonsense")], End::Nothing)
        .await?;
    assert!(refused.took()? < AT_ONCE && refused.answered == 0, "{refused:?}");
    all_is_well(&js, &page).await
}

/// How a peer that asks for a direct connection falls silent.
struct SilentOffer {
    js: JsPeer,
    /// What it says before.
    said: Said,
    /// What our page makes of it; a stream of which it does not know what it is for is nothing to tell of.
    why: Option<&'static str>,
}

enum Said {
    Nothing,
    Only(Vec<Vec<u8>>),
}

impl SilentOffer {
    async fn is_given_up(&self, page: &PagePeer) -> anyhow::Result<()> {
        let (signalled, answered) = match &self.said {
            Said::Nothing => (self.js.open_mute(page.id()).await?, false),
            Said::Only(messages) => (
                self.js.signal(page.id(), messages, End::Nothing).await?,
                !messages.is_empty(),
            ),
        };
        assert_eq!(signalled.answered > 0, answered, "{:?}: {signalled:?}", self.why);
        assert!(signalled.took()? < DEADLINE, "{:?}: {signalled:?}", self.why);
        match self.why {
            Some(why) => says_why(page, &self.js, why).await,
            None => Ok(()),
        }
    }
}

/// How a peer falls silent that is asked for one.
struct SilentAnswer {
    js: JsPeer,
    said: Said,
    why: &'static str,
}

impl SilentAnswer {
    async fn is_given_up(&self, page: &PagePeer) -> anyhow::Result<()> {
        match &self.said {
            Said::Nothing => self.js.ignore_signals(page.id()).await?,
            // It is tried again, and would be silent again.
            Said::Only(messages) => self.js.answer_one_signal(messages).await?,
        }
        let ended = page
            .connect_meanwhile(self.js.id(), Reach::DirectOnly, DEADLINE)
            .await?;
        let error = ended.expect_err("nobody answered");
        assert!(error.contains(self.why), "{}: {error}", self.why);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_peer_falls_silent_the_session_ends_with_a_reason_and_the_circuit_lives_on() -> anyhow::Result<()> {
    let (relay, page) = one_page().await?;
    let offer = message(OFFER, SDP);
    let answer = message(ANSWER, &SDP.replace("actpass", "active"));
    let candidate = candidates(1).remove(0);
    let only = |messages: &[&Vec<u8>]| Said::Only(messages.iter().copied().cloned().collect());
    let silent = [
        (Said::Nothing, None),
        (only(&[]), Some("it stopped at: the offer")),
        (only(&[&offer]), Some(NOT_CONNECTED)),
        (only(&[&offer, &candidate]), Some(NOT_CONNECTED)),
    ];
    let offers = try_join_all(silent.map(async |(said, why)| {
        let js = meet_at(&relay, &page).await?;
        anyhow::Ok(SilentOffer { js, said, why })
    }));
    let silent = [
        (Said::Nothing, "the other peer did not answer"),
        (only(&[]), "it stopped at: the answer"),
        (only(&[&answer]), NOT_CONNECTED),
        (only(&[&answer, &candidate]), NOT_CONNECTED),
    ];
    let answers = try_join_all(silent.map(async |(said, why)| {
        let js = meet_at(&relay, &page).await?;
        anyhow::Ok(SilentAnswer { js, said, why })
    }));
    let (offers, answers) = futures::try_join!(offers, answers)?;

    futures::try_join!(
        try_join_all(offers.iter().map(|silent| silent.is_given_up(&page))),
        try_join_all(answers.iter().map(|silent| silent.is_given_up(&page)))
    )?;
    let all = offers
        .iter()
        .map(|silent| &silent.js)
        .chain(answers.iter().map(|silent| &silent.js));
    for js in all {
        all_is_well(js, &page).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_an_answer_breaks_the_rules_our_page_says_why_and_stays_on_the_circuit() -> anyhow::Result<()> {
    let (_relay, js, page) = meet().await?;
    let cases: [(&str, Vec<Vec<u8>>, &str); 4] = [
        ("an offer", vec![message(OFFER, SDP)], "unexpected"),
        ("no protobuf", vec![vec![3, 0xff, 0xff, 0xff]], "malformed message"),
        (
            "what no browser takes",
            vec![message(ANSWER, "v=0\r\nnonsense")],
            "could not use the other peer's description",
        ),
        ("a length of a megabyte", vec![varint(1 << 20)], "longer than allowed"),
    ];
    for (what, messages, why) in cases {
        js.answer_signals(&messages).await?;
        let error = match page.connect(js.id(), Reach::DirectOnly).await {
            Ok(connected) => anyhow::bail!("{what}: {connected:?}"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(why), "{what}: {error}");
        let shown = page.status().await?.peers.remove(&js.id().to_string());
        let failure = shown.and_then(|known| known.failure);
        assert!(
            failure.as_ref().is_some_and(|failure| failure.contains(why)),
            "{what}: {failure:?}"
        );
    }
    all_is_well(&js, &page).await
}
