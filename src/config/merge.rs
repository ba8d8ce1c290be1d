//! Merges flags, environment, file and defaults, in this order of precedence, into one
//! configuration that keeps the source of each value.
//!
//! The values of the file that neither a flag nor a variable overrides are passed to clap as if
//! they were flags, so each is parsed by its flag's own parser. A mistake is then reported with the
//! value's place in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::Flags;
use super::file::{ConfigFile, Entry, Mistake, Place, Value};
use super::flags::{Flag, Kind, command_without_environment, flags};
use super::rejected::refusal;
use crate::model::setting::SettingError;

/// Source of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The default: the value is not set.
    Default,
    /// The configuration file.
    File(Place),
    /// The flag's environment variable.
    Environment,
    /// The command line.
    Flag,
}

/// The flags `F` and the environment of a process, before a file is read.
#[derive(Debug)]
pub struct Given<F> {
    pub(crate) values: BTreeMap<String, (Value, Source)>,
    flags: PhantomData<fn() -> F>,
}

impl<F> Clone for Given<F> {
    fn clone(&self) -> Self {
        Self { values: self.values.clone(), flags: PhantomData }
    }
}

impl<F: Flags> Given<F> {
    /// No flags and no variables.
    #[must_use]
    pub fn nothing() -> Self {
        // Defaults are parsed elsewhere; a mistake in them is a bug.
        let matches = command_without_environment::<F>().try_get_matches_from([""; 0]);
        let none = |_| Self { values: BTreeMap::new(), flags: PhantomData };
        matches.map_or_else(none, |matches| Self::of(&matches))
    }

    pub(crate) fn of(matches: &ArgMatches) -> Self {
        let value = |flag: &Flag| match flag.kind {
            Kind::Switch => Value::Switch(matches.get_flag(&flag.id)),
            Kind::One | Kind::Many => {
                let texts = matches.get_raw(&flag.id).into_iter().flatten();
                Value::Texts(texts.map(OsString::from).collect())
            }
        };
        let source = |flag: &Flag| match matches.value_source(&flag.id) {
            Some(ValueSource::CommandLine) => Source::Flag,
            Some(ValueSource::EnvVariable) => Source::Environment,
            _ => Source::Default,
        };
        let values =
            flags::<F>().into_iter().map(|flag| (flag.key.clone(), (value(&flag), source(&flag))));
        Self { values: values.collect(), flags: PhantomData }
    }

    /// The configuration file that a flag or a variable names.
    #[must_use]
    pub fn config_file(&self) -> Option<PathBuf> {
        match self.values.get("config") {
            Some((Value::Texts(texts), _)) => texts.first().map(PathBuf::from),
            _ => None,
        }
    }
}

impl<F: Flags> FromArgMatches for Given<F> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self::of(matches))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::of(matches);
        Ok(())
    }
}

impl<F: Flags> Args for Given<F> {
    fn augment_args(command: Command) -> Command {
        F::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        F::augment_args_for_update(command)
    }
}

/// A flag, its value, and the value's source.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The flag.
    pub flag: Flag,
    /// Its value.
    pub value: Value,
    /// Source of the value.
    pub source: Source,
}

impl Setting {
    /// The value for messages, on one line.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.value {
            Value::Switch(on) => on.to_string(),
            Value::Texts(texts) if texts.is_empty() => "not set".to_owned(),
            Value::Texts(texts) => {
                let texts: Vec<_> =
                    texts.iter().map(|text| super::file::shown(text.as_ref())).collect();
                texts.join(", ")
            }
        }
    }
}

/// All flags `F` with their values.
#[derive(Debug)]
pub struct Settings<F> {
    file: Option<ConfigFile>,
    settings: Vec<Setting>,
    flags: PhantomData<fn() -> F>,
}

impl<F: Flags> Settings<F> {
    /// Merges flags and environment with the configuration file, if they name one.
    ///
    /// # Errors
    /// The file can't be read at all ([`ConfigFile::open`]). Mistakes in it are for
    /// [`Settings::check`].
    pub fn read(given: &Given<F>) -> Result<Self, Mistake> {
        let open = |path: PathBuf| ConfigFile::open(&path, flags::<F>());
        let file = given.config_file().map(open).transpose()?;
        Ok(Self::merge(given, file))
    }

    /// Merges flags and environment with a parsed file.
    #[must_use]
    pub fn merge(given: &Given<F>, file: Option<ConfigFile>) -> Self {
        let setting = |flag: Flag| {
            let of_file = file.as_ref().and_then(|file| file.entries.get(&flag.key));
            let (value, source) = match (given.values.get(&flag.key), of_file) {
                (Some((_, Source::Default)) | None, Some(entry)) => {
                    (entry.value.clone(), Source::File(entry.place))
                }
                (Some((value, source)), _) => (value.clone(), *source),
                (None, None) => (Value::Texts(Vec::new()), Source::Default),
            };
            Setting { flag, value, source }
        };
        let settings = flags::<F>().into_iter().map(setting).collect();
        let mut merged = Self { file, settings, flags: PhantomData };
        merged.refresh_defaults();
        merged
    }

    /// Reads the defaults again with all values of the file: one may depend on another setting.
    fn refresh_defaults(&mut self) {
        let set = self.settings.iter().filter(|setting| setting.source != Source::Default);
        let line = set.flat_map(as_flags);
        // Mistakes in the values are found by the check.
        let Ok(matches) = command_without_environment::<F>().try_get_matches_from(line) else {
            return;
        };
        let mut values = Given::<F>::of(&matches).values;
        for setting in &mut self.settings {
            if let (Source::Default, Some((value, _))) =
                (setting.source, values.remove(&setting.flag.key))
            {
                setting.value = value;
            }
        }
    }

    /// All settings, in the order of the help.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.settings.iter()
    }

    /// The settings that the server publishes: all values except those of the keys in `changing`,
    /// which can change at run time. No secret is among them: flags name files, never their
    /// content.
    #[must_use]
    pub fn stated(&self, changing: &[&str]) -> BTreeMap<String, String> {
        let fixed = self.iter().filter(|setting| !changing.contains(&setting.flag.key.as_str()));
        fixed.map(|setting| (setting.flag.key.clone(), setting.shown())).collect()
    }

    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&ConfigFile> {
        self.file.as_ref()
    }

    /// The setting of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.flag.key == key)
    }

    /// The path that a flag names.
    #[must_use]
    pub fn path(&self, key: &str) -> Option<&Path> {
        match self.get(key).map(|setting| &setting.value) {
            Some(Value::Texts(texts)) => texts.first().map(Path::new),
            _ => None,
        }
    }

    /// Replaces a value and its source.
    pub fn take(&mut self, from: &Setting) {
        for setting in &mut self.settings {
            if setting.flag.key == from.flag.key {
                *setting = from.clone();
            }
        }
    }

    /// The source of a value, for messages: `default`, `jeton.toml:3`, `JETON_LISTEN`, `--listen`.
    #[must_use]
    pub fn origin(&self, setting: &Setting) -> String {
        let file = || self.file.as_ref().map_or("the file", |file| &file.name);
        match (setting.source, &setting.flag.env) {
            (Source::Default, _) => "default".to_owned(),
            (Source::File(place), _) => format!("{}:{}", file(), place.line),
            (Source::Environment, Some(name)) => name.clone(),
            (Source::Environment, None) => "environment".to_owned(),
            (Source::Flag, _) => format!("--{}", setting.flag.key),
        }
    }

    /// Makes the configuration from the values.
    ///
    /// # Errors
    /// All mistakes: first those of the file in the order of their places, then the others.
    pub fn check(&self) -> Result<F::Config, Vec<Mistake>> {
        let parsed = self.parse();
        let (config, errors) = match parsed.flags.as_ref().map(F::check) {
            Some(Ok(config)) => (Some(config), Vec::new()),
            Some(Err(errors)) => (None, errors),
            None => (None, Vec::new()),
        };
        let mut mistakes: Vec<_> =
            self.file.iter().flat_map(|file| file.mistakes.iter().cloned()).collect();
        mistakes.extend(parsed.refused.iter().map(|error| self.placed(error)));
        let unplaced = |text| Mistake { file: None, place: None, text };
        mistakes.extend(parsed.failure.map(unplaced));
        let refused: BTreeSet<_> = parsed.refused.iter().flat_map(SettingError::settings).collect();
        let errors = errors.iter().filter(|error| {
            !self.is_doubtful(error) && !error.settings().any(|key| refused.contains(key))
        });
        mistakes.extend(errors.map(|error| self.placed(error)));
        mistakes.sort_by_key(|mistake| (mistake.file.is_none(), mistake.place));
        match config {
            Some(config) if mistakes.is_empty() => Ok(config),
            _ => Err(mistakes),
        }
    }

    /// Whether a mistake may be a consequence of one that is already reported: the missing value
    /// may be in a line that could not be parsed.
    fn is_doubtful(&self, error: &SettingError) -> bool {
        self.file.as_ref().is_some_and(|file| {
            let is_lost = !file.is_whole && error.settings().nth(1).is_some();
            is_lost || error.settings().any(|key| file.doubtful.contains(key))
        })
    }

    /// Parses the values with clap.
    pub(crate) fn parse(&self) -> Parsed<F> {
        let mut refused = Vec::new();
        let mut left: Vec<&Setting> =
            self.settings.iter().filter(|setting| setting.source != Source::Default).collect();
        // Clap stops at its first mistake, so each rejected value is removed until clap accepts the
        // rest.
        loop {
            let line = left.iter().flat_map(|setting| as_flags(setting));
            let made = command_without_environment::<F>()
                .try_get_matches_from(line)
                .and_then(|matches| F::from_arg_matches(&matches));
            let error = match made {
                Ok(flags) => return Parsed { flags: Some(flags), refused, failure: None },
                Err(error) => error,
            };
            let len = left.len();
            let failure = match refusal(&error) {
                Ok(refusal) => {
                    left.retain(|setting| setting.flag.key != refusal.setting());
                    let failure = (left.len() == len).then(|| refusal.to_string());
                    refused.push(refusal);
                    failure
                }
                Err(text) => Some(text),
            };
            if failure.is_some() {
                return Parsed { flags: None, refused, failure };
            }
        }
    }

    /// A mistake with the place of the value that caused it.
    fn placed(&self, error: &SettingError) -> Mistake {
        let of_file = |key: &str| {
            let setting = self.get(key)?;
            matches!(setting.source, Source::File(_)).then_some(setting)
        };
        // The default is not the mistake, so the message names the value that is set.
        let blamed = match self.get(error.setting()).map(|setting| setting.source) {
            Some(Source::Flag | Source::Environment) => None,
            _ => error.settings().find_map(of_file),
        };
        let rest = error.rest(|key| self.named(key));
        let (Some(setting), Some(file)) = (blamed, &self.file) else {
            let text = format!("{} {rest}", self.named(error.setting()));
            return Mistake { file: None, place: None, text };
        };
        let key = &setting.flag.key;
        let text = match key == error.setting() {
            true => format!("{key}: {rest}"),
            false => format!("{key}: {} {rest}", self.named(error.setting())),
        };
        let place = file.entries.get(key).map(|entry| place(entry, error.value()));
        Mistake { file: Some(file.name.clone()), place, text }
    }

    /// A setting, named by its source: `--listen`, `JETON_LISTEN`, `listen (jeton.toml:3)`.
    fn named(&self, key: &str) -> String {
        match self.get(key).map(|setting| (setting, setting.source)) {
            Some((setting, Source::Environment)) => self.origin(setting),
            Some((setting, Source::File(_))) => format!("{key} ({})", self.origin(setting)),
            Some((_, Source::Default | Source::Flag)) | None => format!("--{key}"),
        }
    }
}

/// Result of parsing with clap.
pub(crate) struct Parsed<F> {
    /// The flags without the values that clap rejects; `None` if a rejected value is required.
    pub(crate) flags: Option<F>,
    /// The rejected values.
    pub(crate) refused: Vec<SettingError>,
    /// Why `flags` is `None`.
    failure: Option<String>,
}

/// The place of a value; in an array, the place of the wrong element.
fn place(entry: &Entry, wrong: Option<&str>) -> Place {
    let Value::Texts(texts) = &entry.value else {
        return entry.place;
    };
    let is_wrong = |text: &OsString| wrong.is_some_and(|wrong| text == wrong);
    let item = texts.iter().zip(&entry.items).find(|(text, _)| is_wrong(text));
    item.map_or(entry.place, |(_, place)| *place)
}

pub(crate) fn as_flags(setting: &Setting) -> Vec<OsString> {
    let flag = format!("--{}", setting.flag.key);
    match &setting.value {
        Value::Switch(on) => on.then(|| flag.into()).into_iter().collect(),
        Value::Texts(texts) => {
            let with = |text: &OsString| {
                let mut flag = OsString::from(format!("{flag}="));
                flag.push(text);
                flag
            };
            texts.iter().map(with).collect()
        }
    }
}
