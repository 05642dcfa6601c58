//! Display names: what is left of a string once nothing in it can disturb the text around it.

use unicode_normalization::UnicodeNormalization;

/// The longest display name, in characters.
pub const NAME_MAX_CHARS: usize = 32;

/// Characters looked at: enough for any that compose to the longest name. Normalising all of a long string would be work
/// that a remote chooses.
const READ_MAX_CHARS: usize = 16 * NAME_MAX_CHARS;

/// A display name out of anybody's string: NFC, no control or bidi characters, single spaces, at most
/// [`NAME_MAX_CHARS`] characters. `None` if nothing is left.
#[must_use]
pub fn clean_name(raw: &str) -> Option<String> {
    let head = raw
        .chars()
        .filter(|&c| !is_disturbing(c))
        .take(READ_MAX_CHARS)
        .collect::<String>();
    let spaced = head.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = spaced.nfc().take(NAME_MAX_CHARS).collect::<String>();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Control characters, line and paragraph separators, and the characters that change the direction of what follows
/// (Unicode's `Bidi_Control`).
pub(crate) fn is_control_or_bidi(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Control, bidirectional and invisible characters, and what stands for a broken one. White space stays for now: it
/// becomes a single space. Joiners stay: emoji and several scripts are written with them.
fn is_disturbing(c: char) -> bool {
    (is_control_or_bidi(c) && !c.is_whitespace())
        || matches!(c,
            // Deprecated formatting, invisible operators, zero-width spaces, fillers, soft hyphen.
            '\u{206A}'..='\u{206F}' | '\u{2060}'..='\u{2065}' | '\u{200B}' | '\u{FEFF}' | '\u{00AD}' | '\u{034F}'
            | '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}' | '\u{180E}'
            // Interlinear annotation; object and replacement characters.
            | '\u{FFF9}'..='\u{FFFD}'
            // Tags: invisible text.
            | '\u{E0000}'..='\u{E007F}')
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

    #[wasm_bindgen_test(unsupported = test)]
    fn joiners_stay_and_what_stands_for_a_broken_character_goes() {
        assert_eq!(clean_name("👩\u{200D}🚀").as_deref(), Some("👩\u{200D}🚀"));
        assert_eq!(clean_name("half \u{FFFD}").as_deref(), Some("half"));
        let pile = format!("z{}", "\u{0301}".repeat(4_000));
        assert_eq!(clean_name(&pile).unwrap().chars().count(), NAME_MAX_CHARS);
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
