//! A peer connection and what the browser reports on it, from before it is connected to its end.
//!
//! Takes every inbound channel as it appears, up to a bound, so that nothing sent on it is lost; keeps local candidates
//! for whoever signals. Never decides whether a connection is wanted.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
};

use crate::{
    rtc::{self, ConnectionEvents, ConnectionState, IceServer, RawChannel, RtcError},
    stream::{self, Acks, Hub, Stream, wake},
};

/// Inbound streams at a time. Half of the ids that a browser gives; a further channel is closed at once.
const MAX_INBOUND: usize = 512;
/// Local candidates that wait for whoever signals; the browser gathers a few dozen. Beyond, they are dropped.
const MAX_CANDIDATES: usize = 256;

/// js-libp2p's initiator opens a channel of this name so that there is something to offer; it carries no stream.
pub(crate) const INIT_LABEL: &str = "init";

/// What happens before a connection is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LinkEvent {
    /// The connection's state changed.
    State(ConnectionState),
    /// A local candidate as JSON, to be sent to the other side.
    Candidate(String),
    /// There will be no more candidates.
    EndOfCandidates,
}

/// One peer connection. Dropping it closes it and ends its streams.
pub(crate) struct Link {
    rtc: rtc::Connection,
    mailbox: Rc<Mailbox>,
}

struct Mailbox {
    hub: Rc<Hub>,
    state: Cell<ConnectionState>,
    /// What [`Link::poll_event`] has not told yet. One state at most: the newest.
    changed: Cell<Option<ConnectionState>>,
    candidates: RefCell<VecDeque<LinkEvent>>,
    watcher: RefCell<Option<Waker>>,
    /// The other side's first channel, kept so that the browser does not collect it before it is closed over there.
    init: RefCell<Option<RawChannel>>,
    /// Streams that were not accepted yet; among `streams`.
    inbound: RefCell<VecDeque<Rc<stream::Shared>>>,
    acceptor: RefCell<Option<Waker>>,
    /// Every stream that the application holds or will be handed.
    streams: RefCell<Vec<Rc<stream::Shared>>>,
}

impl Link {
    pub(crate) fn new(servers: &[IceServer], acks: Acks) -> Result<Self, RtcError> {
        let mailbox = Rc::new(Mailbox {
            hub: Rc::new(Hub::new(acks)),
            state: Cell::new(ConnectionState::Pending),
            changed: Cell::new(None),
            candidates: RefCell::default(),
            watcher: RefCell::new(None),
            init: RefCell::new(None),
            inbound: RefCell::default(),
            acceptor: RefCell::new(None),
            streams: RefCell::default(),
        });
        let events: Weak<Mailbox> = Rc::downgrade(&mailbox);
        let rtc = rtc::Connection::new(servers, events)?;
        Ok(Self { rtc, mailbox })
    }

    pub(crate) fn rtc(&self) -> &rtc::Connection {
        &self.rtc
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.mailbox.hub
    }

    pub(crate) fn state(&self) -> ConnectionState {
        self.mailbox.state.get()
    }

    /// The next thing that happened, a change of state first.
    pub(crate) fn poll_event(&self, cx: &Context<'_>) -> Poll<LinkEvent> {
        if let Some(state) = self.mailbox.changed.take() {
            return Poll::Ready(LinkEvent::State(state));
        }
        if let Some(event) = self.mailbox.candidates.borrow_mut().pop_front() {
            return Poll::Ready(event);
        }
        *self.mailbox.watcher.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Opens a stream; it can be written to once its channel is open.
    pub(crate) fn open(&self, label: &str) -> Result<Stream, RtcError> {
        Ok(self.mailbox.adopt(self.rtc.create_channel(label)?))
    }

    /// The stream over a channel that both sides know of beforehand.
    pub(crate) fn open_negotiated(&self, id: u16) -> Result<Stream, RtcError> {
        Ok(self.mailbox.adopt(self.rtc.create_negotiated_channel(id)?))
    }

    pub(crate) fn poll_inbound(&self, cx: &Context<'_>) -> Poll<Stream> {
        match self.mailbox.inbound.borrow_mut().pop_front() {
            Some(stream) => Poll::Ready(Stream::new(stream)),
            None => {
                *self.mailbox.acceptor.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The streams that the application let go of since the last call.
    pub(crate) fn take_dropped(&self) -> Vec<Rc<stream::Shared>> {
        let mut streams = self.mailbox.streams.borrow_mut();
        streams.extract_if(.., |stream| stream.is_dropped()).collect()
    }

    /// The streams that the application holds.
    pub(crate) fn streams(&self) -> Vec<Rc<stream::Shared>> {
        self.mailbox.streams.borrow().clone()
    }

    pub(crate) fn close(&self) {
        self.rtc.close();
        self.mailbox.on_state(ConnectionState::Closed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for stream in self.mailbox.streams.take() {
            stream.abandon();
        }
    }
}

impl Mailbox {
    fn adopt(&self, channel: RawChannel) -> Stream {
        let stream = stream::Shared::attach(channel, self.hub.clone());
        self.streams.borrow_mut().push(stream.clone());
        Stream::new(stream)
    }
}

impl ConnectionEvents for Mailbox {
    fn on_state(&self, state: ConnectionState) {
        self.state.set(state);
        self.changed.set(Some(state));
        wake(&self.watcher);
        wake(&self.acceptor);
        self.hub.wake_sweeper();
    }

    fn on_candidate(&self, candidate: Option<String>) {
        let mut candidates = self.candidates.borrow_mut();
        if candidates.len() < MAX_CANDIDATES {
            candidates.push_back(candidate.map_or(LinkEvent::EndOfCandidates, LinkEvent::Candidate));
        }
        wake(&self.watcher);
    }

    fn on_channel(&self, channel: RawChannel) {
        if channel.label() == INIT_LABEL {
            // Its opener closes it; one that js-libp2p sees closed before it looked keeps it waiting until its deadline.
            *self.init.borrow_mut() = Some(channel);
            return;
        }
        let mut streams = self.streams.borrow_mut();
        if streams.len() >= MAX_INBOUND {
            tracing::debug!("the other side opens more streams than it may");
            return channel.close();
        }
        let stream = stream::Shared::attach(channel, self.hub.clone());
        streams.push(stream.clone());
        self.inbound.borrow_mut().push_back(stream);
        wake(&self.acceptor);
    }
}
