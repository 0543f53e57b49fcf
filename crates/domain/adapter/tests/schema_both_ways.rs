//! Documents made from the published schema, and documents that break it: the adapter takes the former without a
//! complaint, quarantines what breaks a requirement, and flags what breaks anything else.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::LazyLock;

use boon::{Compiler, SchemaIndex, Schemas};
use event::raw::RawHeaders;
use hookline_adapter::{Adapter, Dialect, Memory, Options, SCHEMA};
use proptest::prelude::*;
use proptest::strategy::Union;
use serde_json::{Map, Value, json};

/// What the adapter makes of a document.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// An event, and nothing in it was off.
    Taken,
    /// An event, with fields that were passed over.
    Flagged(Vec<String>),
    /// No event.
    Quarantined(String),
}

fn adapted(document: &Value) -> Verdict {
    let body = document.to_string();
    let raw = RawHeaders { received_at: 1_795_428_001_000, ..RawHeaders::default() };
    let (bytes, dialect, no_headers) = (body.as_bytes(), &Dialect::PLAIN, |_: &str| None);
    let elements = Adapter::Canonical.split(dialect, bytes, "application/json", &no_headers).expect("one event");
    let mut memory = Memory::new(Options::default());
    let adapted = Adapter::Canonical.adapt(dialect, &raw, &elements[0].bytes, &mut memory);
    assert_eq!(adapted.as_ref().err(), elements[0].quarantine.as_ref(), "both halves say the same of {document}");
    match adapted {
        Err(undecodable) => Verdict::Quarantined(undecodable.to_string()),
        Ok(adapted) => {
            let trace = adapted.event.trace.iter().map(|line| line.to_string());
            let flags: Vec<String> =
                trace.filter(|line| line.starts_with("bad_field:") || line.starts_with("extra:")).collect();
            if flags.is_empty() { Verdict::Taken } else { Verdict::Flagged(flags) }
        }
    }
}

fn schema() -> Value {
    serde_json::from_str(SCHEMA).expect("the schema is JSON")
}

/// The part of the schema whose breach is not merely flagged: what has to be there.
fn requirements() -> Value {
    let whole = schema();
    let mut core = json!({ "type": "object", "required": whole["required"] });
    for name in whole["required"].as_array().expect("a list") {
        let name = name.as_str().expect("a name");
        core["properties"][name] = whole["properties"][name].clone();
    }
    // Of a link, only what it is known by is required; a wrong type elsewhere in it is flagged.
    core["properties"]["link"].as_object_mut().expect("an object").remove("properties");
    core
}

struct Judge(Schemas, SchemaIndex);

/// Holds a document against the whole schema.
static WHOLE: LazyLock<Judge> = LazyLock::new(|| Judge::new(schema()));
/// Holds it against what is required only.
static REQUIRED: LazyLock<Judge> = LazyLock::new(|| Judge::new(requirements()));

impl Judge {
    fn new(schema: Value) -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("https://hookline.example/judged.json", schema).expect("a schema");
        let index = compiler.compile("https://hookline.example/judged.json", &mut schemas).expect("it compiles");
        Self(schemas, index)
    }

    fn accepts(&self, document: &Value) -> bool {
        self.0.validate(document, self.1).is_ok()
    }
}

type Made = BoxedStrategy<Value>;

/// Texts as people and machines write them: short, long, in any script, with characters that others stumble over.
fn text() -> BoxedStrategy<String> {
    prop_oneof![
        "[a-z0-9._-]{1,12}",
        "\\PC{1,20}",
        "[a-z]{1,5}[ \t\n\"\\\\\u{7f}\u{202e}\u{1f600}]{1,3}[a-z]{1,5}",
        "[a-z]{300,400}",
    ]
    .boxed()
}

/// Any document that a schema allows, for the words that the canonical schema uses. A word that it does not know panics,
/// so that the schema cannot outgrow it.
fn valid(schema: &Value) -> Made {
    let known = [
        "$schema",
        "$id",
        "title",
        "description",
        "type",
        "required",
        "properties",
        "anyOf",
        "enum",
        "pattern",
        "minimum",
        "maximum",
        "items",
        "maxProperties",
        "additionalProperties",
    ];
    let fields = schema.as_object().expect("a schema is an object");
    fields.keys().for_each(|word| assert!(known.contains(&word.as_str()), "the schema uses {word}"));
    if let Some(values) = schema["enum"].as_array() {
        return prop::sample::select(values.clone()).boxed();
    }
    if let (Some(choices), None) = (schema["anyOf"].as_array(), schema.get("type")) {
        return Union::new(choices.iter().map(valid)).boxed();
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().map(|name| name.as_str().expect("a type")).collect(),
        other => panic!("the type {other} of {schema}"),
    };
    Union::new(types.into_iter().map(|name| of_type(name, schema))).boxed()
}

fn of_type(name: &str, schema: &Value) -> Made {
    match name {
        "null" => Just(Value::Null).boxed(),
        "boolean" => any::<bool>().prop_map(Value::from).boxed(),
        "integer" => {
            let bound = |word: &str, otherwise| schema[word].as_i64().unwrap_or(otherwise);
            let (least, most) = (bound("minimum", i64::MIN), bound("maximum", i64::MAX));
            prop_oneof![least..=most, Just(least), Just(most)].prop_map(Value::from).boxed()
        }
        "number" => prop_oneof![
            any::<i64>().prop_map(Value::from),
            float().prop_map(Value::from),
            (1_790_000_000_i64..1_800_000_000).prop_map(Value::from),
        ]
        .boxed(),
        "string" => match schema["pattern"].as_str() {
            None => prop_oneof![Just(String::new()), text()].prop_map(Value::from).boxed(),
            Some("\\S") => text().prop_map(|text| Value::from(format!("{text}x"))).boxed(),
            Some(pattern) => {
                let bare = pattern.trim_start_matches('^').trim_end_matches('$').to_owned();
                proptest::string::string_regex(&bare).expect("a pattern").prop_map(Value::from).boxed()
            }
        },
        "array" => prop::collection::vec(valid(&schema["items"]), 0..4).prop_map(Value::from).boxed(),
        "object" => object(schema),
        other => panic!("the type {other}"),
    }
}

fn object(schema: &Value) -> Made {
    let names = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().map(|name| name.as_str().expect("a name").to_owned()).collect()
    };
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none).clone();
    // One of the ways in which the object can be complete, if it has several.
    let ways = match schema["anyOf"].as_array() {
        Some(ways) => ways.iter().map(|way| (names(&way["required"]), way["properties"].clone())).collect(),
        None => vec![(names(&schema["required"]), Value::Null)],
    };
    let ways = ways.into_iter().map(|(required, narrower)| {
        let fields: Vec<BoxedStrategy<Option<(String, Value)>>> = properties
            .iter()
            .map(|(name, field)| {
                let field = narrower.get(name).unwrap_or(field);
                let value = valid(field).prop_map({
                    let name = name.clone();
                    move |value| Some((name.clone(), value))
                });
                match required.contains(name) {
                    true => value.boxed(),
                    false => prop_oneof![Just(None), value].boxed(),
                }
            })
            .collect();
        fields.prop_map(|fields| fields.into_iter().flatten().collect::<Map<_, _>>()).boxed()
    });
    let declared = Union::new(ways);
    let more = match schema.get("additionalProperties") {
        Some(more) => {
            let most = schema["maxProperties"].as_u64().expect("a bound") as usize;
            prop::collection::btree_map(text(), valid(more), 0..=most).boxed()
        }
        // Fields that nobody reads are allowed, whatever they hold.
        None => prop::collection::btree_map("x-[a-z]{1,8}", anything(), 0..2).boxed(),
    };
    (declared, more)
        .prop_map(|(mut declared, more)| {
            declared.extend(more);
            Value::Object(declared)
        })
        .boxed()
}

/// A number that JSON can write and that is no whole number which a float cannot hold: of those, a schema says that they
/// are integers.
fn float() -> impl Strategy<Value = f64> {
    let holds = |number: &f64| number.is_finite() && !(9_007_199_254_740_992.0..1e19).contains(&number.abs());
    any::<f64>().prop_filter("a float that holds what it says", holds)
}

/// Any JSON.
fn anything() -> Made {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        float().prop_map(Value::from),
        Just(json!("")),
        Just(json!("   ")),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,6}", inner, 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
    .boxed()
}

/// What is done to a document: a value replaced by anything, or taken out.
fn damage() -> impl Strategy<Value = Vec<(prop::sample::Index, Option<Value>)>> {
    prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(anything())), 1..4)
}

fn damaged(mut document: Value, damages: &[(prop::sample::Index, Option<Value>)]) -> Value {
    for (pick, value) in damages {
        let mut paths = Vec::new();
        walk(&document, "", &mut paths);
        if paths.is_empty() {
            break;
        }
        let path = pick.get(&paths).clone();
        let (outer, name) = path.rsplit_once('/').expect("a pointer");
        let name = name.replace("~1", "/").replace("~0", "~");
        match (document.pointer_mut(outer), value) {
            (Some(Value::Object(fields)), Some(value)) => drop(fields.insert(name, value.clone())),
            (Some(Value::Object(fields)), None) => drop(fields.remove(&name)),
            (Some(Value::Array(items)), value) => {
                items[name.parse::<usize>().expect("an index")] = value.clone().into()
            }
            _ => {}
        }
    }
    document
}

fn walk(value: &Value, here: &str, paths: &mut Vec<String>) {
    let mut below = |name: &str, value: &Value| {
        let path = format!("{here}/{}", name.replace('~', "~0").replace('/', "~1"));
        paths.push(path.clone());
        walk(value, &path, paths);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| below(name, value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, value)| below(&at.to_string(), value)),
        _ => {}
    }
}

/// What no schema can say: whether a text is a URL, a host, an address or a country, and that the two fields which
/// share the space of `extra` can leave it two entries fewer.
const BEYOND: [&str; 5] = [
    "bad_field:link.destination_url",
    "bad_field:link.domain",
    "bad_field:visitor.country",
    "bad_field:visitor.ip",
    "extra:over_20",
];

/// What is left of a verdict when nothing is held against a document that a schema cannot hold against it.
fn by_schema(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Flagged(flags) if flags.iter().all(|flag| BEYOND.contains(&flag.as_str())) => Verdict::Taken,
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_the_schema_allows_is_taken(document in valid(&schema())) {
        prop_assert!(WHOLE.accepts(&document), "the generator makes valid documents: {}", document);
        prop_assert_eq!(by_schema(adapted(&document)), Verdict::Taken, "{}", document);
    }

    #[test]
    fn what_breaks_a_requirement_is_quarantined_and_what_breaks_the_rest_is_flagged(
        document in valid(&schema()),
        damages in damage(),
    ) {
        let document = damaged(document, &damages);
        let verdict = adapted(&document);
        match (REQUIRED.accepts(&document), WHOLE.accepts(&document)) {
            (false, _) => prop_assert!(matches!(verdict, Verdict::Quarantined(_)), "{:?}: {}", verdict, document),
            (true, false) => prop_assert!(matches!(verdict, Verdict::Flagged(_)), "{:?}: {}", verdict, document),
            (true, true) => prop_assert_eq!(by_schema(verdict), Verdict::Taken, "{}", document),
        }
    }
}

#[test]
fn what_is_made_is_of_many_kinds() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut fields, mut broken, mut flawed, mut fine) = (std::collections::BTreeSet::new(), 0, 0, 0);
    for _ in 0..400 {
        let made = (valid(&schema()), damage()).new_tree(&mut runner).expect("a document").current();
        fields.extend(made.0.as_object().expect("an object").keys().filter(|name| !name.starts_with("x-")).cloned());
        let document = damaged(made.0, &made.1);
        match (REQUIRED.accepts(&document), WHOLE.accepts(&document)) {
            (false, _) => broken += 1,
            (true, false) => flawed += 1,
            (true, true) => fine += 1,
        }
    }
    let declared = schema()["properties"].as_object().expect("properties").len();
    assert_eq!(fields.len(), declared, "every field is made");
    assert!(broken > 40 && flawed > 40 && fine > 40, "{broken} broken, {flawed} flawed, {fine} fine");
}
