//! One session: the exchange of offer, answer and candidates that ends in a direct connection or in a reason.
//!
//! Decides what is sent when, what the browser is asked to do in which order, what of the other peer is refused, and when
//! to give up. It never touches a stream, a browser or a clock.
//!
//! ```text
//!         initiator                                     recipient
//!   Offer   CreateOffer                                 (waits for the offer)                   Offer
//!           Send(offer)  ────────────────────────────▶  SetRemoteDescription(offer)
//!   Answer  SetLocalDescription(offer)                  CreateAnswer                            Answer
//!           (waits for the answer)   ◀────────────────  Send(answer)
//!           SetRemoteDescription(answer)                SetLocalDescription(answer)
//!   Candid. AddCandidate…  ◀─────── candidates ──────▶  AddCandidate…                           Candid.
//!   Conn.   HandOver, CloseInit, CloseSignaling, Finish HandOver, CloseSignaling, Finish        Conn.
//! ```
//!
//! - A side's candidates follow its description, at once: the initiator's may be on their way before there is an answer, as
//!   js-libp2p's are, which saves a round trip through the relay. Those that come in before the browser has the
//!   description they belong to wait, at most [`MAX_CANDIDATES`] of them.
//! - A candidate that is no candidate, or that the browser refuses, is passed over. The mark of their end means nothing.
//! - The other peer may close the stream once both descriptions are exchanged: it is connected before we are, and we are
//!   within [`CATCH_UP`]. A stream that fails before we are connected ends the session, because that is how a peer says
//!   that it gave up; but yamux reads a reset as an end, so an end may mean that too.
//! - The initiator closes its `init` channel before the stream: when the browser says that it is closed, the other browser
//!   has taken part, so it is connected too and does not miss the stream.

use std::{collections::VecDeque, io, time::Duration};

use web_time::Instant;

mod action;

pub use action::{Action, ConnectionState, DescriptionKind};

use super::{
    BrowserStep, Cancellation, IceCandidate, MAX_CANDIDATES, Phase, Role, SessionError, Side, candidate,
    codec::{self, Decoder, Message},
};

/// Default of [`SessionConfig::deadline`].
///
/// A browser says that no pair of candidates works some 15 s after it began to try them. A dial as a whole needs a swarm
/// with a connection timeout of 30 s; the difference is left for the circuit and the stream before the session begins.
pub const DEADLINE: Duration = Duration::from_secs(24);
/// How long we may need to be connected after the other peer has closed the stream. What is missing is the end of a
/// handshake; this leaves time for a lost packet. Then the other peer has given up, and waiting any longer would only refuse
/// its next offer.
pub const CATCH_UP: Duration = Duration::from_secs(5);
/// How long the initiator waits for its `init` channel to close before it closes the stream all the same.
pub const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// What of a session can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// From the open stream to the direct connection. Default: [`DEADLINE`]. Shorter gives up on slow networks, longer keeps
    /// a connection of the browser for a peer that is silent; keep it below the swarm's connection timeout, or that ends
    /// the dial without a reason.
    pub deadline: Duration,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self { deadline: DEADLINE }
    }
}

/// A session. After any `handle_*` drain [`Self::poll_action`]; it is over after [`Action::Finish`].
///
/// Begins when the stream is open. Create the browser's connection only then: a page can have few hundred.
#[derive(Debug)]
#[must_use = "dropping it loses the reason for which it ends"]
pub struct Session {
    role: Role,
    step: Step,
    decoder: Decoder,
    stream: StreamState,
    /// What came before the browser had the remote description. Bounded by [`MAX_CANDIDATES`], as the count below.
    remote_waiting: Vec<IceCandidate>,
    remote_candidates: usize,
    /// What came before our description was sent. Bounded likewise.
    local_waiting: Vec<Option<IceCandidate>>,
    local_candidates: usize,
    /// Of the exchange; once connected, of the `init` channel's end. `None`: further away than a clock can say.
    deadline: Option<Instant>,
    /// Bounded: a few for each step, one for each candidate that waited.
    actions: VecDeque<Action>,
}

/// Where the exchange stands. The words are those of the WebRTC specification's operations.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Initiator: `createOffer` runs.
    CreatingOffer,
    /// Initiator: the offer is sent, `setLocalDescription` runs, the answer may be here already.
    SettingLocalOffer { answer: Option<String> },
    /// Initiator: all is done, the answer is due.
    AwaitingAnswer,
    /// Initiator: `setRemoteDescription` runs.
    SettingRemoteAnswer,
    /// Recipient: the offer is due.
    AwaitingOffer,
    /// Recipient: `setRemoteDescription` runs.
    SettingRemoteOffer,
    /// Recipient: `createAnswer` runs.
    CreatingAnswer,
    /// Recipient: the answer is sent, `setLocalDescription` runs.
    SettingLocalAnswer,
    /// The browsers try each other's candidates.
    Connecting,
    /// Initiator: connected; the `init` channel closes.
    ClosingInit,
    /// [`Action::Finish`] is told.
    Finished { in_phase: Phase },
}

/// Whether messages still come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamState {
    Open,
    /// The other peer has closed it.
    Closed,
}

impl Session {
    /// Begins, on an open stream.
    pub fn new(role: Role, config: SessionConfig, now: Instant) -> Self {
        let (step, first) = match role {
            Role::Initiator => (Step::CreatingOffer, Some(Action::CreateOffer)),
            Role::Recipient => (Step::AwaitingOffer, None),
        };
        Self {
            role,
            step,
            decoder: Decoder::default(),
            stream: StreamState::Open,
            remote_waiting: Vec::new(),
            remote_candidates: 0,
            local_waiting: Vec::new(),
            local_candidates: 0,
            deadline: now.checked_add(config.deadline),
            actions: first.into_iter().collect(),
        }
    }

    /// Bytes came from the stream.
    pub fn handle_data(&mut self, mut data: &[u8]) {
        while !self.is_settled() {
            match self.decoder.decode(&mut data) {
                Ok(Some(message)) => self.on_message(message),
                Ok(None) => return,
                Err(error) => self.fail(error.into()),
            }
        }
    }

    /// The other peer closed the stream; nothing more comes.
    pub fn handle_stream_closed(&mut self, now: Instant) {
        self.stream = StreamState::Closed;
        if self.is_settled() {
            return;
        }
        if self.is_exchanged() {
            let sooner = [self.deadline, now.checked_add(CATCH_UP)].into_iter().flatten().min();
            self.deadline = sooner;
            return;
        }
        match self.decoder.finish() {
            Ok(()) => self.fail(SessionError::StreamClosed { phase: self.phase() }),
            Err(truncated) => self.fail(truncated.into()),
        }
    }

    /// The stream was reset, or could not be read or written.
    pub fn handle_stream_failed(&mut self, error: io::ErrorKind) {
        match self.stream {
            StreamState::Open => self.fail(SessionError::StreamFailed(error)),
            // Writing towards a peer that is through fails, and does not matter.
            StreamState::Closed => tracing::debug!(?error, "signalling stream failed after its end"),
        }
    }

    /// `createOffer` or `createAnswer` succeeded.
    pub fn handle_description_created(&mut self, sdp: String) {
        if !matches!(self.step, Step::CreatingOffer | Step::CreatingAnswer) {
            return self.ignore("a description");
        }
        let (kind, message, created, next) = match self.role {
            Role::Initiator => (
                DescriptionKind::Offer,
                Message::Offer(sdp.clone()),
                BrowserStep::CreateOffer,
                Step::SettingLocalOffer { answer: None },
            ),
            Role::Recipient => (
                DescriptionKind::Answer,
                Message::Answer(sdp.clone()),
                BrowserStep::CreateAnswer,
                Step::SettingLocalAnswer,
            ),
        };
        match codec::encode(&message) {
            Ok(bytes) => self.actions.push_back(Action::Send(bytes)),
            Err(too_long) => return self.handle_browser_error(created, &too_long.to_string()),
        }
        self.actions.push_back(Action::SetLocalDescription { kind, sdp });
        self.step = next;
        for candidate in std::mem::take(&mut self.local_waiting) {
            self.send_candidate(candidate.as_ref());
        }
    }

    /// `setLocalDescription` succeeded.
    pub fn handle_local_description_set(&mut self) {
        if let Step::SettingLocalOffer { answer } = &mut self.step {
            match answer.take() {
                Some(sdp) => self.set_remote(DescriptionKind::Answer, sdp, Step::SettingRemoteAnswer),
                None => self.step = Step::AwaitingAnswer,
            }
        } else if self.step == Step::SettingLocalAnswer {
            self.step = Step::Connecting;
        } else {
            self.ignore("a local description");
        }
    }

    /// `setRemoteDescription` succeeded.
    pub fn handle_remote_description_set(&mut self) {
        if self.step == Step::SettingRemoteAnswer {
            self.step = Step::Connecting;
        } else if self.step == Step::SettingRemoteOffer {
            self.step = Step::CreatingAnswer;
            self.actions.push_back(Action::CreateAnswer);
        } else {
            return self.ignore("a remote description");
        }
        let waiting = std::mem::take(&mut self.remote_waiting);
        self.actions.extend(waiting.into_iter().map(Action::AddCandidate));
    }

    /// The browser found a candidate, or, with `None`, has no more.
    pub fn handle_local_candidate(&mut self, candidate: Option<IceCandidate>) {
        if self.is_settled() {
            return;
        }
        self.local_candidates += 1;
        if self.local_candidates > MAX_CANDIDATES {
            return self.fail(SessionError::TooManyCandidates { side: Side::Local });
        }
        match self.step {
            Step::CreatingOffer | Step::AwaitingOffer | Step::SettingRemoteOffer | Step::CreatingAnswer => {
                self.local_waiting.push(candidate);
            }
            Step::SettingLocalOffer { .. }
            | Step::AwaitingAnswer
            | Step::SettingRemoteAnswer
            | Step::SettingLocalAnswer
            | Step::Connecting => self.send_candidate(candidate.as_ref()),
            Step::ClosingInit | Step::Finished { .. } => {}
        }
    }

    /// The state of the browser's connection changed.
    pub fn handle_connection_state(&mut self, state: ConnectionState, now: Instant) {
        match state {
            ConnectionState::New | ConnectionState::Connecting | ConnectionState::Disconnected => {}
            ConnectionState::Connected => self.on_connected(now),
            ConnectionState::Failed => self.on_connection_lost(SessionError::ConnectionFailed),
            ConnectionState::Closed => self.on_connection_lost(SessionError::ConnectionClosed),
        }
    }

    /// The browser refused a step, in its own words.
    pub fn handle_browser_error(&mut self, step: BrowserStep, reason: &str) {
        match step {
            BrowserStep::AddCandidate => tracing::debug!(reason, "the browser refused a candidate"),
            BrowserStep::CreateConnection
            | BrowserStep::CreateOffer
            | BrowserStep::CreateAnswer
            | BrowserStep::SetLocalDescription
            | BrowserStep::SetRemoteDescription => self.fail(SessionError::browser(step, reason)),
        }
    }

    /// The channel labelled `init` is closed.
    pub fn handle_init_closed(&mut self) {
        if self.step == Step::ClosingInit {
            self.close();
        }
    }

    /// We do not want it any more. After it is connected this means nothing.
    pub fn handle_cancelled(&mut self, why: Cancellation) {
        self.fail(SessionError::Cancelled(why));
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        let phase = self.phase();
        match (&self.step, self.stream) {
            (Step::ClosingInit, _) => self.close(),
            (_, StreamState::Open) => self.fail(SessionError::TimedOut { phase }),
            (_, StreamState::Closed) => self.fail(SessionError::StreamClosed { phase }),
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let is_over = matches!(self.step, Step::Finished { .. });
        self.deadline.filter(|_| !is_over)
    }

    /// How far it has come; after the end, how far it had come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.step {
            Step::CreatingOffer | Step::AwaitingOffer | Step::SettingRemoteOffer => Phase::Offer,
            Step::SettingLocalOffer { .. }
            | Step::AwaitingAnswer
            | Step::SettingRemoteAnswer
            | Step::CreatingAnswer
            | Step::SettingLocalAnswer => Phase::Answer,
            Step::Connecting => Phase::Candidates,
            Step::ClosingInit => Phase::Connected,
            Step::Finished { in_phase } => in_phase,
        }
    }

    fn on_message(&mut self, message: Message) {
        match (&mut self.step, message) {
            (Step::SettingLocalOffer { answer: answer @ None }, Message::Answer(sdp)) => *answer = Some(sdp),
            (Step::AwaitingAnswer, Message::Answer(sdp)) => {
                self.set_remote(DescriptionKind::Answer, sdp, Step::SettingRemoteAnswer);
            }
            (Step::AwaitingOffer, Message::Offer(sdp)) => {
                self.set_remote(DescriptionKind::Offer, sdp, Step::SettingRemoteOffer);
            }
            (
                Step::SettingLocalOffer { answer: Some(_) }
                | Step::SettingRemoteAnswer
                | Step::SettingRemoteOffer
                | Step::CreatingAnswer
                | Step::SettingLocalAnswer
                | Step::Connecting,
                Message::Candidate(data),
            ) => self.on_remote_candidate(data.as_deref()),
            (_, message) => self.fail(SessionError::UnexpectedMessage {
                message: message.kind(),
                phase: self.phase(),
            }),
        }
    }

    fn on_remote_candidate(&mut self, data: Option<&str>) {
        // The marks of the end count too, or there could be any number of them.
        self.remote_candidates += 1;
        if self.remote_candidates > MAX_CANDIDATES {
            return self.fail(SessionError::TooManyCandidates { side: Side::Remote });
        }
        let candidate = match candidate::read(data) {
            Ok(Some(candidate)) => candidate,
            Ok(None) => return,
            Err(error) => return tracing::debug!(%error, "a remote candidate was passed over"),
        };
        if matches!(
            self.step,
            Step::CreatingAnswer | Step::SettingLocalAnswer | Step::Connecting
        ) {
            self.actions.push_back(Action::AddCandidate(candidate));
        } else {
            self.remote_waiting.push(candidate);
        }
    }

    fn on_connected(&mut self, now: Instant) {
        if self.is_settled() {
            return;
        }
        self.actions.push_back(Action::HandOver);
        self.step = Step::ClosingInit;
        match self.role {
            Role::Initiator => {
                self.deadline = now.checked_add(CLOSE_GRACE);
                self.actions.push_back(Action::CloseInit);
            }
            Role::Recipient => self.close(),
        }
    }

    fn on_connection_lost(&mut self, error: SessionError) {
        if self.step == Step::ClosingInit {
            // It was handed over: whoever has it notices.
            self.close();
        } else {
            self.fail(error);
        }
    }

    fn set_remote(&mut self, kind: DescriptionKind, sdp: String, next: Step) {
        self.actions.push_back(Action::SetRemoteDescription { kind, sdp });
        self.step = next;
    }

    fn send_candidate(&mut self, candidate: Option<&IceCandidate>) {
        if self.stream == StreamState::Closed {
            return;
        }
        match candidate::write(candidate).map(|json| codec::encode(&Message::Candidate(Some(json)))) {
            Ok(Ok(bytes)) => self.actions.push_back(Action::Send(bytes)),
            Ok(Err(error)) => tracing::debug!(%error, "a local candidate was passed over"),
            Err(error) => tracing::debug!(%error, "a local candidate was passed over"),
        }
    }

    /// Ends well.
    fn close(&mut self) {
        self.actions.push_back(Action::CloseSignaling);
        self.finish(Ok(()));
    }

    /// Ends badly, unless it has come to an end or is connected. What was not done yet is not worth doing any more.
    fn fail(&mut self, error: SessionError) {
        if !self.is_settled() {
            self.actions.clear();
            self.finish(Err(error));
        }
    }

    fn finish(&mut self, result: Result<(), SessionError>) {
        self.step = Step::Finished { in_phase: self.phase() };
        self.actions.push_back(Action::Finish(result));
        self.remote_waiting.clear();
        self.local_waiting.clear();
    }

    /// The browser told what it was not asked for, or what came too late to matter.
    fn ignore(&self, what: &str) {
        tracing::debug!(what, phase = ?self.phase(), "ignored what the browser told out of turn");
    }

    /// Whether nothing that happens changes the outcome any more.
    fn is_settled(&self) -> bool {
        matches!(self.step, Step::ClosingInit | Step::Finished { .. })
    }

    /// Whether each side has, or will have, the description of the other, whatever becomes of the stream's other direction.
    fn is_exchanged(&self) -> bool {
        let answered = matches!(self.step, Step::SettingLocalOffer { answer: Some(_) });
        let described = matches!(
            self.step,
            Step::SettingRemoteAnswer | Step::SettingLocalAnswer | Step::Connecting
        );
        answered || described
    }
}

#[cfg(test)]
mod tests;
