//! The configuration file: precedence, the place of every mistake, and the output of `config show`.
//! `config_reload` tests SIGHUP.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::client::{Client, expect};
use crate::pki::{Ca, Files, put};
use crate::server::{Launch, Server, jeton, output};

/// A mistake in the command line or the configuration.
const MISTAKEN: Option<i32> = Some(2);

/// A folder with a configuration file.
pub struct Folder {
    dir: TempDir,
    pub file: PathBuf,
}

impl Folder {
    pub fn with(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = Self { file: dir.path().join("jeton.toml"), dir };
        folder.write(text);
        folder
    }

    pub fn write(&self, text: impl AsRef<[u8]>) {
        std::fs::write(&self.file, text).expect("written");
    }

    pub fn path(&self) -> &str {
        self.file.to_str().expect("UTF-8")
    }

    /// A path in the folder as text.
    pub fn beside(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    pub fn launch(&self) -> Launch {
        Launch::on(&self.dir.path().join("data")).flag("--config", self.path())
    }
}

pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn run(args: &[&str], environment: &[(&str, &str)]) -> Said {
    let mut command = jeton();
    command.args(args).envs(environment.iter().copied());
    let output = output(&mut command);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let stderr = text(output.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    Said { code: output.status.code(), stdout: text(output.stdout), stderr }
}

fn check(file: &str) -> Said {
    run(&["config", "check", file], &[])
}

/// The output of `config show`: for each key its value and its source.
fn shown(text: &str) -> BTreeMap<String, (String, String)> {
    let line = |line: &str| {
        let (setting, origin) = line.rsplit_once(" # ")?;
        let (key, value) = setting.split_once('=')?;
        let key = key.trim_start_matches("# ").trim().to_owned();
        Some((key, (value.trim().to_owned(), origin.to_owned())))
    };
    text.lines().filter_map(line).collect()
}

fn show(args: &[&str], environment: &[(&str, &str)]) -> BTreeMap<String, (String, String)> {
    let said = run(&[&["config", "show"], args].concat(), environment);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    shown(&said.stdout)
}

#[test]
fn flags_win_then_environment_then_file() {
    let text = "queue = 11\nsync = \"never\"\nmax-ttl = \"2h\"\nhuge-pages = true\nmax-batch = 1\n\
                data-dir = \"of-file\"\nmax-payload = \"1KiB\"\n";
    let folder = Folder::with(text);
    let file = ["--config", folder.path()];
    let flags = ["--queue", "13", "--sync", "always", "--max-ttl", "4h", "--data-dir", "of-flag"];
    let environment = [
        ("JETON_QUEUE", "12"),
        ("JETON_SYNC", "100ms"),
        ("JETON_MAX_TTL", "3h"),
        ("JETON_DATA_DIR", "of-env"),
        ("JETON_HUGE_PAGES", "0"),
        ("JETON_MAX_PAYLOAD", "2KiB"),
    ];
    let of = |values: BTreeMap<String, (String, String)>| {
        let keys = ["queue", "sync", "max-ttl", "data-dir", "huge-pages", "max-payload"];
        keys.map(|key| values[key].0.clone())
    };
    let line = |n: usize| format!("{}:{n}", folder.path());
    let by_file = show(&file, &[]);
    assert_eq!(by_file["queue"].1, line(1));
    assert_eq!(by_file["max-payload"].1, line(7));
    assert_eq!(by_file["listen"].1, "default");
    let wanted = ["11", "\"never\"", "\"2h\"", "\"of-file\"", "true", "\"1KiB\""];
    assert_eq!(of(by_file), wanted);
    let by_env = show(&file, &environment);
    assert_eq!(
        (&*by_env["queue"].1, &*by_env["huge-pages"].1),
        ("JETON_QUEUE", "JETON_HUGE_PAGES")
    );
    let wanted = ["12", "\"100ms\"", "\"3h\"", "\"of-env\"", "false", "\"2KiB\""];
    assert_eq!(of(by_env), wanted);
    let by_flag = show(&[&file[..], &flags].concat(), &environment);
    assert_eq!((&*by_flag["queue"].1, &*by_flag["max-batch"].1), ("--queue", &*line(5)));
    let wanted = ["13", "\"always\"", "\"4h\"", "\"of-flag\"", "false", "\"2KiB\""];
    assert_eq!(of(by_flag), wanted);
    // The environment may name the file itself, and a flag wins there as well.
    let other = Folder::with("queue = 99");
    let environment = [("JETON_CONFIG", other.path())];
    assert_eq!(show(&[], &environment)["queue"].0, "99");
    assert_eq!(show(&file, &environment)["queue"].0, "11");
}

#[test]
fn a_server_does_what_the_file_says() {
    let folder = Folder::with("max-batch = 1\nmax-ttl = \"1h\"\n");
    let batch = |n: usize| format!(r#"{{"tokens":[{}]}}"#, vec![r#"{"payload":1}"#; n].join(","));
    let allowed = |server: &Server, n| {
        let mut client = Client::of(server);
        expect(&client.post("/v1/tokens/batch", &batch(n)), 200);
        expect(&client.post("/v1/tokens/batch", &batch(n + 1)), 422);
        expect(&client.issue(r#"{"payload":1,"ttl":"2h"}"#), 422);
    };
    let server = folder.launch().start();
    allowed(&server, 1);
    server.stop_well();
    let by_env = folder.launch().env("JETON_MAX_BATCH", "2");
    let server = by_env.start();
    allowed(&server, 2);
    server.stop_well();
    let server = by_env.flag("--max-batch", "3").start();
    allowed(&server, 3);
    server.stop_well();
}

#[test]
fn check_says_every_mistake_with_its_place_and_serve_says_the_same() {
    let text = "\
listen = \"0.0.0.0:7450\"
workers = true
admin_listen = \"127.0.0.1:1\"
max-ttl = \"soon\"
queue = 0
queue = 1
config = \"other.toml\"
version = 1
huge-pages = 1
segment-size = \"1MiB\"
log-min-size = \"2MiB\"
anonymous = \"shop-a:resolve\"
keys = []
idle-timeout =
default-ttl = \"99d\"
";
    let folder = Folder::with(&text.replace("keys = []\nidle-timeout =\n", ""));
    let said = check(folder.path());
    assert_eq!((said.code, &*said.stdout), (MISTAKEN, ""));
    let begins = [
        "1:10: listen: is not a loopback address",
        "2:11: workers: must be text or an integer, not true or false",
        "3:1: admin_listen: unknown key; did you mean admin-listen?",
        "4:11: max-ttl: must be a duration",
        "5:9: queue: must be from 1 to",
        "6:1: queue: is repeated",
        "7:1: config: can't be set in a file",
        "8:1: version: can only be used on the command line",
        "9:14: huge-pages: must be true or false, not an integer",
        "11:16: log-min-size: must be at least 4 times segment-size",
        "12:13: anonymous: needs --keys",
    ];
    let lines: Vec<_> = said.stderr.lines().collect();
    assert_eq!(lines.len(), begins.len(), "{}", said.stderr);
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(&format!("{}:{begin}", folder.path())), "{begin}: {line}");
    }
    let Err(refused) = folder.launch().try_start() else { panic!("the server started") };
    assert_eq!(refused.status.code(), MISTAKEN);
    // Values that the flags of the launch override are not used by the server.
    let overruled = ["listen", "workers", "log-min-size"];
    for line in lines.iter().filter(|line| !overruled.iter().any(|key| line.contains(key))) {
        assert!(refused.stderr.contains(&format!("error: {line}\n")), "{line}: {}", refused.stderr);
    }
    // After a syntax mistake the rest is still checked.
    folder.write(text);
    let said = check(folder.path());
    for begin in ["4:11: max-ttl", "13:8: keys: must be text", "14:", "2:11: workers"] {
        assert!(said.stderr.contains(&format!("{}:{begin}", folder.path())), "{}", said.stderr);
    }
}

#[test]
fn a_file_that_is_well_is_said_to_be() {
    let folder = Folder::with("# nothing but this\nlisten = '127.0.0.1:0'\n");
    let said = check(folder.path());
    let ok = format!("{}: ok\n", folder.path());
    assert_eq!((said.code, &*said.stdout, &*said.stderr), (Some(0), &*ok, ""));
    // The environment of `config check` is not that of the server.
    let said = run(&["config", "check", folder.path()], &[("JETON_QUEUE", "none")]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

#[test]
fn a_file_that_cannot_be_read_is_refused_by_name() {
    let folder = Folder::with("");
    let (missing, pipe) = (folder.beside("missing.toml"), folder.beside("pipe"));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    let dir = folder.beside("");
    // The memory of the process: a regular file whose first page can't be read.
    let unreadable = "/proc/self/mem";
    for (file, why) in [
        (&*missing, "can't be read: No such file"),
        (&*dir, "can't be read: it is a directory"),
        (&*pipe, "can't be read: it is not a regular file"),
        (unreadable, "can't be read: Input/output error"),
    ] {
        let wanted = format!("{file}: {why}");
        let said = check(file);
        assert_eq!(said.code, MISTAKEN, "{file}");
        assert!(said.stderr.starts_with(&wanted), "{}", said.stderr);
        let Err(refused) = Launch::bare().flag("--config", file).try_start() else {
            panic!("the server started with {file}")
        };
        assert_eq!(refused.status.code(), MISTAKEN);
        assert!(refused.stderr.starts_with(&format!("error: {wanted}")), "{}", refused.stderr);
    }
    folder.write(b"# \xc3\xa4\n# \xc3\xa4\xff\n");
    let said = check(folder.path());
    let wanted = format!("{}:2:4: is not UTF-8\n", folder.path());
    assert_eq!((said.code, said.stderr), (MISTAKEN, wanted));
    let mebibyte = 1 << 20;
    folder.write("#".repeat(mebibyte));
    assert_eq!(check(folder.path()).code, Some(0), "1 MiB is not too long");
    folder.write("#".repeat(mebibyte + 1));
    let said = check(folder.path());
    assert_eq!(said.code, MISTAKEN);
    assert!(said.stderr.contains("must have at most 1 MiB"), "{}", said.stderr);
}

#[test]
fn mistakes_name_flag_variable_or_file() {
    let folder = Folder::with("max-batch = 0\n\nmax-payload = \"2MiB\"");
    let launch = folder.launch().env("JETON_MAX_TTL", "soon").flag("--queue", "none");
    let Err(refused) = launch.try_start() else { panic!("the server started") };
    let wanted = [
        format!("error: {}:1:13: max-batch: must be", folder.path()),
        format!("error: {}:3:15: max-payload: must be", folder.path()),
        "error: JETON_MAX_TTL must be a duration".to_owned(),
        "error: --queue must be a whole number".to_owned(),
    ];
    for wanted in wanted {
        assert!(refused.stderr.contains(&wanted), "{wanted}: {}", refused.stderr);
    }
}

#[test]
fn files_that_are_named_are_looked_at() {
    let folder = Folder::with("");
    let keys = folder.beside("keys.toml");
    let secret = folder.beside("secret.key");
    folder.write(format!("keys = '{keys}'\nsecret-file = '{secret}'\n"));
    let said = check(folder.path());
    assert_eq!(
        said.code,
        Some(0),
        "a missing file may exist where the server runs: {}",
        said.stderr
    );
    for (line, file) in [("1:8: keys", &keys), ("2:15: secret-file", &secret)] {
        let wanted = format!("{}:{line}: warning: the file {file:?} does not exist", folder.path());
        assert!(said.stderr.contains(&wanted), "{wanted}: {}", said.stderr);
    }
    let made =
        run(&["keys", "add", "--keys", &keys, "--namespace", "a", "--scope", "resolve"], &[]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    std::fs::write(&secret, [7; 32]).expect("written");
    let said = check(folder.path());
    assert_eq!((said.code, &*said.stderr), (Some(0), ""));
    let bad = std::fs::read_to_string(&keys).expect("read").replace("resolve", "everything");
    std::fs::write(&keys, bad).expect("written");
    let said = check(folder.path());
    assert_eq!(said.code, MISTAKEN);
    let wanted = format!("{}:1:8: keys: the keys file {keys}: key 1: scopes", folder.path());
    assert!(said.stderr.starts_with(&wanted), "{}", said.stderr);
    assert_eq!(check(folder.path()).stdout, "");
}

#[test]
fn certificates_that_are_named_are_looked_at() {
    let folder = Folder::with("");
    let ca = Ca::new("test authority");
    let files = Files::in_dir(folder.dir.path(), &ca.issue(&["127.0.0.1"]), &ca);
    let (cert, key) = (files.cert.to_str().expect("UTF-8"), files.key.to_str().expect("UTF-8"));
    folder.write(format!("tls-cert = '{cert}'\ntls-key = '{key}'\n"));
    let said = check(folder.path());
    assert_eq!((said.code, &*said.stderr), (Some(0), ""));
    put(&files.key, &ca.issue(&["127.0.0.1"]).key);
    let said = check(folder.path());
    assert_eq!(said.code, MISTAKEN);
    assert!(said.stderr.starts_with(&format!("{}:2:11: tls-key: {key}: ", folder.path())));
    assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
    std::fs::remove_file(&files.cert).expect("removed");
    let said = check(folder.path());
    let warning = format!("{}:1:12: tls-cert: warning: the file", folder.path());
    assert!(said.code == Some(0) && said.stderr.starts_with(&warning), "{}", said.stderr);
    folder.write(format!("\ntls-key = '{key}'\n"));
    let said = check(folder.path());
    let wanted = format!("{}:2:11: tls-key: needs --tls-cert", folder.path());
    assert!(said.code == MISTAKEN && said.stderr.starts_with(&wanted), "{}", said.stderr);
}

#[test]
fn what_is_shown_is_a_file_with_the_same_values() {
    let folder = Folder::with("max-ttl = \"1h 30m\"\nworkers = 3\nhuge-pages = true\n");
    let data = "with \"quotes\" # and\n'lines'";
    let flags = ["--config", folder.path(), "--data-dir", data, "--log-level", "jeton=debug,warn"];
    let environment = [("JETON_SYNC", "100ms"), ("JETON_MAX_MEMORY", "1GiB")];
    let first = run(&[&["config", "show"][..], &flags].concat(), &environment);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let other = Folder::with(&first.stdout);
    assert_eq!(check(other.path()).code, Some(0), "{}", check(other.path()).stderr);
    let second = run(&["config", "show", "--config", other.path()], &[]);
    let table = |text: &str| text.parse::<toml_edit::DocumentMut>().expect("TOML").to_owned();
    let (one, two) = (table(&first.stdout), table(&second.stdout));
    assert_eq!(one["data-dir"].as_str(), Some(data));
    assert_eq!(one.len(), two.len());
    for (key, item) in one.iter() {
        let value = |item: &toml_edit::Item| {
            item.as_value().expect("a value").clone().decorated("", "").to_string()
        };
        assert_eq!(value(item), value(&two[key]), "{key}");
    }
    let origins = shown(&second.stdout);
    assert_eq!(origins["max-memory"].0, "\"1GiB\"");
    for (key, (value, origin)) in origins.iter().filter(|(_, (value, _))| !value.is_empty()) {
        let of_file = origin.starts_with(&format!("{}:", other.path()));
        assert!(of_file || key == "data-dir", "{key} = {value} comes from {origin}");
    }
    let wrong = run(&["config", "show", "--queue", "0"], &[]);
    assert_eq!((wrong.code, &*wrong.stdout), (MISTAKEN, ""));
    assert!(wrong.stderr.contains("--queue must be"), "{}", wrong.stderr);
}

#[test]
fn what_is_shown_holds_no_secret() {
    let folder = Folder::with("");
    let keys = folder.beside("keys.toml");
    let add = ["keys", "add", "--keys", &keys, "--namespace", "a", "--scope", "resolve"];
    let key = run(&add, &[]).stdout;
    let said = run(&["config", "show", "--keys", &keys], &[]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stdout.contains("keys.toml") && said.stdout.contains("no secret"));
    assert!(!said.stdout.contains(key.trim()) && !said.stdout.contains("sha256:"));
}

/// The example has the default values and every key, and its commented settings are valid too.
#[test]
fn the_example_has_every_key_at_its_default() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/jeton.toml");
    let path = example.to_str().expect("UTF-8");
    let said = check(path);
    assert_eq!((said.code, &*said.stderr), (Some(0), ""));
    let (by_example, by_default) = (show(&["--config", path], &[]), show(&[], &[]));
    for (key, (value, origin)) in &by_default {
        assert_eq!(&by_example[key].0, value, "{key}");
        assert!(origin == "default" || origin == "not set", "{key}: {origin}");
    }
    let text = std::fs::read_to_string(&example).expect("read");
    let has = |key: &str| {
        let begin = |sign: &str| format!("{sign}{key} = ");
        let is_set = text.lines().any(|line| line.starts_with(&begin("")));
        is_set || text.lines().any(|line| line.starts_with(&begin("#")))
    };
    for flag in jeton::cli::settings::flags().iter().filter(|flag| flag.key != "config") {
        assert!(has(&flag.key), "examples/jeton.toml has no {}", flag.key);
    }
    // With every commented setting enabled; the files that they name are missing.
    let is_hint =
        |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.contains(" = ");
    // It takes the place of secret-file.
    let is_instead = |line: &str| line.starts_with("#secret-command = ");
    let is_on = |line: &str| is_hint(line) && !is_instead(line);
    let strip = |line: &str| if is_on(line) { line[1..].to_owned() } else { line.to_owned() };
    let all: Vec<_> = text.lines().map(strip).collect();
    let folder = Folder::with(&all.join("\n"));
    let said = check(folder.path());
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(show(&["--config", folder.path()], &[])["workers"].0, "2");
}
