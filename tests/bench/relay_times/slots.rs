//! What comes before bytes are carried: circuits set up, reservations refused, and whether those who have left leave
//! anything behind.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use futures::{AsyncReadExt, StreamExt, future::try_join_all, stream};
use libp2p::Stream;
use peerway_tests::samples::{Aim, report_against, report_in};

use crate::{
    client::{Node, Refused},
    contestants::{Carrier, Contestant, Maker},
    speed::percentile,
};

/// Peers that open circuits, each to a peer of its own.
const OPENERS: usize = 4;
/// Circuits that each of them opens at once.
const AT_ONCE: usize = 8;
/// How long they open circuits in one sample.
const OPENING: Duration = Duration::from_secs(2);

const MIB: f64 = (1 << 20) as f64;

/// Slots of a relay that is to be full.
const SLOTS: usize = 64;
/// Requests that it refuses.
const REFUSALS: usize = 1_000;
/// `RESERVATION_REFUSED` of the specification.
const RESERVATION_REFUSED: i32 = 200;

/// Peers that come and go before anything is looked at: what the first of them cost is code and tables that all share.
const WARM_UP: usize = 2_000;
/// Peers that come and go then, in each round.
const CYCLES: usize = 10_000;
/// Those that do so at once.
const COMING: usize = 16;
/// How long a relay is given to see that the last ones have gone.
const SETTLING: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Circuits set up a second, ours and js-libp2p's in turns.
pub(crate) async fn circuits(rounds: usize) -> anyhow::Result<()> {
    let makers = [Maker::Ours, Maker::Stock, Maker::Js];
    let relays = try_join_all(makers.map(Maker::start)).await?;
    let mut rates: [Vec<f64>; 3] = Default::default();
    for round in 0..=rounds {
        for (relay, rates) in relays.iter().zip(&mut rates) {
            let rate = circuits_a_second(relay).await?;
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    for (maker, rates) in makers.iter().zip(&rates) {
        let name = format!("Circuits set up a second: {}", maker.name());
        report_in(&name, "/s", rates.iter().copied());
    }
    let ratio = |theirs: usize| {
        let ratios: Vec<f64> = rates[0]
            .iter()
            .zip(&rates[theirs])
            .map(|(ours, other)| ours / other)
            .collect();
        (
            format!("Circuits a second, Peerway / {}", makers[theirs].name()),
            ratios,
        )
    };
    let (name, ratios) = ratio(1);
    report_in(&name, "×", ratios.into_iter());
    let (name, ratios) = ratio(2);
    report_against(&name, "×", ratios.into_iter(), Aim::AtLeast(3.0));
    Ok(())
}

async fn circuits_a_second(relay: &Contestant) -> anyhow::Result<f64> {
    let address = relay.address(Carrier::Tcp)?;
    let mut pairs = Vec::new();
    for _ in 0..OPENERS {
        let destination = Node::reserved(&address).await?;
        destination.serve(until_it_ends).await?;
        pairs.push((Node::connected(&address).await?, destination));
    }
    let began = Instant::now();
    let openers = pairs.iter().flat_map(|pair| std::iter::repeat_n(pair, AT_ONCE));
    let opened = try_join_all(openers.map(async |(source, destination)| {
        let mut opened = 0;
        while began.elapsed() < OPENING {
            drop(source.reach(&address, destination.id).await?);
            opened += 1;
        }
        anyhow::Ok(opened)
    }))
    .await?;
    Ok(f64::from(opened.iter().sum::<u32>()) / began.elapsed().as_secs_f64())
}

async fn until_it_ends(mut stream: Stream) {
    let mut nothing = [0; 64];
    while stream.read(&mut nothing).await.is_ok_and(|read| read > 0) {}
}

/// How long somebody waits to hear that there is no slot left.
pub(crate) async fn refusals(rounds: usize) -> anyhow::Result<()> {
    let relay = Contestant::ours(&format!("reservations = {SLOTS}")).await?;
    let address = relay.address(Carrier::WebSocket)?;
    let holders = try_join_all((0..SLOTS).map(|_| Node::reserved(&address))).await?;
    let newcomer = Node::connected(&address).await?;
    let mut slowest = Vec::new();
    for _ in 0..rounds {
        let mut times = Vec::new();
        for _ in 0..REFUSALS {
            let began = Instant::now();
            match newcomer.reserve(&address).await {
                Ok(()) => bail!("one more than {SLOTS} got a slot"),
                Err(error) => ensure!(error.downcast_ref() == Some(&Refused(Some(RESERVATION_REFUSED))), error),
            }
            times.push(began.elapsed());
        }
        slowest.push(percentile(&mut times, 99).as_secs_f64() * 1_000.0);
    }
    for holder in &holders {
        // Who has a slot keeps it meanwhile.
        holder.reserve(&address).await?;
    }
    let name = "p99 of the refusal of one reservation more than there may be";
    report_against(name, "ms", slowest.into_iter(), Aim::AtMost(50.0));
    Ok(())
}

/// What is left of peers that have come, reserved and gone, at our relay and at libp2p's own.
pub(crate) async fn cycles(rounds: usize) -> anyhow::Result<()> {
    for maker in [Maker::Ours, Maker::Stock] {
        come_and_go(maker, rounds).await?;
    }
    Ok(())
}

/// Ten thousand in each round.
async fn come_and_go(maker: Maker, rounds: usize) -> anyhow::Result<()> {
    let relay = maker.start().await?;
    let address = relay.address(Carrier::WebSocket)?;
    let idle = relay.descriptors()?;
    let visit = async |peers: usize| {
        let began = Instant::now();
        let visits = stream::iter(0..peers).map(|_| Node::reserved(&address));
        let mut visits = visits.buffer_unordered(COMING);
        while let Some(visitor) = visits.next().await {
            drop(visitor?);
        }
        let rate = peers as f64 / began.elapsed().as_secs_f64();
        let began = Instant::now();
        while relay.descriptors()? > idle && began.elapsed() < SETTLING {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        anyhow::Ok((rate, relay.resident()? as f64))
    };
    // The start: what the first visitors leave are tables that all share.
    let (_, start) = visit(WARM_UP).await?;
    let [mut growths, mut memories, mut rates] = [(); 3].map(|()| Vec::new());
    for _ in 0..rounds {
        let (rate, after) = visit(CYCLES).await?;
        growths.push(after / start);
        memories.push(after / MIB);
        rates.push(rate);
    }
    let name = |what: &str| format!("{what}: {}", maker.name());
    let rate = name("Peers that come, reserve and leave, a second");
    let memory = name("Memory after each 10 000 of them");
    let growth = name("Memory after each 10 000 of them / at the start");
    let open = name("Descriptors that all of them left open");
    let more = relay.descriptors()? as f64 - idle as f64;
    report_in(&rate, "/s", rates.into_iter());
    report_in(&memory, "MiB", memories.into_iter());
    match maker {
        Maker::Ours => {
            report_against(&growth, "×", growths.into_iter(), Aim::AtMost(1.05));
            report_against(&open, "", std::iter::once(more), Aim::AtMost(0.0));
        }
        Maker::Stock | Maker::Js => {
            report_in(&growth, "×", growths.into_iter());
            report_in(&open, "", std::iter::once(more));
        }
    }
    Ok(())
}
