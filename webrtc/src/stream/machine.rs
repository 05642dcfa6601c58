//! The states of one stream: which half is open, what was received and not read, which flags are due.
//!
//! Free of I/O and clock. Its owner hands in the messages of the channel and what the application does, and after every
//! call sends the flags that [`Machine::next_flag`] gives. Data is bounded here; when to give up waiting is the owner's.
//!
//! ```text
//!          reading                              writing
//!  Open ── FIN ──────────► Ended        Open ── close ──► Finishing ── FIN_ACK ──► Ended
//!    └─── application ───► Refused        └──── STOP_SENDING ────────────────────► Ended
//! ```
//! RESET, a violation and the end of the channel end both.
//! Source: <https://github.com/libp2p/specs/blob/master/webrtc/README.md#multiplexing>.

use std::{collections::VecDeque, io};

use bytes::{Buf, Bytes};

use super::frame::{Decoder, Flag, Frame, FrameError};

#[cfg(test)]
mod tests;

/// What one stream holds for a reader that does not read. There is no window in the protocol: beyond, the stream is reset.
pub(crate) const MAX_UNREAD: usize = 4 * 1024 * 1024;

/// What a piece counts for at least: a stranger who sends single bytes must not make us keep a hundred times as much.
const LEAST_CHARGE: usize = 128;

/// Whether the other side understands [`Flag::FinAck`]. rust-libp2p's server does not, and ends a stream that has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acks {
    /// It does: a FIN is answered, and ours is waited for.
    Spoken,
    /// Not that we know: none is sent, and none waited for.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Open,
    /// The other side will send no more.
    Ended,
    /// We read no more; what still arrives is dropped.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Open,
    /// Our FIN is on its way and not yet acknowledged.
    Finishing,
    Ended,
    /// The other side reads no more.
    Refused,
}

/// Why both halves are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the stream was reset by the other side")]
    ResetByRemote,
    #[error("the channel was closed before the stream was finished")]
    ChannelClosed,
    #[error("the other side sent more than {MAX_UNREAD} bytes that nobody read")]
    Unread,
    #[error("all streams of the connection hold more than they may unread")]
    ConnectionFull,
    #[error("the other side sent data after it had finished")]
    DataAfterFin,
    #[error("the other side broke the framing: {0}")]
    Frame(#[from] FrameError),
}

impl Fault {
    fn kind(self) -> io::ErrorKind {
        match self {
            Self::ResetByRemote => io::ErrorKind::ConnectionReset,
            Self::ChannelClosed => io::ErrorKind::UnexpectedEof,
            Self::Unread | Self::ConnectionFull | Self::DataAfterFin | Self::Frame(_) => io::ErrorKind::InvalidData,
        }
    }

    /// Whether the other side must be told.
    fn is_ours(self) -> bool {
        !matches!(self, Self::ResetByRemote | Self::ChannelClosed)
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::new(fault.kind(), fault)
    }
}

/// What a read yields.
#[derive(Debug)]
pub(crate) enum Read {
    /// So many bytes were written to the buffer.
    Data(usize),
    /// Nothing yet.
    Pending,
    /// The other side finished, and everything was read.
    End,
}

#[derive(Debug)]
struct Piece {
    data: Bytes,
    charge: usize,
}

/// One stream. See the module.
#[derive(Debug)]
pub(crate) struct Machine {
    reading: Reading,
    writing: Writing,
    fault: Option<Fault>,
    decoder: Decoder,
    unread: VecDeque<Piece>,
    /// What `unread` counts for in all.
    charged: usize,
    /// At most one of each flag: an answer that is still due is not queued again.
    flags: VecDeque<Flag>,
    heard_ack: bool,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self {
            reading: Reading::Open,
            writing: Writing::Open,
            fault: None,
            decoder: Decoder::default(),
            unread: VecDeque::new(),
            charged: 0,
            flags: VecDeque::new(),
            heard_ack: false,
        }
    }

    /// A message of the channel; `room` is what the connection's streams may still hold unread in all.
    pub(crate) fn handle_message(&mut self, message: Bytes, room: usize, acks: Acks) {
        if self.fault.is_some() {
            return;
        }
        let mut decoder = std::mem::take(&mut self.decoder);
        let before = self.charged;
        let decoded = decoder.decode(message, |frame| {
            let added = self.charged.saturating_sub(before);
            self.on_frame(frame, room.saturating_sub(added), acks);
        });
        self.decoder = decoder;
        if let Err(error) = decoded {
            self.fail(error.into());
        }
    }

    /// The channel is closed: nothing comes any more, nothing can be sent.
    pub(crate) fn handle_channel_closed(&mut self) {
        let unfinished = self.reading == Reading::Open || matches!(self.writing, Writing::Open);
        if self.fault.is_none() && unfinished {
            // What arrived before can still be read.
            self.fault = Some(Fault::ChannelClosed);
        }
        self.end();
    }

    /// The application reads.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Read, Fault> {
        let mut written = 0;
        while let Some(Piece { data, charge }) = self.unread.front_mut()
            && written < buffer.len()
        {
            let some = data.len().min(buffer.len() - written);
            data.copy_to_slice(&mut buffer[written..written + some]);
            written += some;
            if !data.has_remaining() {
                self.charged -= *charge;
                self.unread.pop_front();
            }
        }
        match (written, self.reading, self.fault) {
            (0, _, _) if buffer.is_empty() => Ok(Read::Data(0)),
            (0, Reading::Ended, None | Some(Fault::ChannelClosed)) => Ok(Read::End),
            (0, _, Some(fault)) => Err(fault),
            (0, Reading::Open | Reading::Refused, None) => Ok(Read::Pending),
            (some, _, _) => Ok(Read::Data(some)),
        }
    }

    /// Whether the application may write.
    pub(crate) fn check_write(&self) -> io::Result<()> {
        match (self.fault, self.writing) {
            (Some(fault), _) => Err(fault.into()),
            (None, Writing::Open) => Ok(()),
            (None, Writing::Finishing | Writing::Ended) => Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the stream was closed for writing",
            )),
            (None, Writing::Refused) => Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the other side reads no more of the stream",
            )),
        }
    }

    /// The application has written everything.
    pub(crate) fn close_write(&mut self, acks: Acks) -> io::Result<()> {
        match (self.fault, self.writing) {
            (None, Writing::Open) => {
                self.queue(Flag::Fin);
                self.writing = match acks {
                    Acks::Spoken => Writing::Finishing,
                    Acks::Unknown => Writing::Ended,
                };
                Ok(())
            }
            (_, Writing::Finishing | Writing::Ended | Writing::Refused) => Ok(()),
            (Some(fault), Writing::Open) => Err(fault.into()),
        }
    }

    /// The application let the stream go. One that it did not close is reset, unless it has read to the other side's end:
    /// then it is closed. Yamux does so too, and libp2p's protocols count on it: ping's answering side drops its stream there.
    pub(crate) fn handle_dropped(&mut self, acks: Acks) {
        let read_all = self.reading == Reading::Ended && self.unread.is_empty();
        self.forget_unread();
        if self.fault.is_some() {
            return;
        }
        match (self.writing, self.reading) {
            (Writing::Open, Reading::Ended) if read_all => {
                self.queue(Flag::Fin);
                self.writing = match acks {
                    Acks::Spoken => Writing::Finishing,
                    Acks::Unknown => Writing::Ended,
                };
            }
            (Writing::Open, _) => {
                self.queue(Flag::Reset);
                self.end();
            }
            (Writing::Finishing | Writing::Ended | Writing::Refused, Reading::Open) => {
                self.queue(Flag::StopSending);
                self.reading = Reading::Refused;
            }
            (Writing::Finishing | Writing::Ended | Writing::Refused, Reading::Ended | Reading::Refused) => {}
        }
    }

    /// The next flag to send, in order.
    pub(crate) fn next_flag(&mut self) -> Option<Flag> {
        self.flags.pop_front()
    }

    /// Whether nothing more is expected of the other side: the channel can be closed.
    pub(crate) fn is_over(&self) -> bool {
        let (reading, writing) = (self.reading, self.writing);
        self.fault.is_some()
            || reading == Reading::Ended && matches!(writing, Writing::Ended | Writing::Refused)
            || reading == Reading::Refused && writing == Writing::Refused
    }

    /// Whether our FIN waits for its acknowledgement.
    pub(crate) fn is_finishing(&self) -> bool {
        self.fault.is_none() && self.writing == Writing::Finishing
    }

    /// How much is held for the application, as it counts towards the bounds.
    pub(crate) fn unread(&self) -> usize {
        self.charged
    }

    /// Whether the other side ever acknowledged a FIN of ours: then it understands acknowledgements.
    pub(crate) fn has_heard_ack(&self) -> bool {
        self.heard_ack
    }

    fn on_frame(&mut self, Frame { flag, data }: Frame, room: usize, acks: Acks) {
        if self.fault.is_some() {
            return;
        }
        if !data.is_empty() {
            let charge = data.len().max(LEAST_CHARGE);
            match self.reading {
                Reading::Open if self.charged + charge > MAX_UNREAD => return self.fail(Fault::Unread),
                Reading::Open if charge > room => return self.fail(Fault::ConnectionFull),
                Reading::Open => {
                    self.charged += charge;
                    self.unread.push_back(Piece { data, charge });
                }
                Reading::Refused => {}
                Reading::Ended => return self.fail(Fault::DataAfterFin),
            }
        }
        match flag {
            None => {}
            Some(Flag::Fin) => {
                self.reading = Reading::Ended;
                if acks == Acks::Spoken {
                    self.queue(Flag::FinAck);
                }
            }
            Some(Flag::FinAck) => {
                self.heard_ack = true;
                if self.writing == Writing::Finishing {
                    self.writing = Writing::Ended;
                }
            }
            Some(Flag::StopSending) => match self.writing {
                Writing::Open => self.writing = Writing::Refused,
                // It will not read our FIN either.
                Writing::Finishing => self.writing = Writing::Ended,
                Writing::Ended | Writing::Refused => {}
            },
            Some(Flag::Reset) => {
                self.forget_unread();
                self.fail(Fault::ResetByRemote);
            }
        }
    }

    fn fail(&mut self, fault: Fault) {
        self.fault = Some(fault);
        if fault.is_ours() {
            self.forget_unread();
            self.flags.clear();
            self.queue(Flag::Reset);
        }
        self.end();
    }

    fn end(&mut self) {
        if self.reading == Reading::Open {
            self.reading = Reading::Refused;
        }
        self.writing = match self.writing {
            Writing::Open => Writing::Refused,
            Writing::Finishing | Writing::Ended => Writing::Ended,
            Writing::Refused => Writing::Refused,
        };
    }

    fn forget_unread(&mut self) {
        self.unread.clear();
        self.charged = 0;
    }

    fn queue(&mut self, flag: Flag) {
        if !self.flags.contains(&flag) {
            self.flags.push_back(flag);
        }
    }
}
