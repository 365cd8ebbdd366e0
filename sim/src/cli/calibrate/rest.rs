//! `cutline calibrate --from-rest`: from a dump to a scenario.

use std::path::Path;

use crate::calibrate::fit::fit;
use crate::calibrate::profile::Profile;
use crate::calibrate::rest::facts::Facts;
use crate::calibrate::rest::replay::replay;
use crate::calibrate::rest::report::Report;
use crate::calibrate::rest::scenario::{Model, Said};
use crate::calibrate::runs::Run;
use crate::cli::arguments::quoted;
use crate::cli::exit::{Exit, Failure};
use crate::cli::files;
use crate::cli::guard::guarded;
use crate::cli::output::Output;
use crate::flink::dump::Dump;
use crate::scenario::load;

use super::{Calibrate, Format, read};

impl Calibrate {
    pub(super) fn rest(
        &self,
        path: &str,
        runs: Option<&str>,
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let profile = runs.map(profile).transpose()?;
        let dump =
            Dump::read(Path::new(path)).map_err(|error| Failure::Input(error.to_string()))?;
        let facts = Facts::of(&dump);
        if facts.vertices.iter().all(|of| of.start_delay_ms.is_none()) {
            let message = format!(
                "{path}: no subtask has acknowledged any checkpoint, so nothing is known about \
                 their time; at least 1 is needed, {} checkpoints are in the dump",
                facts.checkpoints.known
            );
            return Err(Failure::Inconclusive(message));
        }
        let said = Said { rate_per_s: self.rate, load: self.load };
        let mut model = Model::of(&dump, &facts, profile.as_ref(), said);
        // A job that is too large for a scenario, say.
        load(model.draft().to_json().as_bytes(), "the scenario of the dump", &[])?;
        let again = format!("cutline calibrate --from-rest {}", quoted(path));
        let compared = guarded("simulating the job of the dump", &again, || replay(&mut model))?;
        let draft = model.draft();
        let text = draft.to_json();
        if let Some(out) = &self.out {
            // What a file of this format would be refused for is said before it is written.
            let loaded = load(text.as_bytes(), out, &[])?;
            files::warn(&loaded.warnings);
            files::write_path(Path::new(out), &text)?;
        }
        let cannot_tell = facts.cannot_tell(&dump, profile.as_ref(), said);
        let report = Report {
            facts: &facts,
            cannot_tell: &cannot_tell,
            assumed: &draft.assumed,
            compared: compared.as_ref(),
            out: self.out.as_deref(),
        };
        match self.format {
            Format::Human => output.print(&report.text())?,
            Format::Json => {
                output.print(&(serde_json::Value::from(report.json()).to_string() + "\n"))?;
            }
        }
        Ok(Exit::Ok)
    }
}

fn profile(path: &str) -> Result<Profile, Failure> {
    let runs = read(path)?;
    let inconclusive = |error| Failure::Inconclusive(format!("{path}: {error}"));
    fit(&runs.iter().collect::<Vec<&Run>>()).map_err(inconclusive)
}

/// An address that can go into a shell script as it is.
pub(super) fn parse_address(text: &str) -> Result<String, String> {
    let expected = "expected HOST:PORT such as jobmanager:8081";
    if text.contains("://") {
        return Err(format!("{expected}, without a scheme"));
    }
    let (host, port) = text.rsplit_once(':').ok_or(expected)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let allowed = |c: char| match bare {
        Some(_) => c.is_ascii_hexdigit() || c == ':',
        None => c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_',
    };
    let name = bare.unwrap_or(host);
    if name.is_empty() || name.starts_with('-') || !name.chars().all(allowed) {
        return Err(format!("`{host}` is no name of a host; {expected}"));
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(format!("{host}:{port}")),
        _ => Err(format!("`{port}` is no port; {expected}")),
    }
}

/// Records a second, such as `20000/s`.
pub(in crate::cli) fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = crate::cli::model::rate(text)?.get();
    match rate > 0.0 {
        true => Ok(rate),
        false => Err("expected more than no records, such as 20000/s".to_owned()),
    }
}

/// A share such as `80%` or `1.2`.
pub(in crate::cli) fn parse_load(text: &str) -> Result<f64, String> {
    const MOST: f64 = 100.0;
    let number = match text.trim().strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|value| value / 100.0),
        None => text.trim().parse(),
    };
    let share = number.ok().filter(|share| *share > 0.0 && *share <= MOST);
    share.ok_or_else(|| "expected a share such as 80% or 1.2, up to 100".to_owned())
}
