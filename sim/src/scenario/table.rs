//! The one table of everything a scenario file may say. The reader, the JSON Schema, the
//! enumeration of fields for tests and the messages are all made from it.

use std::sync::LazyLock;

use cutline::config::OptionSpec;
use cutline::time::VirtualDuration;

use super::fields;

/// The table of a whole scenario file.
pub(super) static ROOT: LazyLock<Object> = LazyLock::new(fields::root);

/// An object of the file.
#[derive(Debug)]
pub(super) struct Object {
    /// With its article, for messages: `an operator`.
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    pub(super) fields: Vec<Field>,
    pub(super) variants: Option<Variants>,
}

/// What an object that comes in several kinds has besides its common fields.
#[derive(Debug)]
pub(super) struct Variants {
    /// The field that names the variant.
    pub(super) tag: &'static str,
    pub(super) doc: &'static str,
    pub(super) list: Vec<Variant>,
}

/// One kind of an object.
#[derive(Debug)]
pub(super) struct Variant {
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    pub(super) fields: Vec<Field>,
}

/// A key of an object.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) need: Need,
    pub(super) doc: &'static str,
    /// Two different valid values as JSON; empty for objects and lists.
    pub(super) examples: Vec<&'static str>,
    /// What Flink does with a value that is refused here.
    pub(super) flink: Option<&'static str>,
}

/// Whether a field must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Required,
    /// Absence means something of its own, or the default depends on other fields.
    Optional,
    /// Absence means this JSON.
    Default(&'static str),
}

/// The type of a field.
#[derive(Debug)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// The name and version of the format.
    Format,
    /// A name of an operator: letters, digits, `_`, `-`, `.`.
    Name,
    /// A whole number in a range.
    Integer { min: u64, max: u64 },
    /// A span of virtual time, in Flink's grammar.
    Duration { min: VirtualDuration, max: VirtualDuration },
    /// Bytes, in Flink's grammar.
    Size { min: u64, max: u64 },
    /// Bytes a second, or `unlimited`.
    Bandwidth,
    /// So many in a unit of time: `1000/s`.
    Rate,
    /// A share as a fraction of whole numbers, exact in thousandths: `1/2`.
    Ratio,
    /// True or false.
    Boolean,
    /// A decimal number in a range of thousandths: `0.7`.
    Decimal { min: u32, max: u32 },
    /// One of several words.
    Choice(Vec<&'static str>),
    /// How long something takes.
    Distribution,
    /// `name[index]`.
    Subtask,
    /// `job_manager` or `task_manager[index]`.
    Endpoint,
    /// An option of Flink's, by its short name.
    Option(&'static OptionSpec),
    /// One object.
    Object(Object),
    /// At most so many objects.
    List(Object, usize),
    /// A span since the start, or an object that names a step.
    When(Object),
    /// A whole number in a range for each of some operators, by their names.
    ByOperator { min: u64, max: u64 },
    /// Flink's own keys.
    Flink,
}

impl Field {
    /// A field that may be left out.
    pub(super) fn new(
        name: &'static str,
        kind: Kind,
        doc: &'static str,
        examples: [&'static str; 2],
    ) -> Self {
        let need = Need::Optional;
        Self { name, kind, need, doc, examples: examples.to_vec(), flink: None }
    }

    /// A section, a list, or another field that is made of fields.
    pub(super) fn part(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, need: Need::Optional, doc, examples: Vec::new(), flink: None }
    }

    pub(super) fn required(mut self) -> Self {
        self.need = Need::Required;
        self
    }

    pub(super) fn default(mut self, json: &'static str) -> Self {
        self.need = Need::Default(json);
        self
    }

    pub(super) fn flink(mut self, note: &'static str) -> Self {
        self.flink = Some(note);
        self
    }
}

impl Object {
    /// All fields that this object can have if it is of the given variant.
    pub(super) fn fields_of(&self, variant: Option<&str>) -> impl Iterator<Item = &Field> {
        let variants = self.variants.iter().flat_map(|variants| &variants.list);
        let own = variants.filter(move |of| Some(of.name) == variant);
        self.fields.iter().chain(own.flat_map(|variant| &variant.fields))
    }

    /// All fields of all variants.
    pub(super) fn all_fields(&self) -> impl Iterator<Item = &Field> {
        let variants = self.variants.iter().flat_map(|variants| &variants.list);
        self.fields.iter().chain(variants.flat_map(|variant| &variant.fields))
    }

    /// The paths, such as `job.operators[].cost`, of all fields of that name in and below.
    pub(super) fn paths_of(&self, name: &str, prefix: &str, found: &mut Vec<String>) {
        for field in self.all_fields() {
            let path = format!("{prefix}{}", field.name);
            if field.name == name {
                found.push(path.clone());
            }
            match &field.kind {
                Kind::Object(object) => object.paths_of(name, &format!("{path}."), found),
                Kind::List(object, _) => object.paths_of(name, &format!("{path}[]."), found),
                Kind::When(object) => object.paths_of(name, &format!("{path}."), found),
                _ => {}
            }
        }
    }
}
