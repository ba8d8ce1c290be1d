//! Whether each link of the finished book leads to a file and a place that exist in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;

/// A finished page: where its links lead, and the places that it has.
struct Page {
    links: BTreeSet<String>,
    ids: BTreeSet<String>,
}

/// Complaints about the links of the book in `out`.
pub fn check(out: &Path) -> Result<Vec<String>, Failure> {
    let mut pages = BTreeMap::new();
    let mut folders = vec![out.to_owned()];
    while let Some(folder) = folders.pop() {
        let io = |source| Failure::Io { path: folder.display().to_string(), source };
        for entry in fs::read_dir(&folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "html") {
                let text = fs::read_to_string(&path).map_err(io)?;
                pages.insert(path, read(&text));
            }
        }
    }
    let mut complaints = Vec::new();
    for (path, page) in &pages {
        for link in page.links.iter().filter(|link| !is_there(&pages, path, link)) {
            let page = path.strip_prefix(out).unwrap_or(path);
            complaints.push(format!("{}: {link}", page.display()));
        }
    }
    Ok(complaints)
}

fn read(text: &str) -> Page {
    let values = |name: &str| {
        let parts = text.split(name).skip(1);
        parts.filter_map(|part| part.split_once('"')).map(|(value, _)| value.to_owned()).collect()
    };
    Page { links: values(" href=\""), ids: values(" id=\"") }
}

fn is_there(pages: &BTreeMap<PathBuf, Page>, from: &Path, link: &str) -> bool {
    if link.contains("://") {
        return true;
    }
    let (file, id) = link.split_once('#').unwrap_or((link, ""));
    let folder = from.parent().unwrap_or(from);
    let target = if file.is_empty() { from.to_owned() } else { folder.join(file) };
    let Ok(target) = fs::canonicalize(target) else { return false };
    let canonical = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    id.is_empty()
        || pages.iter().any(|(path, page)| canonical(path) == target && page.ids.contains(id))
}

#[test]
fn links_and_places_of_a_finished_page_are_found() {
    let page = read(r##"<a class="x" href="a.html#b">x</a><h2 id="c">y</h2><a href="#c">"##);
    assert_eq!(page.links, BTreeSet::from(["a.html#b".to_owned(), "#c".to_owned()]));
    assert_eq!(page.ids, BTreeSet::from(["c".to_owned()]));
}
