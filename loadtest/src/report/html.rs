//! stub
use super::model::Report;
/// x
pub fn page(_: &Report) -> String {
    "<!doctype html></html>".into()
}
