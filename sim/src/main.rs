//! The command `cutline`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cutline_sim::cli::main()
}
