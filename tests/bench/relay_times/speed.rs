//! How fast a circuit is beside a direct connection, how many share a relay, and whether a quiet one suffers from them.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future::try_join_all};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, multiaddr::Protocol};
use peerway_tests::samples::{Aim, report_against, report_in};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use crate::{
    carry::{Pair, count, send},
    client::{Full, Node, PATIENCE},
    contestants::{Carrier, Contestant, Maker},
};

const SINK: StreamProtocol = StreamProtocol::new("/bench/sink/1");
const MIB: f64 = (1 << 20) as f64;
/// What goes through in one sample of one circuit, and of all of them.
const BYTES: u64 = 256 << 20;
/// Circuits at once that share what one has to itself.
const MANY: usize = 32;
/// Circuits that take what they can get.
const GREEDY: usize = 16;
/// How long round trips of the quiet circuit are measured in one sample; the hundredth part of them is slower than what
/// is reported.
const MEASURED_FOR: Duration = Duration::from_secs(4);
/// How long the quiet circuit is quiet between two of them.
const QUIET: Duration = Duration::from_millis(1);
/// How long the greedy ones are let go before: what they may carry in a burst is carried then.
const BURSTING: Duration = Duration::from_secs(3);
/// What a circuit may carry as we hand the relay out.
const DEFAULT_RATE: &str = "circuit_rate = \"1MiB\"\ncircuit_burst = \"8MiB\"";
/// Higher than the load's: what is measured is the relay, not who gets the other core first.
const NICE: i32 = -19;

/// One circuit against a direct connection, and many against one, in turns.
pub(crate) async fn measure(rounds: usize) -> anyhow::Result<()> {
    let relay = Maker::Ours.start().await?;
    let address = relay.address(Carrier::Tcp)?;
    let mut near = Whole::meet(None).await?;
    let mut far = Whole::meet(Some(&address)).await?;
    let mut one = Pair::join(&relay, Carrier::Tcp).await?;
    let mut many = try_join_all((0..MANY).map(|_| Pair::join(&relay, Carrier::Tcp))).await?;
    let [mut directs, mut relayed, mut ones, mut manys] = [(); 4].map(|()| Vec::new());
    for round in 0..=rounds {
        let direct = near.throughput(BYTES).await?;
        let through = far.throughput(BYTES).await?;
        let alone = BYTES as f64 / MIB / one.carry(BYTES).await?.as_secs_f64();
        let began = Instant::now();
        try_join_all(many.iter_mut().map(|pair| pair.carry(BYTES / MANY as u64))).await?;
        let together = BYTES as f64 / MIB / began.elapsed().as_secs_f64();
        if round > 0 {
            directs.push(direct);
            relayed.push(through);
            ones.push(alone);
            manys.push(together);
        }
    }
    let all = |name: &str, samples: &[f64]| report_in(name, "MiB/s", samples.iter().copied());
    let ratio = |name: &str, above: &[f64], below: &[f64], aim| {
        let ratios = above.iter().zip(below).map(|(above, below)| above / below);
        report_against(name, "×", ratios, Aim::AtLeast(aim));
    };
    all("Throughput over TCP, direct", &directs);
    all("Throughput over TCP, through a circuit", &relayed);
    ratio("Throughput, circuit / direct", &relayed, &directs, 0.45);
    all("Throughput of one circuit, not encrypted a second time", &ones);
    all("Throughput of 32 such circuits", &manys);
    ratio("Throughput, 32 circuits / one", &manys, &ones, 0.9);
    Ok(())
}

/// Two of libp2p's own clients that are connected, encrypted from end to end.
struct Whole {
    source: Node<Full>,
    destination: PeerId,
    arrived: mpsc::Receiver<u64>,
    _destination: Node<Full>,
}

impl Whole {
    /// Through the relay, or else directly.
    async fn meet(relay: Option<&Multiaddr>) -> anyhow::Result<Self> {
        let (source, destination) = (Node::full()?, Node::full()?);
        let on = match relay {
            Some(relay) => relay.clone().with(Protocol::P2pCircuit),
            None => "/ip4/127.0.0.1/tcp/0".parse()?,
        };
        let address = destination.listen(on).await?;
        let incoming = destination.with(|swarm| swarm.behaviour_mut().streams.accept(SINK));
        let mut incoming = incoming.await??;
        let (counted, arrived) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some((_, stream)) = incoming.next().await {
                // Whoever waits for it sees what is missing.
                let _ = counted.send(count(stream).await).await;
            }
        });
        let address = match address.iter().last() {
            Some(Protocol::P2p(_)) => address,
            _ => address.with(Protocol::P2p(destination.id)),
        };
        source.connect(&address).await?;
        Ok(Self {
            source,
            destination: destination.id,
            arrived,
            _destination: destination,
        })
    }

    /// In mebibytes a second.
    async fn throughput(&mut self, bytes: u64) -> anyhow::Result<f64> {
        let began = Instant::now();
        let peer = self.destination;
        let open = self
            .source
            .with(move |swarm| swarm.behaviour_mut().streams.open(peer, SINK));
        let stream = open.await?.await?;
        let carried = async {
            send(stream, bytes).await?;
            self.arrived.recv().await.context("nobody counts")
        };
        let arrived = timeout(PATIENCE, carried).await.context("it takes too long")??;
        ensure!(arrived == bytes, "{arrived} of {bytes} bytes arrived");
        Ok(bytes as f64 / MIB / began.elapsed().as_secs_f64())
    }
}

/// The quiet circuit by itself and beside greedy ones, in turns: at the rate that is the default, and without one.
pub(crate) async fn fairness(rounds: usize) -> anyhow::Result<()> {
    let ours = Contestant::ours(DEFAULT_RATE).await?;
    beside_greedy(rounds, "at the default rate", ours, Some(Aim::AtMost(3.0))).await?;
    let ours = Contestant::ours("").await?;
    beside_greedy(rounds, "at any rate", ours, Some(Aim::AtMost(3.0))).await?;
    let stock = Contestant::stock(&[]).await?;
    beside_greedy(rounds, "at any rate, libp2p-relay", stock, None).await
}

async fn beside_greedy(rounds: usize, how: &str, relay: Contestant, aim: Option<Aim>) -> anyhow::Result<()> {
    let quiet = Quiet::start(relay.address(Carrier::Tcp)?)?;
    let mut greedy = try_join_all((0..GREEDY).map(|_| Pair::join(&relay, Carrier::Tcp))).await?;
    let (mut idles, mut busys, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let idle = quiet.slowest().await?;
        let (stop, stopped) = watch::channel(());
        let began = Instant::now();
        let taking = greedy.iter_mut().map(|pair| pair.carry_until(stopped.clone()));
        let asking = async {
            tokio::time::sleep(BURSTING).await;
            let busy = quiet.slowest().await;
            drop(stop);
            busy
        };
        let (taken, busy) = futures::join!(try_join_all(taking), asking);
        let rate = taken?.iter().sum::<u64>() as f64 / MIB / began.elapsed().as_secs_f64();
        if round > 0 {
            idles.push(idle);
            busys.push(busy?);
            rates.push(rate);
        }
    }
    let millis = |beside: &str, samples: &[f64]| {
        let name = format!("p99 of a round trip over a quiet circuit {beside}");
        report_in(&name, "ms", samples.iter().copied());
    };
    millis(&format!("that is alone, {how}"), &idles);
    millis(&format!("beside 16 greedy ones {how}"), &busys);
    report_in(
        &format!("What the 16 greedy ones carry {how}"),
        "MiB/s",
        rates.into_iter(),
    );
    let ratios = busys.iter().zip(&idles).map(|(busy, idle)| busy / idle);
    let name = format!("p99, beside 16 greedy ones {how} / alone");
    match aim {
        Some(aim) => report_against(&name, "×", ratios, aim),
        None => report_in(&name, "×", ratios),
    }
    Ok(())
}

/// Who wants the p99 of some round trips.
type Asked = oneshot::Sender<anyhow::Result<f64>>;

/// A circuit with a thread of its own at either end, which is not in the way of others and they are not in its.
struct Quiet {
    ask: mpsc::Sender<Asked>,
}

impl Quiet {
    fn start(relay: Multiaddr) -> anyhow::Result<Self> {
        let (ask, mut asked) = mpsc::channel::<Asked>(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("quiet".into()).spawn(move || {
            // Without the right to it, the number is worse than the relay is.
            let _ = rustix::process::setpriority_process(None, NICE);
            runtime.block_on(async {
                let mut stream = None;
                while let Some(answer) = asked.recv().await {
                    let measured = async {
                        let (_, stream) = match &mut stream {
                            Some(open) => open,
                            none => none.insert(open_echo(&relay).await?),
                        };
                        slowest(stream).await
                    };
                    let _ = answer.send(measured.await);
                }
            });
        })?;
        Ok(Self { ask })
    }

    /// The p99 of some round trips, in milliseconds.
    async fn slowest(&self) -> anyhow::Result<f64> {
        let (answer, slowest) = oneshot::channel();
        let asked = self.ask.send(answer).await;
        asked.ok().context("the quiet one has ended")?;
        slowest.await?
    }
}

async fn open_echo(relay: &Multiaddr) -> anyhow::Result<([Node<crate::client::Raw>; 2], Stream)> {
    let destination = Node::reserved(relay).await?;
    destination
        .serve(|mut stream: Stream| async move {
            let mut byte = [0];
            while stream.read_exact(&mut byte).await.is_ok() {
                if stream.write_all(&byte).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
        })
        .await?;
    let source = Node::connected(relay).await?;
    let stream = source.reach(relay, destination.id).await?;
    Ok(([source, destination], stream))
}

async fn slowest(stream: &mut Stream) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    let until = Instant::now() + MEASURED_FOR;
    while Instant::now() < until {
        tokio::time::sleep(QUIET).await;
        let began = Instant::now();
        let there_and_back = async {
            stream.write_all(&[1]).await?;
            stream.flush().await?;
            stream.read_exact(&mut [0]).await
        };
        timeout(PATIENCE, there_and_back).await.context("no answer")??;
        times.push(began.elapsed());
    }
    Ok(percentile(&mut times, 99).as_secs_f64() * 1_000.0)
}

/// The time that so many in a hundred are not slower than.
pub(crate) fn percentile(times: &mut [Duration], hundredths: usize) -> Duration {
    times.sort_unstable();
    let at = (times.len() * hundredths).div_ceil(100).saturating_sub(1);
    times.get(at).copied().unwrap_or_default()
}
