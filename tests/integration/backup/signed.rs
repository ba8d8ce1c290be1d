//! A backup is encrypted and signed: what was changed, or put together from two backups, is refused,
//! also if all its checksums are right.

use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{export, manifest, restore, run, said, take, text};
use crate::client::{Client, expect};
use crate::server::Launch;

/// Writes a manifest with right checksums of these files, as anyone can.
fn write_manifest(dir: &Path, mut manifest: Value) {
    for file in manifest["files"].as_array_mut().expect("files") {
        let bytes = std::fs::read(dir.join(file["name"].as_str().expect("a name"))).expect("there");
        file["sha256"] = json!(hex(&Sha256::digest(&bytes)));
    }
    // The exact bytes that jeton writes, with the fields in its order.
    let text = |manifest: &Value| {
        let names = [
            "format",
            "jeton",
            "log_id",
            "lsn",
            "tag",
            "time",
            "tokens",
            "holds_secret",
            "files",
            "mac",
            "checksum",
        ];
        let mut text = String::from("{\n");
        for name in names {
            let value = match &manifest[name] {
                Value::Array(files) => files_text(files),
                other => other.to_string(),
            };
            let end = if name == "checksum" { "\n" } else { ",\n" };
            text += &format!("  \"{name}\": {value}{end}");
        }
        text + "}\n"
    };
    manifest["checksum"] = json!("");
    let checksum = hex(&Sha256::digest(text(&manifest).as_bytes()));
    manifest["checksum"] = json!(checksum);
    std::fs::write(dir.join("manifest.json"), text(&manifest)).expect("written");
}

fn files_text(files: &[Value]) -> String {
    let texts = files.iter().map(|file| {
        format!(
            "    {{\n      \"name\": {},\n      \"length\": {},\n      \"sha256\": {}\n    }}",
            file["name"], file["length"], file["sha256"]
        )
    });
    format!("[\n{}\n  ]", texts.collect::<Vec<_>>().join(",\n"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn verify(dir: &Path, secret: Option<&Path>) -> (Option<i32>, String) {
    let mut args = vec!["backup", "verify", text(dir)];
    if let Some(secret) = secret {
        args.extend(["--secret-file", text(secret)]);
    }
    let output = run(&args);
    let all = [&output.stdout[..], &output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&all).into_owned())
}

#[test]
fn p9_a_manifest_that_was_changed_without_the_secret_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let [data, backup, secret, restored] =
        ["data", "backup", "secret", "restored"].map(|name| dir.path().join(name));
    let server = Launch::on(&data).start();
    Client::of(&server).issued(r#"{"payload":1}"#);
    let good = take(&server, &backup);
    export(&data, &secret);
    write_manifest(&backup, good.clone());
    let (code, told) = verify(&backup, Some(&secret));
    assert!(code == Some(0) && told.contains("the server's signature"), "{told}");
    assert_eq!(manifest(&backup), good, "this test writes manifests as jeton does");
    for (field, value) in [
        ("tokens", json!(2)),
        ("jeton", json!("0.0.9")),
        ("mac", json!("00".repeat(32))),
        ("mac", json!("none")),
    ] {
        let mut changed = good.clone();
        changed[field] = value;
        write_manifest(&backup, changed);
        let (code, told) = verify(&backup, None);
        assert_eq!(code, Some(0), "{field}: nobody can tell without the secret: {told}");
        assert!(told.contains("structure and checksums only"), "it says so: {told}");
        let (code, told) = verify(&backup, Some(&secret));
        assert!(code == Some(1) && told.contains("its MAC is wrong"), "{field}: {told}");
        let refused = restore(&backup, &restored, &secret);
        assert!(!restored.exists() && said(&refused).contains("its MAC is wrong"), "{field}");
    }
    // The end of the log is checked even without the secret.
    for (field, value) in [("lsn", json!(5000)), ("tag", json!("00".repeat(16)))] {
        let mut changed = good.clone();
        changed[field] = value;
        write_manifest(&backup, changed);
        let (code, told) = verify(&backup, None);
        assert!(code == Some(1) && told.contains("belongs to another log"), "{field}: {told}");
    }
}

/// A server that is started in a backup by mistake takes its lock before it is refused.
#[test]
fn a_backup_in_which_a_server_was_refused_is_still_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let [data, backup, secret] = ["data", "backup", "secret"].map(|name| dir.path().join(name));
    take(&Launch::on(&data).start(), &backup);
    export(&data, &secret);
    let wrong = dir.path().join("wrong");
    std::fs::write(&wrong, [1; 31]).expect("written");
    let refused = Launch::on(&backup).flag("--secret-file", text(&wrong)).try_start();
    assert!(refused.err().expect("refused").stderr.contains("has 31: jeton secret new"));
    assert!(backup.join("lock").exists());
    let (code, told) = verify(&backup, Some(&secret));
    assert_eq!(code, Some(0), "{told}");
    std::fs::write(backup.join("lock"), "x").expect("written");
    let (code, told) = verify(&backup, Some(&secret));
    assert!(code == Some(1) && told.contains("the manifest does not name it"), "{told}");
}

/// One backup is restored twice, and both servers go on. Their files have the same names, the same log
/// id, and in the first segment even the same header.
#[test]
fn p9_files_of_two_runs_of_one_backup_are_refused_in_one_directory() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    let [data, backup, secret] = ["data", "backup", "secret"].map(path);
    let server = Launch::on(&data).start();
    Client::of(&server).issued(r#"{"payload":1}"#);
    take(&server, &backup);
    export(&data, &secret);
    server.stop_well();
    let run_on = |name: &str| {
        let (data, backup) = (path(name), path(&format!("{name}-backup")));
        assert!(restore(&backup_of(dir.path()), &data, &secret).status.success());
        let server = Launch::on(&data).start();
        let mut client = Client::of(&server);
        for _ in 0..60 {
            let body = json!({"payload": name.repeat(8_000), "ttl": "1h"}).to_string();
            expect(&client.issue(&body), 201);
        }
        take(&server, &backup);
        server.stop_well();
        backup
    };
    let [one, two] = ["one", "two"].map(run_on);
    let names: Vec<String> = manifest(&one)["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|file| file["name"].as_str().expect("a name").to_owned())
        .collect();
    assert!(names.len() > 1, "{names:?}");
    let mixed = path("mixed");
    for (nth, foreign) in names.iter().enumerate() {
        std::fs::create_dir(&mixed).expect("a folder");
        for name in &names {
            let from = if name == foreign { &two } else { &one };
            std::fs::copy(from.join(name), mixed.join(name)).expect("copied");
        }
        write_manifest(&mixed, manifest(&one));
        for secret in [None, Some(secret.as_path())] {
            let (code, told) = verify(&mixed, secret);
            let is_last = nth + 1 == names.len();
            assert_eq!(code, Some(1), "{foreign}: {told}");
            assert!(told.contains("another history") || is_last, "{foreign}: {told}");
        }
        std::fs::remove_dir_all(&mixed).expect("removed");
    }
}

fn backup_of(dir: &Path) -> std::path::PathBuf {
    dir.join("backup")
}
