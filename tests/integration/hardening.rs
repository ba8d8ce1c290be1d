//! What the process of a server denies itself.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::server::{Launch, Server};
use crate::support::not_run;

/// A user without privileges, as most systems have it.
const NOBODY: u32 = 65_534;

fn of_proc(server: &Server, file: &str) -> String {
    let path = format!("/proc/{}/{file}", server.pid().as_raw_nonzero());
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Soft and hard limit of a core dump.
fn core_limits(server: &Server) -> Vec<String> {
    let limits = of_proc(server, "limits");
    let line = limits.lines().find(|line| line.starts_with("Max core file size"));
    let fields = line.expect("the limit").split_whitespace().skip(4).take(2);
    fields.map(str::to_owned).collect()
}

fn has_no_new_privileges(server: &Server) -> bool {
    // Of every thread.
    let tasks = format!("/proc/{}/task", server.pid().as_raw_nonzero());
    fs::read_dir(tasks).expect("its threads").all(|task| {
        let status = task.expect("a thread").path().join("status");
        fs::read_to_string(status).is_ok_and(|status| status.contains("NoNewPrivs:\t1"))
    })
}

#[test]
fn p9_a_server_leaves_no_core_and_gets_no_privileges() {
    let server = Server::fresh();
    assert_eq!(core_limits(&server), ["0", "0"]);
    assert!(has_no_new_privileges(&server));
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(server.stderr().contains("the server runs as root"), is_root);
    // With swap there is a warning, unless the group of this test may not use it.
    let has_swap = fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1);
    assert!(has_swap || !server.stderr().contains("to its swap"));
}

#[test]
fn a_core_is_allowed_for_support() {
    let server = Server::fresh_with(|launch| launch.switch("--allow-core"));
    assert!(has_no_new_privileges(&server));
    assert!(server.stderr().contains("--allow-core: a core dump"));
    let hard = rustix::process::getrlimit(rustix::process::Resource::Core).maximum;
    let shown = hard.map_or("unlimited".to_owned(), |hard| hard.to_string());
    assert_eq!(core_limits(&server)[1], shown, "as this test has it");
}

/// The files of an undumpable process belong to root: its own user sees neither its memory nor its
/// environment.
#[test]
fn p9_the_user_of_a_server_cannot_look_into_it() {
    const CHECK: &str = "the user of a server cannot look into it";
    if !rustix::process::geteuid().is_root() {
        return not_run(CHECK, "only root can start a server as another user");
    }
    let user = [format!("--reuid={NOBODY}"), "--clear-groups".to_owned()];
    let setpriv = ["setpriv", &user[0], &user[1]];
    if !std::process::Command::new("setpriv")
        .arg("--version")
        .output()
        .is_ok_and(|it| it.status.success())
    {
        return not_run(CHECK, "setpriv is not on the PATH");
    }
    let dir = tempfile::tempdir().expect("a folder");
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).expect("set");
    let data = dir.path().join("data");
    fs::create_dir(&data).expect("made");
    std::os::unix::fs::chown(&data, Some(NOBODY), None).expect("given");
    for (allows, owner) in [(false, 0), (true, NOBODY)] {
        let launch = Launch::on(&data).under(&setpriv);
        let launch = if allows { launch.switch("--allow-core") } else { launch };
        let Ok(server) = launch.try_start() else {
            return not_run(CHECK, "another user cannot execute this build");
        };
        let memory = format!("/proc/{}/mem", server.pid().as_raw_nonzero());
        assert_eq!(fs::metadata(memory).expect("it runs").uid(), owner);
        assert!(!server.stderr().contains("runs as root"));
        server.stop_well();
    }
}
