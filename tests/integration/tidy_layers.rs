//! The import direction: a file names only modules of its own layer and of those below it.
//!
//! vocabulary ← store, wheel, wal ← engine ← http ← config, cli, main

use crate::tidy::{Source, sources, without_comment};

/// From the bottom up. A new module of `src` must be given its place here.
const LAYERS: &[&[&str]] = &[
    &[
        "token",
        "short_mac",
        "entry",
        "time",
        "record",
        "metrics",
        "reference",
        "secret",
        "digest",
        "payload",
        "duration",
        "size",
        "units",
    ],
    &["store", "wheel", "wal"],
    &["engine"],
    &["http"],
    &["config", "cli", "main"],
];

/// The crate's root only declares the modules and names them to the outside.
const ROOT: &str = "lib";

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The top-level module a file of `src` belongs to.
fn module_of(path: &str) -> Option<&str> {
    let below = path.strip_prefix("src/")?;
    let first = below.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

/// All modules that a text names through the root: `crate::a`, `crate::{a, b::c}`.
fn named_modules(text: &str) -> Vec<(usize, String)> {
    let code: Vec<&str> = text.lines().map(without_comment).collect();
    let code = code.join("\n");
    let mut named = Vec::new();
    for root in ["crate::", "jeton::"] {
        for (at, _) in code.match_indices(root) {
            let preceded =
                code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
            if preceded {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            let rest = &code[at + root.len()..];
            named.extend(first_segments(rest).into_iter().map(|module| (line, module)));
        }
    }
    named
}

/// The first path segments of what follows `crate::`, one or a braced group of them.
fn first_segments(rest: &str) -> Vec<String> {
    let ident = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = rest.strip_prefix('{') else {
        return vec![ident(rest)];
    };
    let (mut depth, mut segments, mut begins) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                segments.push(ident(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    segments
}

fn upward_imports(source: &Source) -> Vec<String> {
    let Some(module) = module_of(&source.path).filter(|module| *module != ROOT) else {
        return Vec::new();
    };
    let Some(own) = layer(module) else {
        return vec![format!("{}: `{module}` has no layer in {}", source.path, file!())];
    };
    named_modules(&source.text)
        .into_iter()
        .filter(|(_, named)| layer(named).is_some_and(|named| named > own))
        .map(|(line, named)| format!("{}:{line}: {module} is below {named}", source.path))
        .collect()
}

#[test]
fn tidy_imports_go_downwards() {
    let complaints: Vec<_> = sources().iter().flat_map(upward_imports).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn tidy_finds_upward_imports() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let wal = source(
        "src/wal/reader.rs",
        "use crate::record::Record;\n// crate::http is above\n\
         use crate::{\n    time,\n    engine::{http, Engine},\n    config,\n};\n\
         fn f() {\n    crate::http::go();\n}\n",
    );
    assert_eq!(
        upward_imports(&wal),
        [
            "src/wal/reader.rs:3: wal is below engine",
            "src/wal/reader.rs:3: wal is below config",
            "src/wal/reader.rs:9: wal is below http",
        ]
    );
    assert!(upward_imports(&source("src/store.rs", "use crate::wal::Lsn;\n")).is_empty());
    assert!(upward_imports(&source("src/main.rs", "use jeton::http;\n")).is_empty());
    assert!(upward_imports(&source("src/lib.rs", "pub use crate::engine::Engine;\n")).is_empty());
    assert_eq!(upward_imports(&source("src/token.rs", "use jeton::store;\n")).len(), 1);
    assert_eq!(upward_imports(&source("src/strange.rs", "")).len(), 1);
}
