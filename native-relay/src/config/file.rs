//! The configuration file as one layer of the configuration.
//!
//! Nothing in it is passed over: an unknown key, and a value that is not what its key wants, are refused with file, line
//! and key.

use std::{fs, path::Path};

use toml::de::{DeTable, DeValue};

use super::{ConfigError, Layer};

/// Reads the file at `path`.
pub(super) fn read(path: &Path) -> Result<Layer, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|error| ConfigError::Invalid(format!("cannot read {}: {error}", path.display())))?;
    parse(&text).map_err(|error| ConfigError::Invalid(format!("{}:{error}", path.display())))
}

/// `LINE: KEY: what is wrong`.
pub(super) fn parse(text: &str) -> Result<Layer, String> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        let key = DeTable::parse(text).ok().and_then(|table| key_at(table.get_ref(), at));
        let key = key.map(|key| format!("{key}: ")).unwrap_or_default();
        format!("{line}: {key}{}", what_is_wrong(error.message()))
    })
}

/// One line of what serde and TOML say. The names of all other keys help nobody: there are many.
pub(super) fn what_is_wrong(message: &str) -> String {
    if message.starts_with("unknown field") {
        return "unknown key (--print-config prints those there are)".to_owned();
    }
    message.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// The innermost key, with those above it, whose name or value is at this byte.
fn key_at(table: &DeTable<'_>, at: usize) -> Option<String> {
    table.iter().find_map(|(name, value)| {
        let own = name.get_ref().to_string();
        if name.span().contains(&at) {
            return Some(own);
        }
        if let DeValue::Table(inner) = value.get_ref() {
            return key_at(inner, at).map(|key| format!("{own}.{key}"));
        }
        value.span().contains(&at).then_some(own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_file_is_wrong_line_key_and_what_was_expected_are_named() {
        for (text, says) in [
            ("bogus = 1", "1: bogus: unknown key"),
            ("\n\n[limits]\n\ncircuit = 1", "5: limits.circuit: unknown key"),
            ("[limit]\ncircuits = 1", "1: limit: unknown key"),
            ("http = \"nowhere\"", "1: http: invalid socket address"),
            (
                "exposure = \"world\"",
                "1: exposure: unknown variant `world`, expected one of `loopback`, `lan`, `public`",
            ),
            (
                "stun = \"on\"",
                "1: stun: invalid value: string \"on\", expected \"auto\", \"off\" or a list",
            ),
            ("admin = \"9090\"", "1: admin: \"9090\": invalid socket address"),
            ("stun = [\n  \"off\",\n]", "2: stun: invalid socket address"),
            (
                "listen = [\"/ip4/127.0.0.1/tcp/1/ws\"]",
                "1: listen: \"/ip4/127.0.0.1/tcp/1/ws\": WebSocket is served",
            ),
            (
                "listen = [1]",
                "1: listen: invalid type: integer `1`, expected a multiaddr to listen on",
            ),
            ("external_address = [\"/tcp/1\"]", "1: external_address: "),
            (
                "[limits]\ncircuits = 0",
                "2: limits.circuits: invalid value: integer `0`, expected a nonzero u32",
            ),
            (
                "[limits]\ncircuits = \"many\"",
                "2: limits.circuits: invalid type: string \"many\", expected a nonzero u32",
            ),
            (
                "[limits]\nmemory = 50",
                "2: limits.memory: invalid type: integer `50`, expected a share from \"1%\"",
            ),
            (
                "[limits]\ncircuit_bytes = \"1PB\"",
                "2: limits.circuit_bytes: \"1PB\": expected a number of bytes",
            ),
            (
                "[limits]\ncircuit_duration = \"1x\"",
                "2: limits.circuit_duration: \"1x\": expected a duration",
            ),
            ("[limits]\nwebsocket_frame = \"1KiB\"", "expected at least \"128KiB\""),
            (
                "[limits]\nshared_networks = [\"a\"]",
                "2: limits.shared_networks: \"a\": expected an address or a network",
            ),
            (
                "[relays]\naddresses = [\"/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA\"]",
                "2: relays.addresses: ",
            ),
            ("limits.circuits = 0", "1: limits.circuits: "),
            ("http = \"127.0.0.1:1\"\nhttp = \"127.0.0.1:2\"", "2: duplicate key"),
            ("[limits", "1: "),
        ] {
            let error = parse(text).err().unwrap_or_else(|| panic!("{text} is fine"));
            assert!(error.contains(says), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn when_a_file_says_something_that_is_what_the_layer_says() {
        let layer = parse("exposure = \"public\"\n[limits]\ncircuits = 7\nmemory = \"50%\"").unwrap();
        assert_eq!(layer.exposure, Some(super::super::Exposure::Public));
        assert_eq!(layer.limits.circuits.map(std::num::NonZeroU32::get), Some(7));
        assert_eq!(
            layer.limits.memory.map(|share| share.to_string()),
            Some("50%".to_owned())
        );
        assert!(layer.http.is_none() && layer.limits.rooms.is_none());
    }
}
