//! The command line from end to end: what it prints, writes and answers with, in one binary, which
//! is linked once.

mod calibrate;
mod campaign;
mod check;
mod cli;
mod corpus;
mod examples;
mod explain;
mod features;
mod horizon;
mod hostile_files;
mod init;
mod model;
#[cfg(unix)]
mod readme;
#[cfg(unix)]
mod rest;
mod scenario_files;
#[cfg(feature = "defects")]
mod score;
mod shrink;
mod support;
mod sweep;
mod validate;
