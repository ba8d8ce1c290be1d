//! The example `checkout` on three nodes, of which one is killed meanwhile.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::server::Server;
use crate::support::not_run;

use super::lab::{Lab, await_ready};

#[test]
fn p2_checkout_is_right_although_a_node_is_killed() {
    let check = "the example checkout on three nodes";
    let built = Path::new(env!("CARGO_BIN_EXE_jeton")).with_file_name("examples").join("checkout");
    if !built.is_file() {
        return not_run(check, "it is not built (cargo build --example checkout)");
    }
    let Some(lab) = Lab::begun(check) else { return };
    let [one, two, three] = lab.start(["a", "b", "c"]);
    [&one, &two, &three].into_iter().for_each(await_ready);
    let url = |server: &Server| format!("http://{}", server.data);
    let servers = [url(&one), url(&two), url(&three)].join(",");
    let mut command = Command::new(built);
    command.args(["--server", &servers]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let checkout = command.spawn().expect("it runs");
    std::thread::sleep(Duration::from_millis(400));
    two.kill9();
    let ended = checkout.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{text}\n{}", String::from_utf8_lossy(&ended.stderr));
    assert!(text.ends_with("answers that differ: 0\n"), "{text}");
}
