//! Display names: what is left of a string once nothing in it can disturb the text around it.

use unicode_normalization::UnicodeNormalization;

/// The longest display name, in characters.
pub const NAME_MAX_CHARS: usize = 32;

/// A display name out of anybody's string: NFC, no control or bidi characters, single spaces, at most
/// [`NAME_MAX_CHARS`] characters. `None` if nothing is left.
#[must_use]
pub fn clean_name(raw: &str) -> Option<String> {
    // A character takes at most 4 bytes and NFC joins at most a handful: the rest of a long string cannot matter much,
    // and normalising all of it would be work that a remote chooses.
    let head = raw
        .chars()
        .filter(|&c| !is_disturbing(c))
        .take(8 * NAME_MAX_CHARS)
        .collect::<String>();
    let spaced = head.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = spaced.nfc().take(NAME_MAX_CHARS).collect::<String>();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Control characters, line and paragraph separators, and the characters that change the direction of what follows
/// (Unicode's `Bidi_Control`).
pub(super) fn is_control_or_bidi(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// White space stays for now: it becomes a single space. Zero-width characters that no script needs go, so that no
/// name is invisible.
fn is_disturbing(c: char) -> bool {
    (is_control_or_bidi(c) && !c.is_whitespace()) || matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test(unsupported = test)]
    fn what_disturbs_is_removed_and_white_space_becomes_one_space() {
        assert_eq!(
            clean_name("  Ada\u{202e}\u{0}\n\tLove\u{200b}lace ").as_deref(),
            Some("Ada Lovelace")
        );
        assert_eq!(clean_name("Zoe\u{308}").as_deref(), Some("Zo\u{eb}"));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_name_of_which_nothing_is_left_is_none() {
        for raw in ["", " ", "\u{feff}", "\u{202e}\u{200b}", "\n\r"] {
            assert_eq!(clean_name(raw), None, "{raw:?}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(clean_name(&"é".repeat(1000)).unwrap(), "é".repeat(NAME_MAX_CHARS));
        let cut_at_a_space = format!("{} b", "a".repeat(NAME_MAX_CHARS - 1));
        assert_eq!(clean_name(&cut_at_a_space).unwrap(), "a".repeat(NAME_MAX_CHARS - 1));
    }

    #[cfg(not(target_family = "wasm"))]
    proptest::proptest! {
        #[test]
        fn a_cleaned_name_is_bounded_and_cleaning_it_again_changes_nothing(raw in ".*") {
            if let Some(name) = clean_name(&raw) {
                proptest::prop_assert!(name.chars().count() <= NAME_MAX_CHARS);
                proptest::prop_assert!(!name.chars().any(is_control_or_bidi));
                let again = clean_name(&name);
                proptest::prop_assert_eq!(again, Some(name));
            }
        }
    }
}
