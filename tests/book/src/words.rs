//! The words of the pages. Each phrase below once stood in a page and had to be read twice.

use crate::links::{BOOK, pages};

/// A phrase, and what says the same plainly.
const PHRASES: [(&str, &str); 11] = [
    ("is told in", "is described in, is logged in"),
    ("is told by", "is reported by"),
    ("are told", "are logged, are answered"),
    ("whoever", "anyone who"),
    ("Whoever", "Anyone who"),
    ("comes to nothing", "has no effect"),
    ("so many bytes", "a number of bytes"),
    ("what is not there", "an unknown token"),
    ("hangs on", "depends on"),
    ("mend", "repair"),
    ("by turns", "in turn, alternately"),
];

#[test]
fn the_pages_use_plain_words() {
    let mut complaints = Vec::new();
    for (path, text) in pages(&crate::top()).expect("the pages") {
        if !path.starts_with(BOOK) && path.to_str() != Some("README.md") {
            continue;
        }
        let mut is_code = false;
        for (n, line) in text.lines().enumerate() {
            is_code ^= line.starts_with("```");
            if is_code {
                continue;
            }
            for (phrase, instead) in PHRASES.iter().filter(|(phrase, _)| line.contains(phrase)) {
                complaints.push(format!("{}:{}: {phrase}: {instead}", path.display(), n + 1));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn the_readme_is_short() {
    let text = std::fs::read_to_string(crate::top().join("README.md")).expect("a README");
    assert!(text.lines().count() <= 200, "{} lines, 200 at most", text.lines().count());
}
