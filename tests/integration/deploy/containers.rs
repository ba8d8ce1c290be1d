//! The image, compose and the manifests of Kubernetes.

use std::collections::BTreeSet;
use std::process::Command;

use jeton::cli::settings::flags;

use super::{file, path};
use crate::resp_data::clients::prepared;

const MANIFESTS: [&str; 4] = [
    "kubernetes/networkpolicy.yaml",
    "kubernetes/poddisruptionbudget.yaml",
    "kubernetes/services.yaml",
    "kubernetes/statefulset.yaml",
];
const STATEFUL_SET: &str = "kubernetes/statefulset.yaml";

/// The variables of jeton in a text, without its comments.
fn variables(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let is_part = |c: char| c.is_ascii_uppercase() || c == '_';
    let words = lines.flat_map(|line| line.split(move |c| !is_part(c)));
    words.filter(|word| word.starts_with("JETON_")).map(str::to_owned).collect()
}

#[test]
fn each_variable_is_one_of_a_flag() {
    let known: BTreeSet<String> = flags()
        .iter()
        .map(|flag| format!("JETON_{}", flag.key.replace('-', "_").to_uppercase()))
        .collect();
    for name in ["Dockerfile", "compose.yaml", STATEFUL_SET] {
        let used = variables(&file(name));
        assert!(!used.is_empty(), "{name}: {used:?}");
        assert!(used.is_subset(&known), "{name}: {:?}", used.difference(&known));
    }
}

#[test]
fn p9_a_container_writes_nowhere_but_to_its_volume_and_has_no_privilege() {
    let stateful_set = file(STATEFUL_SET);
    for line in [
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "allowPrivilegeEscalation: false",
        "drop: [\"ALL\"]",
        "automountServiceAccountToken: false",
    ] {
        assert!(stateful_set.lines().any(|it| it.trim() == line), "{line}");
    }
    let compose = file("compose.yaml");
    for line in ["read_only: true", "cap_drop: [ALL]", "core: 0"] {
        assert!(compose.lines().any(|it| it.trim() == line), "{line}");
    }
    // By number: Kubernetes cannot know that a name is not root.
    assert!(file("Dockerfile").contains("\nUSER 65532:65532\n"));
    assert!(file("Dockerfile").contains("\nFROM scratch\n"));
}

#[test]
fn p1_the_data_is_below_the_mount_of_its_volume() {
    for name in [STATEFUL_SET, "Dockerfile"] {
        let text = file(name);
        assert!(text.contains("/var/lib/jeton/data"), "{name}");
        let is_mount = |line: &str| {
            ["mountPath: /var/lib/jeton", "VOLUME /var/lib/jeton"].contains(&line.trim())
        };
        assert!(text.lines().any(is_mount), "{name}");
    }
    assert!(file("compose.yaml").contains("- data:/var/lib/jeton\n"));
}

#[test]
fn kubernetes_accepts_the_manifests() {
    let Some(python) = prepared("manifests of Kubernetes", "deploy") else { return };
    let program = std::path::Path::new(&python).with_file_name("kubernetes-validate");
    // The oldest and the newest version that the page names.
    for version in ["1.30.0", "1.37.0"] {
        let mut validate = Command::new(&program);
        validate.args(["--strict", "--kubernetes-version", version]).args(MANIFESTS.map(path));
        let validated = validate.output().expect("it is installed");
        let said = [validated.stdout, validated.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(validated.status.success(), "{version}: {said}");
        assert_eq!(said.matches(" passed for resource ").count(), 5, "{version}: {said}");
    }
}
