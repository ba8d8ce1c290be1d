//! A real browser, spoken to over a pair of pipes (Chrome DevTools Protocol, one JSON document to a
//! zero byte): pages as they are written, at any width, in light and dark, with a pointer.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Debian's.
pub const CHROMIUM: &str = "/usr/bin/chromium";

/// One browser with one page, which goes when it is dropped.
pub struct Browser {
    child: Child,
    requests: File,
    answers: BufReader<File>,
    session: String,
    last: u64,
    _folder: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Browser {
    /// None where chromium is not installed.
    pub fn start() -> Option<Self> {
        if !Path::new(CHROMIUM).exists() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let (requests, answers) = (folder.path().join("requests"), folder.path().join("answers"));
        // The browser takes the descriptors 3 and 4; a shell is what sets them.
        let script = "mkfifo requests answers && echo there && exec \"$0\" --headless --no-sandbox \
            --disable-gpu --no-first-run --disable-background-networking --hide-scrollbars \
            --force-device-scale-factor=1 --user-data-dir=profile --remote-debugging-pipe \
            about:blank 3<requests 4>answers";
        let mut child = Command::new("sh")
            .args(["-c", script, CHROMIUM])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let requests = File::options().write(true).open(requests).unwrap();
        let answers = BufReader::new(File::open(answers).unwrap());
        let session = String::new();
        let mut browser = Self { child, requests, answers, session, last: 0, _folder: folder };
        let target = browser.ask("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.ask("Target.attachToTarget", target);
        attached["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        Some(browser)
    }

    /// One request and its answer; its other messages are skipped.
    #[expect(clippy::needless_pass_by_value, reason = "`json!` is written where it is asked")]
    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut request = json!({"id": self.last, "method": method, "params": parameters});
        if !self.session.is_empty() {
            request["sessionId"] = Value::from(self.session.clone());
        }
        self.requests.write_all(format!("{request}\0").as_bytes()).unwrap();
        loop {
            let mut text = Vec::new();
            assert!(self.answers.read_until(0, &mut text).unwrap() > 0, "the browser has ended");
            text.pop();
            let mut answer: Value = serde_json::from_slice(&text).unwrap();
            if answer["id"] == self.last {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
        }
    }

    /// Opens a file at this width.
    pub fn open(&mut self, path: &Path, width: u32, is_dark: bool) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.ask("Emulation.setEmulatedMedia", json!({"features": features}));
        self.ask("Page.navigate", json!({"url": format!("file://{}", path.display())}));
        while self.value("document.readyState") != "complete" {
            std::thread::yield_now();
        }
    }

    /// What an expression gives.
    pub fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true});
        let mut answer = self.ask("Runtime.evaluate", parameters);
        assert!(answer["exceptionDetails"].is_null(), "{answer}");
        answer["result"]["value"].take()
    }

    /// Moves the pointer over this place of the window.
    pub fn point(&mut self, x: f64, y: f64) {
        self.ask("Input.dispatchMouseEvent", json!({"type": "mouseMoved", "x": x, "y": y}));
    }

    /// The whole page as PNG.
    pub fn picture(&mut self, path: &Path) {
        let parameters = json!({"format": "png", "captureBeyondViewport": true});
        let answer = self.ask("Page.captureScreenshot", parameters);
        let text = answer["data"].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}
