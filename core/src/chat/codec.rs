//! The wire format of a room's lines: `{"id","name","text","sentAt"}` as JSON, and plain text from strangers.
//!
//! Decoding verifies: what comes out is within every limit. It never decides whether a line is shown.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::name::clean_name;
use crate::now::UnixMillis;

/// The longest text of a line, in bytes of UTF-8.
pub const TEXT_MAX_BYTES: usize = 4 * 1024;

/// The largest message in a room, in bytes as it is on the wire.
pub const PAYLOAD_MAX_BYTES: usize = 8 * 1024;

/// The longest id of a line, in bytes of printable ASCII.
pub const ID_MAX_BYTES: usize = 64;

/// The last instant that JavaScript's `Date` can show (ECMA-262, "Time Values and Time Range"), in ms.
const SENT_AT_MAX: u64 = 8_640_000_000_000_000;

/// Why a room's message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The whole is larger than [`PAYLOAD_MAX_BYTES`].
    #[error("the message is larger than {PAYLOAD_MAX_BYTES} bytes")]
    TooLarge,
    /// Neither a line nor text.
    #[error("the message is not UTF-8")]
    NotText,
    /// The id is empty, longer than [`ID_MAX_BYTES`] or not printable ASCII.
    #[error("the message's id is not 1 to {ID_MAX_BYTES} printable ASCII characters")]
    BadId,
    /// The text is longer than [`TEXT_MAX_BYTES`].
    #[error("the text is longer than {TEXT_MAX_BYTES} bytes")]
    TextTooLong,
    /// The text is empty or white space alone.
    #[error("the text is empty")]
    TextEmpty,
}

/// What a message in a room says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// A line in our format.
    Line(Line),
    /// Text in no format that we know, verbatim.
    Plain(String),
}

/// A line in our format, within every limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) text: String,
    pub(super) sent_at: Option<UnixMillis>,
}

/// Reads a message. An object whose `id` and `text` are strings is a line, refused if it breaks a limit; `name` and
/// `sentAt` are left out if they make no sense. Everything else is plain text.
pub(super) fn decode(data: &[u8]) -> Result<Payload, PayloadError> {
    if data.len() > PAYLOAD_MAX_BYTES {
        return Err(PayloadError::TooLarge);
    }
    let text = std::str::from_utf8(data).map_err(|_| PayloadError::NotText)?;
    // A map, not a derived struct: that one would read an array too.
    if let Ok(mut object) = serde_json::from_str::<Map<String, Value>>(text)
        && let (Some(Value::String(id)), Some(Value::String(text))) = (object.remove("id"), object.remove("text"))
    {
        check_id(&id)?;
        check_text(&text)?;
        let name = object.get("name").and_then(Value::as_str).and_then(clean_name);
        let sent_at = object.get("sentAt").and_then(sent_at);
        return Ok(Payload::Line(Line {
            id,
            name,
            text,
            sent_at,
        }));
    }
    check_text(text)?;
    Ok(Payload::Plain(text.to_owned()))
}

/// Writes a line; refuses one that [`decode`] would refuse. JSON escapes may make a text too large that is not too long.
pub(super) fn encode(line: &Line) -> Result<Vec<u8>, PayloadError> {
    check_id(&line.id)?;
    check_text(&line.text)?;
    let data = to_json(line);
    if data.len() > PAYLOAD_MAX_BYTES {
        return Err(PayloadError::TooLarge);
    }
    Ok(data)
}

fn to_json(line: &Line) -> Vec<u8> {
    let wire = WireLine {
        id: &line.id,
        name: line.name.as_deref(),
        text: &line.text,
        sent_at: line.sent_at.map(|at| at.0),
    };
    serde_json::to_vec(&wire).expect("a struct of strings and numbers is always JSON")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireLine<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<u64>,
}

fn check_id(id: &str) -> Result<(), PayloadError> {
    let printable = id.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if id.is_empty() || id.len() > ID_MAX_BYTES || !printable {
        return Err(PayloadError::BadId);
    }
    Ok(())
}

fn check_text(text: &str) -> Result<(), PayloadError> {
    if text.len() > TEXT_MAX_BYTES {
        return Err(PayloadError::TextTooLong);
    }
    if text.trim().is_empty() {
        return Err(PayloadError::TextEmpty);
    }
    Ok(())
}

/// Milliseconds from any JSON number: JavaScript writes 1e15 and fractions where we would not.
fn sent_at(value: &Value) -> Option<UnixMillis> {
    let millis = match value.as_u64() {
        Some(millis) => millis,
        // A float cast saturates and takes NaN to 0; what is negative or absurd is refused around it.
        None => value.as_f64().filter(|millis| *millis >= 0.0)? as u64,
    };
    (millis <= SENT_AT_MAX).then_some(UnixMillis(millis))
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    fn line(text: &str) -> Line {
        Line {
            id: "7f".to_owned(),
            name: Some("Ada".to_owned()),
            text: text.to_owned(),
            sent_at: Some(UnixMillis(1_700_000_000_000)),
        }
    }

    fn plain(text: &str) -> Result<Payload, PayloadError> {
        Ok(Payload::Plain(text.to_owned()))
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_line_has_this_form_on_the_wire() {
        let data = br#"{"id":"7f","name":"Ada","text":"hi","sentAt":1700000000000}"#;
        assert_eq!(encode(&line("hi")).unwrap(), data);
        assert_eq!(decode(data), Ok(Payload::Line(line("hi"))));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_line_needs_only_an_id_and_a_text() {
        let bare = Line {
            name: None,
            sent_at: None,
            ..line("hi")
        };
        for json in [
            r#"{"id":"7f","text":"hi"}"#,
            r#"{"id":"7f","text":"hi","name":5,"sentAt":"noon","more":[{}]}"#,
            r#"{"id":"7f","text":"hi","name":" ","sentAt":-1}"#,
            r#"{"id":"7f","text":"hi","sentAt":1e300}"#,
        ] {
            assert_eq!(decode(json.as_bytes()), Ok(Payload::Line(bare.clone())), "{json}");
        }
        assert_eq!(encode(&bare).unwrap(), br#"{"id":"7f","text":"hi"}"#);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_time_with_a_fraction_is_cut() {
        let json = br#"{"id":"7f","name":"Ada","text":"hi","sentAt":1700000000000.75}"#;
        assert_eq!(decode(json), Ok(Payload::Line(line("hi"))));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn what_is_no_line_is_plain_text_verbatim() {
        for text in [
            "hello",
            " {",
            "null",
            "[\"7f\",null,\"hi\",1]",
            r#"{"id":7,"text":"hi"}"#,
            r#"{"text":"hi"}"#,
        ] {
            assert_eq!(decode(text.as_bytes()), plain(text));
        }
        let deep = "[".repeat(TEXT_MAX_BYTES);
        assert_eq!(decode(deep.as_bytes()), plain(&deep));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn what_breaks_a_limit_is_refused() {
        let long = "x".repeat(TEXT_MAX_BYTES + 1);
        assert_eq!(decode(b"\xff\xfe"), Err(PayloadError::NotText));
        assert_eq!(decode(&vec![b'x'; PAYLOAD_MAX_BYTES + 1]), Err(PayloadError::TooLarge));
        assert_eq!(decode(long.as_bytes()), Err(PayloadError::TextTooLong));
        assert_eq!(decode(b" \n"), Err(PayloadError::TextEmpty));
        assert_eq!(decode(b""), Err(PayloadError::TextEmpty));
        assert_eq!(decode(br#"{"id":"7f","text":" "}"#), Err(PayloadError::TextEmpty));
        for id in ["", "é", "a\\u0000", &"x".repeat(ID_MAX_BYTES + 1)] {
            let json = format!(r#"{{"id":"{id}","text":"hi"}}"#);
            assert_eq!(decode(json.as_bytes()), Err(PayloadError::BadId), "{id:?}");
        }
        let long = format!(r#"{{"id":"7f","text":"{long}"}}"#);
        assert_eq!(decode(long.as_bytes()), Err(PayloadError::TextTooLong));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_text_that_escapes_make_too_large_is_not_encoded() {
        let quotes = "\"".repeat(TEXT_MAX_BYTES);
        assert_eq!(encode(&line(&quotes)), Err(PayloadError::TooLarge));
        assert!(encode(&line(&"x".repeat(TEXT_MAX_BYTES))).is_ok());
    }

    #[cfg(not(target_family = "wasm"))]
    mod properties {
        use proptest::{option, prelude::*};

        use super::*;

        proptest! {
            #[test]
            fn decoding_never_panics_and_never_breaks_a_limit(data in proptest::collection::vec(any::<u8>(), 0..512)) {
                within_limits(decode(&data))?;
            }

            #[test]
            fn decoding_of_objects_never_breaks_a_limit(
                id in ".{0,80}", name in any::<String>(), text in ".{0,5000}", sent_at in any::<f64>(),
            ) {
                let json = serde_json::json!({ "id": id, "name": name, "text": text, "sentAt": sent_at });
                within_limits(decode(json.to_string().as_bytes()))?;
            }

            #[test]
            fn a_line_survives_the_wire(
                id in "[ -~]{1,64}", name in option::of(".*"), text in any::<String>(),
                sent_at in option::of(0..=SENT_AT_MAX),
            ) {
                let line = Line { id, name: name.as_deref().and_then(clean_name), text, sent_at: sent_at.map(UnixMillis) };
                match encode(&line) {
                    Ok(data) => prop_assert_eq!(decode(&data), Ok(Payload::Line(line))),
                    Err(error) => prop_assert!(error == PayloadError::TextEmpty || line.text.len() > 1000, "{}", error),
                }
            }
        }

        fn within_limits(decoded: Result<Payload, PayloadError>) -> Result<(), TestCaseError> {
            let text = match decoded {
                Err(_) => return Ok(()),
                Ok(Payload::Plain(text)) => text,
                Ok(Payload::Line(line)) => {
                    prop_assert!((1..=ID_MAX_BYTES).contains(&line.id.len()) && line.id.is_ascii());
                    prop_assert!(
                        line.name
                            .is_none_or(|name| name.chars().count() <= crate::name::NAME_MAX_CHARS)
                    );
                    prop_assert!(line.sent_at.is_none_or(|at| at.0 <= SENT_AT_MAX));
                    line.text
                }
            };
            prop_assert!(text.len() <= TEXT_MAX_BYTES && !text.trim().is_empty());
            Ok(())
        }
    }
}
