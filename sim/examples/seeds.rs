//! Runs random scenarios: `cargo run --release --example seeds -- 0..1000 [THREADS]`.
//! `… -- 17 trace` prints the trace of one seed without its records.

use std::sync::Arc;

use cutline_sim::explore::seeds::{SeedEnd, run_seed, run_seeds};
use cutline_sim::observe::Observation;
use cutline_sim::run::Simulation;
use cutline_sim::scenario::generate::{Options, generate};
use cutline_sim::scenario::to_json;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let range = arguments.first().map_or("0..1000", String::as_str);
    let Some((from, to)) = range.split_once("..") else {
        return one(range.parse().expect("a seed, or a range of seeds"), arguments.get(1));
    };
    let number = |text: &str| text.parse::<u64>().expect("a range of seeds, such as 0..1000");
    let threads = arguments.get(1).map(|text| number(text) as usize);
    let started = std::time::Instant::now();
    let seeds = number(from)..number(to);
    let mut done = 0_u64;
    let watch = |_: &_| {
        done += 1;
        if done.is_multiple_of(2_000) {
            eprintln!("{done} seeds in {:.1} s", started.elapsed().as_secs_f64());
        }
        true
    };
    let summary = run_seeds(&Options::default(), seeds, threads, watch).expect("threads start");
    for (feature, count) in summary.histogram.rows() {
        println!("{count:6} {feature}");
    }
    for (name, count) in &summary.situations {
        println!("{count:6} situation: {name}");
    }
    println!("vacuous: {:?}", summary.vacuous);
    println!(
        "{} runs, {} virtual s, {} events, checkpoints {:?}, restores {}, faults {:?}, ends {:?}, digest {:x}",
        summary.runs,
        summary.virtual_ms / 1_000,
        summary.events,
        summary.checkpoints,
        summary.restores,
        summary.faults,
        summary.ends,
        summary.digest,
    );
    for group in summary.groups.values() {
        println!(
            "{:6} {} (seed {}, {:?}) {}",
            group.count, group.signature, group.seed, group.more, group.message
        );
    }
    eprintln!("{:.1} s", started.elapsed().as_secs_f64());
    summary.worst.exit_code().into()
}

fn one(seed: u64, trace: Option<&String>) -> std::process::ExitCode {
    if trace.is_some() {
        println!("{}", to_json(&generate(seed)));
        let simulation = Simulation::new(Arc::new(generate(seed)), seed).expect("it can run");
        let observer = cutline_sim::explore::catch(|| simulation.trace(true).run());
        match observer {
            Ok(outcome) => {
                for (at, observation) in outcome.trace.expect("it was asked for") {
                    let data = matches!(
                        observation,
                        Observation::Sent { .. }
                            | Observation::Processed { .. }
                            | Observation::SourceEmitted { .. }
                    );
                    if !data {
                        println!("{at} {observation:?}");
                    }
                }
            }
            Err(panic) => println!("{panic}"),
        }
    }
    match run_seed(&Options::default(), seed).end {
        SeedEnd::Ran(ran) => println!("{ran:#?}"),
        SeedEnd::Panicked(panic) => println!("{panic}"),
    }
    std::process::ExitCode::SUCCESS
}
