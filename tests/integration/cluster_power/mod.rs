//! Power cuts and full disks under three real nats-servers and three real nodes.
//!
//! A power cut loses what is not synced, also what the page cache has: each disk is an ext4 of its
//! own in a file, and the kernel is told that this file system has an error. Writes end at once, and
//! what had not reached the device is dropped. Needs root.
//!
//! Reading order: `disk` (an ext4, and what a cut is), `servers` (all servers lose power), `node` (a
//! node loses power) and `full` (a full disk under a node, and under a server).

mod disk;
mod full;
mod node;
mod servers;
