//! The table of mutants in `tests/README.md`. It is generated from the list, and a test checks that
//! it is up to date, so a new mutant is added in one place.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::list::{self, Mutant, Tests};
use crate::failure::{Failure, Result, io};

/// The page, from the top of the project.
const PAGE: &str = "tests/README.md";
const BEGIN: &str = "<!-- Made by `cargo run -p attacks -- mutants --table`: do not edit -->\n";
const END: &str = "<!-- The end of the table of mutants -->\n";

/// Writes the table into the page.
pub fn write(top: &Path) -> Result<()> {
    let page = fs::read_to_string(top.join(PAGE)).map_err(io(PAGE))?;
    let page = with_table(&page, &list::read(top)?)?;
    fs::write(top.join(PAGE), page).map_err(io(PAGE))
}

/// The page with the table of these mutants between its two marks.
fn with_table(page: &str, mutants: &[Mutant]) -> Result<String> {
    let missing = || Failure::Input(format!("{PAGE} lacks the marks around the table of mutants"));
    let (before, rest) = page.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", table(mutants)))
}

fn table(mutants: &[Mutant]) -> String {
    let mut table = format!(
        "{} mutants:\n\n| mutant | promise | what it breaks | tests that must notice \
        |\n|---|---|---|---|\n",
        mutants.len()
    );
    for Mutant { name, promise, breaks, tests, .. } in mutants {
        let tests: Vec<_> = tests.iter().map(command).collect();
        let _ = writeln!(table, "| {name} | {promise} | {breaks} | {} |", tests.join(", "));
    }
    table
}

/// What follows `cargo test`.
fn command(Tests { target, filters }: &Tests) -> String {
    // The top of the project is jeton's own package.
    let package = if target.package() == "jeton" { "" } else { "-p jeton-client " };
    format!("`{package}{} {}`", target.args().join(" "), filters.join(" "))
}

#[test]
fn the_table_of_mutants_is_up_to_date() {
    let top = crate::top();
    let page = fs::read_to_string(top.join(PAGE)).unwrap();
    let made = with_table(&page, &list::read(&top).unwrap()).unwrap();
    assert!(page == made, "run: cargo run -p attacks -- mutants --table");
}

#[test]
fn a_mutant_that_is_added_is_in_the_table() {
    let page = format!("a\n{BEGIN}old\n{END}b\n");
    let mutant = list::read(&crate::top()).unwrap().remove(0);
    let made = with_table(&page, std::slice::from_ref(&mutant)).unwrap();
    assert!(made.starts_with("a\n") && made.ends_with("b\n") && !made.contains("old"));
    assert!(made.contains(&format!("| {} |", mutant.name)) && made.contains("1 mutants"));
    assert!(with_table("a\n", &[mutant]).is_err());
}
