//! The command line: one file a command. Arguments in, exit code out.
//!
//! Data goes to standard output or into files, and is the same to the byte for the same arguments;
//! what is wrong, warnings and hints go to standard error.

mod arguments;
mod calibrate;
mod campaign;
mod check;
mod completions;
mod conform;
mod corpus;
mod defects;
mod diff;
mod exit;
mod files;
mod filter;
mod guard;
mod init;
mod merge;
mod model;
mod output;
mod replay;
mod run;
mod schema;
mod show;
mod shrink;
mod simulate;
mod sweep;
mod view;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::{Exit, Failure};
use output::Output;

const EXAMPLES: &str = "\
Examples:
  cutline run scenarios/quickstart.json
  cutline run scenarios/quickstart.json --seed 7 --subtask 'count[1]' --checkpoint 3
  cutline run scenarios/quickstart.json --set checkpointing.interval='2 s' --format json
  cutline replay cutline-out/liveness-stuck-0123456789abcdef/case.json
  cutline show scenarios/quickstart.json --from '1 s' --until '2 s'
  cutline show case.json --explain
  cutline diff case-a.json case-b.json
  cutline check scenarios/*.json
  cutline check --flink-conf conf/config.yaml
  cutline init job.json --rate 20000/s --state 10gb
  cutline campaign --seeds 0..1000
  cutline shrink case.json
  cutline corpus run
  cutline calibrate --from-rest flink-dump --out scenario.json

Exit codes:
  0  ok
  2  usage                   12  a replay diverged, or two runs part
  3  bad input file          13  a goal was missed
 10  safety violated, or     14  something was vacuous (--strict)
     a vector differs        20  inconclusive: a budget ended it, a part is missing,
 11  liveness violated           or too little is known for what was asked
                             70  internal error
                            130  interrupted, finished results saved";

/// Simulates checkpointing stream jobs under faults, and checks that they stay exactly-once
#[derive(Debug, Parser)]
#[command(name = "cutline", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Init(Box<init::Init>),
    Replay(replay::Replay),
    Show(show::Show),
    Diff(diff::Diff),
    Campaign(campaign::Campaign),
    Merge(merge::Merge),
    Shrink(shrink::Shrink),
    Corpus(corpus::Corpus),
    Defects(defects::Defects),
    Calibrate(Box<calibrate::Calibrate>),
    Sweep(Box<sweep::Sweep>),
    Model(Box<model::Model>),
    Check(check::Check),
    Conform(conform::Conform),
    Schema(schema::Schema),
    Completions(completions::Completions),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    guard::install();
    let code = match Cli::try_parse() {
        Ok(cli) => {
            let done = guard::guarded("doing this", &given(), || run(cli.command));
            done.unwrap_or_else(|failure| failure.report())
        }
        Err(error) => {
            // Where standard error is closed, nobody is there to be told.
            let _ = error.print();
            if error.use_stderr() { Exit::Usage } else { Exit::Ok }
        }
    };
    ExitCode::from(code as u8)
}

/// The command line as it was given, to paste.
fn given() -> String {
    let words = std::env::args().skip(1).map(|word| arguments::quoted(&word));
    std::iter::once("cutline".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

fn run(command: Command) -> Exit {
    let mut output = Output::new();
    let done = match command {
        Command::Run(command) => command.execute(&mut output),
        Command::Init(command) => command.execute(&mut output),
        Command::Replay(command) => command.execute(&mut output),
        Command::Show(command) => command.execute(&mut output),
        Command::Diff(command) => command.execute(&mut output),
        Command::Campaign(command) => command.execute(&mut output),
        Command::Merge(command) => command.execute(&mut output),
        Command::Shrink(command) => command.execute(&mut output),
        Command::Corpus(command) => command.execute(&mut output),
        Command::Defects(command) => command.execute(&mut output),
        Command::Calibrate(command) => command.execute(&mut output),
        Command::Sweep(command) => command.execute(&mut output),
        Command::Model(command) => command.execute(&mut output),
        Command::Check(command) => command.execute(&mut output),
        Command::Conform(command) => command.execute(&mut output),
        Command::Schema(command) => command.execute(&mut output),
        Command::Completions(command) => command.execute(&mut output),
    };
    let done = done.and_then(|exit| output.finish().map(|()| exit).map_err(Failure::from));
    done.unwrap_or_else(|failure| failure.report())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_well_formed() {
        super::Cli::command().debug_assert();
    }
}
