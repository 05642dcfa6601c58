//! One message on a stream, and not a byte of what follows it.
//!
//! Decides nothing. What comes after the last message of a handshake belongs to the circuit, so nothing is read ahead.

use std::{io, time::Duration};

use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt,
    future::{self, Either},
};
use futures_timer::Delay;

use crate::message::MAX_MESSAGE_BYTES;

/// How many bytes the length of the longest message takes.
const MAX_LENGTH_BYTES: usize = 2;

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// It says to be longer than [`MAX_MESSAGE_BYTES`], or its length is not a minimal varint.
    #[error("a message longer than allowed, or of a malformed length")]
    Length,
    /// The stream ended or failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads one message, without its length.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, ReadError> {
    let mut length = [0; MAX_LENGTH_BYTES];
    for read in 0..MAX_LENGTH_BYTES {
        stream.read_exact(&mut length[read..=read]).await?;
        match unsigned_varint::decode::usize(&length[..=read]) {
            Ok((length, _)) if length <= MAX_MESSAGE_BYTES => {
                let mut body = vec![0; length];
                stream.read_exact(&mut body).await?;
                return Ok(body);
            }
            Err(unsigned_varint::decode::Error::Insufficient) => {}
            Ok(_) | Err(_) => return Err(ReadError::Length),
        }
    }
    Err(ReadError::Length)
}

/// Writes one message that has its length.
pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    stream.write_all(message).await?;
    stream.flush().await
}

/// What comes of `what`, or [`io::ErrorKind::TimedOut`].
pub(crate) async fn within<T, E: From<io::Error>>(
    deadline: Duration,
    what: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match future::select(std::pin::pin!(what), Delay::new(deadline)).await {
        Either::Left((result, _)) => result,
        Either::Right(((), _)) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, executor::block_on, io::Cursor};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn when_a_message_is_read_what_follows_it_is_still_there() {
        let mut stream = Cursor::new([3, 1, 2, 3, 4]);
        assert_eq!(block_on(read(&mut stream)).expect("whole"), [1, 2, 3]);
        assert_eq!(stream.position(), 4);
    }

    #[test]
    fn when_the_longest_message_is_read_it_counts_and_one_byte_more_does_not() {
        let framed = |length: usize| {
            let mut buffer = unsigned_varint::encode::usize_buffer();
            let mut bytes = unsigned_varint::encode::usize(length, &mut buffer).to_vec();
            bytes.extend(vec![0; length]);
            bytes
        };
        let longest = block_on(read(&mut Cursor::new(framed(MAX_MESSAGE_BYTES))));
        assert_eq!(longest.expect("fits").len(), MAX_MESSAGE_BYTES);
        for bytes in [
            framed(MAX_MESSAGE_BYTES + 1),
            vec![0xff, 0xff, 0xff, 0xff],
            // Not minimal.
            vec![0x80, 0],
        ] {
            let read = block_on(read(&mut Cursor::new(bytes)));
            assert!(matches!(read, Err(ReadError::Length)), "{read:?}");
        }
    }

    #[test]
    fn when_the_stream_ends_within_a_message_that_is_said() {
        for bytes in [&[][..], &[0x80], &[2, 1]] {
            let read = block_on(read(&mut Cursor::new(bytes)));
            assert!(matches!(read, Err(ReadError::Io(_))), "{read:?}");
        }
    }

    #[test]
    fn when_it_takes_too_long_it_is_over() {
        let never = future::pending::<io::Result<()>>();
        let error = block_on(within(Duration::from_millis(1), never)).expect_err("never");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_reading_needs_no_more_of_them(bytes in prop::collection::vec(any::<u8>(), 0..5_000)) {
            let read = read(&mut Cursor::new(bytes)).now_or_never().expect("a cursor is always ready");
            if let Ok(body) = read {
                prop_assert!(body.len() <= MAX_MESSAGE_BYTES);
            }
        }
    }
}
