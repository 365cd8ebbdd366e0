//! What a comparison of long horizons found, to read, as a document, and for programs.

use serde_json::{Value, json};

use super::horizon::{Compared, Difference, Figure, Verdict, figures};
use crate::report::table;
use crate::sweep::metric::digits;
use crate::sweep::short;

/// Means that are named of each job.
const SHOWN: usize = 3;

/// What was found.
#[derive(Clone, Debug)]
pub struct Horizons {
    /// Job by job.
    pub compared: Vec<Compared>,
    /// What leaps might add to the error of a mean.
    pub tolerance: f64,
    /// Runs of each job, both ways.
    pub repeats: u64,
}

impl Horizons {
    fn all(&self) -> impl Iterator<Item = &Difference> {
        self.compared.iter().flat_map(|it| &it.differences)
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.all().filter(|it| it.verdict == verdict).count()
    }

    fn figures(&self) -> Vec<Figure> {
        figures(&self.compared, self.tolerance)
    }

    /// Means that are missed, and figures that are biased.
    pub fn missed(&self) -> usize {
        let biased = self.figures().iter().filter(|it| it.is_biased).count();
        self.count(Verdict::Missed) + biased
    }

    /// How many of how many.
    fn summary(&self) -> String {
        let biased: Vec<&str> =
            self.figures().iter().filter(|it| it.is_biased).map(|it| it.quantity.name()).collect();
        let bias = match &biased[..] {
            [] => "no figure is biased over all jobs".to_owned(),
            some => format!("biased over all jobs: {}", some.join(", ")),
        };
        format!(
            "{}, {} means: {} within {} or the sampling error stated, {} off by what chance \
             may do, {} missed; {bias}",
            match self.compared.len() {
                1 => "1 job".to_owned(),
                jobs => format!("{jobs} jobs"),
            },
            self.all().count(),
            self.count(Verdict::Within),
            percent(self.tolerance),
            self.count(Verdict::Chance),
            self.count(Verdict::Missed),
        )
    }

    /// Tables to read in a terminal.
    pub fn text(&self) -> String {
        let mut jobs = table::plain(&JOBS_HEAD);
        for it in &self.compared {
            jobs.add_row(cells(it));
        }
        let mut out = table::text(jobs, |column| (1..=5).contains(&column));
        out.push('\n');
        let mut of_figures = table::plain(&FIGURES_HEAD);
        for it in self.figures() {
            of_figures.add_row(figure_cells(&it));
        }
        out.push_str(&table::text(of_figures, |column| (1..=3).contains(&column)));
        out.push_str(&format!("\n{}\n", self.summary()));
        out
    }

    /// The document `docs/long-horizon-validation.md`; `command` has made it.
    pub fn markdown(&self, command: &str) -> String {
        let tolerance = percent(self.tolerance);
        let option = tolerance.replace(' ', "");
        let mut out = format!(
            "# Long horizons against record-level runs\n\n\
             Jobs drawn at random, each run {} times record by record and {} times with\n\
             `--coarsen {option}` ([how that works](long-horizon.md)), with the same seeds and failures. Made by\n\n\
             ```sh\n{command} > docs/long-horizon-validation.md\n```\n\n\
             {}.\n\n\
             *Within* are means that are off by no more than {tolerance}, or by no more than the sampling error\n\
             (95 %) that the long run itself states for them in `summary.json`. The random numbers behind a\n\
             leap differ between the two runs, so both are samples: what is off by more is *missed* if the\n\
             paired differences (of recoveries, or of runs) show that it is beyond that bound (Student, 99 %),\n\
             and else chance may have done it; after ± is what chance may do. Over all jobs chance\n\
             cancels out and a bias does not: the second table.\n\n",
            self.repeats,
            self.repeats,
            self.summary(),
        );
        out.push_str(&markdown_head(&JOBS_HEAD, |column| (1..=5).contains(&column)));
        for it in &self.compared {
            out.push_str(&format!("| {} |\n", cells(it).join(" | ")));
        }
        out.push('\n');
        out.push_str(&markdown_head(&FIGURES_HEAD, |column| (1..=3).contains(&column)));
        for it in self.figures() {
            out.push_str(&format!("| {} |\n", figure_cells(&it).join(" | ")));
        }
        out
    }

    /// One object.
    pub fn json(&self) -> Value {
        let difference = |it: &Difference| {
            json!({
                "metric": it.metric.column(),
                "record_level": short(it.expected),
                "long": short(it.found),
                "error_share": short(it.error),
                "stated_share": short(it.stated),
                "chance_share": it.chance.is_finite().then(|| short(it.chance)),
                "verdict": it.verdict.name(),
            })
        };
        let job = |it: &Compared| {
            json!({
                "title": it.title,
                "interval_s": short(it.interval_s),
                "leapt_share": short(it.leapt),
                "fewer_events": short(it.fewer_events),
                "failures": it.failures,
                "means": it.differences.iter().map(difference).collect::<Vec<_>>(),
                "unreported": it.unreported.iter().map(|it| it.column()).collect::<Vec<_>>(),
            })
        };
        let figure = |it: &Figure| {
            json!({
                "figure": it.quantity.name(),
                "jobs": it.jobs,
                "within": it.within,
                "error_share": short(it.error.0),
                "error_half_interval_share": it.error.1.is_finite().then(|| short(it.error.1)),
                "biased": it.is_biased,
            })
        };
        json!({
            "tolerance": self.tolerance,
            "repeats": self.repeats,
            "jobs": self.compared.iter().map(job).collect::<Vec<_>>(),
            "figures": self.figures().iter().map(figure).collect::<Vec<_>>(),
            "missed": self.missed(),
        })
    }
}

const JOBS_HEAD: [&str; 8] = [
    "job",
    "interval",
    "leapt over",
    "fewer events",
    "failures",
    "within",
    "furthest off",
    "not reported",
];

const FIGURES_HEAD: [&str; 5] = ["figure", "jobs", "within", "mean of the errors", "verdict"];

fn cells(it: &Compared) -> [String; 8] {
    let within = it.differences.iter().filter(|it| it.verdict == Verdict::Within).count();
    let shown = |it: &Difference| {
        let mark = if it.verdict == Verdict::Missed { "MISSED " } else { "" };
        let name = it.metric.quantity.name();
        format!("{mark}{name} {:+.1} ± {:.1} %", it.error * 100.0, it.chance * 100.0)
    };
    let missed = it.differences.iter().filter(|it| it.verdict == Verdict::Missed).count();
    let furthest = it.differences.iter().take(SHOWN.max(missed)).filter(|it| it.error != 0.0);
    let unreported = it.unreported.iter().map(|metric| metric.quantity.name());
    [
        it.title.clone(),
        format!("{} s", digits(it.interval_s)),
        format!("{:.0} %", it.leapt * 100.0),
        format!("{:.1}", it.fewer_events),
        it.failures.to_string(),
        format!("{within} of {}", it.differences.len()),
        furthest.map(shown).collect::<Vec<_>>().join(", "),
        unreported.collect::<Vec<_>>().join(", "),
    ]
}

fn figure_cells(it: &Figure) -> [String; 5] {
    let (mean, half) = it.error;
    let half = if half.is_finite() { format!(" ± {:.2}", half * 100.0) } else { String::new() };
    [
        it.quantity.name().to_owned(),
        it.jobs.to_string(),
        it.within.to_string(),
        format!("{:+.2}{half} %", mean * 100.0),
        if it.is_biased { "BIASED".to_owned() } else { "no bias seen".to_owned() },
    ]
}

fn markdown_head(head: &[&str], is_number: impl Fn(usize) -> bool) -> String {
    let rule = |column| if is_number(column) { "---:" } else { "---" };
    let rules: Vec<&str> = (0..head.len()).map(rule).collect();
    format!("| {} |\n| {} |\n", head.join(" | "), rules.join(" | "))
}

fn percent(share: f64) -> String {
    format!("{} %", digits(share * 100.0).trim_end_matches('0').trim_end_matches('.'))
}
