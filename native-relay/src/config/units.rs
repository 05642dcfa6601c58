//! What a number in the configuration counts: durations, bytes and shares, written as people write them.
//!
//! A value that exists is within its bounds. What is printed is what was meant, to the last unit: it reads back the same.

use std::{fmt, str::FromStr, time::Duration};

/// Reads and writes a type in files as it is read from and written to text, and says what was expected otherwise.
macro_rules! as_text {
    ($type:ty, $expected:expr) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse()
                            .map_err(|error| E::custom(format_args!("{text:?}: {error}")))
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}
pub(crate) use as_text;

/// A duration that something lasts: from a second to a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

/// A number of bytes, more than none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(u64);

/// A part of a whole, from 1 % to 100 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

/// Why a text is none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct UnitError(&'static str);

const PERIOD: &str = "a duration from 1s to 365days, such as \"90s\" or \"1h 30m\"";
const BYTES: &str = "a number of bytes, such as \"64MiB\", \"1500kB\" or \"4096B\"";
const PERCENT: &str = "a share from \"1%\" to \"100%\"";

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const FACTORS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl Period {
    /// The duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl Bytes {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Percent {
    /// That part of `whole`.
    #[must_use]
    pub const fn of(self, whole: u64) -> u64 {
        // In this order: `whole` may be anything.
        whole / 100 * self.0 as u64
    }
}

impl FromStr for Period {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        match humantime::parse_duration(text) {
            Ok(duration) if (SHORTEST..=LONGEST).contains(&duration) => Ok(Self(duration)),
            Ok(_) | Err(_) => Err(UnitError(PERIOD)),
        }
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let parse = || {
            let digits = text.find(|c: char| !c.is_ascii_digit())?;
            let (number, unit) = text.split_at(digits);
            let (_, factor) = FACTORS.iter().find(|(name, _)| *name == unit.trim_start())?;
            number.parse::<u64>().ok()?.checked_mul(*factor)
        };
        parse().filter(|bytes| *bytes > 0).map(Self).ok_or(UnitError(BYTES))
    }
}

impl FromStr for Percent {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let number = text.strip_suffix('%').and_then(|number| number.trim_end().parse().ok());
        match number {
            Some(number @ 1..=100) => Ok(Self(number)),
            Some(_) | None => Err(UnitError(PERCENT)),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = FACTORS
            .iter()
            .find(|(_, factor)| self.0.is_multiple_of(*factor))
            .unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

as_text!(Period, PERIOD);
as_text!(Bytes, BYTES);
as_text!(Percent, PERCENT);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn when_a_value_is_written_as_people_do_it_is_understood() {
        for (text, seconds) in [("1h", 3_600), ("1h 30m", 5_400), ("90s", 90), ("365days", 31_536_000)] {
            assert_eq!(text.parse::<Period>().unwrap().get().as_secs(), seconds, "{text}");
        }
        for (text, bytes) in [
            ("64MiB", 67_108_864),
            ("1500 kB", 1_500_000),
            ("1B", 1),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(text.parse::<Bytes>().unwrap().get(), bytes, "{text}");
        }
        assert_eq!("75%".parse::<Percent>().unwrap().of(1 << 30), 805_306_350);
        assert_eq!("100%".parse::<Percent>().unwrap().of(u64::MAX), u64::MAX / 100 * 100);
    }

    #[test]
    fn when_a_value_is_nothing_or_out_of_bounds_it_is_refused_with_what_was_expected() {
        for text in [
            "",
            "1",
            "0s",
            "999ms",
            "366days",
            "h",
            "-1s",
            "1 parsec",
            "99999999999999999999years",
        ] {
            assert_eq!(
                text.parse::<Period>().unwrap_err().to_string(),
                format!("expected {PERIOD}"),
                "{text}"
            );
        }
        for text in [
            "",
            "1",
            "0B",
            "MiB",
            "1mib",
            "-1B",
            "1.5MiB",
            "99999999TiB",
            "18446744073709551616B",
        ] {
            assert_eq!(
                text.parse::<Bytes>().unwrap_err().to_string(),
                format!("expected {BYTES}"),
                "{text}"
            );
        }
        for text in ["", "%", "0%", "101%", "50", "-1%", "256%", "1.5%"] {
            assert_eq!(
                text.parse::<Percent>().unwrap_err().to_string(),
                format!("expected {PERCENT}"),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_was_meant_is_what_is_read_back(bytes in 1_u64.., millis in 1_000_u64..31_536_000_000, percent in 1_u8..=100) {
            prop_assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
            let period = Period(Duration::from_millis(millis));
            prop_assert_eq!(period.to_string().parse(), Ok(period));
            prop_assert_eq!(Percent(percent).to_string().parse(), Ok(Percent(percent)));
        }

        #[test]
        fn whatever_is_read_nothing_panics(text in "\\PC*") {
            let _ = (text.parse::<Bytes>(), text.parse::<Period>(), text.parse::<Percent>());
        }
    }
}
