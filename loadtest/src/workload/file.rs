//! Workload files. Whatever is wrong with one is said at once, each mistake with its line, column,
//! field and limits.
//!
//! serde stops at the first mistake it meets. So the field with the mistake is taken out of the
//! table and the rest read again, until what is left can be read; then the limits are checked, and
//! the places of what they find are looked up in the table.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use toml::de::{DeTable, DeValue, Deserializer};

use super::{Objective, Workload, schema, suggest};
use crate::failure::{Failure, Result, at};

/// The greatest workload file: a person writes it.
const FILE_MAX: u64 = 1 << 20;

/// Bytes of the text of a file.
type Range = std::ops::Range<usize>;

/// Reads and checks a workload file; what it leaves out has its default, and a missing name is
/// that of the file.
///
/// # Errors
/// The file can't be read, is no TOML, or makes no sense: every mistake with its place.
pub fn load(path: &Path) -> Result<Workload> {
    let mut text = String::new();
    let file = File::open(path).map_err(at(path))?;
    file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(at(path))?;
    if text.len() as u64 > FILE_MAX {
        return Err(Failure::Input(format!("{}: greater than 1MiB", path.display())));
    }
    let mut workload = parse(path, &text)?;
    if let (Some(orders), Some(folder)) = (&mut workload.payload.file, path.parent()) {
        *orders = folder.join(&*orders);
    }
    Ok(workload)
}

/// Reads and checks the text of a workload file that is called `path` in messages.
///
/// # Errors
/// As [`load`].
pub fn parse(path: &Path, text: &str) -> Result<Workload> {
    let (mut table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mistakes = errors.iter().map(|error| Mistake {
            at: error.span().unwrap_or(0..0),
            field: "syntax".to_owned(),
            problem: error.message().to_owned(),
        });
        return Err(failure(path, text, mistakes.collect()));
    }
    let whole = table.clone();
    let mut mistakes = Vec::new();
    let mut workload = loop {
        match Workload::deserialize(Deserializer::from(table.clone())) {
            Ok(workload) => break workload,
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let names = names_at(table.get_ref(), &span).unwrap_or_default();
                let at = bad_objective(table.get_ref(), &names).unwrap_or(span);
                mistakes.push(Mistake::read(at, &names, error.message()));
                // The parts of a choice can't be read without each other.
                let whole =
                    if names.first().is_some_and(|name| name == "ttl") { 1 } else { names.len() };
                if !remove(table.get_mut(), &names[..whole]) {
                    return Err(failure(path, text, mistakes));
                }
            }
        }
    };
    if !whole.get_ref().contains_key("name") {
        workload.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    }
    add_problems(&workload, whole.get_ref(), &mut mistakes);
    if mistakes.is_empty() { Ok(workload) } else { Err(failure(path, text, mistakes)) }
}

/// Something wrong in the text of a file.
struct Mistake {
    at: Range,
    field: String,
    problem: String,
}

impl Mistake {
    /// From what serde says about the innermost value it was at.
    fn read(at: Range, names: &[String], message: &str) -> Self {
        let field = names.join(".");
        let problem = match (schema::find(&field), names.split_last()) {
            (None, Some((name, section))) => unknown(&section.join("."), name),
            (Some(known), _) => {
                let expected = message
                    .replace("expected usize", "expected a whole number")
                    .replace("expected u64", "expected a whole number")
                    .replace("expected f64", "expected a number");
                format!("{expected}; must be {}", known.limits)
            }
            (None, None) => message.to_owned(),
        };
        Self { at, field, problem }
    }
}

/// Says what a name that is no field might have been.
fn unknown(section: &str, name: &str) -> String {
    let known: Vec<&str> = schema::children(section).collect();
    if let Some(meant) = suggest::nearest(name, known.iter().copied()) {
        return format!("no such field; did you mean `{meant}`?");
    }
    // It may belong to another section.
    let elsewhere = schema::FIELDS.iter().find(|field| field.path.rsplit('.').next() == Some(name));
    match elsewhere {
        Some(field) => format!("no such field; did you mean `{}`?", field.path),
        None if known.is_empty() => format!("no such field; `{section}` has none"),
        None => format!("no such field; there are {}", known.join(", ")),
    }
}

/// Adds what is out of its limits, but for what follows from a mistake that is noted already.
fn add_problems(workload: &Workload, table: &DeTable<'_>, mistakes: &mut Vec<Mistake>) {
    let noted: Vec<String> = mistakes.iter().map(|mistake| mistake.field.clone()).collect();
    let in_doubt = |field: &str| {
        let within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        noted.iter().any(|noted| noted.is_empty() || within(noted, field) || within(field, noted))
    };
    for problem in workload.validate() {
        if !in_doubt(&problem.field) && !problem.hangs_on.iter().any(|field| in_doubt(field)) {
            let at = place(table, &problem.field);
            mistakes.push(Mistake { at, field: problem.field, problem: problem.problem });
        }
    }
}

/// All mistakes in the order of the file.
fn failure(path: &Path, text: &str, mut mistakes: Vec<Mistake>) -> Failure {
    mistakes.sort_by_key(|mistake| mistake.at.start);
    let failures: Vec<Failure> = mistakes
        .into_iter()
        .map(|mistake| {
            let (line, column) = line_and_column(text, mistake.at.start);
            let Mistake { field, problem, .. } = mistake;
            let field = if field.is_empty() { "workload".to_owned() } else { field };
            Failure::File { path: path.to_owned(), line, column, field, problem }
        })
        .collect();
    let count = failures.len();
    Failure::of(failures)
        .unwrap_or_else(|| Failure::Input(format!("{}: {count} mistakes", path.display())))
}

/// Counted from 1, columns in characters.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset.min(text.len()))];
    let line_begin = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    (line, before[line_begin..].chars().count() + 1)
}

/// The dotted name of the innermost key or value that spans the place.
fn names_at(table: &DeTable<'_>, at: &Range) -> Option<Vec<String>> {
    let spans = |span: Range| span.start <= at.start && at.end <= span.end;
    // A table's own span may be no more than its header, so what is in it is looked at first.
    let inner = table.iter().find_map(|(key, value)| {
        let DeValue::Table(inner) = value.get_ref() else { return None };
        let mut names = names_at(inner, at)?;
        names.insert(0, key.get_ref().to_string());
        Some(names)
    });
    inner.or_else(|| {
        let (key, _) =
            table.iter().find(|(key, value)| spans(key.span()) || spans(value.span()))?;
        Some(vec![key.get_ref().to_string()])
    })
}

/// The first of the objectives that is none, where they are what can't be read: serde knows no
/// place within a list.
fn bad_objective(table: &DeTable<'_>, names: &[String]) -> Option<Range> {
    let ["objectives"] = names.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        return None;
    };
    let DeValue::Array(elements) = table.get("objectives")?.get_ref() else { return None };
    let is_sound =
        |value: &DeValue<'_>| value.as_str().is_some_and(|text| text.parse::<Objective>().is_ok());
    elements.iter().find(|element| !is_sound(element.get_ref())).map(toml::Spanned::span)
}

/// Takes a field out; whether it was there.
fn remove(table: &mut DeTable<'_>, names: &[String]) -> bool {
    match names {
        [] => false,
        [name] => table.remove(name.as_str()).is_some(),
        [name, inner @ ..] => match table.get_mut(name.as_str()).map(toml::Spanned::get_mut) {
            Some(DeValue::Table(table)) => remove(table, inner),
            _ => false,
        },
    }
}

/// Where a field is written, or else the section it would be in, or else the file's begin.
fn place(table: &DeTable<'_>, field: &str) -> Range {
    let (name, inner) = field.split_once('.').unwrap_or((field, ""));
    let (name, index) = name.split_once('[').unwrap_or((name, ""));
    let Some(value) = table.get(name) else { return 0..0 };
    let written = match value.get_ref() {
        DeValue::Table(table) if !inner.is_empty() => place(table, inner),
        DeValue::Array(elements) => {
            let index: Option<usize> = index.trim_end_matches(']').parse().ok();
            index.and_then(|index| elements.get(index)).map_or(0..0, toml::Spanned::span)
        }
        _ => 0..0,
    };
    if written == (0..0) { value.span() } else { written }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
