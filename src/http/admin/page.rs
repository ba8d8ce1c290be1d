//! `GET /`: a page that shows the server to a person. It holds no data: its script asks for them, with
//! the key that the person enters.
//!
//! It is one file. Its policy allows the one script and the one style in it by their hashes, and no
//! connection to any other server.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use sha2::{Digest as _, Sha256};

use super::view::text;

/// Path of the page.
pub(super) const PATH: &str = "/";
const PAGE: &str = include_str!("page.html");
const HTML: &str = "text/html; charset=utf-8";

/// What the page may do.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let [script, style] = ["script", "style"].map(|name| hash(between(PAGE, name)));
    format!(
        "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

pub(super) fn answer() -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::OK, HTML, PAGE);
    let headers = response.headers_mut();
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// The text of the one element with this name.
fn between<'a>(page: &'a str, name: &str) -> &'a str {
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    let after = page.split_once(&start).map_or("", |(_, after)| after);
    after.split_once(&end).map_or("", |(text, _)| text)
}

fn hash(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p9_the_page_is_one_file_with_one_script_and_one_style() {
        for name in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{name}")).count(), 1, "{name}");
            assert!(between(PAGE, name).len() > 100, "{name}");
        }
        for part in ["http:", "https:", "src=", "href=\"/", "style=\"", "onclick", "innerHTML"] {
            assert!(!PAGE.contains(part), "{part}");
        }
        let answer = answer();
        let policy = &answer.headers()[CONTENT_SECURITY_POLICY];
        assert!(policy.to_str().unwrap().contains(&hash(between(PAGE, "script"))));
    }
}
