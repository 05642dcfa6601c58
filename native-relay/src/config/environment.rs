//! Environment variables as one layer of the configuration: `PEERWAY_RELAY_`, a section, `_`, a key.
//!
//! Those without a section belong to flags of the same names, and are read with them ([`super::flags`]). A variable that
//! is empty says nothing; one whose name begins with a section's and goes on with no key of it is refused.

use std::ffi::OsString;

use confique::{
    Config as _, Layer as _,
    meta::{Expr, Field, FieldKind, LeafKind},
};
use serde::Deserialize;
use toml::{Table, Value};

use super::{Config, ConfigError, Layer, file::what_is_wrong};

const PREFIX: &str = "PEERWAY_RELAY_";

/// Reads the variables that concern us.
pub(super) fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Layer, ConfigError> {
    let mut all = Layer::empty();
    for (name, value) in variables {
        let Some((name, path)) = name
            .to_str()
            .and_then(|name| Some((name, name.strip_prefix(PREFIX)?.to_ascii_lowercase())))
        else {
            continue;
        };
        let invalid = |error: &str| ConfigError::Invalid(format!("{name}: {}", what_is_wrong(error)));
        let value = value.to_str().ok_or_else(|| invalid("not UTF-8"))?;
        if let Some((section, keys, key)) = section(&path)
            && !value.is_empty()
        {
            let field = keys.iter().find(|field| field.name == key);
            let field = field.ok_or_else(|| invalid("unknown field"))?;
            let table = Table::from_iter([(key.to_owned(), typed(field, value))]);
            let table = Table::from_iter([(section.to_owned(), Value::Table(table))]);
            let layer = Layer::deserialize(table).map_err(|error| invalid(error.message()))?;
            all = all.with_fallback(layer);
        }
    }
    Ok(all)
}

/// The section that `path` begins with, the keys that it has, and the rest of `path`.
fn section(path: &str) -> Option<(&'static str, &'static [Field], &str)> {
    Config::META.fields.iter().find_map(|field| match field.kind {
        FieldKind::Nested { meta } => {
            let key = path.strip_prefix(field.name)?.strip_prefix('_')?;
            Some((field.name, meta.fields, key))
        }
        FieldKind::Leaf { .. } => None,
    })
}

/// As it would be written in a file: numbers without quotes, lists separated by commas.
fn typed(field: &Field, value: &str) -> Value {
    let is_list = has_default(field, |default| matches!(default, Expr::Array(_)));
    if is_list {
        let items = value.split(',').map(|item| Value::String(item.trim().to_owned()));
        return Value::Array(items.collect());
    }
    let number = value
        .parse()
        .ok()
        .filter(|_| has_default(field, |default| matches!(default, Expr::Integer(_))));
    number.map_or_else(|| Value::String(value.to_owned()), Value::Integer)
}

fn has_default(field: &Field, is_such: impl Fn(Expr) -> bool) -> bool {
    match field.kind {
        FieldKind::Leaf {
            kind: LeafKind::Required { default: Some(default) },
            ..
        } => is_such(default),
        FieldKind::Leaf { .. } | FieldKind::Nested { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(name: &str, value: &str) -> Result<Layer, String> {
        read([(name.into(), value.into())]).map_err(|error| error.to_string())
    }

    #[test]
    fn when_a_variable_names_a_key_it_sets_it() {
        let limits = reading("PEERWAY_RELAY_LIMITS_CIRCUITS", "7").unwrap().limits;
        assert_eq!(limits.circuits.map(std::num::NonZeroU32::get), Some(7));
        let limits = reading("PEERWAY_RELAY_LIMITS_CIRCUIT_DURATION", "1h 1s")
            .unwrap()
            .limits;
        assert_eq!(
            limits.circuit_duration.map(|period| period.get().as_secs()),
            Some(3_601)
        );
        let limits = reading("PEERWAY_RELAY_LIMITS_SHARED_NETWORKS", "::1, 10.0.0.0/8")
            .unwrap()
            .limits;
        assert_eq!(limits.shared_networks.map(|networks| networks.len()), Some(2));
        let two = "/ip4/192.0.2.7/tcp/4001, /dns/relay.example/tcp/443/wss";
        let relays = reading("PEERWAY_RELAY_RELAYS_ADDRESSES", two).unwrap().relays;
        assert_eq!(relays.addresses.map(|addresses| addresses.len()), Some(2));
    }

    #[test]
    fn when_a_variable_is_wrong_it_is_named() {
        for (name, value, says) in [
            (
                "PEERWAY_RELAY_LIMITS_CIRCUITS",
                "many",
                "string \"many\", expected a nonzero u32",
            ),
            ("PEERWAY_RELAY_LIMITS_MEMORY", "50", "expected a share"),
            ("PEERWAY_RELAY_LIMITS_MEMORIES", "50%", "unknown key"),
            (
                "PEERWAY_RELAY_LIMITS_SHARED_NETWORKS",
                "here",
                "expected an address or a network",
            ),
        ] {
            let error = reading(name, value)
                .err()
                .unwrap_or_else(|| panic!("{name}={value} is fine"));
            assert!(
                error.starts_with(&format!("{name}: ")) && error.contains(says),
                "{error}"
            );
        }
    }

    #[test]
    fn when_a_variable_is_empty_or_none_of_ours_it_says_nothing() {
        for (name, value) in [
            ("PEERWAY_RELAY_LIMITS_CIRCUITS", ""),
            ("PEERWAY_RELAY_HTTP", "nowhere"),
            ("PEERWAY_RELAY_LIMITSCIRCUITS", "many"),
            ("LIMITS_CIRCUITS", "many"),
        ] {
            assert!(reading(name, value).unwrap().is_empty(), "{name}={value}");
        }
    }
}
