//! scratch
use cutline::time::VirtualDuration;
use cutline_sim::run::Simulation;
use cutline_sim::scenario::shapes::pipeline;
use std::sync::Arc;
use std::time::Instant;
fn main() {
    let args: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let (a, b, c, records, every_us, interval_ms) =
        (args[0] as u32, args[1] as u32, args[2] as u32, args[3], args[4], args[5]);
    let s = Arc::new(pipeline(
        [a, b, c],
        records,
        VirtualDuration::from_micros(every_us),
        VirtualDuration::from_millis(interval_ms),
    ));
    for seed in 0..args.get(6).copied().unwrap_or(3) {
        let sim = Simulation::new(s.clone(), seed).unwrap();
        let t = Instant::now();
        let o = sim.run();
        let e = t.elapsed();
        let ev = o.statistics.records.processed;
        println!(
            "{:?} {:?} events {} kernel {} {:?} {:.1} ns/event {:.2} M/s cps {} vt {} {:?}",
            o.verdict,
            o.job_end,
            ev,
            o.events,
            e,
            e.as_nanos() as f64 / ev as f64,
            ev as f64 / e.as_secs_f64() / 1e6,
            o.statistics.checkpoints.completed,
            o.virtual_time,
            o.violations.first()
        );
    }
}
