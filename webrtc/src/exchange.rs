//! Runs a [`Session`]: its stream on one side, the browser on the other.
//!
//! Decides nothing: it does what the session asks for, in that order, and tells it what comes of it. The browser's
//! connection is made when the first step needs it, and closed on every path on which it is not handed over.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes};
use futures::{AsyncRead, AsyncWrite, FutureExt, StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use futures_timer::Delay;
use libp2p_swarm::Stream;
use web_time::Instant;

use crate::{
    Connection, IceServer, RtcError,
    connection::link::{INIT_LABEL, Link, LinkEvent},
    rtc::{self, Channel, ChannelEvents, ChannelState, Description},
    signaling::{
        Action, BrowserStep, Cancellation, ConnectionState, DescriptionKind, Phase, Role, Session, SessionConfig,
        SessionError, candidate,
    },
    stream::{Acks, wake},
};

/// How long a stream may take to close; then it is dropped.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// What is read from the stream at a time.
const READ_BUFFER: usize = 4 * 1024;

/// What comes of an exchange. After [`ExchangeEvent::Finished`] there is nothing more.
#[derive(Debug)]
pub(crate) enum ExchangeEvent {
    /// It has come this far.
    Phase(Phase),
    /// The direct connection stands.
    Connected(Connection),
    /// The stream is closed, or the session failed.
    Finished(Result<(), SessionError>),
}

/// A running session.
pub(crate) struct Exchange {
    role: Role,
    session: Session,
    servers: Vec<IceServer>,
    stream: Stream,
    /// Messages that the stream has not taken yet; as many as the session may send.
    outgoing: VecDeque<Bytes>,
    reading: Half,
    writing: Half,
    ending: Ending,
    link: Option<Link>,
    init: Option<Rc<Init>>,
    /// Calls of the browser that have not returned: a step of the session and the candidates before it.
    steps: FuturesUnordered<LocalBoxFuture<'static, Outcome>>,
    timer: Option<(Instant, Delay)>,
    told: Option<Phase>,
}

enum Outcome {
    Created(BrowserStep, Result<String, RtcError>),
    LocalSet(Result<(), RtcError>),
    RemoteSet(Result<(), RtcError>),
    CandidateAdded(Result<(), RtcError>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Open,
    Ended,
}

enum Ending {
    NotYet,
    /// The stream closes, but not for ever.
    Closing(Delay),
    Told,
}

impl Exchange {
    pub(crate) fn new(
        role: Role,
        config: SessionConfig,
        servers: Vec<IceServer>,
        stream: Stream,
        now: Instant,
    ) -> Self {
        Self {
            role,
            session: Session::new(role, config, now),
            servers,
            stream,
            outgoing: VecDeque::new(),
            reading: Half::Open,
            writing: Half::Open,
            ending: Ending::NotYet,
            link: None,
            init: None,
            steps: FuturesUnordered::new(),
            timer: None,
            told: None,
        }
    }

    pub(crate) fn cancel(&mut self, why: Cancellation) {
        self.session.handle_cancelled(why);
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ExchangeEvent> {
        loop {
            // First: what is done next may end it, and then this is where it ended.
            let phase = self.session.phase();
            if self.told != Some(phase) {
                self.told = Some(phase);
                return Poll::Ready(ExchangeEvent::Phase(phase));
            }
            if let Some(action) = self.session.poll_action() {
                match self.act(action) {
                    Some(event) => return Poll::Ready(event),
                    None => continue,
                }
            }
            match &mut self.ending {
                Ending::NotYet => {}
                Ending::Closing(patience) => {
                    let given_up = patience.poll_unpin(cx).is_ready();
                    if !given_up && self.poll_close(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.ending = Ending::Told;
                    return Poll::Ready(ExchangeEvent::Finished(Ok(())));
                }
                Ending::Told => return Poll::Pending,
            }
            let moved = [self.poll_browser(cx), self.poll_stream(cx), self.poll_timer(cx)];
            if moved.iter().all(Poll::is_pending) {
                return Poll::Pending;
            }
        }
    }

    fn act(&mut self, action: Action) -> Option<ExchangeEvent> {
        match action {
            Action::CreateOffer => {
                if let Some(link) = self.link() {
                    let offer = link.rtc().create_offer();
                    self.begin(async { Outcome::Created(BrowserStep::CreateOffer, offer.await) });
                }
            }
            Action::CreateAnswer => {
                if let Some(link) = self.link() {
                    let answer = link.rtc().create_answer();
                    self.begin(async { Outcome::Created(BrowserStep::CreateAnswer, answer.await) });
                }
            }
            Action::SetLocalDescription { kind, sdp } => {
                if let Some(link) = self.link() {
                    let set = link.rtc().set_local_description(description(kind), &sdp);
                    self.begin(async { Outcome::LocalSet(set.await) });
                }
            }
            Action::SetRemoteDescription { kind, sdp } => {
                if let Some(link) = self.link() {
                    let set = link.rtc().set_remote_description(description(kind), &sdp);
                    self.begin(async { Outcome::RemoteSet(set.await) });
                }
            }
            Action::AddCandidate(candidate) => {
                if let (Some(link), Ok(json)) = (&self.link, candidate::write(Some(&candidate))) {
                    let added = link.rtc().add_candidate(&json);
                    self.begin(async { Outcome::CandidateAdded(added.await) });
                }
            }
            Action::Send(message) => self.outgoing.push_back(message),
            Action::HandOver => return self.link.take().map(Connection::new).map(ExchangeEvent::Connected),
            Action::CloseInit => match &self.init {
                Some(init) => init.close_when_open(),
                None => self.session.handle_init_closed(),
            },
            Action::CloseSignaling => {}
            Action::Finish(Ok(())) => self.ending = Ending::Closing(Delay::new(CLOSE_WITHIN)),
            Action::Finish(Err(error)) => {
                self.ending = Ending::Told;
                return Some(ExchangeEvent::Finished(Err(error)));
            }
        }
        None
    }

    /// The browser's connection, made at the first call; `None` if the browser refuses, which the session is told.
    fn link(&mut self) -> Option<&Link> {
        if self.link.is_none() {
            match self.make_link() {
                Ok(link) => self.link = Some(link),
                Err(error) => {
                    let step = BrowserStep::CreateConnection;
                    self.session.handle_browser_error(step, &error.to_string());
                }
            }
        }
        self.link.as_ref()
    }

    fn make_link(&mut self) -> Result<Link, RtcError> {
        let link = Link::new(&self.servers, Acks::Spoken)?;
        if self.role == Role::Initiator {
            self.init = Some(Init::attach(link.rtc().create_channel(INIT_LABEL)?));
        }
        Ok(link)
    }

    fn begin(&mut self, step: impl Future<Output = Outcome> + 'static) {
        self.steps.push(step.boxed_local());
    }

    fn poll_browser(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Poll::Ready(Some(outcome)) = self.steps.poll_next_unpin(cx) {
            self.on_outcome(outcome);
            return Poll::Ready(());
        }
        if let Some(link) = &self.link
            && let Poll::Ready(event) = link.poll_event(cx)
        {
            let now = Instant::now();
            match event {
                LinkEvent::State(state) => self.session.handle_connection_state(connection_state(state), now),
                LinkEvent::Candidate(json) => match candidate::read(Some(&json)) {
                    Ok(candidate) => self.session.handle_local_candidate(candidate),
                    Err(error) => tracing::debug!(%error, "a local candidate was passed over"),
                },
                LinkEvent::EndOfCandidates => self.session.handle_local_candidate(None),
            }
            return Poll::Ready(());
        }
        if let Some(init) = &self.init
            && init.poll_closed(cx).is_ready()
        {
            self.init = None;
            self.session.handle_init_closed();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn on_outcome(&mut self, outcome: Outcome) {
        let refused = match outcome {
            Outcome::Created(_, Ok(sdp)) => return self.session.handle_description_created(sdp),
            Outcome::LocalSet(Ok(())) => return self.session.handle_local_description_set(),
            Outcome::RemoteSet(Ok(())) => return self.session.handle_remote_description_set(),
            Outcome::CandidateAdded(Ok(())) => return,
            Outcome::Created(step, Err(error)) => (step, error),
            Outcome::LocalSet(Err(error)) => (BrowserStep::SetLocalDescription, error),
            Outcome::RemoteSet(Err(error)) => (BrowserStep::SetRemoteDescription, error),
            Outcome::CandidateAdded(Err(error)) => (BrowserStep::AddCandidate, error),
        };
        let (step, error) = refused;
        let reason = match error {
            RtcError::Refused { message, .. } => message,
            unsupported @ RtcError::Unsupported => unsupported.to_string(),
        };
        self.session.handle_browser_error(step, &reason);
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_write(cx).is_ready() {
            return Poll::Ready(());
        }
        if self.reading == Half::Ended {
            return Poll::Pending;
        }
        let mut buffer = [0; READ_BUFFER];
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(0)) => {
                self.reading = Half::Ended;
                self.session.handle_stream_closed(Instant::now());
            }
            Poll::Ready(Ok(count)) => self.session.handle_data(&buffer[..count]),
            Poll::Ready(Err(error)) => {
                self.reading = Half::Ended;
                self.session.handle_stream_failed(error.kind());
            }
        }
        Poll::Ready(())
    }

    /// Pending when everything was handed on, or nothing more is taken for now.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.writing == Half::Ended {
            return Poll::Pending;
        }
        let result = match self.outgoing.front_mut() {
            None => Pin::new(&mut self.stream).poll_flush(cx).map_ok(|()| 0),
            Some(message) => Pin::new(&mut self.stream).poll_write(cx, message).map_ok(|count| {
                message.advance(count);
                count
            }),
        };
        match result {
            Poll::Pending | Poll::Ready(Ok(0)) => return Poll::Pending,
            Poll::Ready(Ok(_)) => {
                if self.outgoing.front().is_some_and(Bytes::is_empty) {
                    self.outgoing.pop_front();
                }
            }
            Poll::Ready(Err(error)) => self.on_write_failed(&error),
        }
        Poll::Ready(())
    }

    fn on_write_failed(&mut self, error: &io::Error) {
        self.writing = Half::Ended;
        self.outgoing.clear();
        self.session.handle_stream_failed(error.kind());
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.poll_write(cx).is_ready() {}
        if !self.outgoing.is_empty() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_close(cx).map(drop)
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.session.poll_timeout() else {
            self.timer = None;
            return Poll::Pending;
        };
        let now = Instant::now();
        if due <= now {
            self.session.handle_timeout(now);
            return Poll::Ready(());
        }
        let timer = match &mut self.timer {
            Some(timer) if timer.0 == due => timer,
            timer => timer.insert((due, Delay::new(due - now))),
        };
        if timer.1.poll_unpin(cx).is_pending() {
            return Poll::Pending;
        }
        // It may be early by less than the host's clock shows, and must not be asked again once it is over.
        self.timer = None;
        self.session.handle_timeout(due);
        Poll::Ready(())
    }
}

/// The initiator's first channel. That it closes shows that the other browser is connected too.
struct Init {
    channel: Channel,
    state: Cell<InitState>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum InitState {
    Kept,
    /// To be closed once it is open.
    Unwanted,
    Closed,
}

impl Init {
    fn attach(channel: rtc::RawChannel) -> Rc<Self> {
        Rc::new_cyclic(|weak: &Weak<Self>| Self {
            channel: channel.attach(0, weak.clone()),
            state: Cell::new(InitState::Kept),
            waker: RefCell::new(None),
        })
    }

    fn close_when_open(&self) {
        if self.state.get() == InitState::Kept {
            self.state.set(InitState::Unwanted);
        }
        self.on_open();
    }

    fn poll_closed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.state.get() == InitState::Closed {
            return Poll::Ready(());
        }
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl ChannelEvents for Init {
    fn on_open(&self) {
        if self.state.get() == InitState::Unwanted && self.channel.state() == ChannelState::Open {
            self.channel.close();
        }
    }

    fn on_message(&self, _: Bytes) {}

    fn on_writable(&self) {}

    fn on_closed(&self) {
        self.state.set(InitState::Closed);
        wake(&self.waker);
    }
}

fn description(kind: DescriptionKind) -> Description {
    match kind {
        DescriptionKind::Offer => Description::Offer,
        DescriptionKind::Answer => Description::Answer,
    }
}

fn connection_state(state: rtc::ConnectionState) -> ConnectionState {
    match state {
        rtc::ConnectionState::Pending => ConnectionState::Connecting,
        rtc::ConnectionState::Connected => ConnectionState::Connected,
        rtc::ConnectionState::Failed => ConnectionState::Failed,
        rtc::ConnectionState::Closed => ConnectionState::Closed,
    }
}
