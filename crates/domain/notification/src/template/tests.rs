use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::destination::testing::{message, people};
use crate::destination::{Form, KINDS, Kind, Outgoing, SecretText, Step, Value as Setting, Values as Settings};
use crate::message::MessageKind;
use crate::preview::first_write;

fn template(title: &str, text: &str) -> Template {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Template { title: some(title), text: some(text) }
}

fn applied(title: &str, text: &str) -> Message {
    let mut message = message(MessageKind::Alert);
    template(title, text).apply(&mut message, 3);
    message
}

#[test]
fn a_template_says_what_a_message_knows() {
    let text = "{{ count }} of {{ threshold }} on {% for one in links %}{{ one.link|upper }}={{ one.count }}{% endfor %}\n\
        {% if event.country %}from {{ event.country }}{% else %}from somewhere{% endif %}\n{{ todo }} ({{ owner }}, {{ until }})";
    let mut message = message(MessageKind::Alert);
    message.links[0].link = "go.example.com/a".to_owned();
    template("{{ rule|replace('-', ' ') }}: {{ type }}", text).apply(&mut message, 3);
    assert_eq!(message.title, "broken destination: alert");
    assert_eq!(
        message.text,
        "broken destination: alert\n3 of 3 on GO.EXAMPLE.COM/A=3\nfrom somewhere\n\
         docs/runbooks/broken-destination.md (web-ops, 2026-11-29T10:10:00Z)"
    );
    // One part alone: the other stays in our words.
    assert_eq!(applied("", "only this").title, self::message(MessageKind::Alert).title);
    assert!(applied("only this", "").text.ends_with("Owner: web-ops"));
}

#[test]
fn what_cannot_be_filled_leaves_our_words_and_says_so() {
    for text in
        ["{{ 1 / 0 }}", "{% for i in range(90000) %}{{ loop.index }}{% endfor %}", "{{ 'x' * 20000 }}", "{% if %}"]
    {
        let message = applied("", text);
        assert!(
            message.text.contains("Owner: web-ops") && message.text.contains("could not be filled"),
            "{}",
            message.text
        );
    }
    // An end is said in our words, unless the template looks at what a message is.
    let ended = |title: &str| {
        let mut over = message(MessageKind::Resolved);
        template(title, "").apply(&mut over, 3);
        over.title
    };
    assert_eq!(ended("{{ count }} clicks"), message(MessageKind::Resolved).title);
    assert_eq!(ended("{% if type == 'resolved' %}over{% endif %}"), "over");
    // What gives nothing at all says nothing: ours.
    assert_eq!(applied(" {{ event.nothing }} ", "").title, message(MessageKind::Alert).title);
    // A title is one line.
    assert_eq!(applied("a\nb", "").title, "a b");
}

#[test]
fn what_is_wrong_is_named_before_anything_is_sent() {
    let fault =
        |text: &str| template("", text).check().err().map(|fault| (fault.message, fault.unknown.map(|one| one.0)));
    assert_eq!(
        fault("{{ title }} {{ event.campaign }} {% for one in links %}{{ one.link }}{% endfor %} {{ range(3) }}"),
        None
    );
    let (message, unknown) = fault("{{ event.campain }}").unwrap();
    assert!(message.contains("event.campain") && unknown.as_deref() == Some("campain"), "{message}");
    assert_eq!(fault("{{ coumt }}").unwrap().1.as_deref(), Some("coumt"));
    for broken in ["{{ count", "{% for x in links %}", "{{ count|nofilter }}", "{{ 1 / 0 }}", "{% include 'x' %}"] {
        assert!(fault(broken).is_some(), "{broken}");
    }
}

#[test]
fn a_rule_goes_before_its_destination_part_by_part() {
    let of = |one: Template| BTreeMap::from([("a".to_owned(), one)]);
    let templates = Templates { rules: of(template("rule", "")), destinations: of(template("place", "text")) };
    assert_eq!(templates.of("a", "a"), Some(template("rule", "text")));
    assert_eq!(templates.of("b", "a"), Some(template("place", "text")));
    assert_eq!(templates.of("b", "b"), None);
}

/// A destination of a kind, by the examples of its settings.
fn settings(kind: &Kind) -> Settings {
    let mut values = Settings::default();
    for setting in kind.settings.iter().filter(|one| one.required.is_some()) {
        let value = match setting.form {
            Form::Texts => Setting::Texts(vec![setting.example.to_owned()]),
            Form::Path => Setting::Path(setting.example.into()),
            _ => Setting::Text(SecretText::new(setting.example)),
        };
        values.set(setting.key, value);
    }
    if kind.name == "slack" { values.with("url", "https://hooks.slack.com/x") } else { values }
}

/// All texts under a key, wherever they stand.
fn texts<'j>(value: &'j Json, key: &str, into: &mut Vec<&'j str>) {
    match value {
        Json::Object(map) => map.iter().for_each(|(name, one)| match one.as_str() {
            Some(text) if name == key => into.push(text),
            _ => texts(one, key, into),
        }),
        Json::Array(all) => all.iter().for_each(|one| texts(one, key, into)),
        _ => {}
    }
}

/// What pings, formats or injects at a kind of destination, if anything does.
fn harm(kind: &str, step: &Step) -> Option<String> {
    let mut found = Vec::new();
    let (body, json) = match step {
        Step::Http(request) => (request.body.as_str(), serde_json::from_str::<Json>(&request.body).unwrap_or_default()),
        _ => ("", Json::Null),
    };
    match (kind, step) {
        ("slack", _) => {
            for block in json["blocks"].as_array().into_iter().flatten() {
                if block["text"]["type"] == "mrkdwn" && block["text"]["text"] != "<@U0ANN>" {
                    found.push(block.to_string());
                }
            }
            found.extend(json["text"].as_str().filter(|text| text.contains(['<', '>'])).map(str::to_owned));
        }
        ("teams", _) => {
            let blocks = json["attachments"][0]["content"]["body"].as_array().cloned().unwrap_or_default();
            let markdown = blocks.iter().filter(|block| block["type"] == "TextBlock").count();
            if markdown > 1 || body.matches("<at>").count() > 2 {
                found.push(body.to_owned());
            }
        }
        ("github-issues", _) => {
            let text = json["body"].as_str().unwrap_or_default();
            let ours = |line: &str| {
                line.is_empty() || line == "@ann-gh" || line.starts_with('`') || line.starts_with("<!-- hookline")
            };
            found.extend(text.lines().map(str::trim).filter(|line| !ours(line)).map(str::to_owned));
        }
        ("jira", _) => {
            let mut types = Vec::new();
            texts(&json["fields"]["description"], "type", &mut types);
            let known = ["doc", "paragraph", "text", "mention"];
            found.extend(types.into_iter().filter(|one| !known.contains(one)).map(str::to_owned));
        }
        ("hubspot", _) => {
            let mut notes = Vec::new();
            texts(&json, "hs_note_body", &mut notes);
            found.extend(notes.iter().map(|note| note.replace("<br>", "")).filter(|note| note.contains(['<', '>'])));
        }
        ("pagerduty", _) => {
            let summary = json["payload"]["summary"].as_str().unwrap_or_default();
            found.extend(summary.chars().any(char::is_control).then(|| summary.to_owned()));
        }
        ("smtp", Step::Mail(mail)) => {
            found.extend(mail.subject.contains(['\r', '\n']).then(|| mail.subject.clone()));
            let tags = mail.html.matches('<').count();
            let ours =
                ["<!doctype", "<html", "<body", "<div", "<p", "<h2", "</"].map(|tag| mail.html.matches(tag).count());
            found.extend((tags != ours.iter().sum::<usize>()).then(|| mail.html.clone()));
        }
        ("csv", Step::Append(row)) => {
            let runs =
                |field: &&String| field.split(';').any(|part| part.trim_start().starts_with(['=', '+', '-', '@']));
            found.extend(row.fields.iter().filter(runs).cloned());
        }
        // JSON for programs, which show nothing.
        ("webhook", Step::Http(_)) => {}
        _ => panic!("say what does harm at {kind}, which is sent {step:?}"),
    }
    found.into_iter().next()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_template_gives_a_sender_nothing_that_pings_formats_or_injects(
        sender in prop::collection::vec(prop::sample::select(vec![
            "<!channel>", "<@U1>", "<at>A</at>", "@org/team", "#12", "<!-- hookline:k1 -->", "*b*", "`", "```", "[l](http://x)", "=1+1",
            ";@SUM(A1)", "\r\nBcc: a@b.c", "<script>", "{{ 7 * 7 }}", "{% raw %}", "</p>", "\u{0}", "\n", "&", "ü",
        ]), 1..8),
        title in prop::sample::select(vec!["", "{{ link }}", "{{ event.campaign }} {{ title }}", "{{ text|upper }}"]),
        text in prop::sample::select(vec![
            "", "{{ link }}", "{{ event.campaign }}\n{{ text }}", "{% for one in links %}{{ one.link }}\n{% endfor %}",
            "{{ event.campaign|replace('x', '<') }}{{ samples|join('\n') }}",
        ]),
    ) {
        let sender = sender.concat();
        let mut message = message(MessageKind::Alert);
        message.links[0].link = sender.clone();
        message.sample_event_keys = vec![sender.clone()];
        message.attributes.insert("campaign".to_owned(), sender.clone());
        let template = template(title, text);
        prop_assert_eq!(template.check(), Ok(()));
        template.apply(&mut message, 3);
        // What a sender writes is never read as a template.
        if sender.contains("{{ 7 * 7 }}") {
            prop_assert!(!message.text.contains("49"), "{}", message.text);
        }
        let people = people();
        for kind in KINDS {
            let destination = (kind.build)(&settings(kind)).unwrap();
            let outgoing = Outgoing { message: &message, receipt: "", people: &people, now_ms: 1_764_000_000_000 };
            let written = first_write(&*destination, &outgoing).unwrap();
            prop_assert_eq!(harm(kind.name, &written), None, "{}", kind.name);
        }
    }
}
