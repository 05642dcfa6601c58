//! The configuration as a file that explains itself: `--print-config`.
//!
//! Every key with its documentation, its default and its value. Read again, it gives the same configuration. What has no
//! value stands there commented out.

use confique::{
    Config as _,
    meta::{Expr, Field, FieldKind, LeafKind, Meta},
};
use toml::{Table, Value};

use super::{Config, ConfigError};

const TITLE: &str = "\
# What this relay is started with. A flag wins over a variable, a variable over the file that --config names.
# Keys of a section can be set by a variable, too: PEERWAY_RELAY_, the section, _, the key.
";
const WIDTH: usize = 118;

/// `config` as a file.
pub(super) fn of(config: &Config) -> Result<String, ConfigError> {
    let values = Table::try_from(config)
        .map_err(|error| ConfigError::Invalid(format!("this configuration cannot be printed: {error}")))?;
    let mut text = TITLE.to_owned();
    write_fields(&mut text, &Config::META, &values, "");
    Ok(text)
}

fn write_fields(text: &mut String, meta: &Meta, values: &Table, section: &str) {
    for field in meta.fields {
        match field.kind {
            FieldKind::Leaf { kind, .. } => write_leaf(text, field, kind, values.get(field.name)),
            // TOML puts sections behind all keys, and so does the struct.
            FieldKind::Nested { meta } => {
                let path = format!("{section}{}", field.name);
                text.push('\n');
                write_comment(text, meta.doc);
                text.push_str(&format!("[{path}]\n"));
                if let Some(Value::Table(values)) = values.get(field.name) {
                    write_fields(text, meta, values, &format!("{path}."));
                }
            }
        }
    }
}

fn write_leaf(text: &mut String, field: &Field, kind: LeafKind, value: Option<&Value>) {
    text.push('\n');
    write_comment(text, field.doc);
    if let LeafKind::Required { default: Some(default) } = kind {
        text.push_str(&format!("# Default: {}\n", shown(default)));
    }
    match value {
        Some(value) => text.push_str(&format!("{} = {value}\n", field.name)),
        None => text.push_str(&format!("# {} =\n", field.name)),
    }
}

/// Sentences that the source wraps where it must are wrapped anew; a line that ends one stays.
fn write_comment(text: &mut String, doc: &[&str]) {
    let mut line = String::from("#");
    for word in doc.iter().flat_map(|line| line.split_whitespace()) {
        if line.chars().count() + 1 + word.chars().count() > WIDTH || (word == "Cost:" && line.len() > 1) {
            text.push_str(&line);
            text.push('\n');
            "#".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

fn shown(default: Expr) -> String {
    Value::try_from(default).map_or_else(|_| String::new(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Admin, Bytes, Exposure, LogFormat, Stun, file},
        *,
    };

    /// With nothing as it is by default.
    fn unusual() -> Config {
        let mut config = Config::ephemeral("some \"where\"".into());
        config.exposure = Exposure::Public;
        config.stun = Stun::Off;
        config.admin = Admin::Off;
        config.log_format = LogFormat::Json;
        config.external_address = vec!["/dns4/relay.example/tcp/443/tls/ws".parse().unwrap()];
        config.access.allow_peers = vec![libp2p::PeerId::random()];
        config.access.deny_networks = vec!["2001:db8::/32".parse().unwrap(), "203.0.113.7".parse().unwrap()];
        config.access.token_file = Some("tokens".into());
        config.relays.addresses = vec!["/ip4/192.0.2.7/tcp/4001".parse().unwrap()];
        config.relays.mode = crate::config::Mode::Both;
        config.relays.unnamed = 2;
        config.relays.token_file = Some("token".into());
        config.limits.circuits = 7.try_into().unwrap();
        config.limits.circuit_bytes = "1500B".parse::<Bytes>().unwrap();
        config.limits.circuit_duration = "1h 1s".parse().unwrap();
        config.limits.shared_networks = vec!["10.0.0.0/8".parse().unwrap()];
        config
    }

    fn read_back(text: &str) -> Config {
        use confique::Layer as _;
        let written = file::parse(text).unwrap_or_else(|error| panic!("{error} in {text}"));
        Config::layered(<Config as confique::Config>::Layer::empty(), written).unwrap()
    }

    #[test]
    fn when_what_was_printed_is_read_it_is_the_same_configuration() {
        for config in [Config::ephemeral("data".into()), unusual()] {
            assert_eq!(read_back(&of(&config).unwrap()), config);
        }
        let mut bare = unusual();
        (bare.http, bare.page, bare.listen) = (None, None, Vec::new());
        assert_eq!(read_back(&of(&bare).unwrap()), bare);
    }

    #[test]
    fn every_key_is_explained_and_every_limit_says_what_it_costs() {
        let text = of(&unusual()).unwrap();
        let all = Config::META.fields.iter().flat_map(|field| match field.kind {
            FieldKind::Leaf { .. } => vec![(field, false)],
            FieldKind::Nested { meta } => meta
                .fields
                .iter()
                .map(|inner| (inner, field.name == "limits"))
                .collect(),
        });
        for (field, costs) in all {
            let start = text.find(&format!("\n{} = ", field.name));
            assert!(start.is_some(), "{} is not in {text}", field.name);
            let doc = field.doc.concat();
            assert!(!doc.is_empty(), "{} is not explained", field.name);
            assert!(!costs || doc.contains("Cost: "), "{} costs nothing?", field.name);
            assert!(!doc.contains('['), "{}: a link is no use in a file", field.name);
        }
        assert!(
            text.contains("# Default: \"1h\"\nreservation_duration = \"1h\"\n"),
            "{text}"
        );
        assert!(text.contains("# Default: 1024\ncircuits = 7\n"), "{text}");
        assert!(
            text.lines()
                .all(|line| line.starts_with('#') || line.is_empty() || line.starts_with('[') || line.contains(" = "))
        );
    }
}
