//! Names of files, functions and types in the pages about the code: each of them exists.
//!
//! A page writes a file as its path from the top of the project, a function as `name()` or
//! `Type::name`, anything else with its type or module in front of it. A rename in the sources then
//! breaks this test, and not the page.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{links, markdown};

/// Pages that speak of the code.
fn speaks_of_code(path: &Path) -> bool {
    path.starts_with("docs/src/internals") || path == Path::new("CONTRIBUTING.md")
}

/// Folders and files at the top of the project that a path can begin with.
const TOP: [&str; 14] = [
    "src",
    "tests",
    "benches",
    "loadtest",
    "examples",
    "docs",
    ".ci",
    ".github",
    ".cargo",
    "Cargo.toml",
    "README.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
];

/// A file of the sources.
struct Source {
    /// From the top of the project.
    path: PathBuf,
    text: String,
    /// Names of functions.
    functions: HashSet<String>,
    /// Names of all items and of the variants of enums, functions included.
    items: HashSet<String>,
    /// Names that an item can have in front of it: of types, traits and modules.
    owners: HashSet<String>,
}

/// What stands before the name of an item.
const ITEMS: [&str; 7] = ["struct", "enum", "trait", "type", "const", "static", "mod"];
/// Items that have items of their own.
const OWNERS: [&str; 5] = ["struct", "enum", "trait", "type", "mod"];

impl Source {
    fn new(path: PathBuf, text: String) -> Self {
        let module = path.components().map(|part| Path::new(part.as_os_str()).file_stem());
        let owners = module.flatten().map(|name| name.to_string_lossy().into_owned()).collect();
        let (functions, items) = (HashSet::new(), HashSet::new());
        let mut source = Self { path, text: String::new(), functions, items, owners };
        text.lines().for_each(|line| source.read(line));
        Self { text, ..source }
    }

    fn read(&mut self, line: &str) {
        let line = line.trim_start();
        if line.starts_with("//") {
            return;
        }
        let words: Vec<&str> =
            line.split(|c: char| !is_part(c)).filter(|w| !w.is_empty()).collect();
        for pair in words.windows(2) {
            let name = pair[1].to_owned();
            if OWNERS.contains(&pair[0]) {
                self.owners.insert(name.clone());
            }
            if pair[0] == "fn" {
                self.functions.insert(name.clone());
            }
            if pair[0] == "fn" || ITEMS.contains(&pair[0]) {
                self.items.insert(name);
            }
        }
        if line.starts_with("impl") {
            self.owners.extend(words.iter().map(ToString::to_string));
        }
        let end = line.find(|c| !is_part(c)).unwrap_or(line.len());
        let (first, rest) = line.split_at(end);
        if rest == "," || rest.starts_with('(') || rest.starts_with(" {") {
            self.items.insert(first.to_owned());
        }
    }

    /// Whether this is the file of the module `outer::inner`.
    fn is_file(&self, outer: &str, inner: &str) -> bool {
        let path = self.path.with_extension("");
        let path = if path.ends_with("mod") { path.parent().unwrap_or(&path) } else { &path };
        path.ends_with(Path::new(outer).join(inner))
    }
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn sources(top: &Path) -> Vec<Source> {
    let mut folders: Vec<_> = ["src", "tests", "benches", "loadtest"].map(PathBuf::from).to_vec();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(top.join(&folder)).expect("a folder") {
            let path = folder.join(entry.expect("an entry").file_name());
            if top.join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(top.join(&path)).expect("a source");
                sources.push(Source::new(path, text));
            }
        }
    }
    sources
}

fn is_word(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.all(is_part)
}

/// What a piece of code in a page is.
#[derive(Debug, PartialEq, Eq)]
enum Kind<'a> {
    Path(&'a str),
    /// A function by itself.
    Function(&'a str),
    /// An item, and the type or module that it is in.
    Item(&'a str, &'a str),
    Other,
}

fn kind(code: &str) -> Kind<'_> {
    let name = code.strip_suffix("()").unwrap_or(code);
    let words: Vec<&str> = name.split("::").collect();
    if words.iter().all(|word| is_word(word)) {
        return match words[..] {
            [.., outer, inner] => Kind::Item(outer, inner),
            [_] if name != code => Kind::Function(name),
            _ => Kind::Other,
        };
    }
    let is_path = code.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c));
    let first = code.split('/').next().unwrap_or_default();
    let is_ours = code.contains('/') || TOP.contains(&code);
    if is_path && is_ours && TOP.contains(&first) { Kind::Path(code) } else { Kind::Other }
}

fn exists(top: &Path, sources: &[Source], kind: &Kind<'_>) -> bool {
    match *kind {
        Kind::Path(path) => top.join(path).exists(),
        Kind::Function(name) => sources.iter().any(|source| source.functions.contains(name)),
        Kind::Item(outer, inner) => sources.iter().any(|source| {
            source.items.contains(inner) && source.owners.contains(outer)
                || source.is_file(outer, inner)
        }),
        Kind::Other => true,
    }
}

#[test]
fn every_name_of_the_code_in_the_pages_exists() {
    let top = crate::top();
    let sources = sources(&top);
    let (mut complaints, mut count) = (Vec::new(), 0);
    for (path, text) in links::pages(&top).expect("the pages") {
        if !speaks_of_code(&path) {
            continue;
        }
        for (line, code) in markdown::read(&text).code {
            let kind = kind(&code);
            count += usize::from(kind != Kind::Other);
            if !exists(&top, &sources, &kind) {
                complaints.push(format!("{}:{line}: no {code} in the sources", path.display()));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    assert!(count > 100, "only {count} names were found");
}

/// The layouts in the chapter about formats, each the same as at the head of its module.
#[test]
fn the_formats_are_those_of_the_sources() {
    let text =
        fs::read_to_string(crate::top().join("docs/src/internals/formats.md")).expect("a page");
    let sources = sources(&crate::top());
    let head = |line: &str| line.strip_prefix("//!").map(|rest| rest.trim().to_owned());
    let heads: Vec<Vec<String>> =
        sources.iter().map(|source| source.text.lines().map_while(head).collect()).collect();
    let layouts = text.split("```text\n").skip(1).filter_map(|rest| rest.split_once("\n```"));
    let layouts: Vec<&str> = layouts.map(|(layout, _)| layout).collect();
    assert!(layouts.len() >= 5, "only {} layouts were found", layouts.len());
    for layout in layouts {
        let lines: Vec<String> = layout.lines().map(|line| line.trim().to_owned()).collect();
        let is_there = |head: &Vec<String>| head.windows(lines.len()).any(|part| *part == lines);
        assert!(heads.iter().any(is_there), "at the head of no module:\n{layout}");
    }
}

#[test]
fn names_that_do_not_exist_are_found() {
    let (top, sources) = (crate::top(), sources(&crate::top()));
    let is_there = |code| exists(&top, &sources, &kind(code));
    for code in ["src/lib.rs", "Engine::resolve", "encode()", "wal::frame", "Record::Issue"] {
        assert!(is_there(code) && kind(code) != Kind::Other, "{code}");
    }
    for code in ["src/no.rs", "Engine::no_such_function", "no_such_function()", "wal::no_such"] {
        assert!(!is_there(code), "{code}");
    }
    for code in ["--sync always", "application/json", "jeton serve", "P1", "GET /v1/stats"] {
        assert_eq!(kind(code), Kind::Other, "{code}");
    }
}
