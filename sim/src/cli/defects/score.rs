//! `cutline defects --score`: each defect planted in turn, and searched for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use serde_json::{Value, json};

use super::super::campaign::{bar, listen};
use super::kept::Kept;
use super::{Defects, Format, Limit, describe, markdown};
use crate::calibrate::robust::median;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::Output;
use crate::defects::{self, Entry};
use crate::explore::score::{Budget, Proofs, Score, Small, score};
use crate::report::table;

/// Runs within which an easy one should be found.
const EASY_RUNS: u64 = 1_000;

impl Defects {
    pub(super) fn print_score(&self, output: &mut Output) -> Result<Exit, Failure> {
        let entries: Vec<&'static Entry> = self.entries().collect();
        let scores = self.search(&entries)?;
        match self.format {
            Format::Json => {
                let rows: Vec<Value> = scores.iter().map(row).collect();
                output.print(&format!("{}\n", json!(rows)))?;
            }
            Format::Markdown => output.print(&markdown::tables(&scores))?,
            Format::Human => {
                output.print(&rows(&scores))?;
                output.print(&text_of(&summary(&scores)))?;
            }
        }
        let proofs = || scores.iter().filter_map(|score| score.proofs.as_ref());
        Ok(if scores.len() < entries.len() {
            Exit::Interrupted
        } else if proofs().any(|proofs| proofs.search.without > 0) {
            Exit::Safety
        } else if proofs().any(|proofs| !proofs.directed.found) {
            Exit::GoalMissed
        } else {
            Exit::Ok
        })
    }

    /// The scores of these; without those that an interruption has cut off.
    fn search(&self, entries: &[&'static Entry]) -> Result<Vec<Score>, Failure> {
        let budget = match self.budget {
            Limit::Cpu(span) => Budget::Cpu(span),
            Limit::Runs(runs) => Budget::Runs(runs),
        };
        let how = format!("budget {budget:?}, shrink {:?}", self.shrink);
        let kept = self.out.as_ref().map(|path| Kept::open(path, how)).transpose()?;
        let threads = self.threads.map_or(0, usize::from);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool =
            pool.map_err(|error| Failure::Internal(format!("cannot start threads: {error}\n")))?;
        let interrupted = Arc::new(AtomicBool::new(false));
        listen(Arc::clone(&interrupted));
        let progress = bar(Some(entries.len() as u64), "{wide_bar} {pos}/{len} defects, {elapsed}");
        progress.tick();
        let made = |entry: &'static Entry| -> Result<Option<Score>, Failure> {
            if let Some(proofs) = kept.as_ref().and_then(|kept| kept.get(&entry.id)) {
                return Ok(Some(Score { entry, proofs: Some(proofs) }));
            }
            let go_on = || !interrupted.load(Ordering::Relaxed);
            let score =
                if go_on() { score(entry, (budget, self.shrink), &go_on) } else { Ok(None) };
            let score = score.map_err(|error| Failure::Usage(error.to_string()))?;
            let proofs = score.as_ref().and_then(|score| score.proofs.as_ref());
            if let (Some(kept), Some(proofs)) = (&kept, proofs) {
                kept.append(&entry.id, proofs)?;
            }
            Ok(score)
        };
        let one = |entry: &&'static Entry| {
            let score = made(entry);
            progress.inc(1);
            score.transpose()
        };
        // One after another onto the threads that are free: the time that each takes differs much.
        let scores = pool.install(|| {
            let each = entries.par_iter().with_max_len(1).filter_map(one);
            each.collect::<Result<Vec<Score>, _>>()
        });
        progress.finish_and_clear();
        scores
    }
}

fn row(score: &Score) -> Value {
    let mut row = describe(score.entry);
    let (directed, search) = match &score.proofs {
        Some(proofs) => (json!(proofs.directed), json!(proofs.search)),
        None => (json!({ "found": false }), json!({ "found": false, "runs": 0 })),
    };
    row["directed"] = directed;
    row["search"] = search;
    row
}

fn rows(scores: &[Score]) -> String {
    let head =
        ["id", "tier", "expected", "directed", "runs", "cpu s", "found by", "as", "otherwise"];
    let mut listed = table::plain(&head);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for (entry, proofs) in planted(scores) {
        let Proofs { directed, search } = proofs;
        let class = directed.class.map_or("nothing", |class| class.name());
        listed.add_row([
            entry.id.clone(),
            entry.tier.to_string(),
            entry.search.to_string(),
            if directed.found { class.to_owned() } else { format!("NOT: {class}") },
            search.runs.to_string(),
            format!("{:.1}", search.cpu_seconds),
            or_none(search.strategy.map(|method| method.to_string())),
            or_none(search.signature.clone()),
            search.otherwise.to_string(),
        ]);
    }
    table::text(listed, |column| matches!(column, 1 | 4 | 5 | 8))
}

pub(super) fn planted(scores: &[Score]) -> impl Iterator<Item = (&'static Entry, &Proofs)> + Clone {
    scores.iter().filter_map(|score| Some((score.entry, score.proofs.as_ref()?)))
}

/// What the score comes to, line by line: a name and a value.
pub(super) fn summary(scores: &[Score]) -> Vec<(&'static str, String)> {
    let share = |of: &mut dyn Iterator<Item = bool>| {
        let (found, all) =
            of.fold((0_u64, 0_u64), |(found, all), is| (found + u64::from(is), all + 1));
        match all {
            0 => "none".to_owned(),
            _ => format!("{found} of {all} ({} %)", found * 100 / all),
        }
    };
    let tier = |tier: u8| {
        let of_it = planted(scores).filter(move |(entry, _)| entry.tier == tier);
        share(&mut of_it.map(|(_, proofs)| proofs.search.found))
    };
    let easy = planted(scores)
        .filter(|(entry, _)| entry.tier == 1 && entry.search == defects::Search::Easy)
        .map(|(_, proofs)| proofs.search.found && proofs.search.runs <= EASY_RUNS);
    let time = median(planted(scores).map(|(_, proofs)| proofs.search.cpu_seconds));
    let without: u64 = planted(scores).map(|(_, proofs)| proofs.search.without).sum();
    let mut lines = vec![
        ("planted", share(&mut scores.iter().map(|score| score.proofs.is_some()))),
        ("directed", share(&mut planted(scores).map(|(_, proofs)| proofs.directed.found))),
        ("tier 1", tier(1)),
        ("tier 2", tier(2)),
        ("easy, 1,000 runs", share(&mut easy.clone())),
        ("median", time.map_or("none".to_owned(), |time| format!("{time:.1} s of CPU"))),
    ];
    let small = || planted(scores).filter_map(|(_, proofs)| proofs.search.shrunk);
    if small().next().is_some() {
        let middle = |of: fn(&Small) -> f64| median(small().map(|it| of(&it))).unwrap_or_default();
        let shrunk = format!(
            "{} operators, {} subtasks, {} faults, {} events (medians); {:.1} s, {:.1} s at most",
            middle(|it| it.operators as f64),
            middle(|it| it.subtasks as f64),
            middle(|it| it.faults as f64),
            middle(|it| it.events as f64),
            middle(|it| it.cpu_seconds),
            small().map(|it| it.cpu_seconds).fold(0.0, f64::max),
        );
        let same = share(&mut small().map(|it| it.same));
        lines.extend([("shrunk to", shrunk), ("the same violation", same)]);
    }
    if without > 0 {
        lines.push((
            "WITHOUT A DEFECT",
            format!("{without} runs fail: mistakes of the checks or of the protocol"),
        ));
    }
    lines
}

fn text_of(lines: &[(&str, String)]) -> String {
    lines.iter().fold("\n".to_owned(), |text, (name, value)| text + &format!("{name:<19}{value}\n"))
}
