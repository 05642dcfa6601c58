//! What a peer may be called: decides which characters of a name are shown, and how many.

use unicode_normalization::UnicodeNormalization;

use super::MAX_NAME_CHARS;

/// How many characters are composed before the name is cut: enough for any that composes to the longest one.
const MAX_CHARS_READ: usize = 16 * MAX_NAME_CHARS;

/// The name without what could disturb the text around it, in NFC, cut and trimmed; `None` if nothing is left.
pub(super) fn clean(name: &str) -> Option<String> {
    let shown = name.chars().filter(|c| !is_disturbing(*c)).take(MAX_CHARS_READ).nfc();
    let cut: String = shown.skip_while(|c| c.is_whitespace()).take(MAX_NAME_CHARS).collect();
    let trimmed = cut.trim_end();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// Control, bidirectional and invisible characters, and what stands for a broken one. Joiners stay: emoji and several
/// scripts are written with them.
fn is_disturbing(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Bidirectional marks, embeddings, overrides, isolates.
            '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
            // Deprecated formatting, invisible operators, zero-width spaces, fillers, soft hyphen.
            | '\u{206A}'..='\u{206F}' | '\u{2060}'..='\u{2065}' | '\u{200B}' | '\u{FEFF}' | '\u{00AD}' | '\u{034F}'
            | '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}' | '\u{180E}'
            // Line and paragraph separators; interlinear annotation; object and replacement characters.
            | '\u{2028}' | '\u{2029}' | '\u{FFF9}'..='\u{FFFD}'
            // Tags: invisible text.
            | '\u{E0000}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test(unsupported = test)]
    fn a_name_is_cleaned_composed_cut_and_trimmed() {
        let long = "x".repeat(MAX_NAME_CHARS + 1);
        let cut_before_space = format!("{} tail", "x".repeat(MAX_NAME_CHARS - 1));
        let table: &[(&str, Option<&str>)] = &[
            ("Ada", Some("Ada")),
            ("  Ada Lovelace \t", Some("Ada Lovelace")),
            ("", None),
            (" \n\t ", None),
            ("\u{202E}\u{200B}", None),
            ("a\u{202E}b\u{2066}c\u{0}d\u{7f}e\u{85}f", Some("abcdef")),
            ("A\u{0308}", Some("\u{c4}")),
            ("👩\u{200D}🚀", Some("👩\u{200D}🚀")),
            ("half \u{FFFD}", Some("half")),
            (&long, Some(&long[1..])),
            (&cut_before_space, Some(&cut_before_space[..MAX_NAME_CHARS - 1])),
        ];
        for (given, wanted) in table {
            assert_eq!(clean(given).as_deref(), *wanted, "{given:?}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_pile_of_combining_marks_is_cut_like_any_other_name() {
        let pile = format!("z{}", "\u{0301}".repeat(4_000));
        assert!(clean(&pile).expect("something is left").chars().count() <= MAX_NAME_CHARS);
    }
}
