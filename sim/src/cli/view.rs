//! Prints lines of a trace.

use std::io;

use crate::report::{Line, Names, SpaceTime, lines};
use crate::run::Outcome;

use super::filter::Filter;
use super::output::{Output, STYLE, width};

/// Prints what a filter leaves of a run's trace as a space-time view.
pub(super) fn print_excerpt(
    outcome: &Outcome,
    filter: &Filter,
    output: &mut Output,
) -> io::Result<()> {
    let names = Names::of(outcome);
    let wanted = lines(outcome).filter(|line| filter.accepts_in_view(line));
    print_view(wanted, &filter.columns(&names.columns()), output)
}

/// Prints what a filter leaves of a run's trace as JSON Lines.
pub(super) fn print_trace(
    outcome: &Outcome,
    filter: &Filter,
    output: &mut Output,
) -> io::Result<()> {
    print_json(lines(outcome).filter(|line| filter.accepts(line)), output)
}

/// Prints lines as a space-time view of these subtasks.
pub(super) fn print_view(
    lines: impl Iterator<Item = Line>,
    subtasks: &[String],
    output: &mut Output,
) -> io::Result<()> {
    let view = SpaceTime::new(subtasks, width(), STYLE);
    output.print(&view.head())?;
    for line in lines {
        output.print(&view.line(&line))?;
    }
    Ok(())
}

/// Prints lines as JSON Lines.
pub(super) fn print_json(lines: impl Iterator<Item = Line>, output: &mut Output) -> io::Result<()> {
    for line in lines {
        output.print(&(line.to_json() + "\n"))?;
    }
    Ok(())
}
