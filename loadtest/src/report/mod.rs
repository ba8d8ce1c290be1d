//! What is said of a run: the table at its end, `report.json`, and a page to read.

pub mod model;
