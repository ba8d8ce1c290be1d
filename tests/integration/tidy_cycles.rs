//! Imports go one way, file by file: no file of the library or of the load-test harness imports a
//! file that imports it, directly or indirectly.
//!
//! The files are read like in rustc, from `lib.rs` along the `mod` declarations, without code that
//! is compiled only for tests. `syn` parses them: paths occur in `use` trees, types, expressions
//! and in the arguments of macros. A file imports the file that holds the module which a path
//! names. A `mod` declaration imports nothing. A re-export is an import of the file that contains
//! it, so a path through a parent counts for the parent and for all its re-exports.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use crate::tidy::{Source, sources};

/// The root of the library whose files are read.
const ROOT: &str = "src/lib.rs";

/// The root of the load-test harness.
const LOADTEST_ROOT: &str = "loadtest/src/lib.rs";

/// Imports by file: the imported files, each with one path that imports it.
type Imports = BTreeMap<String, BTreeMap<String, String>>;

/// The files of a crate by the path of their module; the root's is empty.
#[derive(Default)]
struct Crate {
    files: BTreeMap<Vec<String>, (String, syn::File)>,
}

impl Crate {
    /// Reads the modules that `root` declares, and all below them.
    fn read(sources: &[Source], root: &str) -> Self {
        let mut found = Self::default();
        let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
        found.read_module(sources, root, folder, Vec::new());
        found
    }

    /// Reads the file of `module`, whose children are in `folder`.
    fn read_module(&mut self, sources: &[Source], path: &str, folder: &str, module: Vec<String>) {
        let source = sources.iter().find(|source| source.path == path).expect("declared");
        let file = syn::parse_file(&source.text).expect("it compiles");
        for item in &file.items {
            let syn::Item::Mod(child) = item else { continue };
            if child.content.is_some() || is_for_tests(&child.attrs) {
                continue;
            }
            let name = child.ident.to_string();
            let folder = format!("{folder}/{name}");
            let paths = [format!("{folder}.rs"), format!("{folder}/mod.rs")];
            let is_there = |path: &&String| sources.iter().any(|source| source.path == **path);
            let path = paths.iter().find(is_there).expect("the file of a module");
            self.read_module(sources, path, &folder, [&module[..], &[name]].concat());
        }
        self.files.insert(module, (path.to_owned(), file));
    }

    fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (module, (path, file)) in &self.files {
            let mut paths = Paths { module: module.clone(), ..Paths::default() };
            paths.visit_file(file);
            let named = paths.found.into_iter().filter_map(|(from, segments)| {
                let target = self.resolve(&from, &segments)?;
                Some((target, segments.join("::")))
            });
            let imported = named.filter(|(target, _)| target != path).collect();
            imports.insert(path.clone(), imported);
        }
        imports
    }

    /// The file that a path in `module` names: that of the longest module in it.
    fn resolve(&self, module: &[String], segments: &[String]) -> Option<String> {
        let (mut at, mut rest) = (module.to_vec(), segments);
        match segments.first()?.as_str() {
            "crate" => at.clear(),
            "self" | "super" => {}
            first => {
                // Without a root it names a child, or nothing of this crate.
                at.push(first.to_owned());
                let file = self.files.contains_key(&at);
                return file.then(|| self.file_of(&[module, segments].concat()));
            }
        }
        while let Some((first, behind)) = rest.split_first() {
            match first.as_str() {
                "crate" | "self" => {}
                "super" => drop(at.pop()),
                _ => break,
            }
            rest = behind;
        }
        Some(self.file_of(&[&at, rest].concat()))
    }

    fn file_of(&self, path: &[String]) -> String {
        let modules = (0..=path.len()).rev().map(|len| &path[..len]);
        let file = modules.filter_map(|module| self.files.get(module)).next();
        file.map(|(path, _)| path.clone()).expect("the root is a module")
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    })
}

/// Every path of a file with its module, without test code.
#[derive(Default)]
struct Paths {
    module: Vec<String>,
    found: BTreeSet<(Vec<String>, Vec<String>)>,
}

impl Paths {
    fn add(&mut self, segments: Vec<String>) {
        self.found.insert((self.module.clone(), segments));
    }

    fn add_use(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.add_use(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) if name.ident == "self" => self.add(before.to_vec()),
            syn::UseTree::Name(name) => self.add(with(&name.ident)),
            syn::UseTree::Rename(name) => self.add(with(&name.ident)),
            syn::UseTree::Glob(_) => self.add(before.to_vec()),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.add_use(before, tree));
            }
        }
    }

    /// Paths among the tokens of a macro or an attribute, which `syn` does not parse.
    fn add_tokens(&mut self, tokens: &str) {
        let text = tokens.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = text.replace(" :: ", "::").replace("$ crate", "crate");
        let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        for path in text.split(|c| !is_path(c)).filter(|path| path.contains("::")) {
            let segments = path.split("::").filter(|segment| !segment.is_empty());
            self.add(segments.map(str::to_owned).collect());
        }
    }
}

impl<'a> Visit<'a> for Paths {
    fn visit_item(&mut self, item: &'a syn::Item) {
        let attributes = match item {
            syn::Item::Const(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, method: &'a syn::ImplItemFn) {
        if !is_for_tests(&method.attrs) {
            visit::visit_impl_item_fn(self, method);
        }
    }

    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        if !is_for_tests(&module.attrs) {
            self.module.push(module.ident.to_string());
            visit::visit_item_mod(self, module);
            self.module.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        if item.leading_colon.is_none() {
            self.add_use(&[], &item.tree);
        }
    }

    /// `pub(in crate::a)` imports nothing.
    fn visit_vis_restricted(&mut self, _: &'a syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'a syn::Path) {
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            self.add(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'a syn::Macro) {
        self.add_tokens(&called.tokens.to_string());
        visit::visit_macro(self, called);
    }

    fn visit_meta_list(&mut self, list: &'a syn::MetaList) {
        self.add_tokens(&list.tokens.to_string());
    }
}

/// The groups of files that import each other, directly or indirectly.
fn cycles(imports: &Imports) -> Vec<BTreeSet<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> =
        imports.keys().map(|file| (file, reached_from(imports, file))).collect();
    let mut groups: BTreeSet<BTreeSet<String>> = BTreeSet::new();
    for (file, reached) in &reach {
        if reached.contains(file) {
            let is_back = |other: &&&String| reach[**other].contains(file);
            groups.insert(reached.iter().filter(is_back).map(|file| (*file).clone()).collect());
        }
    }
    groups.into_iter().collect()
}

/// All files that `file` imports, directly or indirectly.
fn reached_from<'a>(imports: &'a Imports, file: &'a String) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&String> = imports[file].keys().collect();
    while let Some(file) = next.pop() {
        if reached.insert(file) {
            next.extend(imports[file].keys());
        }
    }
    reached
}

/// Every cycle, with the paths that make it.
fn complaints(imports: &Imports) -> Vec<String> {
    cycles(imports).iter().map(|group| told(imports, group)).collect()
}

fn told(imports: &Imports, group: &BTreeSet<String>) -> String {
    let mut text = format!("{} files import each other:", group.len());
    for file in group {
        let inside = imports[file].iter().filter(|(target, _)| group.contains(*target));
        for (target, path) in inside {
            text.push_str(&format!("\n    {file} -> {target}  ({path})"));
        }
    }
    text
}

#[test]
fn tidy_imports_go_one_way() {
    let imports = Crate::read(&sources(), ROOT).imports();
    assert!(imports.len() > 100, "only {} files were found", imports.len());
    let complaints = complaints(&imports);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn tidy_imports_of_the_load_test_harness_go_one_way() {
    let imports = Crate::read(&sources(), LOADTEST_ROOT).imports();
    assert!(imports.len() > 100, "only {} files were found", imports.len());
    let complaints = complaints(&imports);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn imports_of(files: &[(&str, &str)]) -> Imports {
    let source =
        |(path, text): &(&str, &str)| Source { path: (*path).to_owned(), text: (*text).to_owned() };
    Crate::read(&files.iter().map(source).collect::<Vec<_>>(), ROOT).imports()
}

#[test]
fn tidy_finds_every_cycle_of_imports() {
    let imports = imports_of(&[
        ("src/lib.rs", "pub mod a;\nmod b;\npub mod c;\nmod d;\nmod e;\npub use a::A;\n"),
        // By a re-export of the parent.
        ("src/a/mod.rs", "mod one;\nmod two;\npub use one::One;\npub struct A;\n"),
        ("src/a/one.rs", "pub struct One;\n"),
        ("src/a/two.rs", "use super::one::One;\nfn f(_: &One) {}\n"),
        // Through the root, in the argument of a macro, and in an attribute.
        ("src/b.rs", "use crate::A;\nfn f() { log!(\"{}\", crate::c::C); }\n"),
        ("src/c.rs", "#[error(\"{}\", crate::b::f())]\npub enum C {}\n"),
        // Test code does not count.
        ("src/d.rs", "use crate::b;\n#[cfg(test)]\nmod tests { use crate::d; use crate::d2; }\n"),
        // Nor does the place where an item is visible.
        ("src/e/mod.rs", "mod inner;\nuse inner::f;\n"),
        ("src/e/inner.rs", "pub(in crate::e) fn f() {}\n"),
    ]);
    let groups = cycles(&imports);
    let wanted = ["src/b.rs", "src/c.rs"].map(str::to_owned);
    assert_eq!(groups, [BTreeSet::from(wanted)]);
    let said = complaints(&imports).join("\n");
    assert!(said.starts_with("2 files import each other:"), "{said}");
    assert!(said.contains("src/b.rs -> src/c.rs  (crate::c::C)"), "{said}");
}

#[test]
fn tidy_resolves_paths_to_the_file_that_holds_the_module() {
    let imports = imports_of(&[
        ("src/lib.rs", "mod a;\nmod b;\n"),
        ("src/a/mod.rs", "mod one;\nfn f() { one::g(); std::mem::drop(0); }\n"),
        ("src/a/one.rs", "use super::super::b::{self, inner::X};\npub fn g() { super::f() }\n"),
        ("src/b.rs", "pub mod inner { use super::super::a; pub struct X; }\n"),
    ]);
    let of = |file: &str| imports[file].keys().cloned().collect::<Vec<_>>();
    assert_eq!(of("src/a/mod.rs"), ["src/a/one.rs"]);
    assert_eq!(of("src/a/one.rs"), ["src/a/mod.rs", "src/b.rs"]);
    assert_eq!(of("src/b.rs"), ["src/a/mod.rs"]);
    assert_eq!(of("src/lib.rs"), [""; 0]);
    assert_eq!(cycles(&imports).len(), 1);
}
