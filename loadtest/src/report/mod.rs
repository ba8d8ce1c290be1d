//! What is said of a run: the table at its end, `report.json`, and a page to read.

pub mod build;
pub mod chart;
pub mod connections;
pub mod describe;
pub mod figures;
pub mod file;
pub mod html;
pub mod live;
pub mod model;
pub mod nodes;
pub mod page;
pub mod ratios;
#[cfg(test)]
pub mod sample;
mod svg;
pub mod table;
pub mod units;
pub mod verdict;
