//! The results of a campaign on disk: `campaign.json` says which campaign, `results.jsonl` has a
//! line for each finished run. A campaign that is killed has lost no line but the one it was
//! writing.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use cutline::defect::{Defect, Defects};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::campaign::{Campaign, Given, Partition};
use super::row::Row;
use super::strategy::Strategy;
use crate::scenario::generate::Options;
use crate::scenario::{load, to_json};

const FORMAT: &str = "cutline-campaign/1";
/// The file that says which campaign it is.
pub const HEAD: &str = "campaign.json";
/// The file with a line for each run.
pub const RESULTS: &str = "results.jsonl";

/// Which campaign, and which part of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    format: String,
    /// Seeds mean something in one version.
    version: String,
    /// From, and up to (not included).
    pub seeds: [u64; 2],
    strategy: Strategy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    defect: Option<String>,
    scenarios: Vec<GivenText>,
    /// Changes that were made to the scenarios, as they were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    set: Vec<String>,
    /// Number, and of how many.
    partition: [u64; 2],
}

/// What a campaign says of one of its properties.
type Says<'f> = &'f dyn Fn(&Head) -> String;

/// A scenario that was given, with every value explicit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenText {
    name: String,
    scenario: Value,
}

/// What is wrong with results on disk.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {error}")]
    Write {
        /// The file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{place}: {message}")]
    Content {
        /// File and line.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// Results of another campaign.
    #[error("{path} has results of another campaign: its {what} is {theirs}, not {ours}")]
    OtherCampaign {
        /// The file.
        path: String,
        /// The first thing that differs.
        what: &'static str,
        /// What the file says.
        theirs: String,
        /// What it should say.
        ours: String,
    },
}

impl Head {
    /// Of a part of a campaign, with the changes that its scenarios have had.
    pub fn new(campaign: &Campaign, partition: Partition, set: Vec<String>) -> Self {
        let given = campaign.given.iter().map(|given| GivenText {
            name: given.name.clone(),
            scenario: serde_json::from_str(&to_json(&given.scenario))
                .expect("what is written is JSON"),
        });
        Self {
            format: FORMAT.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seeds: [campaign.seeds.start, campaign.seeds.end],
            strategy: campaign.strategy,
            defect: campaign.defects.planted().map(|defect| defect.id().to_owned()),
            scenarios: given.collect(),
            set,
            partition: [partition.number, partition.of],
        }
    }

    /// Reads the head of a directory.
    ///
    /// # Errors
    /// There is none, or it is none.
    pub fn read(directory: &Path) -> Result<Self, JournalError> {
        let path = directory.join(HEAD);
        let shown = path.display().to_string();
        let text = fs::read_to_string(&path)
            .map_err(|error| JournalError::Read { path: shown.clone(), error })?;
        let head: Self = serde_json::from_str(&text).map_err(|error| JournalError::Content {
            place: format!("{shown}:{}:{}", error.line(), error.column()),
            message: error.to_string(),
        })?;
        if head.format != FORMAT {
            let message = format!("`{}` is not \"{FORMAT}\"", head.format);
            return Err(JournalError::Content { place: shown, message });
        }
        Ok(head)
    }

    /// The words after `cutline campaign` that run this campaign, without partition and place.
    pub fn arguments(&self) -> Vec<String> {
        let mut words: Vec<String> = self.scenarios.iter().map(|it| it.name.clone()).collect();
        for set in &self.set {
            words.extend(["--set".to_owned(), set.clone()]);
        }
        words.extend(["--seeds".to_owned(), format!("{}..{}", self.seeds[0], self.seeds[1])]);
        if self.strategy != Strategy::default() {
            words.extend(["--strategy".to_owned(), self.strategy.to_string()]);
        }
        if let Some(defect) = &self.defect {
            words.extend(["--defect".to_owned(), defect.clone()]);
        }
        words
    }

    /// As text for the file.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.expect("a head has only strings for keys") + "\n"
    }

    /// The part of the campaign.
    pub fn partition(&self) -> Partition {
        Partition { number: self.partition[0], of: self.partition[1] }
    }

    /// The head of the whole campaign.
    pub fn whole(&self) -> Self {
        Self { partition: [1, 1], ..self.clone() }
    }

    /// The campaign, of all partitions.
    ///
    /// # Errors
    /// The file says what this build cannot do.
    pub fn campaign(&self, path: &Path) -> Result<Campaign, JournalError> {
        let content = |message: String| JournalError::Content {
            place: path.join(HEAD).display().to_string(),
            message,
        };
        let defects = match &self.defect {
            None => Defects::none(),
            Some(id) => {
                let defect = id.parse::<Defect>().map_err(|error| content(error.to_string()))?;
                Defects::plant(defect).map_err(|error| content(error.to_string()))?
            }
        };
        let given = self.scenarios.iter().map(|given| {
            let text = given.scenario.to_string();
            let loaded = load(text.as_bytes(), &given.name, &[]);
            let loaded = loaded.map_err(|found| content(found.to_string()))?;
            Ok(Given { name: given.name.clone(), scenario: Arc::new(loaded.scenario) })
        });
        let partition = self.partition();
        if !(1..=partition.of).contains(&partition.number) {
            return Err(content(format!("there is no partition {partition}")));
        }
        Ok(Campaign {
            seeds: self.seeds[0]..self.seeds[1],
            strategy: self.strategy,
            options: Options::default(),
            given: given.collect::<Result<_, JournalError>>()?,
            defects,
        })
    }

    /// Refuses the head of another campaign; a partition may differ if it is said so.
    ///
    /// # Errors
    /// Says what differs first.
    pub fn agree(&self, other: &Self, path: &Path, partitions: bool) -> Result<(), JournalError> {
        let names = |head: &Self| {
            let names: Vec<&str> = head.scenarios.iter().map(|it| it.name.as_str()).collect();
            match names.is_empty() {
                true => "none".to_owned(),
                false => names.join(", "),
            }
        };
        let defect = |head: &Self| head.defect.clone().unwrap_or("none".to_owned());
        let seeds = |head: &Self| format!("{}..{}", head.seeds[0], head.seeds[1]);
        let strategy = |head: &Self| head.strategy.to_string();
        let part = |head: &Self| head.partition().to_string();
        let all = |head: &Self| format!("{} scenarios", head.scenarios.len());
        let rows: [(&'static str, Says<'_>, bool); 7] = [
            ("version", &|head| head.version.clone(), self.version == other.version),
            ("range of seeds", &seeds, self.seeds == other.seeds),
            ("strategy", &strategy, self.strategy == other.strategy),
            ("defect", &defect, self.defect == other.defect),
            ("list of scenarios", &names, names(self) == names(other)),
            ("content", &all, self.scenarios == other.scenarios),
            ("partition", &part, partitions || self.partition == other.partition),
        ];
        match rows.into_iter().find(|(_, _, same)| !same) {
            None => Ok(()),
            Some((what, say, _)) => Err(JournalError::OtherCampaign {
                path: path.join(HEAD).display().to_string(),
                what,
                theirs: say(other),
                ours: say(self),
            }),
        }
    }
}

/// Reads the finished runs of a directory, by their numbers. A last line that was not written to
/// its end is no result.
///
/// # Errors
/// A line is none, or two lines contradict each other.
pub fn read_rows(directory: &Path) -> Result<BTreeMap<u64, Row>, JournalError> {
    let path = directory.join(RESULTS);
    let shown = path.display().to_string();
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(JournalError::Read { path: shown, error }),
    };
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let mut rows = BTreeMap::new();
    for (index, line) in text[..whole].split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let content = |message: String| JournalError::Content {
            place: format!("{shown}:{}", index + 1),
            message,
        };
        let row: Row = serde_json::from_slice(line).map_err(|error| content(error.to_string()))?;
        let number = row.item;
        if let Some(before) = rows.insert(number, row)
            && Some(&before) != rows.get(&number)
        {
            return Err(content(format!("run {number} has another result in a line before")));
        }
    }
    Ok(rows)
}

/// All rows as the text of a results file, in their order.
pub fn to_lines<'r>(rows: impl IntoIterator<Item = &'r Row>) -> String {
    rows.into_iter().map(|row| row.to_json() + "\n").collect()
}

/// A results file that is written to.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// The file, and the first error.
    file: Mutex<(File, Option<io::Error>)>,
}

impl Journal {
    /// Opens a results file that has these rows so far: a half-written line goes.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open(directory: &Path, rows: &BTreeMap<u64, Row>) -> Result<Self, JournalError> {
        let path = directory.join(RESULTS);
        let write = |error| JournalError::Write { path: path.display().to_string(), error };
        let beside = directory.join(format!(".{RESULTS}.{}", std::process::id()));
        fs::write(&beside, to_lines(rows.values())).map_err(write)?;
        fs::rename(&beside, &path).map_err(write)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(write)?;
        Ok(Self { path, file: Mutex::new((file, None)) })
    }

    /// Appends a row, in one write. False if it, or one before, could not be written.
    pub fn append(&self, row: &Row) -> bool {
        let line = row.to_json() + "\n";
        // Whoever holds the lock only writes; there is nothing to panic.
        let Ok(mut file) = self.file.lock() else { return false };
        if file.1.is_none()
            && let Err(error) = file.0.write_all(line.as_bytes())
        {
            file.1 = Some(error);
        }
        file.1.is_none()
    }

    /// Closes the file; all lines are in it.
    ///
    /// # Errors
    /// One could not be written.
    pub fn close(self) -> Result<(), JournalError> {
        let path = self.path.display().to_string();
        let Ok((file, failed)) = self.file.into_inner() else {
            let error = io::Error::other("a thread broke off while it wrote");
            return Err(JournalError::Write { path, error });
        };
        let done = failed.map_or_else(|| file.sync_all(), Err);
        done.map_err(|error| JournalError::Write { path, error })
    }
}
