//! A mistake in a setting: a sentence that keeps track of the settings that it names.

use std::borrow::Cow;
use std::fmt;

/// A mistake in a setting. The setting's name is that of its flag, such as `max-ttl`.
///
/// The sentence is kept in parts, so that the names in it can be shown as flags, as environment
/// variables, or with their places in a file.
///
/// ```
/// use jeton::model::setting::SettingError;
///
/// let error = SettingError::new("log-min-size", "must be at least 4 times ").name("segment-size");
/// assert_eq!(error.to_string(), "--log-min-size must be at least 4 times --segment-size");
/// assert_eq!(error.settings().collect::<Vec<_>>(), ["log-min-size", "segment-size"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    setting: Cow<'static, str>,
    /// The sentence after the setting's name.
    parts: Vec<Part>,
    value: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Cow<'static, str>),
    Name(&'static str),
}

impl SettingError {
    /// `setting` is wrong; `text` is the rest of a sentence that begins with its name.
    pub fn new(setting: impl Into<Cow<'static, str>>, text: impl Into<Cow<'static, str>>) -> Self {
        Self { setting: setting.into(), parts: vec![Part::Text(text.into())], value: None }
    }

    /// Adds text to the sentence.
    #[must_use]
    pub fn text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.parts.push(Part::Text(text.into()));
        self
    }

    /// Adds the name of another setting to the sentence.
    #[must_use]
    pub fn name(mut self, setting: &'static str) -> Self {
        self.parts.push(Part::Name(setting));
        self
    }

    /// Sets which value is wrong, for a setting with several values.
    #[must_use]
    pub fn of_value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// The setting that is wrong.
    #[must_use]
    pub fn setting(&self) -> &str {
        &self.setting
    }

    /// The wrong value, for a setting with several values.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// All settings that the sentence names; the one that is wrong is the first.
    pub fn settings(&self) -> impl Iterator<Item = &str> {
        let named = self.parts.iter().filter_map(|part| match part {
            Part::Name(name) => Some(*name),
            Part::Text(_) => None,
        });
        std::iter::once(self.setting()).chain(named)
    }

    /// The sentence after the name of the setting; `show` formats the names in it.
    pub fn rest(&self, show: impl Fn(&str) -> String) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Name(name) => show(name).into(),
        };
        self.parts.iter().map(part).collect()
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = |name: &str| format!("--{name}");
        write!(f, "{} {}", flag(self.setting()), self.rest(flag))
    }
}

impl std::error::Error for SettingError {}
