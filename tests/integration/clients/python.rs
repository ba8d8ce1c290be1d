//! The Python client: its tests with its types, its README, and the conformance suite over
//! `AsyncClient` and `Client`.

use std::process::Command;

use super::{JETON, ROOT, outlives_its_node, prepared, run};

fn python(check: &str) -> Option<Command> {
    let python = prepared(check, "python")?;
    let mut command = Command::new(python);
    // No cache beside the sources: the tree stays clean.
    command.env("PYTHONDONTWRITEBYTECODE", "1").env_remove("PYTHONPATH");
    Some(command)
}

#[test]
fn its_tests_pass() {
    let Some(mut python) = python("the tests of the Python client") else { return };
    let said = run(python
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .env("JETON", JETON)
        .env("MYPY_CACHE_DIR", "/dev/null")
        .env("RUFF_NO_CACHE", "true")
        .current_dir(format!("{ROOT}/clients/python")));
    assert!(said.contains(" passed"), "{said}");
}

fn conforms(kind: &str) {
    let Some(mut python) = python("the conformance of the Python client") else { return };
    let program = python.get_program().to_str().expect("UTF-8").to_owned();
    let driver = format!("{ROOT}/clients/python/conformance/driver.py");
    super::conforms(&mut python, &[&program, &driver, kind], &format!("python-{kind}"));
}

#[test]
fn p2_p8_p9_the_client_for_asyncio_conforms() {
    conforms("async");
}

#[test]
fn p2_p8_p9_the_client_for_threads_conforms() {
    conforms("sync");
}

#[test]
fn p2_each_token_is_consumed_once_although_a_node_is_killed() {
    let check = "the Python client on three nodes";
    let Some(mut python) = python(check) else { return };
    python.arg(format!("{ROOT}/clients/python/conformance/cluster.py"));
    outlives_its_node(check, &mut python);
}

#[test]
fn its_version_is_that_of_the_server() {
    let file = format!("{ROOT}/clients/python/src/jeton_client/_version.py");
    let text = std::fs::read_to_string(file).expect("the file of the version");
    let version = concat!("__version__ = \"", env!("CARGO_PKG_VERSION"), "\"\n");
    assert!(text.ends_with(version), "{text}");
}
