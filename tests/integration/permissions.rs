//! Access of other users to the files that jeton creates and uses: modes, owners, links.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::client::{Client, expect};
use crate::server::{Launch, jeton, output};
use crate::support::{eventually, files_under, not_run};

/// Runs a program with the usual umask.
const UMASK: [&str; 4] = ["sh", "-c", "umask 022; exec \"$@\"", "sh"];
/// Runs a program as a user who owns nothing.
const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("ours");
}

/// Whether this process may become another user.
fn may_be_nobody(check: &str) -> bool {
    let jeton = env!("CARGO_BIN_EXE_jeton");
    let done = Command::new(NOBODY[0]).args(&NOBODY[1..]).args([jeton, "--version"]).output();
    let may = done.is_ok_and(|output| output.status.success());
    if !may {
        not_run(check, "this process may not become another user, or that one not run jeton");
    }
    may
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn p9_what_jeton_makes_is_its_owners_alone() {
    let home = tempfile::tempdir().expect("a folder");
    let [parent, data, audit, keys, key, secret, backup] =
        ["made", "made/data", "audit.log", "keys.toml", "a.key", "secret", "backup"]
            .map(|name| home.path().join(name));
    let run = |arguments: &[&str]| {
        let mut command = Command::new(UMASK[0]);
        command.args(&UMASK[1..]).arg(env!("CARGO_BIN_EXE_jeton")).args(arguments);
        let output = output(&mut command);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    let add =
        ["keys", "add", "--scope", "issue,consume", "--keys", text(&keys), "--out", text(&key)];
    run(&add);
    let launch = Launch::on(&data).under(&UMASK).flag("--audit", text(&audit));
    let server = launch.start();
    Client::of(&server).issued(r#"{"payload":1}"#);
    let admin = format!("http://{}", server.admin);
    run(&["backup", "--server", &admin, text(&backup)]);
    run(&["secret", "export", "--data", text(&data), "--out", text(&secret)]);
    server.stop_well();
    let [restored, others] = ["restored", "others"].map(|name| home.path().join(name));
    let whole = [text(&backup), "--data", text(&restored), "--secret", text(&secret)];
    run(&[&["restore"][..], &whole].concat());
    Launch::on(&others).under(&UMASK).start().kill9();
    for dir in [&parent, &data, &backup, &restored, &others] {
        assert_eq!(mode(dir), 0o700, "{}", dir.display());
    }
    for file in files_under(home.path()) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn p9_what_was_widened_is_set_right_and_said() {
    let home = tempfile::tempdir().expect("a folder");
    let (data, audit) = (home.path().join("data"), home.path().join("audit.log"));
    let launch = || Launch::on(&data).flag("--audit", text(&audit));
    launch().start().stop_well();
    for file in files_under(&data).iter().chain([&audit]) {
        set_mode(file, 0o664);
    }
    set_mode(&data, 0o755);
    let server = launch().switch("--strict-permissions").start();
    assert_eq!(mode(&data), 0o700);
    for file in files_under(&data).iter().chain([&audit]) {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    let said = server.stderr();
    for part in [text(&data), "secret.key", "audit.log", "other users could read the log"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    server.stop_well();
    let server = launch().start();
    let (status, said) = server.stop(Signal::TERM);
    assert!(status.success() && !said.contains("mode"), "nothing is said twice: {said}");
}

#[test]
fn a_group_keeps_what_it_was_left_to_read() {
    let home = tempfile::tempdir().expect("a folder");
    let data = home.path().join("data");
    for (given, kept) in [(0o750, 0o750), (0o2750, 0o2750), (0o2770, 0o2750)] {
        fs::create_dir(&data).expect("a folder");
        set_mode(&data, given);
        let server = Launch::on(&data).under(&UMASK).start();
        Client::of(&server).issued(r#"{"payload":1}"#);
        server.stop_well();
        assert_eq!(mode(&data), kept);
        for file in files_under(&data) {
            let wanted = if file.ends_with("secret.key") { 0o600 } else { 0o640 };
            assert_eq!(mode(&file), wanted, "{}", file.display());
        }
        fs::remove_dir_all(&data).expect("removed");
    }
}

#[test]
fn another_users_wide_folder_is_warned_of_and_refused_when_strict() {
    if !may_be_nobody("another user's folder") {
        return;
    }
    let home = tempfile::tempdir().expect("a folder");
    set_mode(home.path(), 0o755);
    let data = home.path().join("data");
    fs::create_dir(&data).expect("a folder");
    set_mode(&data, 0o777);
    let launch = || Launch::on(&data).under(&NOBODY);
    let refused = launch().switch("--strict-permissions").try_start().err().expect("refused");
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stderr.contains("can be written by others: chmod 700"), "{}", refused.stderr);
    assert_eq!(files_under(&data), [""; 0].map(Path::new), "refused before anything is made");
    let server = launch().start();
    expect(&Client::of(&server).issue(r#"{"payload":1}"#), 201);
    assert!(server.stderr().contains("can be written by others"), "{}", server.stderr());
    assert_eq!(mode(&data), 0o777, "it is not ours");
    server.stop_well();
    // The keys file of another user: it must be readable, and must not be writable.
    let keys = home.path().join("keys.toml");
    let add = ["keys", "add", "--scope", "issue", "--keys", text(&keys)];
    assert!(output(jeton().args(add)).status.success());
    let with_keys = || launch().flag("--keys", text(&keys));
    for (given, starts, starts_strictly) in
        [(0o640, false, false), (0o644, true, false), (0o666, false, false)]
    {
        set_mode(&keys, given);
        assert_eq!(with_keys().try_start().is_ok(), starts, "{given:o}");
        let strict = launch().flag("--keys", text(&keys)).switch("--strict-permissions");
        set_mode(&data, 0o777);
        assert_eq!(strict.try_start().is_ok(), starts_strictly, "{given:o}");
    }
}

#[test]
fn the_root_of_a_mount_is_not_ours_to_change() {
    let home = tempfile::tempdir().expect("a folder");
    let data = home.path().join("data");
    fs::create_dir(&data).expect("a folder");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "mode=777,size=16m", "tmpfs"])
        .arg(&data)
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return not_run("the root of a mount", "this process may not mount a tmpfs");
    }
    fs::create_dir(data.join("lost+found")).expect("as mkfs makes it");
    let strict = Launch::on(&data).switch("--strict-permissions").try_start();
    let started = Launch::on(&data).try_start();
    let (root, files) = (mode(&data), files_under(&data));
    let modes: Vec<_> = files.iter().map(|file| mode(file)).collect();
    let said = started.map(|server| server.stop(Signal::TERM));
    let unmounted = Command::new("umount").arg(&data).output();
    assert!(unmounted.is_ok_and(|output| output.status.success()), "it was mounted");
    let (status, said) = said.expect("it starts");
    assert!(status.success() && said.contains("can be written by others"), "{said}");
    assert_eq!(root, 0o777);
    assert!(modes.len() >= 3 && modes.iter().all(|mode| *mode == 0o600), "{modes:?}");
    assert_eq!(strict.err().expect("refused").status.code(), Some(2));
}

#[test]
fn p9_a_link_in_the_place_of_a_lock_or_of_an_audit_log_is_not_followed() {
    let home = tempfile::tempdir().expect("a folder");
    let (data, mine) = (home.path().join("data"), home.path().join("mine"));
    fs::create_dir(&data).expect("a folder");
    symlink(&mine, data.join("lock")).expect("a link");
    let refused = Launch::on(&data).try_start().err().expect("the lock is a link");
    assert!(!mine.exists() && !refused.stderr.contains("panicked"), "{}", refused.stderr);
    fs::remove_file(data.join("lock")).expect("removed");
    let audit = home.path().join("audit.log");
    symlink(&mine, &audit).expect("a link");
    let refused = Launch::on(&data).flag("--audit", text(&audit)).try_start();
    let said = refused.err().expect("the audit log is a link").stderr;
    assert!(!mine.exists() && said.contains("not a regular file"), "{said}");
    // The path to the data may be a link.
    let link = home.path().join("link");
    symlink(&data, &link).expect("a link");
    Launch::on(&link).start().stop_well();
    assert!(link.is_symlink() && data.join("secret.key").exists());
}

/// As Kubernetes mounts a secret: `keys.toml` → `..data/keys.toml`, `..data` → a folder with the time.
#[test]
fn keys_that_are_mounted_as_links_are_watched_through_them() {
    let home = tempfile::tempdir().expect("a folder");
    let mount = home.path().join("keys");
    fs::create_dir(&mount).expect("a folder");
    let version = |name: &str| {
        let dir = mount.join(name);
        fs::create_dir(&dir).expect("a folder");
        let file = dir.join("keys.toml");
        let add = ["keys", "add", "--scope", "issue", "--keys", text(&file)];
        let added = output(jeton().args(add));
        assert!(added.status.success(), "{added:?}");
        String::from_utf8(added.stdout).expect("UTF-8").trim().to_owned()
    };
    let [first, second] = ["..1", "..2"].map(version);
    symlink("..1", mount.join("..data")).expect("a link");
    let keys = mount.join("keys.toml");
    symlink("..data/keys.toml", &keys).expect("a link");
    let launch = Launch::on(&home.path().join("data")).flag("--keys", text(&keys));
    let server = launch.switch("--strict-permissions").start();
    let status = |key: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [("Authorization", bearer.as_str())];
        Client::of(&server).send("POST", "/v1/tokens", &headers, r#"{"payload":1}"#).status
    };
    assert_eq!([status(&first), status(&second)], [201, 401]);
    symlink("..2", mount.join("..data_tmp")).expect("a link");
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).expect("swapped");
    // Asked with the key that is still valid: too many wrong ones would get 429.
    eventually("the other keys are read", || status(&first) == 401);
    assert_eq!(status(&second), 201);
}

#[test]
fn what_the_service_manager_hands_over_is_right_as_it_is() {
    let home = tempfile::tempdir().expect("a folder");
    let credentials = home.path().join("credentials");
    fs::create_dir(&credentials).expect("a folder");
    let secret = credentials.join("secret");
    fs::write(&secret, [7; 32]).expect("written");
    set_mode(&secret, 0o444);
    let launch = || {
        let launch = Launch::on(&home.path().join("data")).switch("--strict-permissions");
        launch.flag("--secret-file", text(&secret))
    };
    let server = launch().env("CREDENTIALS_DIRECTORY", text(&credentials)).start();
    assert_eq!(mode(&secret), 0o444);
    let (_, said) = server.stop(Signal::TERM);
    assert!(!said.contains("read by others"), "{said}");
    launch().start().stop_well();
    assert_eq!(mode(&secret), 0o600, "else it is narrowed");
}

#[test]
fn a_key_is_written_into_a_file_that_only_its_owner_reads() {
    let home = tempfile::tempdir().expect("a folder");
    let [keys, key] = ["keys.toml", "shop.key"].map(|name| home.path().join(name));
    let add = ["keys", "add", "--scope", "issue", "--keys", text(&keys), "--out", text(&key)];
    let added = output(jeton().args(add));
    let said = String::from_utf8(added.stderr).expect("UTF-8");
    assert!(added.status.success() && added.stdout.is_empty() && said.contains("shop.key"));
    let written = fs::read_to_string(&key).expect("a key");
    assert!(written.starts_with("jeton_") && written.ends_with('\n') && !said.contains(&written));
    assert_eq!(mode(&key), 0o600);
    let server = Launch::on(&home.path().join("data")).flag("--keys", text(&keys)).start();
    let url = format!("http://{}", server.data);
    let issue = ["issue", "1", "--server", &url, "--key-file", text(&key)];
    let issued = output(jeton().args(issue));
    assert!(issued.status.success() && issued.stderr.is_empty(), "{issued:?}");
    set_mode(&key, 0o644);
    let warned = output(jeton().args(issue));
    let said = String::from_utf8(warned.stderr).expect("UTF-8");
    assert!(warned.status.success() && said.contains("read by others: chmod 600"), "{said}");
    // Existing files are not overwritten, and no unusable key is added.
    let before = fs::read(&keys).expect("the keys");
    let again = output(jeton().args(add));
    assert_eq!(again.status.code(), Some(2), "{again:?}");
    symlink(home.path().join("elsewhere"), home.path().join("link")).expect("a link");
    let link = home.path().join("link");
    let linked = [&add[..7], &[text(&link)]].concat();
    assert_eq!(output(jeton().args(linked)).status.code(), Some(2));
    assert!(!home.path().join("elsewhere").exists());
    assert_eq!(fs::read(&keys).expect("the keys"), before);
}
