//! What the first bytes of a connection ask for. Pure: bytes in, [`Verdict`] out.
//!
//! Never validates HTTP: whoever gets the connection parses it properly.

use super::MAX_HEAD_BYTES;

/// What to do with a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The head is not complete, and may still become one.
    Incomplete,
    /// The head is longer than we read.
    TooLong,
    /// The first bytes cannot begin an HTTP request.
    NotHttp,
    /// A plain request.
    Http,
    /// A request for a WebSocket.
    WebSocket {
        /// What to hand on of it.
        request: WebSocketRequest,
    },
}

/// A WebSocket request, cut down to what the handshake needs.
///
/// The WebSocket library reads at most 32 headers and 8 KiB: a browser behind a proxy, with the cookies of everything
/// else on `localhost`, sends more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WebSocketRequest {
    /// The request line and the headers that count.
    pub(super) essential: Vec<u8>,
    /// Where the head ended in the original.
    pub(super) end: usize,
}

const NEEDED: [&str; 6] = [
    "host",
    "upgrade",
    "connection",
    "sec-websocket-key",
    "sec-websocket-version",
    "origin",
];

/// The longest method that is worth waiting for: `OPTIONS`, with room for extensions.
const MAX_METHOD_BYTES: usize = 16;

pub(super) fn judge(bytes: &[u8]) -> Verdict {
    let method: &[u8] = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
    if !method.iter().all(u8::is_ascii_uppercase) || method.len() > MAX_METHOD_BYTES {
        return Verdict::NotHttp;
    }
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|position| position + 4);
    match end {
        Some(end) if end <= MAX_HEAD_BYTES => judge_head(&bytes[..end]),
        Some(_) => Verdict::TooLong,
        None if bytes.len() > MAX_HEAD_BYTES => Verdict::TooLong,
        None => Verdict::Incomplete,
    }
}

fn judge_head(head: &[u8]) -> Verdict {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let request_line = lines.next().unwrap_or_default();
    let mut essential = [request_line, b"\r\n"].concat();
    let mut asks_for_websocket = false;
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
        if name == "upgrade" {
            asks_for_websocket |= line[colon + 1..].trim_ascii().eq_ignore_ascii_case(b"websocket");
        }
        if NEEDED.contains(&name.as_str()) {
            essential.extend_from_slice(line);
            essential.extend_from_slice(b"\r\n");
        }
    }
    if !asks_for_websocket {
        return Verdict::Http;
    }
    essential.extend_from_slice(b"\r\n");
    Verdict::WebSocket {
        request: WebSocketRequest {
            essential,
            end: head.len(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_an_upgrade_to_websocket_is_asked_for_only_what_the_handshake_needs_is_handed_on() {
        let cookies: String = (0..100).map(|n| format!("X-{n}: {n}\r\n")).collect();
        let head = format!(
            "GET / HTTP/1.1\r\nHost: a:8080\r\n{cookies}UPGRADE: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Key: k==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        let sent = [head.as_bytes(), b"\x81\x00"].concat();
        let Verdict::WebSocket { request } = judge(&sent) else {
            panic!("{:?}", judge(&sent))
        };
        assert_eq!(&sent[request.end..], b"\x81\x00");
        assert_eq!(
            String::from_utf8(request.essential).unwrap(),
            "GET / HTTP/1.1\r\nHost: a:8080\r\nUPGRADE: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Key: k==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
    }

    #[test]
    fn when_something_else_is_asked_for_it_is_http() {
        for head in [
            "GET / HTTP/1.1\r\n\r\n",
            "POST /x HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
            "GET /?Upgrade:websocket HTTP/1.1\r\nX: Upgrade: websocket\r\n\r\n",
            "GET / HTTP/1.1\r\nbroken line\r\n: empty\r\n\r\n",
        ] {
            assert_eq!(judge(head.as_bytes()), Verdict::Http, "{head}");
        }
    }

    #[test]
    fn when_the_head_is_cut_anywhere_it_is_incomplete() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
        for length in 0..head.len() {
            assert_eq!(judge(&head[..length]), Verdict::Incomplete, "{length}");
        }
        assert!(matches!(judge(head), Verdict::WebSocket { .. }));
    }

    #[test]
    fn when_the_first_bytes_cannot_be_a_request_it_is_not_http() {
        for bytes in [
            &b"\x16\x03\x01"[..],
            b"\x13/multistream/1.0.0\n",
            b"\0",
            b"get / HTTP/1.1",
            &[b'A'; 17],
        ] {
            assert_eq!(judge(bytes), Verdict::NotHttp, "{bytes:?}");
        }
    }

    #[test]
    fn when_the_head_has_no_end_within_bounds_it_is_too_long() {
        let endless = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &vec![b'a'; MAX_HEAD_BYTES]].concat();
        assert_eq!(judge(&endless), Verdict::TooLong);
        assert_eq!(judge(&[endless.as_slice(), b"\r\n\r\n"].concat()), Verdict::TooLong);
    }
}
