//! Starts the program under test and the real jeton, and reads what they leave.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use loadtest::report::file;
use loadtest::report::model::{ErrorReport, Report};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What takes longer hangs: far more than anything here needs, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Small and short: the least that shows something.
pub const BRIEF: [&str; 6] = ["--warm-up", "0s", "--duration", "500ms", "--population", "200"];

/// The program under test with these words behind it, split at spaces.
pub fn command(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(words.split_whitespace()).stdin(Stdio::null());
    // What the person who runs the tests has set is not part of them.
    command.env_remove("JETON_BIN").env("NO_COLOR", "1");
    command
}

/// How a run of the program ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("it prints UTF-8");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Everything it said, to be shown when a test fails.
    pub fn said(&self) -> String {
        format!("exit code {:?}\n{}\n{}", self.code, self.stdout, self.stderr)
    }

    /// It could not run, and its error says all of these.
    pub fn refused(&self, parts: &[&str]) {
        assert_eq!(self.code, Some(2), "{}", self.said());
        for part in parts {
            assert!(self.stderr.contains(part), "no `{part}` in:\n{}", self.said());
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.said());
    }
}

pub fn run(command: &mut Command) -> Ended {
    Ended::of(command.output().expect("the program starts"))
}

/// The program with words, to its end.
pub fn loadtest(words: &str) -> Ended {
    run(&mut command(words))
}

/// A program under way, which the test does something to; killed if the test fails.
pub struct Running {
    child: Child,
    /// What it has written to standard error so far.
    stderr: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<String>>,
}

/// Reads to the end, so that the program never waits for a reader.
fn read(pipe: impl Read + Send + 'static, so_far: Arc<Mutex<String>>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            so_far.lock().expect("no panic").push_str(&(line + "\n"));
        }
        so_far.lock().expect("no panic").clone()
    })
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        use std::os::unix::process::CommandExt;
        // As a shell starts it, so that a Ctrl-C can be sent to the whole group.
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("the program starts");
        let stderr = Arc::default();
        let readers = vec![
            read(child.stdout.take().expect("it is piped"), Arc::default()),
            read(child.stderr.take().expect("it is piped"), Arc::clone(&stderr)),
        ];
        Self { child, stderr, readers }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("it is ours").is_some()
    }

    /// Waits until it says this on standard error.
    pub fn wait_for_text(&self, text: &str) {
        wait_for(text, || self.stderr.lock().expect("no panic").contains(text));
    }

    /// What a terminal does for Ctrl-C.
    pub fn interrupt(&self) {
        rustix::process::kill_process_group(self.pid(), Signal::INT).expect("it runs");
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        wait_for("the program to end", || self.is_over());
        let code = self.child.wait().expect("it is ours").code();
        let mut texts = self.readers.drain(..).map(|reader| reader.join().expect("no panic"));
        let (stdout, stderr) = (texts.next().expect("one"), texts.next().expect("another"));
        drop(texts);
        Ended { code, stdout, stderr }
    }

    /// A process that it started, by the begin of its name.
    pub fn child(&self, name: &str) -> Pid {
        let mut found = None;
        wait_for("a process it starts", || {
            found = children(self.pid()).into_iter().find(|&pid| {
                let told = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
                told.is_ok_and(|told| {
                    told.contains(name) && told.split('\0').any(|word| word == "serve")
                })
            });
            found.is_some()
        });
        found.expect("it was waited for")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Killed it would leave its server behind; the second interrupt ends both at once.
        for _ in 0..50 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            let _ = kill_process(self.pid(), Signal::INT);
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn children(pid: Pid) -> Vec<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let text: String = lists.collect();
    text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

pub fn is_there(pid: Pid) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Asks again and again until it holds.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[expect(clippy::disallowed_methods, reason = "real processes take real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Where reports go, and how the one there is read.
pub struct Out(TempDir);

impl Out {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn report(&self) -> Report {
        file::read(self.path()).expect("a sound report")
    }

    pub fn page(&self) -> String {
        std::fs::read_to_string(self.path().join(file::HTML)).expect("a page")
    }
}

/// A run that is expected to report: its end, and its report.
pub fn reported(command: &mut Command) -> (Ended, Report) {
    let out = Out::new();
    let ended = run(command.arg("--out").arg(out.path()));
    assert!(matches!(ended.code, Some(0 | 1 | 3)), "{}", ended.said());
    (ended, out.report())
}

/// A file that its owner alone can read.
pub fn secret_file(path: &Path, text: impl AsRef<[u8]>) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).expect("a file");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, mode).expect("a mode");
}

pub fn error<'a>(report: &'a Report, kind: &str) -> &'a ErrorReport {
    let found = report.errors.iter().find(|error| error.kind == kind);
    found.unwrap_or_else(|| panic!("no `{kind}` among {:?}", report.errors))
}

#[expect(clippy::print_stdout, reason = "a check that is not made says so")]
pub fn not_checked(what: &str, why: &str) {
    println!("not checked: {what}: {why}");
}

/// jeton's binary: the one that JETON_BIN names, or one that is built here, once.
pub fn jeton_bin() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| std::env::var_os("JETON_BIN").map_or_else(build_jeton, PathBuf::from))
}

fn build_jeton() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let built = Command::new(cargo)
        .args(["build", "-p", "jeton", "--bin", "jeton"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo");
    assert!(built.status.success(), "jeton does not build");
    let messages = built.stdout.split(|&byte| byte == b'\n');
    let executable = messages
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "jeton")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    executable.expect("cargo names the executable")
}

/// A jeton that the test started, in memory alone.
pub struct Jeton {
    child: Child,
    pub data: SocketAddr,
    pub admin: SocketAddr,
}

impl Jeton {
    pub fn start() -> Self {
        Self::start_with(&[], "http://")
    }

    /// With more arguments, and listeners that are called with this scheme.
    pub fn start_with(more: &[&OsStr], scheme: &str) -> Self {
        let mut child = Command::new(jeton_bin())
            .args(["serve", "--memory-only", "--listen", "127.0.0.1:0"])
            .args(["--admin-listen", "127.0.0.1:0"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("jeton starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut lines = stdout.lines().map_while(Result::ok);
        let ready = lines.find(|line| line.starts_with("jeton ready: ")).expect("its ready line");
        let address = |name: &str| {
            let word = ready
                .split(' ')
                .find_map(|word| word.strip_prefix(name).and_then(|url| url.strip_prefix(scheme)));
            word.and_then(|address| address.parse().ok()).expect("an address")
        };
        let (data, admin) = (address("data="), address("admin="));
        Self { child, data, admin }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The resolves it has answered.
    pub fn resolves(&self) -> u64 {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(self.admin).expect("it listens");
        let request = "GET /v1/stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it takes bytes");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        let stats: serde_json::Value = serde_json::from_str(body).expect("JSON");
        stats["resolves"].as_u64().expect("a count")
    }

    /// Lets it stand still for so long; gives how long it really did.
    pub fn stand_still(&self, time: Duration) -> Duration {
        /// Lets it go on even where the test fails.
        struct Continue(Pid);
        impl Drop for Continue {
            fn drop(&mut self) {
                let _ = kill_process(self.0, Signal::CONT);
            }
        }
        let begin = now();
        kill_process(self.pid(), Signal::STOP).expect("it runs");
        let stopped = Continue(self.pid());
        std::thread::sleep(time);
        drop(stopped);
        begin.elapsed()
    }
}

impl Drop for Jeton {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
