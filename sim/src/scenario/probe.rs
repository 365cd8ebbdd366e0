//! Every value that a scenario file accepts, with two that differ: for tests that show that
//! nothing is parsed and ignored.

use cutline::config::{Key, OPTIONS, OptionSpec};

use super::load::load;
use super::set::Override;
use super::syntax::{self, Json, Value};
use super::table::{Field, Kind, Object, ROOT};

/// For each kind of action: where it is, its name, and what people do up to it.
const ACTIONS: [(usize, &str, &str); 4] = [
    (0, "savepoint", r#"actions=[{"at": "1 s", "kind": "savepoint"}]"#),
    (0, "stop_with_savepoint", r#"actions=[{"at": "1 s", "kind": "stop_with_savepoint"}]"#),
    (0, "cancel", r#"actions=[{"at": "1 s", "kind": "cancel"}]"#),
    (
        2,
        "resume",
        r#"actions=[
            {"at": "500 ms", "kind": "savepoint"},
            {"at": "700 ms", "kind": "cancel"},
            {"at": "900 ms", "kind": "resume"}]"#,
    ),
];

/// For some kinds of policy: its name, and values of it under which each of its fields matters.
const POLICIES: [(&str, &str); 3] = [
    (
        "backlog",
        r#"checkpointing.policy={
            "kind": "backlog", "during_backlog": "400 ms", "backlog_until": "1 s"}"#,
    ),
    (
        "exact",
        r#"checkpointing.policy={
            "kind": "exact", "checkpoint_cost": "1 ms", "expected_mtbf": "20 s"}"#,
    ),
    (
        "measured",
        r#"checkpointing.policy={
            "kind": "measured", "checkpoint_cost": "1 ms", "expected_mtbf": "20 s"}"#,
    ),
];

/// Two operators run in one task.
const CHAINED: &str = "job.edges[1].chained=true";

/// No fault concerns a host of the store, which is not one that has any.
const NO_HOST: &str = r#"faults[23]={"at": "16 s", "kind": "cut_storage", "for": "150 ms"}"#;

/// A job in which records go round.
const LOOP: [&str; 2] = [
    r#"job={
        "operators": [
            {"name": "source", "kind": "source", "records": 100},
            {"name": "loop", "kind": "map"},
            {"name": "sink", "kind": "idempotent_sink"}],
        "edges": [
            {"from": "source", "to": "loop"},
            {"from": "loop", "to": "loop", "feedback": "1/2"},
            {"from": "loop", "to": "sink"}]}"#,
    "faults=[]",
];

/// Changes of keyed state are logged.
const LOGGED: &str = "changelog.enabled=true";

/// The leader cannot renew its lease.
const LEADER_CUT_OFF: &str = r#"faults=[{"at": "1 s", "kind": "cut_ha", "for": "1 min"}]"#;

/// A task is busy when it is cancelled.
const CANCELLED_BUSY: &str = r#"faults=[
    {"at": "1 s", "kind": "pause_task", "target": "map[1]", "for": "2 s"},
    {"at": "1500 ms", "kind": "crash_task", "target": "map[0]"}]"#;

/// One value of the base scenario and two overrides of it that differ from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProbe {
    /// The path, as `--set` takes it.
    pub path: String,
    /// Overrides to apply first (as `path=value`), without which the value would have no effect.
    pub with: Vec<String>,
    /// Two valid values, as `--set` takes them.
    pub values: [String; 2],
}

impl FieldProbe {
    /// The overrides for one of the two values.
    pub fn overrides(&self, which: usize) -> Vec<Override> {
        let value = format!("{}={}", self.path, self.values[which]);
        let all = self.with.iter().chain([&value]);
        all.map(|text| Override::parse(text).expect("paths of the table are paths")).collect()
    }
}

/// A scenario with at least one operator and one fault of each kind, to which the probes apply.
pub fn base() -> &'static str {
    include_str!("probe.json")
}

/// A probe of every field of the table, in its order. Kinds, names and the ends of edges are not
/// among them: another value there is another scenario.
pub fn probes() -> Vec<FieldProbe> {
    let json = syntax::parse(base(), 0).expect("the base scenario is JSON; tested");
    let mut probes = Vec::new();
    walk_object(&ROOT, &json, "", &mut probes);
    probes
}

fn walk_object(table: &Object, json: &Json, prefix: &str, probes: &mut Vec<FieldProbe>) {
    let variant = table.variants.as_ref().and_then(|variants| text_of(json, variants.tag));
    for field in table.fields_of(variant) {
        walk_field(field, member(json, field.name), &format!("{prefix}{}", field.name), probes);
    }
}

fn walk_field(field: &Field, json: Option<&Json>, path: &str, probes: &mut Vec<FieldProbe>) {
    match (&field.kind, json) {
        (Kind::Option(spec), _) => probes.push(option_probe(spec, path)),
        (Kind::Flink, _) => {
            for spec in OPTIONS.iter().filter(|spec| !spec.is_removed()) {
                for key in [spec.key].iter().chain(spec.deprecated) {
                    probes.push(FieldProbe {
                        values: spec.examples.map(str::to_owned),
                        ..option_probe(spec, &format!("flink.{key}"))
                    });
                }
            }
        }
        (Kind::Object(_), _) if path == "restart" => {
            let specs = OPTIONS.iter().filter(|spec| spec.path.0 == "restart");
            probes
                .extend(specs.map(|spec| option_probe(spec, &format!("restart.{}", spec.path.1))));
        }
        // Random failures in the base would hide what the other fields do.
        (Kind::Object(table), _) if path == "failures" => {
            const WITH: &str =
                r#"failures={"law": "weibull", "mtbf": "800 ms", "shape": 1, "target": "task"}"#;
            let fields = table.fields_of(Some("weibull"));
            probes.extend(fields.filter_map(|field| {
                let [a, b] = field.examples[..] else { return None };
                let path = format!("{path}.{}", field.name);
                let values = [a, b].map(str::to_owned);
                Some(FieldProbe { path, with: vec![WITH.to_owned()], values })
            }));
        }
        // Who sets the interval decides what the base is a test of.
        (Kind::Object(table), _) if path == "checkpointing.policy" => {
            for (variant, with) in POLICIES {
                let fields = table.fields_of(Some(variant));
                probes.extend(fields.filter_map(|field| {
                    let [a, b] = field.examples[..] else { return None };
                    let path = format!("{path}.{}", field.name);
                    let values = [a, b].map(str::to_owned);
                    Some(FieldProbe { path, with: vec![with.to_owned()], values })
                }));
            }
        }
        // Nor does a job end in the base before everything was tried.
        (Kind::List(table, _), None) if path == "actions" => {
            for (index, variant, with) in ACTIONS {
                let fields = table.fields_of(Some(variant));
                probes.extend(fields.filter_map(|field| {
                    let [a, b] = field.examples[..] else { return None };
                    let path = format!("{path}[{index}].{}", field.name);
                    let values = [a, b].map(str::to_owned);
                    let also = match field.name {
                        "operator_chaining" => Some(CHAINED),
                        "changelog" => Some("actions[2].claim_mode=claim"),
                        _ => None,
                    };
                    let with = [with].into_iter().chain(also).map(str::to_owned).collect();
                    Some(FieldProbe { path, with, values })
                }));
            }
        }
        (Kind::Object(table), Some(json)) => walk_object(table, json, &format!("{path}."), probes),
        (Kind::List(table, _), Some(json)) => walk_list(table, json, path, probes),
        (Kind::When(table), Some(json @ Json { value: Value::Object(_), .. })) => {
            walk_object(table, json, &format!("{path}."), probes);
        }
        _ => {}
    }
    if field.name == "feedback" {
        // No edge of the base leads back: others of its features cannot be where one does.
        let [a, b] = field.examples[..] else { return };
        let values = [a, b].map(str::to_owned);
        let path = "job.edges[1].feedback".to_owned();
        probes.push(FieldProbe { path, with: LOOP.map(str::to_owned).to_vec(), values });
    } else if let [a, b] = field.examples[..] {
        let values = [a, b].map(str::to_owned);
        let with = match path {
            "storage.name_node" => vec!["checkpointing.dir=hdfs://namenode".to_owned()],
            // Whether chains are made matters where something is chained.
            "job.operator_chaining" => vec![CHAINED.to_owned()],
            "storage.requests_per_prefix" | "storage.part_size" => {
                vec!["checkpointing.dir=s3://bucket".to_owned(), NO_HOST.to_owned()]
            }
            _ => Vec::new(),
        };
        probes.push(FieldProbe { path: path.to_owned(), with, values });
    }
}

/// One element of each variant is enough; of a list without variants, the first to which both
/// values apply.
fn walk_list(table: &Object, json: &Json, path: &str, probes: &mut Vec<FieldProbe>) {
    let Value::List(elements) = &json.value else { return };
    let tag = table.variants.as_ref().map_or("", |variants| variants.tag);
    let mut seen = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        let name = text_of(element, "name").map_or_else(|| index.to_string(), str::to_owned);
        let mut found = Vec::new();
        walk_object(table, element, &format!("{path}[{name}]."), &mut found);
        for probe in found {
            let field = probe.path.rsplit(']').next().unwrap_or_default();
            let kind = (text_of(element, tag).map(str::to_owned), field.to_owned());
            if !seen.contains(&kind) && applies(&probe) {
                seen.push(kind);
                probes.push(probe);
            }
        }
    }
}

fn applies(probe: &FieldProbe) -> bool {
    (0..2).all(|which| load(base().as_bytes(), "base", &probe.overrides(which)).is_ok())
}

fn option_probe(spec: &OptionSpec, path: &str) -> FieldProbe {
    let with = match (spec.id, spec.strategy) {
        (Key::Directory, _) => vec![NO_HOST.to_owned()],
        (Key::AlignedTimeout, _) => vec!["checkpointing.unaligned=true".to_owned()],
        (Key::RetryPeriod, _) => {
            vec!["cluster.job_managers=3".to_owned(), LEADER_CUT_OFF.to_owned()]
        }
        (Key::LeaseDuration | Key::RenewDeadline, _) => ["cluster.job_managers=3", LEADER_CUT_OFF]
            .into_iter()
            .chain(["ha.retry_period=100 ms"])
            .map(str::to_owned)
            .collect(),
        (Key::CancellationTimeout, _) => vec![CANCELLED_BUSY.to_owned()],
        (
            Key::MaterializeInterval
            | Key::PreemptivePersist
            | Key::PersistDelay
            | Key::UploadTimeout
            | Key::UploadRetryDelay,
            _,
        ) => vec![LOGGED.to_owned()],
        (Key::Materialize | Key::MaterializeFailures, _) => {
            vec![LOGGED.to_owned(), "changelog.materialize_interval=300 ms".to_owned()]
        }
        (Key::UploadAttempts, _) => {
            vec![LOGGED.to_owned(), "changelog.upload_timeout=20 ms".to_owned()]
        }
        (_, Some(strategy)) => vec![format!("restart={{\"type\": \"{strategy}\"}}")],
        _ => Vec::new(),
    };
    let short = |text: &str| spec.parse(text).expect("the table's examples are valid").to_string();
    FieldProbe { path: path.to_owned(), with, values: spec.examples.map(short) }
}

fn member<'j>(json: &'j Json, name: &str) -> Option<&'j Json> {
    let Value::Object(members) = &json.value else { return None };
    members.iter().find(|member| member.key == name).map(|member| &member.value)
}

fn text_of<'j>(json: &'j Json, name: &str) -> Option<&'j str> {
    match &member(json, name)?.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of everything in the table that has a value of its own.
    fn names<'t>(table: &'t Object, found: &mut Vec<&'t str>) {
        for field in table.all_fields() {
            if !field.examples.is_empty() || matches!(field.kind, Kind::Option(_)) {
                found.push(field.name);
            }
            match &field.kind {
                Kind::Object(table) | Kind::List(table, _) | Kind::When(table) => {
                    names(table, found);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn every_field_of_the_table_is_probed() {
        let mut found = Vec::new();
        names(&ROOT, &mut found);
        assert!(found.len() > 60);
        let probes = probes();
        for name in found {
            let of = |probe: &FieldProbe| probe.path.rsplit('.').next() == Some(name);
            assert!(probes.iter().any(of), "{name} is not probed");
        }
        for spec in OPTIONS {
            let path = format!("flink.{}", spec.key);
            let is_there = probes.iter().any(|probe| probe.path == path);
            assert_eq!(is_there, !spec.is_removed(), "{path}");
        }
    }

    #[test]
    fn the_base_has_every_kind() {
        for variants in ["operators", "faults"] {
            let (_, list) = base().split_once(variants).expect("the base has it");
            let table = find(&ROOT, variants).expect("the table has it");
            for variant in &table.variants.as_ref().expect("comes in kinds").list {
                let kind = format!("\"kind\": \"{}\"", variant.name);
                assert!(list.contains(&kind), "{kind}");
            }
        }
    }

    fn find<'t>(table: &'t Object, name: &str) -> Option<&'t Object> {
        table.all_fields().find_map(|field| match &field.kind {
            Kind::List(table, _) if field.name == name => Some(table),
            Kind::Object(table) => find(table, name),
            _ => None,
        })
    }
}
