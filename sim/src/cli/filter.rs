//! Which observations to print.

use clap::Args;
use cutline::step::Step;

use crate::report::{Line, Names};

use super::exit::Failure;

/// Filters: every kind that is given must match; of one kind, any value.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters (what is printed, not what is run)")]
pub(super) struct Filter {
    /// Only what happens at this subtask, such as count[1]
    #[arg(long, value_name = "NAME[INDEX]")]
    subtask: Vec<String>,

    /// Only what happens on this channel, such as 'source[0]->count[1]'
    #[arg(long, value_name = "FROM->TO")]
    channel: Vec<String>,

    /// Only what concerns the checkpoint with this id
    #[arg(long, value_name = "ID")]
    checkpoint: Vec<u64>,

    /// Only this protocol step, such as A1
    #[arg(long, value_name = "STEP", value_parser = parse_step)]
    step: Vec<Step>,

    /// In the space-time view, show records and files too
    #[arg(long)]
    records: bool,

    /// In the space-time view, show all protocol steps too, not only those of --step
    #[arg(long)]
    steps: bool,
}

fn parse_step(text: &str) -> Result<Step, String> {
    text.parse().map_err(|error: cutline::step::UnknownStep| error.to_string())
}

impl Filter {
    /// Whether nothing is filtered.
    pub(super) fn is_empty(&self) -> bool {
        let names = self.subtask.is_empty() && self.channel.is_empty();
        names && self.checkpoint.is_empty() && self.step.is_empty()
    }

    /// Whether a line is to be printed in a space-time view, which leaves out the many.
    pub(super) fn accepts_in_view(&self, line: &Line) -> bool {
        let shows_steps = self.steps || !self.step.is_empty();
        self.accepts(line)
            && (self.records || !line.is_data())
            && (shows_steps || line.step.is_none())
    }

    /// The subtasks that the filters leave, for the columns of a view.
    pub(super) fn columns(&self, subtasks: &[String]) -> Vec<String> {
        if self.subtask.is_empty() && self.channel.is_empty() {
            return subtasks.to_vec();
        }
        let ends = self.channel.iter().filter_map(|channel| channel.split_once("->"));
        // A channel between operators with several edges has a number behind its name.
        let ends = ends.flat_map(|(from, to)| [from, to.split('#').next().unwrap_or(to)]);
        let wanted: Vec<&str> = self.subtask.iter().map(String::as_str).chain(ends).collect();
        subtasks.iter().filter(|name| wanted.contains(&name.as_str())).cloned().collect()
    }

    /// Refuses names that a job does not have, with the nearest that it has.
    pub(super) fn validate(&self, names: &Names) -> Result<(), Failure> {
        for (what, wanted, known) in [
            ("subtask", &self.subtask, names.subtasks()),
            ("channel", &self.channel, names.channels()),
        ] {
            for name in wanted {
                if !known.contains(name) {
                    return Err(unknown(what, name, known));
                }
            }
        }
        Ok(())
    }

    /// Whether a line is to be printed.
    pub(super) fn accepts(&self, line: &Line) -> bool {
        fn any<T: PartialEq>(wanted: &[T], found: Option<&T>) -> bool {
            wanted.is_empty() || found.is_some_and(|found| wanted.contains(found))
        }
        any(&self.subtask, line.subtask.as_ref())
            && any(&self.channel, line.channel.as_ref())
            && any(&self.checkpoint, line.checkpoint.as_ref())
            && any(&self.step, line.step.as_ref())
    }
}

fn unknown(what: &str, name: &str, known: &[String]) -> Failure {
    let distance = |known: &&String| strsim::damerau_levenshtein(known, name);
    let hint = match known.iter().min_by_key(distance) {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => format!("; it has no {what} at all"),
    };
    Failure::Usage(format!("the job has no {what} `{name}`{hint}"))
}
