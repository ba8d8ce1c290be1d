//! The import direction: a file names only modules of its own layer and of those below it.
//!
//! jeton: sync ← model ← clock ← store, timer_wheel, wal, keys, tls, audit, trace ← engine ← cluster ←
//! net ← service ← config ← resp ← http ← cli, main
//!
//! loadtest: failure, console, quantity, stats, secret, tls ← workload ← protocol, traffic, report::model
//! ← target ← drive ← report ← run, compare, merge, outcome ← peers, gate, history ← cli, main, pages

use crate::tidy::{Source, sources, without_comment};

/// A crate and its layers from the bottom up. A new module must be added here; a submodule, written
/// `a::b`, may have its own place.
struct Layered {
    /// Its name outside the library.
    name: &'static str,
    sources: &'static str,
    layers: &'static [&'static [&'static str]],
}

const CRATES: [Layered; 2] = [
    Layered {
        name: "jeton",
        sources: "src/",
        layers: &[
            &["sync"],
            &["model", "failpoint", "permissions", "warning", "build_info"],
            &["clock", "testkit::clock"],
            &["store", "timer_wheel", "wal", "keys", "tls", "audit", "trace", "testkit::disk"],
            &["engine"],
            &["cluster"],
            &["net"],
            &["service"],
            &["config"],
            // Not beside `http`: neither protocol knows the other.
            &["resp"],
            &["http", "testkit"],
            &["cli", "main"],
        ],
    },
    Layered {
        name: "loadtest",
        sources: "loadtest/src/",
        layers: &[
            &["failure", "console", "denial", "patience", "quantity", "stats", "secret", "tls"],
            &["workload"],
            &["protocol", "traffic", "report::model"],
            &["target"],
            &["drive"],
            &["report"],
            &["run", "compare", "merge", "outcome"],
            &["peers", "gate", "history"],
            &["cli", "main", "pages"],
        ],
    },
];

/// The crate's root only declares and exports the modules.
const ROOT: &str = "lib";

impl Layered {
    /// The module that has a place, and its layer, of a path such as `a::b`.
    fn place<'a>(&self, module: &'a str) -> Option<(&'a str, usize)> {
        let layer = |module: &str| self.layers.iter().position(|layer| layer.contains(&module));
        let first = module.split("::").next().unwrap_or(module);
        [module, first].into_iter().find_map(|module| Some((module, layer(module)?)))
    }

    /// The module of a file, as `a` or `a::b`; `None` for a file outside this crate.
    fn module_of(&self, path: &str) -> Option<String> {
        let below = path.strip_prefix(self.sources)?;
        let segments: Vec<&str> = below.trim_end_matches(".rs").split('/').take(2).collect();
        Some(segments.join("::"))
    }

    fn upward_imports(&self, source: &Source) -> Vec<String> {
        let Some(module) = self.module_of(&source.path).filter(|module| *module != ROOT) else {
            return Vec::new();
        };
        let Some((module, own)) = self.place(&module) else {
            return vec![format!("{}: `{module}` has no layer in {}", source.path, file!())];
        };
        let mut complaints = Vec::new();
        for (line, named) in named_modules(&source.text, self.name) {
            if let Some((named, _)) = self.place(&named).filter(|(_, layer)| *layer > own) {
                complaints.push(format!("{}:{line}: {module} is below {named}", source.path));
            }
        }
        complaints
    }
}

/// All modules that a text names through the root: `crate::a`, `crate::{a, b::c}`.
fn named_modules(text: &str, name: &str) -> Vec<(usize, String)> {
    let code: Vec<&str> = text.lines().map(without_comment).collect();
    let code = code.join("\n");
    let mut named = Vec::new();
    for root in ["crate::", &format!("{name}::")] {
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

/// The first one or two path segments of what follows `crate::`, of one or of a braced group.
fn first_segments(rest: &str) -> Vec<String> {
    let ident = |text: &str| -> String {
        let of = |c: char| c.is_alphanumeric() || c == '_';
        let segments: Vec<&str> = text
            .split("::")
            .take(2)
            .map(|segment| &segment[..segment.find(|c| !of(c)).unwrap_or(segment.len())])
            .collect();
        // `a, b::c` is `a`: what follows an end is of another path.
        let first_ends = text.find(|c| !of(c)).is_none_or(|at| !text[at..].starts_with("::"));
        let whole = if first_ends { &segments[..1] } else { &segments[..] };
        whole.join("::").trim_end_matches(':').to_owned()
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
    CRATES.iter().flat_map(|one| one.upward_imports(source)).collect()
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
    assert_eq!(
        upward_imports(&source("src/config/merge.rs", "use crate::http::Config;\n")).len(),
        1
    );
    assert!(upward_imports(&source("src/main.rs", "use jeton::http;\n")).is_empty());
    assert!(upward_imports(&source("src/lib.rs", "pub use crate::engine::Engine;\n")).is_empty());
    assert_eq!(upward_imports(&source("src/model/token.rs", "use jeton::store;\n")).len(), 1);
    assert_eq!(upward_imports(&source("src/strange.rs", "")).len(), 1);
    let load = |path: &str, text: &str| upward_imports(&source(path, text)).len();
    assert_eq!(load("loadtest/src/target/start.rs", "use crate::report::model::Target;\n"), 0);
    assert_eq!(load("loadtest/src/target/start.rs", "use crate::report::html::Page;\n"), 1);
    assert_eq!(load("loadtest/src/target/mod.rs", "use crate::report::{html, model};\n"), 1);
    assert_eq!(load("loadtest/src/report/model.rs", "use crate::target::Kind;\n"), 1);
    assert_eq!(load("loadtest/src/report/live.rs", "use crate::drive::session;\n"), 0);
    assert_eq!(load("loadtest/src/strange.rs", ""), 1);
    assert_eq!(load("loadtest/tests/target.rs", "use loadtest::cli;\n"), 0);
}
