//! Builds the book: `docs/book.toml` and the pages in `docs/src`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mdbook_driver::MDBook;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use crate::Failure;

/// What mdBook warned of, as text.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<u8>>>);

impl io::Write for Warnings {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Warnings {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Builds the book of the project at `top` into `out`.
///
/// # Errors
/// A page or the configuration cannot be read, `out` cannot be written, or mdBook warns.
pub fn build(top: &Path, out: &Path) -> Result<(), Failure> {
    let warnings = Warnings::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::WARN)
        .with_ansi(false)
        .without_time()
        .with_writer(warnings.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || build_quietly(top, out))
        .map_err(|error| Failure::Book(format!("{error:#}")))?;
    let warned = warnings.0.lock().unwrap_or_else(PoisonError::into_inner);
    if warned.is_empty() {
        Ok(())
    } else {
        Err(Failure::Warned(String::from_utf8_lossy(&warned).into_owned()))
    }
}

fn build_quietly(top: &Path, out: &Path) -> mdbook_driver::errors::Result<()> {
    let mut book = MDBook::load(top.join("docs"))?;
    // A relative folder would count from docs/.
    book.config.build.build_dir = absolute(out)?;
    book.build()
}

fn absolute(path: &Path) -> io::Result<PathBuf> {
    std::path::absolute(path)
}

#[test]
fn a_warning_of_mdbook_is_a_failure() {
    let top = tempfile::tempdir().expect("a folder");
    let source = top.path().join("docs/src");
    std::fs::create_dir_all(&source).expect("a folder");
    std::fs::write(top.path().join("docs/book.toml"), "[book]\ntitle = \"t\"\n").expect("a file");
    std::fs::write(source.join("SUMMARY.md"), "- [a](a.md)\n").expect("a file");
    std::fs::write(source.join("a.md"), "# a\n\n{{#include missing.md}}\n").expect("a file");
    let built = build(top.path(), &top.path().join("out"));
    assert!(matches!(built, Err(Failure::Warned(_))), "{built:?}");
}
