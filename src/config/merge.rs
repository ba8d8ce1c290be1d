//! Flags, environment, file and defaults made into one configuration, in this order of precedence,
//! each value with where it comes from.
//!
//! The values of the file that nothing overrules are given to clap as if they were flags, so each is
//! read by its flag's own reader. What is wrong is then said of the place where the value stands.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::file::{ConfigFile, Mistake, Place, Value};
use super::flags::{Flag, Kind, command_without_environment, flags};
use super::{ServeArgs, ServeConfig};

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From nowhere: nobody has set it.
    Default,
    /// From the file.
    File(Place),
    /// From the flag's environment variable.
    Environment,
    /// From the command line.
    Flag,
}

/// The flags and the environment of a process, before a file is read.
#[derive(Clone, Debug)]
pub struct Given {
    values: BTreeMap<String, (Value, Source)>,
}

impl Given {
    /// Neither a flag nor a variable.
    #[must_use]
    pub fn nothing() -> Given {
        // The defaults are read in another place; a mistake in them is one in the code.
        let matches = command_without_environment().try_get_matches_from([""; 0]);
        matches.map_or_else(|_| Given { values: BTreeMap::new() }, |matches| Given::of(&matches))
    }

    fn of(matches: &ArgMatches) -> Given {
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
            flags().into_iter().map(|flag| (flag.key.clone(), (value(&flag), source(&flag))));
        Given { values: values.collect() }
    }

    /// The configuration file that is named.
    #[must_use]
    pub fn config_file(&self) -> Option<PathBuf> {
        match self.values.get("config") {
            Some((Value::Texts(texts), _)) => texts.first().map(PathBuf::from),
            _ => None,
        }
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Given, clap::Error> {
        Ok(Given::of(matches))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Given::of(matches);
        Ok(())
    }
}

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        ServeArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        ServeArgs::augment_args_for_update(command)
    }
}

/// A flag, its value, and where that comes from.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The flag.
    pub flag: Flag,
    /// Its value.
    pub value: Value,
    /// Where the value comes from.
    pub source: Source,
}

impl Setting {
    /// The value for people, on one line.
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

/// All flags with their values.
#[derive(Clone, Debug)]
pub struct Settings {
    file: Option<ConfigFile>,
    settings: Vec<Setting>,
}

impl Settings {
    /// Merges what is given with the file that it names, if it names one.
    ///
    /// # Errors
    /// The file can't be read at all ([`ConfigFile::open`]). Mistakes in it are for
    /// [`Settings::check`].
    pub fn read(given: &Given) -> Result<Settings, Mistake> {
        let file = given.config_file().map(|path| ConfigFile::open(&path)).transpose()?;
        Ok(Settings::merge(given, file))
    }

    /// Merges what is given with a file.
    #[must_use]
    pub fn merge(given: &Given, file: Option<ConfigFile>) -> Settings {
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
        let settings = flags().into_iter().map(setting).collect();
        Settings { file, settings }
    }

    /// All of them, in the order of the help.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.settings.iter()
    }

    /// What the server states of itself: the value of each setting, but for those of `changing`,
    /// which may have another one later. No secret is among them: flags name files, never their
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

    /// The one of a key.
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

    /// Takes over a value and where it comes from.
    pub fn take(&mut self, from: &Setting) {
        for setting in &mut self.settings {
            if setting.flag.key == from.flag.key {
                *setting = from.clone();
            }
        }
    }

    /// Where a value comes from, for people: `default`, `jeton.toml:3`, `JETON_LISTEN`, `--listen`.
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

    /// The configuration that these values make.
    ///
    /// # Errors
    /// Every mistake: first those of the file in the order of their places, then the others.
    pub fn check(&self) -> Result<ServeConfig, Vec<Mistake>> {
        let (args, refused) = self.args();
        let (config, texts) = match args.as_ref().map(ServeArgs::check) {
            Some(Ok(config)) => (Some(config), Vec::new()),
            Some(Err(texts)) => (None, texts),
            None => (None, Vec::new()),
        };
        let mut mistakes: Vec<_> =
            self.file.iter().flat_map(|file| file.mistakes.iter().cloned()).collect();
        mistakes.extend(refused.iter().map(|text| self.placed(text)));
        let refused: BTreeSet<_> = refused.iter().flat_map(|text| self.named(text)).collect();
        let texts = texts.iter().filter(|text| {
            let named = self.named(text);
            !self.is_doubtful(&named) && !named.iter().any(|key| refused.contains(key))
        });
        mistakes.extend(texts.map(|text| self.placed(text)));
        mistakes.sort_by_key(|mistake| (mistake.file.is_none(), mistake.place));
        match config {
            Some(config) if mistakes.is_empty() => Ok(config),
            _ => Err(mistakes),
        }
    }

    /// Whether a mistake may only be there because of another one, which is told of: a value that
    /// it misses stands in a line that could not be read.
    fn is_doubtful(&self, named: &[&str]) -> bool {
        self.file.as_ref().is_some_and(|file| {
            let is_lost = !file.is_whole && named.len() > 1;
            is_lost || named.iter().any(|key| file.doubtful.contains(*key))
        })
    }

    /// What clap makes of the values, and what it refuses, each with its flag. Nothing where it
    /// refuses something that can't be left out.
    fn args(&self) -> (Option<ServeArgs>, Vec<String>) {
        let mut refused = Vec::new();
        let mut left: Vec<&Setting> =
            self.settings.iter().filter(|setting| setting.source != Source::Default).collect();
        // Clap stops at its first mistake: what it refuses is left out until it takes the rest.
        loop {
            let line = left.iter().flat_map(|setting| as_flags(setting));
            let made = command_without_environment()
                .try_get_matches_from(line)
                .and_then(|matches| ServeArgs::from_arg_matches(&matches));
            let error = match made {
                Ok(args) => return (Some(args), refused),
                Err(error) => error,
            };
            let (key, text) = told(&error);
            let len = left.len();
            left.retain(|setting| Some(&setting.flag.key) != key.as_ref());
            refused.push(text);
            if left.len() == len {
                return (None, refused);
            }
        }
    }

    /// The keys that a text names as flags, each once.
    fn named(&self, text: &str) -> Vec<&str> {
        let mut keys = Vec::new();
        for (_, key) in mentions(text) {
            if let Some(setting) = self.get(key)
                && !keys.contains(&setting.flag.key.as_str())
            {
                keys.push(&setting.flag.key);
            }
        }
        keys
    }

    /// A mistake that is told of flags, told of the places where their values stand.
    fn placed(&self, text: &str) -> Mistake {
        let keys = self.named(text);
        let lead = keys.first().filter(|_| text.starts_with("--")).and_then(|key| self.get(key));
        let of_file = |key: &&str| {
            let setting = self.get(key)?;
            matches!(setting.source, Source::File(_)).then_some(setting)
        };
        // A value that nobody set is not what is wrong; one of those that are set is.
        let blamed = match lead.map(|setting| setting.source) {
            Some(Source::Flag | Source::Environment) => None,
            _ => keys.iter().find_map(of_file),
        };
        let name = self.file.as_ref().map(|file| file.name.clone());
        let Some(setting) = blamed else {
            return Mistake { file: None, place: None, text: self.with_origins(text) };
        };
        let flag = format!("--{}", setting.flag.key);
        let text = match text.strip_prefix(&flag) {
            Some(rest) => self.with_origins(rest.trim_start_matches([':', ' '])),
            None => self.with_origins(text),
        };
        let place = self.place(setting, &text);
        Mistake { file: name, place, text: format!("{}: {text}", setting.flag.key) }
    }

    /// Where the value stands of which a mistake is told: in an array the text that is repeated.
    fn place(&self, setting: &Setting, mistake: &str) -> Option<Place> {
        let entry = self.file.as_ref()?.entries.get(&setting.flag.key)?;
        let Value::Texts(texts) = &entry.value else {
            return Some(entry.place);
        };
        let is_repeated = |text: &OsString| mistake.ends_with(&format!("{text:?}"));
        let item = texts.iter().zip(&entry.items).find(|(text, _)| is_repeated(text));
        Some(item.map_or(entry.place, |(_, place)| *place))
    }

    /// A text whose flags are named by where their values come from.
    fn with_origins(&self, text: &str) -> String {
        let (mut told, mut from) = (String::with_capacity(text.len()), 0);
        for (at, key) in mentions(text) {
            let Some(setting) = self.get(key) else { continue };
            let origin = match setting.source {
                Source::Default | Source::Flag => continue,
                Source::Environment => self.origin(setting),
                Source::File(_) => format!("{key} ({})", self.origin(setting)),
            };
            let _ = write!(told, "{}{origin}", &text[from..at]);
            from = at + "--".len() + key.len();
        }
        told + &text[from..]
    }
}

fn as_flags(setting: &Setting) -> Vec<OsString> {
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

/// What clap refuses: the key where it names a flag, and a text that begins with the flag.
fn told(error: &clap::Error) -> (Option<String>, String) {
    let arg = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(arg)) => Some(arg.as_str()),
        Some(ContextValue::Strings(args)) => args.first().map(String::as_str),
        _ => None,
    };
    let said = error.to_string();
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    let lines: Vec<_> = said.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    // It repeats the value as it is.
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    let said: String = lines.join(" ").chars().map(shown).collect();
    let Some(arg) = arg else {
        return (None, said);
    };
    let key = arg.trim_start_matches('-').split([' ', '=', '[']).next().unwrap_or_default();
    let said = said.replacen(&format!(" for '{arg}'"), "", 1);
    (Some(key.to_owned()), format!("--{key}: {said}"))
}

/// What looks like a flag in a text: where, and its name.
fn mentions(text: &str) -> Vec<(usize, &str)> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find("--").map(|at| from + at) {
        let rest = &text[at + 2..];
        let name = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
        if !name.is_empty() {
            found.push((at, name));
        }
        from = at + 2 + name.len();
    }
    found
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
