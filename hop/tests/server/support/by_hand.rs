//! A relay that is polled by hand, and clients whose streams are always ready: neither a clock nor another thread nor a
//! multiplexer has a say in how much happens in one turn, and a client comes from whatever address the test says.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::{
    AsyncRead, AsyncWrite, StreamExt,
    future::{self, BoxFuture},
    task::noop_waker_ref,
};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, Transport,
    core::{
        muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent},
        transport::{DialOpts, ListenerId, TransportError, TransportEvent},
    },
    identity::Keypair,
    relay,
    swarm::{self, NetworkBehaviour},
};
use peerway_hop::{Config, HOP_PROTOCOL, STOP_PROTOCOL};
use prost::Message as _;

use super::{PATIENCE, raw};

/// Where the relay says that it is.
const ADDRESS: &str = "/ip6/2001:db8::1/tcp/4001";
/// More turns than anything takes here.
const TURNS: usize = 1_000;
/// As much as is kept of what the relay writes to a stream; the rest is counted only.
const KEPT: usize = 4_096;

type Arrivals = Arc<Mutex<VecDeque<(Multiaddr, PeerId, StreamMuxerBox)>>>;

/// The relay, and everything that would run in a runtime.
pub(crate) struct ByHand<B: NetworkBehaviour> {
    swarm: Swarm<B>,
    spawned: Arc<Mutex<Vec<BoxFuture<'static, ()>>>>,
    tasks: Vec<BoxFuture<'static, ()>>,
    arrivals: Arrivals,
    carried: Arc<AtomicU64>,
}

impl ByHand<peerway_hop::Behaviour> {
    /// Ours.
    pub(crate) fn ours(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        Self::new(|keys| peerway_hop::Behaviour::new(keys, config))
    }
}

impl ByHand<relay::Behaviour> {
    /// libp2p's own.
    pub(crate) fn stock(config: relay::Config) -> Self {
        Self::new(|keys| relay::Behaviour::new(keys.public().to_peer_id(), config))
    }
}

impl<B: NetworkBehaviour> ByHand<B> {
    fn new(behaviour: impl FnOnce(&Keypair) -> B) -> Self {
        let keys = Keypair::generate_ed25519();
        let spawned = Arc::new(Mutex::new(Vec::new()));
        let new = Arc::clone(&spawned);
        let config = swarm::Config::with_executor(move |task| new.lock().unwrap().push(task))
            .with_idle_connection_timeout(2 * PATIENCE);
        let arrivals = Arrivals::default();
        let door = Door(Arc::clone(&arrivals)).boxed();
        let mut swarm = Swarm::new(door, behaviour(&keys), keys.public().to_peer_id(), config);
        swarm.add_external_address(ADDRESS.parse().unwrap());
        Self {
            swarm,
            spawned,
            tasks: Vec::new(),
            arrivals,
            carried: Arc::default(),
        }
    }

    /// A client connects. Whoever opens a stream to it finds that it takes the circuit, and has `flood` bytes to say on it.
    pub(crate) fn arrive(&mut self, from: &str, flood: u64) -> Client {
        let client = Client {
            id: PeerId::random(),
            opened: Arc::default(),
            accepted: Arc::default(),
            carried: Arc::clone(&self.carried),
            flood,
        };
        let muxer = StreamMuxerBox::new(Muxer(client.clone()));
        let arrival = (from.parse().unwrap(), client.id, muxer);
        self.arrivals.lock().unwrap().push_back(arrival);
        client
    }

    /// Lets everything do what it has to do once: the swarm, then each task. Returns the most that one task has carried
    /// while none other was looked at.
    pub(crate) fn turn(&mut self) -> u64 {
        let mut cx = Context::from_waker(noop_waker_ref());
        while self.swarm.poll_next_unpin(&mut cx).is_ready() {}
        self.tasks.append(&mut self.spawned.lock().unwrap());
        let (carried, mut most) = (&self.carried, 0);
        self.tasks.retain_mut(|task| {
            let before = carried.load(Ordering::Relaxed);
            let goes_on = task.as_mut().poll(&mut cx).is_pending();
            most = most.max(carried.load(Ordering::Relaxed) - before);
            goes_on
        });
        most
    }

    /// Takes turns until something is so. Returns the most that was carried in one of them, as [`Self::turn`] does.
    pub(crate) fn until(&mut self, what: &str, mut so: impl FnMut() -> bool) -> u64 {
        let mut most = 0;
        for _ in 0..TURNS {
            most = most.max(self.turn());
            if so() {
                return most;
            }
        }
        panic!("waited in vain until {what}");
    }

    /// What the relay answers.
    pub(crate) fn answer(&mut self, wire: &Wire) -> raw::HopMessage {
        self.until("it answers", || wire.answer().is_some());
        wire.answer().unwrap()
    }

    /// Whether a client gets a reservation; otherwise what it is told.
    pub(crate) fn reserve(&mut self, client: &Client) -> Result<(), Option<i32>> {
        let status = self.answer(&client.ask(&raw::RESERVE)).status;
        if status == Some(100) { Ok(()) } else { Err(status) }
    }

    /// A circuit: its source's stream, and its destination's.
    pub(crate) fn circuit(&mut self, source: &Client, destination: &Client) -> (Wire, Wire) {
        let asked = source.ask(&raw::connect(destination.id));
        assert_eq!(self.answer(&asked).status, Some(100));
        // For whatever begins with the circuit.
        self.turn();
        let accepted = destination.accepted.lock().unwrap().last().unwrap().clone();
        (asked, accepted)
    }

    /// How much was carried of all floods.
    pub(crate) fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) id: PeerId,
    /// Those that the relay has not seen yet.
    opened: Arc<Mutex<VecDeque<Wire>>>,
    /// Those that the relay opened.
    accepted: Arc<Mutex<Vec<Wire>>>,
    carried: Arc<AtomicU64>,
    flood: u64,
}

impl Client {
    /// Says something on a HOP stream of its own.
    pub(crate) fn ask(&self, request: &[u8]) -> Wire {
        let wire = Wire::new(&HOP_PROTOCOL, request, &self.carried);
        self.opened.lock().unwrap().push_back(wire.clone());
        wire
    }
}

/// A client's side of a stream.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Mutex<State>>);

struct State {
    /// What is read first.
    said: VecDeque<u8>,
    /// How many bytes come after that.
    flood: u64,
    /// How long the first read of the flood takes.
    stall: Duration,
    /// The most that a read of it asked for.
    asked_for: usize,
    /// The beginning of what was written.
    heard: Vec<u8>,
    /// How much of all floods had been carried when something was written last.
    heard_after: u64,
    reader: Option<Waker>,
    is_dropped: bool,
    carried: Arc<AtomicU64>,
}

impl Wire {
    /// One on which the client's part of the negotiation is said already.
    fn new(protocol: &StreamProtocol, then: &[u8], carried: &Arc<AtomicU64>) -> Self {
        let mut said = VecDeque::new();
        for line in ["/multistream/1.0.0", protocol.as_ref()] {
            said.push_back(u8::try_from(line.len() + 1).unwrap());
            said.extend(line.bytes());
            said.push_back(b'\n');
        }
        said.extend(then);
        Self(Arc::new(Mutex::new(State {
            said,
            flood: 0,
            stall: Duration::ZERO,
            asked_for: 0,
            heard: Vec::new(),
            heard_after: 0,
            reader: None,
            is_dropped: false,
            carried: Arc::clone(carried),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// So many bytes are there from now on, all at once.
    pub(crate) fn flood(&self, bytes: u64) {
        let mut state = self.state();
        state.flood = bytes;
        state.wake();
    }

    /// The first read of the flood takes so long.
    pub(crate) fn stall(&self, time: Duration) {
        self.state().stall = time;
    }

    pub(crate) fn say(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.said.extend(bytes);
        state.wake();
    }

    pub(crate) fn has_heard(&self, bytes: &[u8]) -> bool {
        self.state().heard.ends_with(bytes)
    }

    /// How much of all floods had been carried when it heard something last.
    pub(crate) fn heard_after(&self) -> u64 {
        self.state().heard_after
    }

    /// The most that the relay was ready to read of its flood at once.
    pub(crate) fn asked_for(&self) -> usize {
        self.state().asked_for
    }

    /// Whether the relay has given it up.
    pub(crate) fn is_dropped(&self) -> bool {
        self.state().is_dropped
    }

    /// What comes after two lines of negotiation, if it is there.
    fn answer(&self) -> Option<raw::HopMessage> {
        let state = self.state();
        let mut rest = &state.heard[..];
        for _ in 0..2 {
            let line = usize::from(*rest.first()?) + 1;
            rest = rest.get(line..)?;
        }
        raw::HopMessage::decode_length_delimited(rest).ok()
    }
}

impl State {
    fn wake(&mut self) {
        self.reader.take().into_iter().for_each(Waker::wake);
    }
}

/// The relay's side of a stream.
struct End(Wire);

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        if !state.said.is_empty() {
            let count = state.said.len().min(buf.len());
            for (to, from) in buf.iter_mut().zip(state.said.drain(..count)) {
                *to = from;
            }
            return Poll::Ready(Ok(count));
        }
        let count = buf.len().min(usize::try_from(state.flood).unwrap());
        if count == 0 {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        std::thread::sleep(std::mem::take(&mut state.stall));
        state.asked_for = state.asked_for.max(buf.len());
        state.flood -= count as u64;
        state.carried.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        let kept = buf.len().min(KEPT - state.heard.len());
        state.heard.extend(&buf[..kept]);
        state.heard_after = state.carried.load(Ordering::Relaxed);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.0.state().is_dropped = true;
    }
}

/// The relay's side of a connection.
struct Muxer(Client);

impl StreamMuxer for Muxer {
    type Substream = End;
    type Error = Infallible;

    fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<End, Infallible>> {
        match self.0.opened.lock().unwrap().pop_front() {
            Some(wire) => Poll::Ready(Ok(End(wire))),
            None => Poll::Pending,
        }
    }

    fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<End, Infallible>> {
        let wire = Wire::new(&STOP_PROTOCOL, &raw::ACCEPT, &self.0.carried);
        wire.flood(self.0.flood);
        self.0.accepted.lock().unwrap().push(wire.clone());
        Poll::Ready(Ok(End(wire)))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Infallible>> {
        Poll::Pending
    }
}

/// A transport through which clients come, and nobody goes.
struct Door(Arrivals);

type Secured = Result<(PeerId, StreamMuxerBox), Infallible>;

impl Transport for Door {
    type Output = (PeerId, StreamMuxerBox);
    type Error = Infallible;
    type ListenerUpgrade = future::Ready<Secured>;
    type Dial = future::Pending<Secured>;

    fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<Infallible>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<Infallible>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let Some((send_back_addr, peer, muxer)) = self.0.lock().unwrap().pop_front() else {
            return Poll::Pending;
        };
        Poll::Ready(TransportEvent::Incoming {
            listener_id: ListenerId::next(),
            upgrade: future::ready(Ok((peer, muxer))),
            local_addr: ADDRESS.parse().unwrap(),
            send_back_addr,
        })
    }
}
