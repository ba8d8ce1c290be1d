//! The configuration file: TOML whose keys are the flags of the command.
//!
//! ```toml
//! listen = "127.0.0.1:7450"
//! workers = 2
//! huge-pages = true
//! max-ttl = "30d"
//! ```
//!
//! Every syntax or type mistake is kept with its line and column: the parser continues after each.
//! Whether a flag accepts a value is checked by `merge`, with the flag's own parser.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::flags::{Flag, Kind};

/// Maximum length of a file, in bytes.
pub const FILE_LEN_MAX: u64 = 1 << 20;
/// Maximum length of a value, in bytes: that of a path.
pub const VALUE_LEN_MAX: usize = 4096;
/// Maximum mistakes that are reported one by one; the others are counted.
pub const MISTAKES_MAX: usize = 1000;
/// Maximum characters of an unknown key in a message.
const KEY_SHOWN_MAX: usize = 60;

/// A place in a file, counted from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    fn of(text: &str, at: usize) -> Self {
        let mut at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &text[..at];
        let begin = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before[begin..].trim_start_matches('\u{feff}').chars().count() + 1;
        Self { line: before.matches('\n').count() + 1, column }
    }
}

/// A mistake in the configuration, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Name of the file; `None` if the mistake is not in a file.
    pub file: Option<String>,
    /// Place in the file.
    pub place: Option<Place>,
    /// The message.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if let Some(Place { line, column }) = self.place {
                write!(f, "{line}:{column}:")?;
            }
            write!(f, " ")?;
        }
        f.write_str(&self.text)
    }
}

/// The value of a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Value of a switch.
    Switch(bool),
    /// Values of any other flag, one for each time it is given; empty if it is not given.
    Texts(Vec<OsString>),
}

/// A value of a file, with its place.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) place: Place,
    /// Places of the texts of an array.
    pub(super) items: Vec<Place>,
}

/// A parsed configuration file.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Its name, escaped for messages.
    pub name: String,
    /// Syntax and type mistakes.
    pub mistakes: Vec<Mistake>,
    /// Values of the right type, by key.
    pub(super) entries: BTreeMap<String, Entry>,
    /// Keys that a mistaken line may have meant to set: that they are missing needs no second
    /// message.
    pub(super) doubtful: BTreeSet<String>,
    /// Whether the syntax is right, so that no line was lost.
    pub(super) is_whole: bool,
}

impl ConfigFile {
    /// Reads a file, whose keys are `flags`.
    ///
    /// # Errors
    /// The file is missing, is not a regular file, is longer than [`FILE_LEN_MAX`], can't be read,
    /// or is not UTF-8.
    pub fn open(path: &Path, flags: Vec<Flag>) -> Result<Self, Mistake> {
        let name = shown(path);
        let refused = |place, text| Mistake { file: Some(name.clone()), place, text };
        let bytes = read(path).map_err(|error| refused(None, format!("can't be read: {error}")))?;
        if bytes.len() as u64 > FILE_LEN_MAX {
            let text = format!("must have at most 1 MiB ({FILE_LEN_MAX} bytes)");
            return Err(refused(None, text));
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Self::parse(name, text, flags)),
            Err(error) => {
                let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or("");
                let place = Place::of(good, good.len());
                Err(refused(Some(place), "is not UTF-8".to_owned()))
            }
        }
    }

    /// Reads the text of a file of this name, whose keys are `flags`.
    #[must_use]
    pub fn parse(name: String, text: &str, flags: Vec<Flag>) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut reading = Reading {
            text,
            flags,
            wrong: Vec::new(),
            unreadable: Vec::new(),
            file: Self {
                name,
                mistakes: Vec::new(),
                entries: BTreeMap::new(),
                doubtful: BTreeSet::new(),
                is_whole: true,
            },
        };
        for error in &errors {
            reading.syntax(error, table.get_ref());
        }
        for (key, value) in table.get_ref() {
            reading.entry(key, value);
        }
        reading.finish()
    }

    /// The place of a key's value.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<Place> {
        self.entries.get(key).map(|entry| entry.place)
    }
}

/// Reads at most one byte more than the maximum length.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // The type is checked before the file is opened: opening a pipe would wait for its other end.
    let found = fs::metadata(path)?;
    if !found.is_file() {
        let what = if found.is_dir() { "it is a directory" } else { "it is not a regular file" };
        return Err(io::Error::other(what));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A path escaped for one line of a message.
pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string().replace("\\'", "'")
}

fn shown_key(key: &str) -> String {
    let mut shown: String = key.chars().take(KEY_SHOWN_MAX).collect();
    if shown.len() < key.len() {
        shown.push('…');
    }
    shown.escape_debug().to_string()
}

/// State of the parser.
struct Reading<'a> {
    text: &'a str,
    flags: Vec<Flag>,
    /// Mistakes, by offset.
    wrong: Vec<(usize, String)>,
    /// Offsets of syntax errors: the parser's result there is a guess.
    unreadable: Vec<Range<usize>>,
    file: ConfigFile,
}

impl Reading<'_> {
    fn wrong(&mut self, span: &Range<usize>, text: String) {
        self.wrong.push((span.start, text));
    }

    fn syntax(&mut self, error: &toml::de::Error, table: &DeTable<'_>) {
        let span = error.span().unwrap_or(self.text.len()..self.text.len());
        if let Some(key) = self.repeated_key(&span, table) {
            return self.wrong(&span, format!("{}: is repeated", shown_key(key)));
        }
        self.wrong(&span, error.message().replace('\n', " "));
        self.file.is_whole = false;
        self.unreadable.push(span);
    }

    /// The key at `span` if `table` has it from another place: the parser's errors have no kind, so
    /// the place of an error decides whether it is about a repeated key.
    fn repeated_key(&self, span: &Range<usize>, table: &DeTable<'_>) -> Option<&str> {
        let key = self.text.get(span.clone())?.trim_matches(['"', '\'']);
        let (first, _) = table.get_key_value(key)?;
        let line =
            self.text[..span.start].rsplit('\n').next()?.trim_start_matches('\u{feff}').trim();
        let rest = self.text[span.end..].trim_start_matches([' ', '\t']);
        let is_key = (line.is_empty() && rest.starts_with(['=', '.'])) || line.starts_with('[');
        (is_key && first.span() != *span).then_some(key)
    }

    /// Places are computed last, and only for the mistakes that are reported: each computation
    /// scans the file.
    fn finish(mut self) -> ConfigFile {
        self.wrong.sort_by_key(|(at, _)| *at);
        let more = self.wrong.len().saturating_sub(MISTAKES_MAX);
        let last = self.wrong.get(MISTAKES_MAX).map(|(at, _)| *at);
        self.wrong.truncate(MISTAKES_MAX);
        let more = last.map(|at| (at, format!("{more} more mistakes from here on")));
        for (at, text) in self.wrong.into_iter().chain(more) {
            let place = Some(Place::of(self.text, at));
            self.file.mistakes.push(Mistake { file: Some(self.file.name.clone()), place, text });
        }
        self.file
    }

    fn entry(&mut self, key: &Spanned<toml::de::DeString<'_>>, value: &Spanned<DeValue<'_>>) {
        let (name, at) = (key.get_ref().as_ref(), key.span());
        if name == "config" {
            return self.wrong(&at, "config: can't be set in a file".to_owned());
        }
        let Some(flag) = self.flags.iter().find(|flag| flag.key == name).cloned() else {
            let said = self.unknown(name, value.get_ref());
            return self.wrong(&at, said);
        };
        let span = value.span();
        if self.unreadable.iter().any(|wrong| wrong.start <= span.end && span.start <= wrong.end) {
            self.file.doubtful.insert(flag.key);
            return;
        }
        match typed(&flag, value) {
            Ok(found) => {
                let place = |span: Range<usize>| Place::of(self.text, span.start);
                let items = value.get_ref().as_array().into_iter().flat_map(|items| items.iter());
                let items = items.map(|item| place(item.span())).collect();
                let entry = Entry { value: found, place: place(span), items };
                self.file.entries.insert(flag.key, entry);
            }
            Err(wrong) => {
                for (span, said) in wrong {
                    self.wrong(&span, format!("{name}: {said}"));
                }
                self.file.doubtful.insert(flag.key);
            }
        }
    }

    /// The message for an unknown key, with the key that may have been meant.
    fn unknown(&mut self, name: &str, value: &DeValue<'_>) -> String {
        let shown = shown_key(name);
        if ["help", "version"].contains(&name) {
            return format!("{shown}: can only be used on the command line");
        }
        let meant = match value {
            DeValue::Table(_) => None,
            // The comparison with all keys is slow.
            _ if self.wrong.len() > MISTAKES_MAX => None,
            _ => nearest(name, &self.flags),
        };
        match (meant, value) {
            (Some(meant), _) => {
                let said = format!("{shown}: unknown key; did you mean {meant}?");
                self.file.doubtful.insert(meant);
                said
            }
            (None, DeValue::Table(_)) => {
                // The keys in the table were perhaps meant to be set.
                self.file.is_whole = false;
                format!("{shown}: unknown key; the keys are the flags of serve, without tables")
            }
            (None, _) => format!("{shown}: unknown key; the keys are the flags of serve"),
        }
    }
}

/// The known key that is most similar to this one, if any is similar.
fn nearest(name: &str, flags: &[Flag]) -> Option<String> {
    let name: String = name.trim_start_matches('-').chars().take(KEY_SHOWN_MAX).collect();
    let name = name.to_lowercase().replace('_', "-");
    let keys = flags.iter().map(|flag| &flag.key).filter(|key| *key != "config");
    let distance = |key: &String| strsim::damerau_levenshtein(&name, key);
    let best = keys.min_by_key(|key| distance(key))?;
    (distance(best) <= best.len().max(4) / 3).then(|| best.clone())
}

/// A mistake in a value: its place and message.
type Wrong = (Range<usize>, String);

/// The value if it has a type that the flag accepts; otherwise all mistakes in it.
fn typed(flag: &Flag, value: &Spanned<DeValue<'_>>) -> Result<Value, Vec<Wrong>> {
    let wrong = |value: &Spanned<DeValue<'_>>, form: &str| {
        (value.span(), format!("must be {form}, not {}", type_name(value.get_ref())))
    };
    let one = |value| text(value).map(|text| Value::Texts(vec![text])).map_err(|one| vec![one]);
    match (flag.kind, value.get_ref()) {
        (Kind::Switch, DeValue::Boolean(on)) => Ok(Value::Switch(*on)),
        (Kind::Switch, _) => Err(vec![wrong(value, "true or false")]),
        (Kind::One, DeValue::String(_)) => one(value),
        (Kind::One, DeValue::Integer(_)) if !flag.is_path => one(value),
        (Kind::One, _) if flag.is_path => Err(vec![wrong(value, "text, the path of a file")]),
        (Kind::One, _) => Err(vec![wrong(value, "text or an integer")]),
        (Kind::Many, DeValue::Array(items)) => {
            let (mut texts, mut refused) = (Vec::new(), Vec::new());
            for item in items {
                match item.get_ref() {
                    DeValue::String(_) => match text(item) {
                        Ok(text) => texts.push(text),
                        Err(one) => refused.push(one),
                    },
                    _ => refused.push(wrong(item, "an array of text")),
                }
            }
            if refused.is_empty() { Ok(Value::Texts(texts)) } else { Err(refused) }
        }
        (Kind::Many, _) => Err(vec![wrong(value, "an array of text")]),
    }
}

/// Text or an integer, as text for the flag's parser.
fn text(value: &Spanned<DeValue<'_>>) -> Result<OsString, Wrong> {
    let refused = |said: String| (value.span(), said);
    match value.get_ref() {
        DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) => Ok(number.to_string().into()),
            Err(_) => Err(refused("must be an integer of 64 bits".to_owned())),
        },
        other => {
            let text = other.as_str().unwrap_or_default();
            if text.len() > VALUE_LEN_MAX {
                return Err(refused(format!("must have at most {VALUE_LEN_MAX} bytes")));
            }
            Ok(text.into())
        }
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
