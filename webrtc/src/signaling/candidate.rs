//! One network candidate, as browsers write it: the JSON of [`RTCIceCandidateInit`].
//!
//! Decides what is a candidate, what marks their end, and what is too long or malformed to be shown to the browser. Whether
//! an address is worth trying is for the browser.
//!
//! [`RTCIceCandidateInit`]: https://www.w3.org/TR/webrtc/#dom-rtcicecandidateinit

use serde::{Deserialize, Serialize};

/// The longest candidate that is read, as JSON. A longer one is passed over; browsers write some 300 bytes.
pub const MAX_CANDIDATE_BYTES: usize = 2 * 1024;

/// A candidate: what [`RTCIceCandidate.toJSON()`] gives and the constructor takes.
///
/// Only what is named here crosses the stream, whatever else a browser may add to its candidates.
///
/// [`RTCIceCandidate.toJSON()`]: https://www.w3.org/TR/webrtc/#dom-rtcicecandidate-tojson
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceCandidate {
    /// The `candidate-attribute` of RFC 8839, section 5.1. Never empty if it was read from a stream.
    pub candidate: String,
    /// The media section it belongs to, by its identification tag.
    #[serde(default)]
    pub sdp_mid: Option<String>,
    /// The media section it belongs to, by its index.
    #[serde(default)]
    pub sdp_m_line_index: Option<u16>,
    /// Tells the candidates of one ICE generation from those of another.
    #[serde(default)]
    pub username_fragment: Option<String>,
}

/// Why a candidate was passed over. The session goes on without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CandidateError {
    /// Longer than [`MAX_CANDIDATE_BYTES`].
    #[error("a candidate of {0} bytes")]
    TooLong(usize),
    /// Not the JSON of a candidate.
    #[error("not a candidate")]
    Malformed,
}

/// Reads the data of a candidate's message. `None` marks the end of the candidates: browsers and libraries write it as no
/// data, `null`, `""`, `{}` or `{"candidate":""}`.
///
/// # Errors
/// See [`CandidateError`].
pub fn read(data: Option<&str>) -> Result<Option<IceCandidate>, CandidateError> {
    let data = data.unwrap_or("null");
    if data.len() > MAX_CANDIDATE_BYTES {
        return Err(CandidateError::TooLong(data.len()));
    }
    match data.trim() {
        "" | "\"\"" => return Ok(None),
        // Serde would also take a list of the fields in order.
        text if text != "null" && !text.starts_with('{') => return Err(CandidateError::Malformed),
        _ => {}
    }
    let read: Option<Read> = serde_json::from_str(data).map_err(|_| CandidateError::Malformed)?;
    Ok(read.and_then(Read::into_candidate))
}

/// Writes it as js-libp2p does; the end of the candidates is `null`.
///
/// # Errors
/// [`CandidateError::TooLong`], if our own browser made one that we would not read.
pub fn write(candidate: Option<&IceCandidate>) -> Result<String, CandidateError> {
    let json = serde_json::to_string(&candidate).map_err(|_| CandidateError::Malformed)?;
    if json.len() > MAX_CANDIDATE_BYTES {
        return Err(CandidateError::TooLong(json.len()));
    }
    Ok(json)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    candidate: Option<String>,
    sdp_mid: Option<String>,
    sdp_m_line_index: Option<u16>,
    username_fragment: Option<String>,
}

impl Read {
    fn into_candidate(self) -> Option<IceCandidate> {
        Some(IceCandidate {
            candidate: self.candidate.filter(|candidate| !candidate.is_empty())?,
            sdp_mid: self.sdp_mid,
            sdp_m_line_index: self.sdp_m_line_index,
            username_fragment: self.username_fragment,
        })
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    const LINE: &str = "candidate:1 1 udp 2113937151 192.0.2.1 40000 typ host";

    fn candidate() -> IceCandidate {
        IceCandidate {
            candidate: LINE.to_owned(),
            sdp_mid: Some("0".to_owned()),
            sdp_m_line_index: Some(0),
            username_fragment: Some("Ab1+".to_owned()),
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn every_way_to_mark_the_end_is_understood() {
        let ends = [
            "null",
            "\"\"",
            "",
            " null ",
            "{}",
            "{\"candidate\":\"\"}",
            "{\"candidate\":null}",
        ];
        for end in ends.map(Some).into_iter().chain([None]) {
            assert_eq!(read(end), Ok(None), "{end:?}");
        }
        let with_mid = "{\"candidate\":\"\",\"sdpMid\":\"0\",\"sdpMLineIndex\":0,\"usernameFragment\":\"a\"}";
        assert_eq!(read(Some(with_mid)), Ok(None));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn what_a_browser_writes_is_read_and_written_alike() {
        let json =
            format!("{{\"candidate\":\"{LINE}\",\"sdpMid\":\"0\",\"sdpMLineIndex\":0,\"usernameFragment\":\"Ab1+\"}}");
        assert_eq!(read(Some(&json)), Ok(Some(candidate())));
        assert_eq!(write(Some(&candidate())), Ok(json));
        assert_eq!(write(None), Ok("null".to_owned()));
        let bare = format!("{{\"candidate\":\"{LINE}\",\"url\":\"stun:unknown\"}}");
        let read = read(Some(&bare)).unwrap().unwrap();
        assert_eq!((read.candidate.as_str(), read.sdp_mid), (LINE, None));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn what_is_no_candidate_or_too_long_is_refused() {
        let deep = "[".repeat(MAX_CANDIDATE_BYTES);
        let malformed = [
            "[]",
            "[\"a\",\"0\",0,\"u\"]",
            "1",
            "true",
            "\"a\"",
            "{",
            "nul",
            "{\"candidate\":1}",
            "{\"candidate\":{}}",
            "{\"candidate\":\"a\",\"sdpMLineIndex\":65536}",
            "{\"candidate\":\"a\",\"sdpMLineIndex\":-1}",
            &deep,
        ];
        for data in malformed {
            assert_eq!(read(Some(data)), Err(CandidateError::Malformed), "{data}");
        }
        let empty = "{\"candidate\":\"\"}".len();
        let of = |bytes: usize| format!("{{\"candidate\":\"{}\"}}", "a".repeat(bytes - empty));
        assert!(read(Some(&of(MAX_CANDIDATE_BYTES))).unwrap().is_some());
        assert_eq!(
            read(Some(&of(MAX_CANDIDATE_BYTES + 1))),
            Err(CandidateError::TooLong(MAX_CANDIDATE_BYTES + 1))
        );
        let long = IceCandidate {
            candidate: "a".repeat(MAX_CANDIDATE_BYTES),
            ..candidate()
        };
        assert!(matches!(write(Some(&long)), Err(CandidateError::TooLong(_))));
    }
}
