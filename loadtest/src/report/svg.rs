//! Text within a drawing: short enough for its place, and without what SVG would read as markup.

/// A name of `len_max` characters at most; a longer one ends with an ellipsis.
pub(super) fn cut(name: &str, len_max: usize) -> String {
    if name.chars().count() <= len_max {
        return name.to_owned();
    }
    name.chars().take(len_max.saturating_sub(1)).chain(['…']).collect()
}

/// As text of XML, also within an attribute.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
