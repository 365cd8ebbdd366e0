//! scratch
use cutline::time::VirtualDuration;
use cutline_sim::observe::Observation;
use cutline_sim::run::Simulation;
use cutline_sim::scenario::shapes::pipeline;
use std::sync::Arc;
fn main() {
    let args: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let s = Arc::new(pipeline(
        [args[0] as u32, args[1] as u32, args[2] as u32],
        args[3],
        VirtualDuration::from_micros(args[4]),
        VirtualDuration::from_millis(args[5]),
    ));
    let o = Simulation::new(s.clone(), 0).unwrap().trace(true).run();
    let t = o.trace.unwrap();
    let keep: Vec<_> = t
        .iter()
        .filter(|(_, o)| {
            !matches!(
                o,
                Observation::Sent { .. }
                    | Observation::Processed { .. }
                    | Observation::SourceEmitted { .. }
            )
        })
        .collect();
    for (at, o) in keep.iter().rev().take(args[6] as usize).rev() {
        println!("{at} {o:?}");
    }
    println!("{:?}", o.violations);
}
