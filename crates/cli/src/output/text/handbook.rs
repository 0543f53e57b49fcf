//! The workflow record, as Markdown and as one HTML page.

use operate::handbook::{Block, Handbook, Part};

use super::{Page, Text, line};

/// The style of the page: nothing is loaded from elsewhere, and it prints well.
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}\
h1,h2{line-height:1.2}table{border-collapse:collapse;width:100%;margin:1rem 0;font-size:.9rem}th,td{border:1px solid #8c959f;padding:.3rem .5rem;\
text-align:left;vertical-align:top;overflow-wrap:anywhere}th{background:#eaeef2}pre{background:#f6f8fa;padding:.8rem;overflow-x:auto}\
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th{background:#21262d}pre{background:#161b22}}\
@media print{body{margin:0}a{color:inherit}}";

impl Text for Handbook {
    fn text(&self, page: &mut Page) {
        line!(page, "{}", markdown(self).trim_end());
        for missing in &self.missing {
            page.notice(format_args!("missing: {missing}"));
        }
    }
}

/// The record as Markdown.
pub(crate) fn markdown(handbook: &Handbook) -> String {
    let mut text = format!(
        "# Handbook of the link events\n\nWritten by `hookline handbook` from configuration {}. Do not edit it: change the configuration, \
         and write it again. `hookline check` says when the two differ.\n",
        handbook.config
    );
    for part in &handbook.parts {
        text.push('\n');
        if let Some(mark) = part.mark() {
            text.push_str(&format!("{mark}\n"));
        }
        text.push_str(&format!("## {}\n", part.title));
        for block in &part.blocks {
            text.push('\n');
            text.push_str(&markdown_block(block));
        }
    }
    if !handbook.missing.is_empty() {
        text.push_str("\n## What is missing in this record\n\n");
        handbook.missing.iter().for_each(|missing| text.push_str(&format!("- {missing}\n")));
    }
    text
}

fn markdown_block(block: &Block) -> String {
    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    match block {
        Block::Text(text) => format!("{text}\n"),
        Block::Commands(commands) => format!("```sh\n{}\n```\n", commands.join("\n")),
        Block::Table { head, rows } => {
            let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
            rows.iter()
                .for_each(|cells| text.push_str(&row(&cells.iter().map(|cell| cell_of(cell)).collect::<Vec<_>>())));
            text
        }
    }
}

/// A text as a cell: what has a meaning in Markdown or HTML is written so that it has none.
fn cell_of(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for one in text.chars() {
        match one {
            '|' | '\\' | '`' | '*' | '[' | ']' => cell.extend(['\\', one]),
            '<' => cell.push_str("&lt;"),
            '&' => cell.push_str("&amp;"),
            one if one.is_control() => cell.push(' '),
            one => cell.push(one),
        }
    }
    cell
}

/// The record as one HTML page.
pub(crate) fn html(handbook: &Handbook) -> String {
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Handbook of the link events</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>Handbook of the link events</h1>\n\
         <p>Written by <code>hookline handbook</code> from configuration {}. Do not edit it: change the configuration, and write it again. \
         <code>hookline check</code> says when the two differ.</p>\n<nav><ul>\n",
        escaped(&handbook.config)
    );
    for Part { id, title, .. } in &handbook.parts {
        text.push_str(&format!("<li><a href=\"#{id}\">{}</a></li>\n", escaped(title)));
    }
    text.push_str("</ul></nav>\n");
    for part in &handbook.parts {
        if let Some(mark) = part.mark() {
            text.push_str(&format!("{mark}\n"));
        }
        text.push_str(&format!("<section id=\"{}\">\n<h2>{}</h2>\n", part.id, escaped(&part.title)));
        part.blocks.iter().for_each(|block| text.push_str(&html_block(block)));
        text.push_str("</section>\n");
    }
    if !handbook.missing.is_empty() {
        text.push_str("<section>\n<h2>What is missing in this record</h2>\n<ul>\n");
        handbook.missing.iter().for_each(|missing| text.push_str(&format!("<li>{}</li>\n", escaped(missing))));
        text.push_str("</ul>\n</section>\n");
    }
    text.push_str("</main>\n</body>\n</html>\n");
    text
}

fn html_block(block: &Block) -> String {
    match block {
        Block::Text(text) => format!("<p>{}</p>\n", escaped(text)),
        Block::Commands(commands) => format!("<pre><code>{}</code></pre>\n", escaped(&commands.join("\n"))),
        Block::Table { head, rows } => {
            let cells = |tag: &str, cells: &mut dyn Iterator<Item = &str>| -> String {
                let cells: String = cells.map(|cell| format!("<{tag}>{}</{}>", escaped(cell), tag_name(tag))).collect();
                format!("<tr>{cells}</tr>\n")
            };
            let mut text =
                format!("<table>\n<thead>{}</thead>\n<tbody>\n", cells("th scope=\"col\"", &mut head.iter().copied()));
            for row in rows {
                text.push_str(&cells("td", &mut row.iter().map(String::as_str)));
            }
            text.push_str("</tbody>\n</table>\n");
            text
        }
    }
}

fn tag_name(tag: &str) -> &str {
    tag.split(' ').next().unwrap_or(tag)
}

pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for one in text.chars() {
        match one {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push('\n'),
            one if one.is_control() => safe.push(' '),
            one => safe.push(one),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Handbook {
        let head = vec!["source", "owner"];
        let rows = vec![vec!["dub".to_owned(), "<b>Growth</b> | \"x\"".to_owned()]];
        let part = |id, title: &str, blocks, fingerprint: Option<&str>| Part {
            id,
            title: title.into(),
            blocks,
            fingerprint: fingerprint.map(str::to_owned),
        };
        Handbook {
            ok: false,
            config: "9f3c".into(),
            parts: vec![
                part("sources", "Who sends", vec![Block::Table { head, rows }], Some("0123456789ab")),
                part(
                    "pause",
                    "How to pause",
                    vec![Block::Commands(vec!["hookline pause source/dub".into()])],
                    Some("ba9876543210"),
                ),
                part("used", "What is used", vec![Block::Text("ClickHouse was not asked.".into())], None),
            ],
            missing: vec!["where the logs are".into()],
        }
    }

    #[test]
    fn a_handbook_in_both_forms() {
        insta::assert_snapshot!("handbook_markdown", markdown(&record()));
        insta::assert_snapshot!("handbook_html", html(&record()));
    }

    #[test]
    fn both_forms_have_the_marks_by_which_drift_is_found_and_no_text_becomes_markup() {
        let record = record();
        for text in [markdown(&record), html(&record)] {
            for part in record.parts.iter().filter_map(Part::mark) {
                assert!(text.contains(&part), "{part} is not in {text}");
            }
            assert!(!text.contains("<b>"), "{text}");
        }
    }
}
