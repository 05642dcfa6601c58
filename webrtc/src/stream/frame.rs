//! The frames that a stream is cut into: a length as an unsigned varint, then a protobuf message of a flag, data or both.
//!
//! Decodes what a stranger sends: any bytes, in any pieces. Never holds more than one frame that is not complete.
//! Source: <https://github.com/libp2p/specs/blob/master/webrtc/README.md#multiplexing>.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message as _;
use unsigned_varint::encode;

/// The largest frame, its length prefix included: larger messages would hold up the other channels (RFC 8831, 6.6).
pub(crate) const MAX_FRAME: usize = 16 * 1024;

/// What a frame adds to its data at most: the prefix (3), the flag (2), the data's tag and length (1 + 3).
const OVERHEAD: usize = 9;

/// The most data that one frame carries.
pub(crate) const MAX_DATA: usize = MAX_FRAME - OVERHEAD;

/// A flag as it goes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Flag {
    /// The sender will send no more data.
    Fin = 0,
    /// The sender will read no more data.
    StopSending = 1,
    /// The sender has given the stream up.
    Reset = 2,
    /// The sender got our [`Flag::Fin`], and with it everything before.
    FinAck = 3,
}

/// Why a frame could not be read. The stream is lost: where the next frame begins is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame is longer than {MAX_FRAME} bytes")]
    TooLong,
    #[error("a frame is no message of the protocol")]
    Malformed,
    #[error("a frame has a flag that the protocol does not know")]
    UnknownFlag,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Wire {
    #[prost(int32, optional, tag = "1")]
    flag: Option<i32>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    message: Option<Bytes>,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) flag: Option<Flag>,
    pub(crate) data: Bytes,
}

/// A frame that carries only this flag.
pub(crate) fn encode_flag(flag: Flag) -> Vec<u8> {
    let wire = Wire {
        flag: Some(flag.into()),
        message: None,
    };
    wire.encode_length_delimited_to_vec()
}

/// A frame that carries this data, at most [`MAX_DATA`] bytes of it.
pub(crate) fn encode_data(data: &[u8]) -> Vec<u8> {
    debug_assert!(data.len() <= MAX_DATA, "the caller cuts");
    // As prost would write it, but copied once instead of twice: all that is ever sent goes through here.
    let mut lengths = [encode::usize_buffer(), encode::usize_buffer()];
    let [body, prefix] = &mut lengths;
    let body = encode::usize(data.len(), body);
    let prefix = encode::usize(1 + body.len() + data.len(), prefix);
    [prefix, &[DATA_TAG], body, data].concat()
}

/// Before the data: field 2, of a length that follows.
const DATA_TAG: u8 = 2 << 3 | 2;

/// Puts frames together from the pieces in which they arrive.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The beginning of a frame; shorter than [`MAX_FRAME`] plus one piece.
    rest: BytesMut,
}

impl Decoder {
    /// Takes a piece and hands every frame that is complete now to `each`, in order.
    pub(crate) fn decode(&mut self, piece: Bytes, mut each: impl FnMut(Frame)) -> Result<(), FrameError> {
        let mut input = if self.rest.is_empty() {
            piece
        } else {
            self.rest.extend_from_slice(&piece);
            self.rest.split().freeze()
        };
        while let Some(frame) = next(&mut input)? {
            each(frame);
        }
        self.rest.extend_from_slice(&input);
        Ok(())
    }
}

fn next(input: &mut Bytes) -> Result<Option<Frame>, FrameError> {
    use unsigned_varint::decode::{self, Error};
    let (length, prefix) = match decode::usize(input) {
        Ok((length, after)) => (length, input.len() - after.len()),
        Err(Error::Insufficient) => return Ok(None),
        Err(_) => return Err(FrameError::Malformed),
    };
    if length > MAX_FRAME - prefix {
        return Err(FrameError::TooLong);
    }
    if input.len() < prefix + length {
        return Ok(None);
    }
    input.advance(prefix);
    let wire = Wire::decode(input.split_to(length)).map_err(|_| FrameError::Malformed)?;
    let flag = wire.flag.map(Flag::try_from).transpose();
    Ok(Some(Frame {
        flag: flag.map_err(|_| FrameError::UnknownFlag)?,
        data: wire.message.unwrap_or_default(),
    }))
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    fn decode_all(pieces: &[&[u8]]) -> Result<Vec<Frame>, FrameError> {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for piece in pieces {
            decoder.decode(Bytes::copy_from_slice(piece), |frame| frames.push(frame))?;
        }
        Ok(frames)
    }

    fn data(bytes: &[u8]) -> Frame {
        Frame {
            flag: None,
            data: Bytes::copy_from_slice(bytes),
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_frames_are_encoded_they_are_the_bytes_that_the_specification_gives() {
        assert_eq!(encode_flag(Flag::Fin), [2, 0x08, 0]);
        assert_eq!(encode_flag(Flag::FinAck), [2, 0x08, 3]);
        assert_eq!(encode_data(b"hi"), [4, 0x12, 2, b'h', b'i']);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn data_of_any_length_is_framed_as_protobuf_frames_it() {
        for length in [0, 1, 100, 127, 128, 300, MAX_DATA] {
            let data = vec![7; length];
            let wire = Wire {
                flag: None,
                message: Some(data.clone().into()),
            };
            assert_eq!(encode_data(&data), wire.encode_length_delimited_to_vec(), "{length}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_the_most_data_is_sent_the_frame_is_as_long_as_it_may_be() {
        let frame = encode_data(&vec![7; MAX_DATA]);
        assert!(frame.len() <= MAX_FRAME, "{}", frame.len());
        assert_eq!(decode_all(&[&frame]), Ok(vec![data(&vec![7; MAX_DATA])]));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_frames_arrive_in_pieces_they_are_put_together() {
        let mut wire = encode_data(b"one");
        wire.extend(encode_flag(Flag::StopSending));
        wire.extend(encode_data(&[2; 300]));
        let expected = decode_all(&[&wire]).unwrap();
        assert_eq!(expected.len(), 3);
        for at in 0..=wire.len() {
            let (before, after) = wire.split_at(at);
            assert_eq!(decode_all(&[before, after]).as_ref(), Ok(&expected), "cut at {at}");
        }
        let single: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(decode_all(&single), Ok(expected));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_a_frame_is_wrong_it_is_said_how() {
        let too_long = [0x80, 0x80, 0x01];
        assert_eq!(decode_all(&[&too_long]), Err(FrameError::TooLong));
        assert_eq!(decode_all(&[&[0xff; 12]]), Err(FrameError::Malformed));
        assert_eq!(decode_all(&[&[2, 0x12, 9]]), Err(FrameError::Malformed));
        assert_eq!(decode_all(&[&[2, 0x08, 4]]), Err(FrameError::UnknownFlag));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_a_frame_is_empty_it_says_nothing() {
        assert_eq!(decode_all(&[&[0]]), Ok(vec![data(b"")]));
    }

    #[cfg(not(target_family = "wasm"))]
    proptest::proptest! {
        #[test]
        fn when_any_bytes_arrive_nothing_panics_and_little_is_kept(pieces: Vec<Vec<u8>>) {
            let mut decoder = Decoder::default();
            for piece in pieces {
                let longest = MAX_FRAME + piece.len();
                if decoder.decode(piece.into(), |_| {}).is_err() {
                    break;
                }
                proptest::prop_assert!(decoder.rest.len() < longest);
            }
        }
    }
}
