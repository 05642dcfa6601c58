//! The tokens with which everybody may use the relay, as the file of them says.
//!
//! What is kept is their SHA-256: a token is found by the hash of what was presented, so that neither a log nor the time
//! that a comparison takes tells anything of it.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use peerway_core::access::AccessToken;
use sha2::{Digest, Sha256};

/// The shortest token: of letters and digits, it cannot be guessed.
const MIN_LENGTH: usize = 16;
/// The longest token.
pub(super) const MAX_LENGTH: usize = 256;
/// The most tokens in one file.
const MAX_TOKENS: usize = 1_024;

/// The hash of a token.
pub(super) type Hash = [u8; 32];

/// The hashes of all tokens that hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Tokens(BTreeSet<Hash>);

/// Why a token file cannot be used. Never says what is in it.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("cannot read tokens from {}: {source} ({setting})", .path.display())]
    Read {
        /// What says that it is to be read.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It holds something else than tokens.
    #[error("{}:{line}: no token: expected {MIN_LENGTH} to {MAX_LENGTH} letters, digits, \"-\" and \"_\"", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The first line that is none.
        line: usize,
    },
    /// It holds none, or too many.
    #[error("{} holds {count} tokens: expected at least 1 and at most {most}", .path.display())]
    Count {
        /// The file.
        path: PathBuf,
        /// How many it holds.
        count: usize,
        /// How many it may hold.
        most: usize,
    },
}

impl Tokens {
    pub(super) fn read(path: &Path) -> Result<Self, TokenFileError> {
        let path = || path.to_owned();
        let text = text_of(path(), "access.token_file")?;
        let tokens = Self::parse(&text).map_err(|line| TokenFileError::Malformed { path: path(), line })?;
        match tokens.0.len() {
            1..=MAX_TOKENS => Ok(tokens),
            count => Err(TokenFileError::Count {
                path: path(),
                count,
                most: MAX_TOKENS,
            }),
        }
    }

    /// The tokens of a text, or the number of its first line that is none.
    pub(super) fn parse(text: &str) -> Result<Self, usize> {
        let lines = text
            .lines()
            .map(str::trim)
            .enumerate()
            .filter(|(_, line)| !line.is_empty());
        let hashes = lines.map(|(index, line)| hash(line).ok_or(index + 1));
        hashes.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, hash: &Hash) -> bool {
        self.0.contains(hash)
    }
}

/// The one token of this file, which this relay shows to others.
pub(crate) fn read_own(path: &Path) -> Result<AccessToken, TokenFileError> {
    let text = text_of(path.to_owned(), "relays.token_file")?;
    let mut lines = text
        .lines()
        .map(str::trim)
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    match (lines.next(), lines.count()) {
        (Some((index, line)), 0) => {
            let malformed = || TokenFileError::Malformed {
                path: path.to_owned(),
                line: index + 1,
            };
            hash(line).ok_or_else(malformed)?;
            line.parse().map_err(|_| malformed())
        }
        (first, more) => Err(TokenFileError::Count {
            path: path.to_owned(),
            count: usize::from(first.is_some()) + more,
            most: 1,
        }),
    }
}

fn text_of(path: PathBuf, setting: &'static str) -> Result<String, TokenFileError> {
    fs::read_to_string(&path).map_err(|source| TokenFileError::Read { setting, path, source })
}

/// The hash of what may be a token.
pub(super) fn hash(text: &str) -> Option<Hash> {
    let has_form = (MIN_LENGTH..=MAX_LENGTH).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    has_form.then(|| Sha256::digest(text).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(text: &str) -> Result<Tokens, String> {
        let file = written(text);
        Tokens::read(&file.path().join("tokens")).map_err(|error| error.to_string())
    }

    fn written(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("tokens"), text).unwrap();
        dir
    }

    #[test]
    fn when_a_file_has_tokens_these_hold_and_no_others() {
        let tokens = reading("\n0123456789abcdef\n  An-other_Token-x\n\n").unwrap();
        for (token, holds) in [
            ("0123456789abcdef", true),
            ("An-other_Token-x", true),
            ("an-other_token-x", false),
            ("0123456789abcdeg", false),
        ] {
            assert_eq!(tokens.contains(&hash(token).unwrap()), holds, "{token}");
        }
    }

    #[test]
    fn when_a_file_is_not_one_of_tokens_the_line_is_named_and_nothing_of_it_is_shown() {
        let secret = "not/a/token/at/all";
        let error = reading(&format!("0123456789abcdef\n{secret}\n")).unwrap_err();
        assert!(error.contains(":2: ") && !error.contains(secret), "{error}");
        assert!(reading("\n\n").unwrap_err().contains("holds 0 tokens"));
        assert!(reading("short").unwrap_err().contains(":1: "));
        assert!(reading(&"x".repeat(MAX_LENGTH + 1)).unwrap_err().contains(":1: "));
        let missing = Tokens::read(Path::new("/nowhere/tokens")).unwrap_err().to_string();
        assert!(
            missing.contains("/nowhere/tokens") && missing.contains("token_file"),
            "{missing}"
        );
    }

    #[test]
    fn a_token_that_is_shown_to_others_stands_alone_in_its_file() {
        let own = |text: &str| {
            let file = written(text);
            read_own(&file.path().join("tokens")).map_err(|error| error.to_string())
        };
        let token = "0123456789abcdef";
        assert_eq!(own(&format!("\n{token}\n")), Ok(token.parse().unwrap()));
        assert!(own("\n").unwrap_err().contains("holds 0 tokens"));
        assert!(
            own(&format!("{token}\n{token}"))
                .unwrap_err()
                .contains("holds 2 tokens")
        );
        let error = own("a secret and no token").unwrap_err();
        assert!(error.contains(":1: ") && !error.contains("secret"), "{error}");
        let missing = read_own(Path::new("/nowhere/token")).unwrap_err().to_string();
        assert!(missing.contains("relays.token_file"), "{missing}");
    }

    #[test]
    fn when_tokens_are_written_to_a_log_they_are_not_in_it() {
        let tokens = Tokens::parse("0123456789abcdef").unwrap();
        assert!(!format!("{tokens:?}").contains("0123456789abcdef"));
    }
}
