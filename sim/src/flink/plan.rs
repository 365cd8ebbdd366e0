//! Flink's plan of a job, read with positions: what is wrong with it is said all at once, by field
//! and node.
//!
//! Flink: `JsonPlanGenerator` writes it; `JobPlanInfo` has its fields. Other versions of Flink may
//! have more, so a key that nobody knows is passed over, unless it is a misspelt one.

use std::collections::{BTreeMap, BTreeSet};

use super::shape::{Input, Shape, Vertex};
use crate::scenario::syntax::{Json, Member, Value};
use crate::scenario::{
    CHANNELS_MAX, Diagnostic, Diagnostics, EDGES_MAX, OPERATORS_MAX, PARALLELISM_MAX, Span,
    nearest, read_json,
};

const ANSWER: &str = "the answer to /jobs/:jobid/plan";
const PLAN: &[&str] = &["jid", "name", "type", "nodes"];
const NODE: &[&str] = &[
    "id",
    "parallelism",
    "operator",
    "operator_strategy",
    "description",
    "optimizer_properties",
    "inputs",
    "job_vertex_id",
];
const INPUT: &[&str] = &["num", "id", "ship_strategy", "local_strategy", "caching", "exchange"];

/// Reads a plan; `file_name` is for messages.
pub(super) fn read(bytes: &[u8], file_name: &str) -> Result<Shape, Box<Diagnostics>> {
    let (text, json) = read_json(bytes, file_name)?;
    let mut reader = Reader { found: Vec::new() };
    match reader.shape(&json) {
        Some(shape) if reader.found.is_empty() => Ok(shape),
        _ => Err(Box::new(Diagnostics::of(file_name, text, reader.found))),
    }
}

/// How many channels an exchange has that Flink calls so; between as many senders and receivers.
fn channels(strategy: Option<&str>, senders: u32, receivers: u32) -> u64 {
    let (senders, receivers) = (u64::from(senders), u64::from(receivers));
    match strategy {
        Some("FORWARD" | "RESCALE") => senders.max(receivers),
        _ => senders * receivers,
    }
}

/// A node as it is written.
struct Node {
    id: String,
    /// Its name if it has one, else its id: for messages.
    called: String,
    place: Span,
    parallelism: u32,
    name: String,
    inputs: Vec<NodeInput>,
}

struct NodeInput {
    num: u64,
    id: String,
    place: Span,
    strategy: Option<String>,
}

struct Reader {
    found: Vec<Diagnostic>,
}

impl Reader {
    fn shape(&mut self, json: &Json) -> Option<Shape> {
        let plan = self.plan(json)?;
        let of = self.object(plan, "the plan", PLAN)?;
        let name = self.text(of, "the plan", "name").unwrap_or_default();
        let kind = member(of, "type").map(|kind| (kind.span, self.text(of, "the plan", "type")));
        if let Some((span, Some(kind))) = kind.filter(|(_, kind)| *kind != Some("STREAMING".into()))
        {
            let message =
                format!("the job is of type {kind}; only STREAMING jobs take checkpoints");
            self.found.push(Diagnostic::error("no-stream", span, message).expected("STREAMING"));
            return None;
        }
        let list = self.required(plan, of, "the plan", "nodes")?;
        let Value::List(nodes) = &list.value else {
            self.wrong_type(list, "`nodes` of the plan", "a list of nodes");
            return None;
        };
        if nodes.is_empty() {
            let message = "the plan has no nodes";
            let error = Diagnostic::error("no-nodes", list.span, message);
            self.found.push(error.expected(ANSWER));
            return None;
        }
        let read: Vec<Option<Node>> = nodes.iter().map(|node| self.node(node)).collect();
        let nodes: Vec<Node> = read.into_iter().collect::<Option<_>>()?;
        let sorted = self.sorted(nodes)?;
        self.refuse_too_large(&sorted, list.span);
        Some(shape(name, &sorted))
    }

    /// The plan itself: the value, or a part of it that is called so.
    fn plan<'a>(&mut self, json: &'a Json) -> Option<&'a Json> {
        let Value::Object(members) = &json.value else {
            self.wrong_type(json, "a plan", &format!("an object: {ANSWER}"));
            return None;
        };
        if let Some(plan) = member(members, "plan") {
            return Some(plan);
        }
        if member(members, "nodes").is_some() {
            return Some(json);
        }
        let error = match member(members, "errors") {
            Some(errors) => {
                let message = "Flink answered with an error, and no plan";
                Diagnostic::error("no-plan", errors.span, message).expected(ANSWER)
            }
            None => {
                let message = "neither `plan` nor `nodes` is here";
                let error = Diagnostic::error("missing-key", first_byte(json.span), message);
                let error = error.expected(ANSWER);
                let near = members.iter().find_map(|of| nearest(&of.key, ["plan", "nodes"]));
                near.map_or(error.clone(), |name| error.help(format!("did you mean `{name}`?")))
            }
        };
        self.found.push(error);
        None
    }

    fn node(&mut self, json: &Json) -> Option<Node> {
        let of = self.object(json, "a node", NODE)?;
        let id = self.id(json, of, "a node");
        let shown = id.as_deref().map_or("a node".to_owned(), |id| format!("node \"{id}\""));
        let description = self.text(of, &shown, "description").map(|text| plain(&text));
        let name = description.filter(|name| !name.is_empty());
        let shown = match (&id, &name) {
            (Some(id), Some(name)) => format!("node \"{id}\" (`{name}`)"),
            (Some(_), None) | (None, _) => shown,
        };
        let parallelism = self.parallelism(json, of, &shown);
        let inputs = match member(of, "inputs") {
            None => Some(Vec::new()),
            Some(list) => self.inputs(list, &shown),
        };
        let id = id?;
        Some(Node {
            place: member(of, "id").map_or(json.span, |id| id.span),
            called: name.clone().unwrap_or_else(|| id.clone()),
            name: name.unwrap_or_default(),
            id,
            parallelism: parallelism?,
            inputs: inputs?,
        })
    }

    fn inputs(&mut self, list: &Json, node: &str) -> Option<Vec<NodeInput>> {
        let Value::List(inputs) = &list.value else {
            self.wrong_type(list, &format!("`inputs` of {node}"), "a list of inputs");
            return None;
        };
        let of = format!("an input of {node}");
        let read: Vec<Option<NodeInput>> =
            inputs.iter().enumerate().map(|(index, input)| self.input(input, index, &of)).collect();
        let mut inputs: Vec<NodeInput> = read.into_iter().collect::<Option<_>>()?;
        inputs.sort_by_key(|input| input.num);
        Some(inputs)
    }

    fn input(&mut self, json: &Json, index: usize, shown: &str) -> Option<NodeInput> {
        let of = self.object(json, shown, INPUT)?;
        let num = match member(of, "num") {
            None => Some(index as u64),
            Some(num) => {
                let read = number(num).and_then(|text| text.parse().ok());
                if read.is_none() {
                    self.wrong_value(num, &format!("`num` of {shown}"), "a whole number from 0");
                }
                read
            }
        };
        let strategy = self.text(of, shown, "ship_strategy");
        let id = self.id(json, of, shown)?;
        let place = member(of, "id").map_or(json.span, |id| id.span);
        Some(NodeInput { num: num?, id, place, strategy })
    }

    /// Flink's ids are texts. `StreamExecutionEnvironment#getExecutionPlan` of older versions has
    /// numbers.
    fn id(&mut self, json: &Json, of: &[Member], shown: &str) -> Option<String> {
        let id = self.required(json, of, shown, "id")?;
        match &id.value {
            Value::Text(id) | Value::Number(id) if !id.is_empty() => Some(id.clone()),
            Value::Text(_) | Value::Number(_) => {
                self.wrong_value(id, &format!("`id` of {shown}"), "an id");
                None
            }
            Value::Null | Value::Boolean(_) | Value::List(_) | Value::Object(_) => {
                self.wrong_type(id, &format!("`id` of {shown}"), "a string");
                None
            }
        }
    }

    fn parallelism(&mut self, json: &Json, of: &[Member], shown: &str) -> Option<u32> {
        let value = self.required(json, of, shown, "parallelism")?;
        let expected = format!("a whole number from 1 to {PARALLELISM_MAX}");
        let Some(text) = number(value) else {
            self.wrong_type(value, &format!("`parallelism` of {shown}"), &expected);
            return None;
        };
        let read = text.parse().ok().filter(|count| (1..=PARALLELISM_MAX).contains(count));
        if read.is_none() {
            let message = format!("{shown} has parallelism {text}");
            let error = Diagnostic::error("out-of-range", value.span, message).expected(expected);
            let is_open = text.starts_with('-') || text == "0";
            self.found.push(match is_open {
                true => {
                    error.flink("JobVertex: -1 until a scheduler has decided; ask a running job")
                }
                false => error.help("a scenario has no more; a larger `weight` makes up for fewer"),
            });
        }
        read.map(|count: u64| count as u32)
    }

    fn object<'a>(
        &mut self,
        json: &'a Json,
        shown: &str,
        known: &'static [&'static str],
    ) -> Option<&'a [Member]> {
        let Value::Object(members) = &json.value else {
            self.wrong_type(json, shown, "an object");
            return None;
        };
        for of in members.iter().filter(|of| !known.contains(&of.key.as_str())) {
            let absent = known.iter().filter(|name| member(members, name).is_none());
            if let Some(name) = nearest(&of.key, absent.copied()) {
                let message = format!("`{}` of {shown} is no field of a plan", of.key);
                let error = Diagnostic::error("unknown-key", of.key_span, message);
                let error = error.expected(format!("one of {}", known.join(", ")));
                self.found.push(error.help(format!("did you mean `{name}`?")));
            }
        }
        Some(members)
    }

    fn required<'a>(
        &mut self,
        json: &Json,
        of: &'a [Member],
        shown: &str,
        name: &'static str,
    ) -> Option<&'a Json> {
        let found = member(of, name);
        if found.is_none() {
            let message = format!("{shown} has no `{name}`");
            let error = Diagnostic::error("missing-key", first_byte(json.span), message);
            self.found.push(error.expected(format!("an object with `{name}`")));
        }
        found
    }

    fn text(&mut self, of: &[Member], shown: &str, name: &str) -> Option<String> {
        let found = member(of, name)?;
        let Value::Text(text) = &found.value else {
            self.wrong_type(found, &format!("`{name}` of {shown}"), "a string");
            return None;
        };
        Some(text.clone())
    }

    fn wrong_type(&mut self, json: &Json, shown: &str, expected: &str) {
        let message = format!("{shown} cannot be {}", json.describe());
        let error = Diagnostic::error("wrong-type", head(json), message);
        self.found.push(error.expected(expected));
    }

    fn wrong_value(&mut self, json: &Json, shown: &str, expected: &str) {
        let message = format!("{shown} is something else");
        self.found.push(Diagnostic::error("bad-value", json.span, message).expected(expected));
    }

    /// Inputs first; nodes that could go either way keep their order.
    fn sorted(&mut self, nodes: Vec<Node>) -> Option<Vec<Node>> {
        let mut places: BTreeMap<&str, Span> = BTreeMap::new();
        for node in &nodes {
            if let Some(first) = places.insert(&node.id, node.place) {
                let message = format!("two nodes have the id \"{}\"", node.id);
                let error = Diagnostic::error("repeated-id", node.place, message);
                self.found.push(error.expected("an id of its own").also(first, "the first one"));
            }
        }
        for node in &nodes {
            for input in node.inputs.iter().filter(|of| !places.contains_key(of.id.as_str())) {
                let message = format!(
                    "node \"{}\" has an input from \"{}\", and no node has that id",
                    node.id, input.id
                );
                let error = Diagnostic::error("unknown-id", input.place, message);
                let error = error.expected("the id of a node of this plan");
                self.found.push(error.nearest(&input.id, places.keys().copied()));
            }
        }
        if !self.found.is_empty() {
            return None;
        }
        let mut left = nodes;
        let mut done: Vec<Node> = Vec::with_capacity(left.len());
        let mut placed = BTreeSet::new();
        while !left.is_empty() {
            let ready = |node: &Node| node.inputs.iter().all(|input| placed.contains(&input.id));
            let (now, later): (Vec<Node>, Vec<Node>) = left.into_iter().partition(ready);
            if now.is_empty() {
                let ids: Vec<&str> = later.iter().map(|node| node.id.as_str()).collect();
                let message = format!("the nodes {} feed each other in a circle", ids.join(", "));
                let error = Diagnostic::error("cycle", later[0].place, message);
                self.found.push(error.expected("no way back: plans of Flink 2 have none"));
                return None;
            }
            placed.extend(now.iter().map(|node| node.id.clone()));
            done.extend(now);
            left = later;
        }
        Some(done)
    }

    /// A plan may be larger than a scenario: said by its nodes, before anything is written.
    fn refuse_too_large(&mut self, nodes: &[Node], list: Span) {
        let fed: BTreeSet<&str> =
            nodes.iter().flat_map(|of| of.inputs.iter().map(|input| input.id.as_str())).collect();
        // A sink of its own is chained to what is keyed or a source and feeds nothing.
        let is_hash = |input: &NodeInput| input.strategy.as_deref() == Some("HASH");
        let has_sink = |of: &&Node| !fed.contains(of.id.as_str()) && of.inputs.iter().all(is_hash);
        let sinks = nodes.iter().filter(has_sink).count();
        let inputs: usize = nodes.iter().map(|of| of.inputs.len()).sum();
        for (count, max, what) in [
            (nodes.len() + sinks, OPERATORS_MAX, "operators"),
            (inputs + sinks, EDGES_MAX, "edges"),
        ] {
            if count > max {
                let message = format!("{} nodes make {count} {what}", nodes.len());
                let error = Diagnostic::error("too-large", first_byte(list), message);
                self.found.push(error.expected(format!("at most {max} {what} in a scenario")));
            }
        }
        let by_id: BTreeMap<&str, &Node> = nodes.iter().map(|of| (of.id.as_str(), of)).collect();
        let exchanges = || {
            nodes.iter().flat_map(|to| to.inputs.iter().map(move |input| (to, input))).map(
                |(to, input)| {
                    let from = by_id[input.id.as_str()];
                    let strategy = input.strategy.as_deref();
                    (channels(strategy, from.parallelism, to.parallelism), from, to, strategy)
                },
            )
        };
        let all: u64 = exchanges().map(|(count, ..)| count).sum();
        let widest = exchanges().max_by_key(|(count, ..)| *count);
        if let Some((most, from, to, strategy)) = widest.filter(|_| all > CHANNELS_MAX) {
            let message = format!(
                "the plan has {all} channels, {most} of them from `{}` (parallelism {}) to `{}` \
                 (parallelism {}) by {}",
                from.called,
                from.parallelism,
                to.called,
                to.parallelism,
                strategy.unwrap_or("an exchange that has no name")
            );
            let error = Diagnostic::error("too-large", to.place, message)
                .expected(format!("at most {CHANNELS_MAX} channels in a scenario"))
                .also(from.place, "the sender")
                .help("half the parallelism of both makes a quarter of the channels");
            self.found.push(error);
        }
    }
}

/// The vertices, of nodes that are sorted.
fn shape(name: String, nodes: &[Node]) -> Shape {
    let place: BTreeMap<&str, usize> =
        nodes.iter().enumerate().map(|(index, node)| (node.id.as_str(), index)).collect();
    let vertex = |node: &Node| {
        let inputs = node.inputs.iter().map(|input| Input {
            from: place[input.id.as_str()],
            strategy: input.strategy.clone(),
        });
        Vertex {
            id: node.id.clone(),
            name: node.name.clone(),
            parallelism: node.parallelism,
            max_parallelism: None,
            inputs: inputs.collect(),
        }
    };
    Shape { name, vertices: nodes.iter().map(vertex).collect() }
}

/// A member that is there and not null. Flink writes null for what it does not know.
fn member<'a>(members: &'a [Member], name: &str) -> Option<&'a Json> {
    let found = members.iter().rfind(|member| member.key == name).map(|member| &member.value);
    found.filter(|json| !matches!(json.value, Value::Null))
}

fn number(json: &Json) -> Option<&str> {
    match &json.value {
        Value::Number(text) => Some(text),
        Value::Null | Value::Boolean(_) | Value::Text(_) | Value::List(_) | Value::Object(_) => {
            None
        }
    }
}

fn first_byte(span: Span) -> Span {
    Span { end: (span.start + 1).min(span.end), ..span }
}

fn head(json: &Json) -> Span {
    match json.value {
        Value::List(_) | Value::Object(_) => first_byte(json.span),
        Value::Null | Value::Boolean(_) | Value::Number(_) | Value::Text(_) => json.span,
    }
}

/// A description as the name of a chain. Flink: `JsonPlanGenerator` makes it fit for browsers; by
/// `pipeline.vertex-description-mode` it is a tree with a line for each operator, or already one
/// line with arrows.
fn plain(description: &str) -> String {
    let branch = |sign: char| matches!(sign, ' ' | ':' | '+' | '-');
    let lines = description.split("<br/>").map(|line| line.trim_start_matches(branch).trim_end());
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    unescaped(&lines.join(" -> "))
}

/// `StringEscapeUtils#escapeHtml4`, the other way round. Names of a scenario have no signs beyond
/// these.
fn unescaped(text: &str) -> String {
    const SIGNS: [(&str, &str); 6] = [
        ("&gt;", ">"),
        ("&lt;", "<"),
        ("&quot;", "\""),
        ("&amp;", "&"),
        ("&#92;", "\\"),
        ("&#39;", "'"),
    ];
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        let known = SIGNS.iter().find_map(|(name, sign)| Some((from.strip_prefix(name)?, *sign)));
        let (behind, sign) = known.unwrap_or_else(|| letter(from));
        plain.push_str(sign);
        rest = behind;
    }
    plain + rest
}

/// What stands behind the name of another sign, such as `&eacute;`, in whose place there is `?`.
fn letter(from: &str) -> (&str, &'static str) {
    let end = from[1..].find(|sign: char| !sign.is_ascii_alphanumeric()).map(|at| at + 1);
    match end.filter(|end| *end > 1 && from[*end..].starts_with(';')) {
        Some(end) => (&from[end + 1..], "?"),
        None => (&from[1..], "&"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nodes: &str) -> Result<Shape, String> {
        let text = format!(r#"{{"name": "job", "type": "STREAMING", "nodes": {nodes}}}"#);
        read(text.as_bytes(), "plan.json").map_err(|found| found.to_string())
    }

    #[test]
    fn inputs_come_first_and_names_are_plain() {
        let shape = of(r#"[
            {"id": "c", "parallelism": 2, "description": "a -&gt; b<br/>", "inputs": [{"num": 0, "id": "s", "ship_strategy": "HASH"}]},
            {"id": "s", "parallelism": 1, "description": "Source: s", "inputs": null}
        ]"#)
        .expect("a plan");
        let names: Vec<&str> = shape.vertices.iter().map(|of| of.name.as_str()).collect();
        assert_eq!(names, ["Source: s", "a -> b"]);
        assert_eq!(
            shape.vertices[1].inputs,
            [Input { from: 0, strategy: Some("HASH".to_owned()) }]
        );
        assert_eq!(shape.depths(), [0, 1]);
        assert!(shape.is_end(1) && !shape.is_end(0));
    }

    #[test]
    fn a_description_is_the_name_of_a_chain() {
        for (description, expected) in [
            ("count<br/>", "count"),
            ("enrich<br/>+- tap<br/>   +- sink: Writer<br/>", "enrich -> tap -> sink: Writer"),
            (
                "test source<br/>:- x + 1<br/>:  +- print<br/>+- x - 2<br/>",
                "test source -> x + 1 -> print -> x - 2",
            ),
            ("Source: s -&gt; Filter", "Source: s -> Filter"),
            (
                "[3]:Calc(select=[a, b], where=[(a &lt; 5 AND b = &quot;x&quot;)])",
                "[3]:Calc(select=[a, b], where=[(a < 5 AND b = \"x\")])",
            ),
            ("caf&eacute; &amp;gt; C:&#92;tmp & so on", "caf? &gt; C:\\tmp & so on"),
            ("", ""),
        ] {
            assert_eq!(plain(description), expected);
        }
    }

    #[test]
    fn any_form_of_the_answer_is_read() {
        let plan = r#"{"jid": "0", "nodes": [{"id": 1, "parallelism": 3}]}"#;
        for text in [
            plan.to_owned(),
            format!(r#"{{"plan": {plan}}}"#),
            format!(r#"{{"jid": "0", "state": "RUNNING", "vertices": [], "plan": {plan}}}"#),
        ] {
            let shape = read(text.as_bytes(), "plan.json").unwrap_or_else(|e| panic!("{e}"));
            assert_eq!((shape.vertices[0].id.as_str(), shape.vertices[0].parallelism), ("1", 3));
        }
    }

    #[test]
    fn what_a_plan_gets_wrong_is_named_with_its_place() {
        let node = |id: &str, input: &str| {
            format!(r#"{{"id": "{id}", "parallelism": 1, "inputs": [{{"id": "{input}"}}]}}"#)
        };
        let one = |fields: &str| format!(r#"[{{"id": "a", "description": "Map", {fields}}}]"#);
        let wide = r#"[{"id": "s", "parallelism": 2000, "description": "Source: in"},
            {"id": "c", "parallelism": 2000, "description": "count", "inputs": [{"id": "s", "ship_strategy": "HASH"}]}]"#;
        let many: Vec<String> =
            (0..600).map(|id| format!(r#"{{"id": "{id}", "parallelism": 1}}"#)).collect();
        for (nodes, expected) in [
            ("[]".to_owned(), "the plan has no nodes"),
            ("{}".to_owned(), "`nodes` of the plan cannot be an object"),
            ("[7]".to_owned(), "a node cannot be a number"),
            (format!("[{}]", node("a", "x")), "an input from \"x\", and no node has that id"),
            (format!("[{}, {}]", node("a", "b"), node("b", "a")), "a, b feed each other"),
            (format!("[{}, {}]", node("a", "a"), node("a", "a")), "two nodes have the id \"a\""),
            (one(r#""parallelism": 0"#), "node \"a\" (`Map`) has parallelism 0"),
            (one(r#""parallelism": -1"#), "-1 until a scheduler has decided"),
            (one(r#""parallelism": 40000"#), "a whole number from 1 to 32768"),
            (
                one(r#""parallelism": "2""#),
                "`parallelism` of node \"a\" (`Map`) cannot be a string",
            ),
            (one(r#""paralelism": 2"#), "did you mean `parallelism`?"),
            (one(r#""parallelism": 2, "input": []"#), "did you mean `inputs`?"),
            (one(r#""parallelism": 2, "inputs": {}"#), "`inputs` of node \"a\" (`Map`) cannot be"),
            (one(r#""parallelism": 2, "inputs": [{"num": 0}]"#), "has no `id`"),
            (
                one(r#""parallelism": 2, "inputs": [{"id": "a", "ship_strategy": 5}]"#),
                "`ship_strategy` of an input of node \"a\" (`Map`) cannot be a number",
            ),
            (
                wide.to_owned(),
                "4000000 channels, 4000000 of them from `Source: in` (parallelism 2000) to `count`",
            ),
            (format!("[{}]", many.join(",")), "600 nodes make 1200 operators"),
        ] {
            let said = of(&nodes).expect_err(&nodes);
            assert!(said.contains(expected), "{expected} is not in\n{said}");
            assert!(said.contains("plan.json:1:"), "{said}");
        }
    }

    #[test]
    fn what_is_no_plan_says_what_it_is() {
        for (text, expected) in [
            ("[]", "a plan cannot be a list"),
            ("", "the file is empty"),
            ("{\"plan\": {", "the file ends too early"),
            ("mine", "this is not JSON"),
            (r#"{"errors": ["Not found"]}"#, "Flink answered with an error"),
            (r#"{"plann": {}}"#, "did you mean `plan`?"),
            (r#"{"plan": {"type": "BATCH", "nodes": []}}"#, "only STREAMING jobs"),
            (r#"{"plan": {"type": "STREAMING"}}"#, "the plan has no `nodes`"),
        ] {
            let said = read(text.as_bytes(), "plan.json").expect_err(text).to_string();
            assert!(said.contains(expected), "{expected} is not in\n{said}");
        }
    }
}
