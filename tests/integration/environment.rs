//! Environment variables that are empty, unknown, or set by Kubernetes.

use rustix::process::Signal;

use crate::server::{Launch, jeton, output};

#[test]
fn an_unknown_variable_is_one_warning_and_those_of_kubernetes_are_none() {
    let dir = tempfile::tempdir().expect("a folder");
    let launch = Launch::on(dir.path()).env("JETON_MAX_TLL", "secret-value").env("JETON_ODD", "");
    let server = launch
        .env("JETON_SERVICE_HOST", "10.0.0.1")
        .env("JETON_PORT", "tcp://10.0.0.1:7450")
        .env("JETON_PORT_7450_TCP_ADDR", "10.0.0.1")
        .start();
    let (status, said) = server.stop(Signal::TERM);
    assert!(status.success(), "{said}");
    let lines: Vec<_> = said.lines().filter(|line| line.contains("unknown environment")).collect();
    let [line] = lines[..] else { panic!("{said}") };
    assert!(line.contains("JETON_MAX_TLL (did you mean JETON_MAX_TTL?), JETON_ODD"), "{line}");
    assert!(!said.contains("secret-value") && !line.contains("JETON_PORT"), "{said}");
}

#[test]
fn an_empty_variable_counts_as_not_set_but_never_takes_a_protection_away() {
    let dir = tempfile::tempdir().expect("a folder");
    let launch = || Launch::on(dir.path());
    launch().env("JETON_WORKERS", "").env("JETON_DEFAULT_TTL", "").start().stop_well();
    for name in ["JETON_KEYS", "JETON_TLS_CERT", "JETON_AUDIT", "JETON_MAX_MEMORY", "JETON_QUOTA"] {
        let refused = launch().env(name, "").try_start().err().expect("it does not start");
        assert_eq!(refused.status.code(), Some(2), "{name}");
        assert!(refused.stderr.contains(&format!("{name} is empty")), "{}", refused.stderr);
    }
    // A flag sets the value that the variable does not.
    launch().env("JETON_MAX_TTL", "").flag("--max-ttl", "1h").start().stop_well();
    let help = output(jeton().args(["issue", "--help"]).env("JETON_SERVER", ""));
    assert!(help.status.success(), "{help:?}");
}
