//! The configuration file: TOML whose keys are the flags of the command.
//!
//! ```toml
//! listen = "127.0.0.1:7450"
//! workers = 2
//! huge-pages = true
//! max-ttl = "30d"
//! ```
//!
//! Every mistake of form is kept with its line and column: the parser goes on behind one. Whether a
//! value is one that its flag takes is for `merge`, which asks the flag's own reader.

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

/// The longest file, in bytes.
pub const FILE_LEN_MAX: u64 = 1 << 20;
/// The longest value, in bytes: as long as a path may be.
pub const VALUE_LEN_MAX: usize = 4096;
/// Mistakes of form that are told of at most; what follows is counted.
pub const MISTAKES_MAX: usize = 1000;
/// So much of an unknown key is repeated, in characters.
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
    fn of(text: &str, at: usize) -> Place {
        let mut at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &text[..at];
        let begin = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before[begin..].trim_start_matches('\u{feff}').chars().count() + 1;
        Place { line: before.matches('\n').count() + 1, column }
    }
}

/// Something wrong with the configuration, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, if it is of a file.
    pub file: Option<String>,
    /// Where in the file.
    pub place: Option<Place>,
    /// What is wrong.
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
    /// Of a switch.
    Switch(bool),
    /// Of any other flag, one for each time it is given: none where it is not.
    Texts(Vec<OsString>),
}

/// A value as it stands in a file.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) place: Place,
    /// Of each text of an array.
    pub(super) items: Vec<Place>,
}

/// A configuration file that was read.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Its name, fit to be shown.
    pub name: String,
    /// What is wrong with its form.
    pub mistakes: Vec<Mistake>,
    /// The values that are right in form, by key.
    pub(super) entries: BTreeMap<String, Entry>,
    /// Keys that may have been meant to be set: what lacks them needs no second complaint.
    pub(super) doubtful: BTreeSet<String>,
    /// The syntax is right, so nothing was lost.
    pub(super) is_whole: bool,
}

impl ConfigFile {
    /// Reads a file, whose keys are `flags`.
    ///
    /// # Errors
    /// It is not there, is no regular file, is longer than [`FILE_LEN_MAX`], can't be read, or is
    /// not UTF-8.
    pub fn open(path: &Path, flags: Vec<Flag>) -> Result<ConfigFile, Mistake> {
        let name = shown(path);
        let refused = |place, text| Mistake { file: Some(name.clone()), place, text };
        let bytes = read(path).map_err(|error| refused(None, format!("can't be read: {error}")))?;
        if bytes.len() as u64 > FILE_LEN_MAX {
            let text = format!("must have at most 1 MiB ({FILE_LEN_MAX} bytes)");
            return Err(refused(None, text));
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(ConfigFile::parse(name, text, flags)),
            Err(error) => {
                let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or("");
                let place = Place::of(good, good.len());
                Err(refused(Some(place), "is not UTF-8".to_owned()))
            }
        }
    }

    /// Reads the text of a file of this name, whose keys are `flags`.
    #[must_use]
    pub fn parse(name: String, text: &str, flags: Vec<Flag>) -> ConfigFile {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut reading = Reading {
            text,
            flags,
            wrong: Vec::new(),
            unreadable: Vec::new(),
            file: ConfigFile {
                name,
                mistakes: Vec::new(),
                entries: BTreeMap::new(),
                doubtful: BTreeSet::new(),
                is_whole: true,
            },
        };
        for error in &errors {
            reading.syntax(error);
        }
        for (key, value) in table.get_ref() {
            reading.entry(key, value);
        }
        reading.finish()
    }

    /// Where a key has its value.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<Place> {
        self.entries.get(key).map(|entry| entry.place)
    }
}

/// One byte more than a file may have at most.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Looked at before it is opened: a pipe would wait for its other end.
    let found = fs::metadata(path)?;
    if !found.is_file() {
        let what = if found.is_dir() { "it is a directory" } else { "it is not a regular file" };
        return Err(io::Error::other(what));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A path as one line that draws over nothing.
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

/// A file while it is read.
struct Reading<'a> {
    text: &'a str,
    flags: Vec<Flag>,
    /// What is wrong, by its offset.
    wrong: Vec<(usize, String)>,
    /// Where the syntax is wrong: what the parser makes of it is a guess.
    unreadable: Vec<Range<usize>>,
    file: ConfigFile,
}

impl Reading<'_> {
    fn wrong(&mut self, span: &Range<usize>, text: String) {
        self.wrong.push((span.start, text));
    }

    fn syntax(&mut self, error: &toml::de::Error) {
        let span = error.span().unwrap_or(self.text.len()..self.text.len());
        if error.message() == "duplicate key" {
            let key = self.text.get(span.clone()).unwrap_or_default();
            let key = shown_key(key.trim_matches(['"', '\'']));
            return self.wrong(&span, format!("{key}: is there twice"));
        }
        self.wrong(&span, error.message().replace('\n', " "));
        self.file.is_whole = false;
        self.unreadable.push(span);
    }

    /// The places are looked up at last, and only of what is told: each takes a walk.
    fn finish(mut self) -> ConfigFile {
        self.wrong.sort_by_key(|(at, _)| *at);
        let more = self.wrong.len().saturating_sub(MISTAKES_MAX);
        let last = self.wrong.get(MISTAKES_MAX).map(|(at, _)| *at);
        self.wrong.truncate(MISTAKES_MAX);
        let more = last.map(|at| (at, format!("from here on {more} more mistakes")));
        for (at, text) in self.wrong.into_iter().chain(more) {
            let place = Some(Place::of(self.text, at));
            self.file.mistakes.push(Mistake { file: Some(self.file.name.clone()), place, text });
        }
        self.file
    }

    fn entry(&mut self, key: &Spanned<toml::de::DeString<'_>>, value: &Spanned<DeValue<'_>>) {
        let (name, at) = (key.get_ref().as_ref(), key.span());
        if name == "config" {
            return self.wrong(&at, "config: a file names no other one".to_owned());
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

    /// What is said of an unknown key, with what may have been meant.
    fn unknown(&mut self, name: &str, value: &DeValue<'_>) -> String {
        let shown = shown_key(name);
        if ["help", "version"].contains(&name) {
            return format!("{shown}: makes sense on the command line alone");
        }
        let meant = match value {
            DeValue::Table(_) => None,
            // Looking for it takes a while.
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
                // What is in it was perhaps meant to be set.
                self.file.is_whole = false;
                format!("{shown}: unknown key; the keys are the flags of serve, without tables")
            }
            (None, _) => format!("{shown}: unknown key; the keys are the flags of serve"),
        }
    }
}

/// The known key that is most like this one, if one is.
fn nearest(name: &str, flags: &[Flag]) -> Option<String> {
    let name: String = name.trim_start_matches('-').chars().take(KEY_SHOWN_MAX).collect();
    let name = name.to_lowercase().replace('_', "-");
    let keys = flags.iter().map(|flag| &flag.key).filter(|key| *key != "config");
    let distance = |key: &String| strsim::damerau_levenshtein(&name, key);
    let best = keys.min_by_key(|key| distance(key))?;
    (distance(best) <= best.len().max(4) / 3).then(|| best.clone())
}

/// What is wrong with a value, and where.
type Wrong = (Range<usize>, String);

/// The value if it has a type that the flag may have; otherwise all that is wrong with it.
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

/// Text or an integer as a flag would have it.
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
