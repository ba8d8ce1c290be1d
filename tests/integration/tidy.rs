//! Style checks of all sources: lengths, banned words, and a head on every file. `tidy_layers`
//! checks the direction of imports.

use std::path::Path;

use crate::support::files_under;

const LINE_CHARS_MAX: usize = 110;
const FUNCTION_LINES_MAX: usize = 68;
/// Of a file of the library, the program, the load-test harness and the client.
const FILE_LINES_MAX: usize = 400;
/// Of any other file: tests, benches, examples.
const OTHER_FILE_LINES_MAX: usize = 500;

/// One source file: its path from the top of the project, with forward slashes, and its text.
pub struct Source {
    pub path: String,
    pub text: String,
}

/// A banned word, its replacement, and the files where it is allowed.
struct Banned {
    word: &'static str,
    instead: &'static str,
    allowed: fn(&str) -> bool,
    /// Whether comments may contain it.
    comments_may: bool,
}

const BANNED: &[Banned] = &[
    Banned {
        word: concat!("to", "do!("),
        instead: "finish it",
        allowed: nowhere,
        comments_may: false,
    },
    Banned {
        word: concat!("unimple", "mented!("),
        instead: "finish it, or return an error",
        allowed: nowhere,
        comments_may: false,
    },
    Banned {
        word: concat!("db", "g!("),
        instead: "tracing, without token or payload",
        allowed: nowhere,
        comments_may: false,
    },
    Banned {
        word: concat!("FIX", "ME"),
        instead: "mend it",
        allowed: nowhere,
        comments_may: false,
    },
    Banned {
        word: concat!("XX", "X"),
        instead: "say what is the matter",
        allowed: nowhere,
        comments_may: false,
    },
    Banned {
        word: "SystemTime::now",
        instead: "take the time as an argument; the Clock is the edge",
        allowed: measures_time,
        comments_may: true,
    },
    Banned {
        word: "Instant::now",
        instead: "take the time as an argument; the Clock is the edge",
        allowed: measures_time,
        comments_may: true,
    },
    Banned { word: "println!(", instead: "tracing, cli::out", allowed: prints, comments_may: true },
    Banned {
        word: "eprintln!(",
        instead: "tracing, cli::out",
        allowed: prints,
        comments_may: true,
    },
    Banned { word: "eprint!(", instead: "tracing, cli::out", allowed: prints, comments_may: true },
];

fn nowhere(_path: &str) -> bool {
    false
}

fn outside_src(path: &str) -> bool {
    ["tests/", "benches/", "examples/", "loadtest/", "clients/"]
        .iter()
        .any(|top| path.starts_with(top))
}

fn measures_time(path: &str) -> bool {
    path == "src/clock/system.rs" || outside_src(path)
}

fn prints(path: &str) -> bool {
    outside_src(path)
}

/// All sources of the project, without build output.
pub fn sources() -> Vec<Source> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src", "tests", "benches", "examples", "loadtest", "clients"];
    let files = folders.iter().map(|folder| top.join(folder)).filter(|folder| folder.is_dir());
    let sources: Vec<_> = files
        .flat_map(|folder| files_under(&folder))
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .filter(|file| !is_built(top, file))
        .map(|file| {
            let path = file.strip_prefix(top).expect("below the top").to_str().expect("UTF-8");
            let text = std::fs::read_to_string(&file).expect("readable");
            Source { path: path.replace('\\', "/"), text }
        })
        .collect();
    // The second is in a folder with the name of cargo's target directory.
    for path in ["src/lib.rs", "loadtest/src/target/mod.rs", "clients/rust/src/lib.rs"] {
        assert!(sources.iter().any(|source| source.path == path), "{path} was not found");
    }
    sources
}

/// Whether a file below `top` lies in a directory that cargo builds in.
fn is_built(top: &Path, file: &Path) -> bool {
    let above = file.ancestors().skip(1).take_while(|folder| *folder != top);
    above.filter(|folder| folder.ends_with("target")).any(|it| it.join("CACHEDIR.TAG").is_file())
}

/// A line without its comment. Good enough for rustfmt's output: a `//` in a string only hides text.
pub fn without_comment(line: &str) -> &str {
    let end = line.match_indices("//").map(|(at, _)| at).find(|&at| !line[..at].ends_with(':'));
    &line[..end.unwrap_or(line.len())]
}

fn heads(source: &Source) -> Vec<String> {
    let has_head = source.text.starts_with("//!");
    if has_head { Vec::new() } else { vec![format!("{}: begins without `//!`", source.path)] }
}

fn file_lines_max(path: &str) -> usize {
    let is_test = path.contains("/tests/") || path.ends_with("tests.rs");
    let tops = ["src/", "loadtest/src/", "clients/rust/src/"];
    let is_source = tops.iter().any(|top| path.starts_with(top));
    if is_source && !is_test { FILE_LINES_MAX } else { OTHER_FILE_LINES_MAX }
}

fn lengths(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let (count, max) = (source.text.lines().count(), file_lines_max(&source.path));
    if count > max {
        complaints.push(format!("{}: {count} lines, {max} at most", source.path));
    }
    for (n, line) in source.text.lines().enumerate() {
        let chars = line.chars().count();
        if chars > LINE_CHARS_MAX {
            complaints.push(format!(
                "{}:{}: {chars} characters, {LINE_CHARS_MAX} at most",
                source.path,
                n + 1
            ));
        }
    }
    complaints
}

fn long_functions(source: &Source) -> Vec<String> {
    functions(&source.text)
        .into_iter()
        .filter(|function| function.lines > FUNCTION_LINES_MAX)
        .map(|Function { name, first_line, lines }| {
            format!(
                "{}:{first_line}: {name} has {lines} lines, {FUNCTION_LINES_MAX} at most",
                source.path
            )
        })
        .collect()
}

fn banned_words(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for banned in BANNED.iter().filter(|banned| !(banned.allowed)(&source.path)) {
        for (n, line) in source.text.lines().enumerate() {
            let line = if banned.comments_may { without_comment(line) } else { line };
            if line.contains(banned.word) {
                complaints.push(format!(
                    "{}:{}: `{}`: {}",
                    source.path,
                    n + 1,
                    banned.word,
                    banned.instead
                ));
            }
        }
    }
    complaints
}

struct Function {
    name: String,
    first_line: usize,
    lines: usize,
}

/// The functions of a file as rustfmt lays them out: the closing brace is in the column of the
/// first letter of the item.
fn functions(text: &str) -> Vec<Function> {
    let lines: Vec<&str> = text.lines().collect();
    let starts = lines.iter().enumerate().filter_map(|(n, line)| Some((n, function_name(line)?)));
    starts
        .map(|(n, name)| {
            let indent = lines[n].len() - lines[n].trim_start().len();
            let same_indent = |line: &str| line.len() - line.trim_start().len() == indent;
            let closes = |line: &&str| {
                let rest = line.trim_start();
                same_indent(line) && (rest == "}" || rest.starts_with("})")) || rest.ends_with("{}")
            };
            let declared_only = |line: &&str| line.ends_with(';') && same_indent(line);
            let one_line = lines[n].ends_with('}') || lines[n].ends_with(';');
            let rest = lines[n..].iter().skip(1);
            let more = rest.take_while(|line| !closes(line) && !declared_only(line)).count() + 1;
            let lines = if one_line { 1 } else { more + 1 };
            Function { name: name.to_owned(), first_line: n + 1, lines }
        })
        .collect()
}

/// The name of the function that begins on this line.
fn function_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    if rest.starts_with("pub(") {
        rest = rest.split_once(") ")?.1;
    }
    loop {
        if let Some(name) = rest.strip_prefix("fn ") {
            return name.split(['(', '<']).next();
        }
        let words = ["pub ", "const ", "async ", "unsafe ", "default ", "extern \"C\" "];
        rest = words.iter().find_map(|word| rest.strip_prefix(word))?;
    }
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn tidy_every_file_says_what_it_is() {
    assert_none(&sources().iter().flat_map(heads).collect::<Vec<_>>());
}

#[test]
fn tidy_lines_and_files_are_short() {
    assert_none(&sources().iter().flat_map(lengths).collect::<Vec<_>>());
}

#[test]
fn tidy_functions_are_short() {
    assert_none(&sources().iter().flat_map(long_functions).collect::<Vec<_>>());
}

#[test]
fn tidy_no_banned_words() {
    assert_none(&sources().iter().flat_map(banned_words).collect::<Vec<_>>());
}

#[test]
fn tidy_finds_what_it_looks_for() {
    let long = format!("fn long() {{\n{}}}\n", "    call();\n".repeat(67));
    let text = format!(
        "use std;\n{long}fn main() {{\n    {}1);\n}}\n// {}\n",
        BANNED[2].word,
        "y".repeat(111)
    );
    let source = Source { path: "src/a.rs".to_owned(), text };
    assert_eq!(heads(&source).len(), 1);
    assert_eq!(lengths(&source), ["src/a.rs:74: 114 characters, 110 at most"]);
    assert_eq!(long_functions(&source), ["src/a.rs:2: long has 69 lines, 68 at most"]);
    assert_eq!(banned_words(&source).len(), 1);
    for (path, max) in [
        ("src/a.rs", 400),
        ("src/a/tests.rs", 500),
        ("loadtest/src/a.rs", 400),
        ("loadtest/tests/a.rs", 500),
        ("benches/a.rs", 500),
    ] {
        let source = |lines| Source { path: path.to_owned(), text: "//! Short.\n".repeat(lines) };
        assert_eq!(
            (lengths(&source(max)).len(), lengths(&source(max + 1)).len()),
            (0, 1),
            "{path}"
        );
    }
    let clock =
        Source { path: "src/wal/a.rs".to_owned(), text: "    Instant::now();\n".to_owned() };
    assert_eq!(banned_words(&clock).len(), 1);
    let told = Source { path: "src/wal/a.rs".to_owned(), text: "// Instant::now\n".to_owned() };
    assert!(banned_words(&told).is_empty());
}

#[test]
fn tidy_knows_where_a_function_ends() {
    let text = "trait T {\n    fn declared(&self);\n    fn wide(\n        a: u8,\n    ) -> u8;\n\
                \x20   pub(crate) async fn two(\n        a: u8,\n    ) -> u8 {\n\
                \x20       a\n    }\n}\nfn one() {}\npub const fn three() {\n    {\n    }\n}\n";
    let found: Vec<_> =
        functions(text).into_iter().map(|f| (f.name, f.first_line, f.lines)).collect();
    let wanted =
        [("declared", 2, 1), ("wide", 3, 3), ("two", 6, 5), ("one", 12, 1), ("three", 13, 4)];
    assert_eq!(found, wanted.map(|(name, line, lines)| (name.to_owned(), line, lines)));
}
