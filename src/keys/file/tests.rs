//! Tests of the keys file: its content, its mode, and mistakes in it.

use super::*;

const NOW: UnixMillis = UnixMillis(1_769_860_800_007);

fn key(name: &str) -> (Key, KeyEntry) {
    let scopes = "issue,reference".parse().unwrap();
    let namespace = "shop-a".parse().unwrap();
    new_key(namespace, scopes, name.to_owned(), NOW, Some(UnixMillis(NOW.0 + 1))).unwrap()
}

#[test]
fn what_was_added_is_read_again_and_comments_stay() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.toml");
    let [one, two] = ["one", "two \"quoted\"\n"].map(|name| key(name).1);
    add(&file, &one).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("# mine\n{text}")).unwrap();
    add(&file, &two).unwrap();
    assert_eq!(load(&file).unwrap(), [one.clone(), two.clone()]);
    assert!(revoke(&file, one.id, NOW).unwrap());
    assert!(!revoke(&file, one.id, NOW).unwrap(), "it was already");
    let revoked = KeyEntry { revoked_at: Some(NOW), ..one };
    assert_eq!(load(&file).unwrap(), [revoked.clone(), two.clone()]);
    let three = key("three").1;
    add(&file, &three).unwrap();
    assert_eq!(load(&file).unwrap(), [revoked, two, three]);
    assert!(fs::read_to_string(&file).unwrap().ends_with("\"\n"));
    assert!(fs::read_to_string(&file).unwrap().starts_with("# mine\n"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no other file is left");
    assert!(matches!(revoke(&file, KeyId::random().unwrap(), NOW), Err(KeysError::Unknown { .. })));
}

#[test]
fn a_certificate_stands_for_one_live_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.toml");
    let [one, two] = ["one", "two"].map(|name| {
        let certificate = Some("shop.example".parse().unwrap());
        KeyEntry { certificate, ..key(name).1 }
    });
    add(&file, &one).unwrap();
    assert_eq!(load(&file).unwrap(), std::slice::from_ref(&one));
    let error = add(&file, &two).unwrap_err().to_string();
    assert!(error.contains("have the same certificate"), "{error}");
    revoke(&file, one.id, NOW).unwrap();
    add(&file, &two).unwrap();
}

#[test]
fn p9_the_file_holds_no_key_and_only_its_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.toml");
    let (key, entry) = key("one");
    add(&file, &entry).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains(&key.text()[15..]));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn p9_a_new_file_that_is_a_link_is_not_followed_and_a_link_to_the_file_stays() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = tempfile::tempdir().unwrap();
    let [real, link, mine] = ["real.toml", "keys.toml", "mine"].map(|name| dir.path().join(name));
    fs::write(&mine, "mine").unwrap();
    for new in ["real.toml.new", "keys.toml.new"] {
        symlink(&mine, dir.path().join(new)).unwrap();
    }
    add(&real, &key("one").1).unwrap();
    assert_eq!(fs::read(&mine).unwrap(), b"mine");
    symlink(&real, &link).unwrap();
    fs::set_permissions(&real, PermissionsExt::from_mode(0o640)).unwrap();
    add(&link, &key("two").1).unwrap();
    assert!(link.is_symlink() && load(&real).unwrap().len() == 2);
    let mode = fs::metadata(&real).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "the same users can read it");
}

#[test]
fn p9_a_file_that_others_can_write_never_counts() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.toml");
    add(&file, &key("one").1).unwrap();
    let set = |mode| fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    set(0o602);
    for strictness in [Strictness::Warn, Strictness::Refuse] {
        let error = load_guarded(&file, strictness).unwrap_err().to_string();
        assert!(error.contains("can be written by others: chmod 600"), "{error}");
    }
    assert!(add(&file, &key("two").1).is_err());
    set(0o644);
    assert_eq!(load_guarded(&file, Strictness::Refuse).unwrap().len(), 1);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn mistakes_are_named_and_nothing_of_the_file_counts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.toml");
    add(&file, &key("one").1).unwrap();
    let good = fs::read_to_string(&file).unwrap();
    for (from, to, said) in [
        ("shop-a", "Shop A", "key 1: namespace"),
        ("\"issue\"", "\"all\"", "key 1: scopes: \"all\""),
        ("sha256:", "md5:", "key 1: hash"),
        ("created_at", "made_at", "line "),
        ("Z\"", "\"", "created_at must be an RFC 3339 time"),
        ("id = \"", "id = \"x", "key 1: id"),
        ("[[key]]", "[[keys]]", "line 1"),
        ("name = \"one\"", "certificate = \"\"", "key 1: certificate must have 1 to 255"),
        ("name = \"one\"", "certificate = \"spiffe://a\"", "write \"uri:spiffe://a\""),
        ("name = \"one\"", "holder = \"7\"", "key 1: holder"),
        ("name = \"one\"", "name = one", "line 3"),
    ] {
        fs::write(&file, good.replace(from, to)).unwrap();
        let error = load(&file).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("keys.toml"), "{to}: {error}");
    }
    fs::write(&file, good.clone() + &good).unwrap();
    assert!(load(&file).unwrap_err().to_string().contains("is repeated"));
}
