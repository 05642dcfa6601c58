//! Streams of memory: two joined ends that hold a bounded number of bytes, and one that never ends.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use futures::{AsyncRead, AsyncWrite};

/// Two ends; what is written to one is read from the other.
pub(super) fn duplex(capacity: usize) -> (End, End) {
    let (there, back) = (Pipe::new(capacity), Pipe::new(capacity));
    let left = End {
        read: Arc::clone(&back),
        write: Arc::clone(&there),
    };
    let right = End {
        read: there,
        write: back,
    };
    (left, right)
}

pub(super) struct End {
    read: Arc<Mutex<Pipe>>,
    write: Arc<Mutex<Pipe>>,
}

struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    end: Option<io::ErrorKind>,
    is_closed: bool,
    wakers: Vec<Waker>,
}

impl Pipe {
    fn new(capacity: usize) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            bytes: VecDeque::new(),
            capacity,
            end: None,
            is_closed: false,
            wakers: Vec::new(),
        }))
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        self.wakers.push(cx.waker().clone());
        Poll::Pending
    }
}

impl End {
    /// Both directions fail from now on.
    pub(super) fn fail(&self, kind: io::ErrorKind) {
        for pipe in [&self.read, &self.write] {
            let mut pipe = pipe.lock().expect("sound");
            pipe.end = Some(kind);
            pipe.wake();
        }
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.read.lock().expect("sound");
        let count = pipe.bytes.len().min(buf.len());
        if count > 0 {
            for (to, from) in buf.iter_mut().zip(pipe.bytes.drain(..count)) {
                *to = from;
            }
            pipe.wake();
            Poll::Ready(Ok(count))
        } else if let Some(kind) = pipe.end {
            Poll::Ready(Err(kind.into()))
        } else if pipe.is_closed {
            Poll::Ready(Ok(0))
        } else {
            pipe.wait(cx)
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.write.lock().expect("sound");
        if let Some(kind) = pipe.end {
            return Poll::Ready(Err(kind.into()));
        }
        let count = (pipe.capacity - pipe.bytes.len()).min(buf.len());
        if count == 0 {
            return pipe.wait(cx);
        }
        pipe.bytes.extend(&buf[..count]);
        pipe.wake();
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.write.lock().expect("sound");
        pipe.is_closed = true;
        pipe.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    /// As a stream that is reset: the reader sees its end.
    fn drop(&mut self) {
        let mut pipe = self.write.lock().expect("sound");
        pipe.is_closed = true;
        pipe.wake();
    }
}

/// Gives pieces for ever, and takes whatever it is given.
pub(super) struct Endless {
    piece: usize,
}

impl Endless {
    pub(super) fn new(piece: usize) -> Self {
        Self { piece }
    }
}

impl AsyncRead for Endless {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.piece.min(buf.len())))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
