//! JSON text for people: keys in order, short things in one line.

/// A string.
pub(crate) fn text(of: &str) -> Json {
    Json::Plain(serde_json::to_string(of).expect("a string is always JSON"))
}

/// JSON to be written, with its keys in order.
#[derive(Clone, Debug)]
pub(crate) enum Json {
    /// A number, a boolean or a quoted string.
    Plain(String),
    /// A list.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(&'static str, Json)>),
}

impl Json {
    /// In one line where it fits; sections, lists of objects and the like get a line a part.
    pub(crate) fn write(&self, indent: usize, before: usize, out: &mut String) {
        const LINE_MAX: usize = 100;
        let line = self.one_line();
        if indent >= 4 && before + line.len() <= LINE_MAX || matches!(self, Self::Plain(_)) {
            out.push_str(&line);
            return;
        }
        let (open, close, parts): (_, _, Vec<(String, &Json)>) = match self {
            Self::Plain(_) => unreachable!("written in one line"),
            Self::List(parts) => {
                ('[', ']', parts.iter().map(|part| (String::new(), part)).collect())
            }
            Self::Object(parts) => {
                let keyed = parts.iter().map(|(key, part)| (format!("\"{key}\": "), part));
                ('{', '}', keyed.collect())
            }
        };
        if parts.is_empty() {
            out.push_str(&line);
            return;
        }
        out.push(open);
        for (index, (key, part)) in parts.iter().enumerate() {
            out.push_str(if index == 0 { "\n" } else { ",\n" });
            out.push_str(&" ".repeat(indent + 2));
            out.push_str(key);
            part.write(indent + 2, indent + 2 + key.len(), out);
        }
        out.push('\n');
        out.push_str(&" ".repeat(indent));
        out.push(close);
    }

    pub(super) fn one_line(&self) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::List(parts) => {
                let parts: Vec<String> = parts.iter().map(Self::one_line).collect();
                format!("[{}]", parts.join(", "))
            }
            Self::Object(parts) if parts.is_empty() => "{}".to_owned(),
            Self::Object(parts) => {
                let part = |(key, part): &(&str, Json)| format!("\"{key}\": {}", part.one_line());
                let parts: Vec<String> = parts.iter().map(part).collect();
                format!("{{ {} }}", parts.join(", "))
            }
        }
    }
}
