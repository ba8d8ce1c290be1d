//! The book of the project is built by the program, as `.ci/run` and readers call it.

use std::process::Command;

#[test]
fn the_book_builds_without_a_warning_and_every_link_leads_somewhere() {
    let out = tempfile::tempdir().expect("a folder");
    let book = out.path().join("book");
    let said = Command::new(env!("CARGO_BIN_EXE_book")).arg("build").arg(&book).output();
    let said = said.expect("the program runs");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let index = std::fs::read_to_string(book.join("index.html")).expect("a first page");
    assert!(index.contains("<title>") && index.contains("jeton"));
}
