//! As much of PromQL as it takes to see which metrics an expression asks for. Reads what Prometheus accepts; does not find out
//! whether it would.

use std::collections::BTreeSet;

/// Words that look like metrics and are not.
const KEYWORDS: [&str; 4] = ["and", "or", "unless", "bool"];
/// Words that a list of labels follows.
const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// The names of all metrics in an expression, suffixes included.
pub(crate) fn metric_names(expression: &str) -> BTreeSet<String> {
    metrics(expression).into_iter().map(|(name, _)| name).collect()
}

/// Each `NAME{LABEL="VALUE"}` in an expression: name, label, value. Not what is compared in another way.
pub(crate) fn selectors(expression: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for (name, braces) in metrics(expression) {
        for matcher in braces.split(|token| *token == Token::Sign(',')) {
            if let [Token::Word(label), Token::Sign('='), Token::Text(value)] = matcher {
                found.push((name.clone(), label.clone(), value.clone()));
            }
        }
    }
    found
}

/// Each metric with what stands in its braces.
fn metrics(expression: &str) -> Vec<(String, Vec<Token>)> {
    let tokens = tokens(expression);
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let next = tokens.get(at + 1);
        match &tokens[at] {
            Token::Word(word) if LISTS.contains(&word.as_str()) && next == Some(&Token::Sign('(')) => {
                at = closing(&tokens, at + 1, ')');
            }
            Token::Sign('[') => at = closing(&tokens, at, ']'),
            Token::Word(word) if next == Some(&Token::Sign('{')) => {
                let end = closing(&tokens, at + 1, '}');
                found.push((word.clone(), tokens[at + 2..end].to_vec()));
                at = end;
            }
            Token::Word(word)
                if next != Some(&Token::Sign('('))
                    && !is_grouping(next)
                    && !KEYWORDS.contains(&word.as_str())
                    && !LISTS.contains(&word.as_str())
                    && !word.starts_with(|c: char| c.is_ascii_digit()) =>
            {
                found.push((word.clone(), Vec::new()));
            }
            Token::Word(_) | Token::Text(_) | Token::Sign(_) => {}
        }
        at += 1;
    }
    found
}

/// Whether what stands before this puts together what is behind it: `sum by (…)`.
fn is_grouping(next: Option<&Token>) -> bool {
    matches!(next, Some(Token::Word(word)) if ["by", "without"].contains(&word.as_str()))
}

/// Where the bracket is closed that is opened here or behind it.
fn closing(tokens: &[Token], from: usize, bracket: char) -> usize {
    let end = tokens[from..].iter().position(|token| *token == Token::Sign(bracket));
    from + end.unwrap_or_else(|| panic!("no {bracket:?} in {tokens:?}"))
}

fn tokens(expression: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = expression.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => {
                let mut text = String::new();
                while let Some(c) = rest.next_if(|c| *c != '"') {
                    text.push(c);
                }
                assert_eq!(rest.next(), Some('"'), "a text without an end in {expression}");
                tokens.push(Token::Text(text));
            }
            c if c.is_ascii_alphanumeric() || "_:.".contains(c) => {
                let mut word = c.to_string();
                while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || "_:.".contains(*c)) {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
            c if c.is_whitespace() => {}
            c => tokens.push(Token::Sign(c)),
        }
    }
    tokens
}

#[test]
fn whatever_an_expression_does_with_metrics_their_names_are_found() {
    for (expression, names) in [
        ("up == 0", &["up"][..]),
        (
            "sum by (job, le) (rate(a_total{job=~\"b\", c!=\"d_total\"}[5m])) > 1.5",
            &["a_total"],
        ),
        (
            "sum(a) / on (instance) group_left (job) sum(b{x=\"y\"}) unless c",
            &["a", "b", "c"],
        ),
        (
            "histogram_quantile(0.95, sum by (le) (rate(d_bucket[$__rate_interval])))",
            &["d_bucket"],
        ),
        ("max_over_time(e[1h:5m]) and 2 * f > bool 1", &["e", "f"]),
    ] {
        let found = metric_names(expression);
        assert_eq!(
            found.iter().map(String::as_str).collect::<Vec<_>>(),
            names,
            "{expression}"
        );
    }
    let selected = selectors("a{b=\"c\",d=~\"e\"} + f{g!=\"h\"}");
    assert_eq!(selected, [("a".to_owned(), "b".to_owned(), "c".to_owned())]);
}
