//! Whether each link of the documentation leads to a file and a heading that exist.
//!
//! Links to other sites are looked at for their form only: no test asks the network.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::Failure;
use crate::markdown::{self, Page};

/// The pages outside the book.
pub const PAGES: [&str; 6] = [
    "README.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "loadtest/README.md",
    "tests/README.md",
];
/// Where the pages of the book are.
pub const BOOK: &str = "docs/src";

/// All pages, by their path from the top of the project.
pub fn pages(top: &Path) -> Result<BTreeMap<PathBuf, String>, Failure> {
    let mut paths: Vec<PathBuf> = PAGES.iter().map(PathBuf::from).collect();
    let mut folders = vec![PathBuf::from(BOOK)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(top.join(&folder)).map_err(io(&folder))? {
            let path = folder.join(entry.map_err(io(&folder))?.file_name());
            if top.join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    let read = |path: PathBuf| match fs::read_to_string(top.join(&path)) {
        Ok(text) => Ok((path, text)),
        Err(source) => Err(io(&path)(source)),
    };
    paths.into_iter().map(read).collect()
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let path = path.display().to_string();
    |source| Failure::Io { path, source }
}

/// Complaints about links, and about pages that the book does not list.
pub fn check(top: &Path) -> Result<Vec<String>, Failure> {
    let texts = pages(top)?;
    let read = |(path, text): (&PathBuf, &String)| (path.clone(), markdown::read(text));
    let pages: BTreeMap<_, _> = texts.iter().map(read).collect();
    let mut complaints = Vec::new();
    for (path, page) in &pages {
        for (line, link) in &page.links {
            if let Err(why) = follow(top, &pages, path, link) {
                complaints.push(format!("{}:{line}: {link}: {why}", path.display()));
            }
        }
    }
    complaints.extend(unlisted(&pages));
    Ok(complaints)
}

fn follow(
    top: &Path,
    pages: &BTreeMap<PathBuf, Page>,
    from: &Path,
    link: &str,
) -> Result<(), &'static str> {
    if let Some((scheme, rest)) = link.split_once("://") {
        return external(scheme, rest);
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let folder = from.parent().unwrap_or(Path::new(""));
    let target = if file.is_empty() { from.to_owned() } else { normal(&folder.join(file))? };
    if !top.join(&target).exists() {
        return Err("no such file");
    }
    if from.starts_with(BOOK) && !target.starts_with(BOOK) {
        return Err(
            "leads out of the book, where a reader of the HTML has no file: name it as code",
        );
    }
    if anchor.is_empty() {
        return Ok(());
    }
    let page = pages.get(&target).ok_or("an anchor of a file that is no page")?;
    match page.anchors.iter().any(|known| known == anchor) {
        true => Ok(()),
        false => Err("no such heading"),
    }
}

fn external(scheme: &str, rest: &str) -> Result<(), &'static str> {
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match scheme {
        "http" | "https" if host.contains('.') && !rest.contains([' ', '<', '>']) => Ok(()),
        _ => Err("no address of another site"),
    }
}

/// The path without `..`.
fn normal(path: &Path) -> Result<PathBuf, &'static str> {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if !normal.pop() => return Err("leads out of the project"),
            Component::ParentDir | Component::CurDir => {}
            other => normal.push(other),
        }
    }
    Ok(normal)
}

fn unlisted(pages: &BTreeMap<PathBuf, Page>) -> Vec<String> {
    let summary = Path::new(BOOK).join("SUMMARY.md");
    let listed = pages.get(&summary).map(|page| page.links.as_slice()).unwrap_or_default();
    let is_listed = |path: &Path| {
        let link = path.strip_prefix(BOOK).unwrap_or(path);
        path == summary || listed.iter().any(|(_, listed)| Path::new(listed) == link)
    };
    let own = pages.keys().filter(|path| path.starts_with(BOOK));
    let missing = own.filter(|path| !is_listed(path));
    missing.map(|path| format!("{}: is not in {}", path.display(), summary.display())).collect()
}

#[test]
fn links_that_lead_nowhere_are_found() {
    let top = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(top.path().join("docs/src")).expect("a folder");
    let pages: BTreeMap<_, _> = [
        ("docs/src/a.md", "# One\n[b](b.md#two)\n"),
        ("docs/src/b.md", "## Two\n"),
        ("README.md", "# Top\n"),
    ]
    .into_iter()
    .map(|(path, text)| {
        fs::write(top.path().join(path), text).expect("a file");
        (PathBuf::from(path), markdown::read(text))
    })
    .collect();
    let follows = |from, link| follow(top.path(), &pages, Path::new(from), link).is_ok();
    for link in ["b.md", "b.md#two", "#one", "https://www.rfc-editor.org/rfc/rfc9457"] {
        assert!(follows("docs/src/a.md", link), "{link}");
    }
    for link in ["c.md", "b.md#three", "#two", "../../README.md", "https://x", "ftp://a.example/"] {
        assert!(!follows("docs/src/a.md", link), "{link}");
    }
    assert!(follows("README.md", "docs/src/b.md#two") && !follows("README.md", "../outside"));
    assert_eq!(unlisted(&pages).len(), 2, "there is no summary that lists them");
}
