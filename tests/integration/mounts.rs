//! Files and folders as orchestrators mount them: links that are swapped, groups that get everything,
//! `lost+found`. Each test needs root, to be the orchestrator and to start the server as a user.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::client::{Client, expect};
use crate::pki::{Ca, Files};
use crate::raw::request;
use crate::server::{Launch, jeton, output};
use crate::support::{eventually, files_under, not_run};

/// The group of a pod (`fsGroup`).
const GROUP: u32 = 2000;
/// As a container runs it: a user by number, with the pod's group beside its own.
const CONTAINER: [&str; 5] =
    ["setpriv", "--reuid=65534", "--regid=65534", "--groups=2000", "--inh-caps=-all"];

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("its mode");
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").mode() & 0o7777
}

/// Whether this process may be an orchestrator.
fn may_mount(check: &str) -> bool {
    let mut program = Command::new(CONTAINER[0]);
    program.args(&CONTAINER[1..]).args([env!("CARGO_BIN_EXE_jeton"), "--version"]);
    let may = program.output().is_ok_and(|output| output.status.success());
    if !may {
        not_run(check, "this process may not become another user, or that one not run jeton");
    }
    may
}

/// A volume with its own file system; unmounted when dropped.
struct Volume(PathBuf);

impl Volume {
    /// Mounted as the kubelet leaves it with `fsGroup`; `None` where it may not be mounted.
    fn mount(check: &str, dir: &Path) -> Option<Self> {
        fs::create_dir(dir).expect("a folder");
        let options = format!("mode=2775,gid={GROUP},size=64m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            not_run(check, "this process may not mount a tmpfs");
            return None;
        }
        fs::create_dir(dir.join("lost+found")).expect("as mkfs makes it");
        set_mode(&dir.join("lost+found"), 0o700);
        Some(Self(dir.to_owned()))
    }

    /// What the kubelet does to each file at a mount with `fsGroupChangePolicy: Always`.
    fn own_by_group(&self) {
        let all = Command::new("find").arg(&self.0).output().expect("find");
        for path in String::from_utf8(all.stdout).expect("UTF-8").lines().map(Path::new) {
            let found = fs::symlink_metadata(path).expect("it is there");
            chown(path, None, Some(GROUP)).expect("its group");
            let more = if found.is_dir() { 0o2770 } else { 0o660 };
            set_mode(path, found.mode() & 0o7777 | more);
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

/// A folder as a Kubernetes secret is mounted: `NAME` → `..data/NAME`, `..data` → `..TIME`.
struct Secret(PathBuf);

impl Secret {
    fn mount(dir: &Path) -> Self {
        fs::create_dir(dir).expect("a folder");
        set_mode(dir, 0o755);
        Self(dir.to_owned())
    }

    /// Replaces all files at once, as the kubelet does.
    fn write(&self, time: &str, files: &[(&str, &[u8])]) {
        let version = self.0.join(format!("..{time}"));
        fs::create_dir(&version).expect("a folder");
        set_mode(&version, 0o755);
        for (name, bytes) in files {
            let file = version.join(name);
            fs::write(&file, bytes).expect("written");
            // `defaultMode: 0400` and the group's right to read.
            set_mode(&file, 0o440);
            chown(&file, Some(0), Some(GROUP)).expect("its group");
            let link = self.0.join(name);
            if !link.is_symlink() {
                symlink(Path::new("..data").join(name), link).expect("a link");
            }
        }
        symlink(format!("..{time}"), self.0.join("..data_tmp")).expect("a link");
        fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).expect("swapped");
    }

    fn file(&self, name: &str) -> String {
        text(&self.0.join(name)).to_owned()
    }
}

#[test]
fn a_volume_of_a_pod_is_used_and_stays_usable_after_each_mount() {
    let check = "volume of a pod";
    if !may_mount(check) {
        return;
    }
    let home = tempfile::tempdir().expect("a folder");
    set_mode(home.path(), 0o755);
    let Some(volume) = Volume::mount(check, &home.path().join("volume")) else { return };
    // The root of the volume itself, and a folder below it, which the server makes.
    for data in [volume.0.clone(), volume.0.join("data")] {
        let launch = || Launch::on(&data).under(&CONTAINER);
        let server = launch().start();
        let token = Client::of(&server).issued(r#"{"payload":"kept","ttl":"1h"}"#).token;
        server.stop_well();
        volume.own_by_group();
        let server = launch().start();
        expect(&Client::of(&server).resolve(&token), 200);
        let (status, said) = server.stop(Signal::TERM);
        assert!(status.success(), "{said}");
        assert!(said.contains("changed its mode"), "{}: {said}", data.display());
        for file in files_under(&data).iter().filter(|file| file.is_file()) {
            let wanted = if file.ends_with("secret.key") { 0o600 } else { mode(file) & 0o640 };
            assert_eq!(mode(file), wanted, "{}", file.display());
        }
        assert!(volume.0.join("lost+found").is_dir());
        // The tools look at the same folder.
        let mut verify = Command::new(CONTAINER[0]);
        verify.args(&CONTAINER[1..]).args([env!("CARGO_BIN_EXE_jeton"), "verify"]).arg(&data);
        let verified = output(&mut verify);
        assert!(verified.status.success(), "{verified:?}");
    }
    // Below the mount the server owns its folder, so nothing is left to warn of.
    volume.own_by_group();
    let below = volume.0.join("data");
    let strict = || Launch::on(&below).under(&CONTAINER).switch("--strict-permissions");
    strict().start().stop_well();
    let at_root = Launch::on(&volume.0).under(&CONTAINER).switch("--strict-permissions");
    let refused = at_root.try_start().err().expect("its group may write the root");
    assert_eq!(refused.status.code(), Some(2), "{}", refused.stderr);
}

#[test]
fn secret_keys_and_certificate_of_a_pod_are_links_that_are_followed_and_watched() {
    let check = "secrets of a pod";
    if !may_mount(check) {
        return;
    }
    let home = tempfile::tempdir().expect("a folder");
    set_mode(home.path(), 0o755);
    let data = home.path().join("data");
    fs::create_dir(&data).expect("a folder");
    chown(&data, Some(65_534), Some(65_534)).expect("its owner");
    let made = home.path().join("made");
    fs::create_dir(&made).expect("a folder");
    let keys = made.join("keys.toml");
    let add = ["keys", "add", "--scope", "issue", "--keys", text(&keys)];
    let added = output(jeton().args(add));
    let key = String::from_utf8(added.stdout).expect("UTF-8").trim().to_owned();
    let [first, second] = ["first", "second"].map(Ca::new);
    let secret = Secret::mount(&home.path().join("secret"));
    let write = |time: &str, ca: &Ca| {
        let identity = ca.issue(&["127.0.0.1"]);
        let files = Files::in_dir(&made, &identity, ca);
        let read = |file: &Path| fs::read(file).expect("a file");
        secret.write(
            time,
            &[
                ("secret.key", &[7; 32]),
                ("keys.toml", &read(&keys)),
                ("tls.crt", &read(&files.cert)),
                ("tls.key", &read(&files.key)),
            ],
        );
    };
    write("2026_01_01", &first);
    let launch =
        ["secret-file:secret.key", "keys:keys.toml", "tls-cert:tls.crt", "tls-key:tls.key"]
            .iter()
            .fold(Launch::on(&data).under(&CONTAINER), |launch, pair| {
                let (flag, file) = pair.split_once(':').expect("a pair");
                launch.flag(&format!("--{flag}"), &secret.file(file))
            });
    let server = launch.switch("--strict-permissions").start();
    let issues = |ca: &Ca| {
        let Ok(mut conn) = ca.client().connect(server.data) else { return false };
        let bearer = format!("Bearer {key}");
        let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
        let issue = request("POST", "/v1/tokens", &headers, br#"{"payload":1}"#);
        conn.send(&issue).and_then(|()| conn.response()).is_ok_and(|answer| answer.status == 201)
    };
    assert!(issues(&first) && !issues(&second));
    write("2026_02_01", &second);
    eventually("the other certificate is used", || issues(&second));
    assert!(!issues(&first));
    assert_eq!(mode(&secret.0.join("..data/secret.key")), 0o440, "it is not ours to change");
    server.stop_well();
}

/// systemd: a folder of root with mode 0550 whose files have 0440, on a file system of its own.
#[test]
fn a_credentials_directory_that_is_mounted_read_only_is_right_as_it_is() {
    let check = "credentials directory";
    if !may_mount(check) {
        return;
    }
    let home = tempfile::tempdir().expect("a folder");
    set_mode(home.path(), 0o755);
    let Some(volume) = Volume::mount(check, &home.path().join("credentials")) else { return };
    let secret = volume.0.join("secret.key");
    fs::write(&secret, [7; 32]).expect("written");
    set_mode(&secret, 0o440);
    chown(&secret, Some(0), Some(GROUP)).expect("its group");
    let remount = format!("remount,ro,mode=0550,gid={GROUP}");
    let mounted = Command::new("mount").args(["-o", &remount]).arg(&volume.0).output();
    assert!(mounted.is_ok_and(|output| output.status.success()), "it may be mounted");
    let data = home.path().join("data");
    fs::create_dir(&data).expect("a folder");
    chown(&data, Some(65_534), Some(65_534)).expect("its owner");
    set_mode(&data, 0o700);
    let server = Launch::on(&data)
        .under(&CONTAINER)
        .switch("--strict-permissions")
        .flag("--secret-file", text(&secret))
        .env("CREDENTIALS_DIRECTORY", text(&volume.0))
        .start();
    expect(&Client::of(&server).issue(r#"{"payload":1}"#), 201);
    let (status, said) = server.stop(Signal::TERM);
    assert!(status.success() && !said.contains(" WARN "), "{said}");
    assert_eq!(mode(&secret), 0o440);
}
