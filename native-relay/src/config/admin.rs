//! Where those who run the relay look into it.

use std::{
    fmt,
    net::{AddrParseError, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use super::units::as_text;

/// The port of metrics, when nobody says otherwise.
pub const DEFAULT_ADMIN_PORT: u16 = 9090;

/// Where metrics are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admin {
    /// On [`DEFAULT_ADMIN_PORT`] of loopback. If that cannot be had, nowhere, with a warning: a second relay on the same
    /// host is still a relay.
    #[default]
    IfFree,
    /// Nowhere.
    Off,
    /// Exactly here. It must work.
    At(SocketAddr),
}

impl Admin {
    /// The address that is wanted, if one is.
    pub(crate) fn socket(self) -> Option<SocketAddr> {
        match self {
            Self::IfFree => Some((Ipv4Addr::LOCALHOST, DEFAULT_ADMIN_PORT).into()),
            Self::Off => None,
            Self::At(socket) => Some(socket),
        }
    }
}

impl FromStr for Admin {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        match text {
            "auto" => Ok(Self::IfFree),
            "off" => Ok(Self::Off),
            socket => socket.parse().map(Self::At),
        }
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IfFree => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::At(socket) => socket.fmt(f),
        }
    }
}

as_text!(Admin, "\"auto\", \"off\" or \"ADDR:PORT\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_written_it_reads_back_as_the_same() {
        let somewhere = Admin::At(([192, 0, 2, 1], 80).into());
        for admin in [Admin::IfFree, Admin::Off, somewhere] {
            assert_eq!(admin.to_string().parse(), Ok(admin));
        }
        assert!("9090".parse::<Admin>().is_err());
        assert_eq!(Admin::default().socket(), Some(([127, 0, 0, 1], 9090).into()));
        assert_eq!(Admin::Off.socket(), None);
    }
}
