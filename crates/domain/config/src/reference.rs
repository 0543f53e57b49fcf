//! docs/configuration.md: every option, from its declaration.

use crate::environment::PLATFORM_SECTIONS;
use crate::option::{Page, Row};
use crate::root;

const HEAD: &str = "\
# Configuration

<!-- Written by `hookline config reference` from the declarations beside the readers (crates/domain/config/src). Change
those, not this page. -->

One file, `hookline.toml`, and the files that it names in `include`. `hookline check` reads all of it and says everything that is
wrong, each problem with its line. [deploy/hookline.example.toml](../deploy/hookline.example.toml) shows it in use.

**In an editor.** [schemas/hookline.schema.json](../schemas/hookline.schema.json) completes keys, shows what they mean and underlines what
is wrong, in every editor with [Taplo](https://taplo.tamasfe.dev) (VS Code: Even Better TOML). Name it in the first line of a file,
as a path or an address: `#:schema ../schemas/hookline.schema.json`. `hookline config schema` prints the one of your version.

**Values.** A *duration* is numbers with units, the longest unit first, here and on the command line: `\"90s\"`, `\"1h30m\"`, `\"2 hours\"`, `\"7d\"`. A *size* is a number and `B`, `KiB`,
`MiB` or `GiB`. A *date* stands without quotation marks: `2026-12-01` or `2026-12-01T09:00:00Z`; without an offset it is in
`timezone`. A *secret* is never in the file: `{ env = \"VARIABLE\" }` or `{ file = \"PATH\" }`. Relative paths start at the folder of the file they
stand in, where nothing else is said.

**Environment.** Each key of the platform's half (SECTIONS) can be overridden by `HOOKLINE_<SECTION>_<KEY>`, such
as `HOOKLINE_KAFKA_BROKERS`. Lists are separated by commas; tables are written as in TOML. Variables that are not keys: `HOOKLINE_LOG`, `HOOKLINE_LOG_FORMAT`,
`HOOKLINE_CACHE` and, for `hookline up`, `HOOKLINE_CLICKHOUSE_BIN` ([operations](operations.md#on-one-machine-hookline-up)).
";

/// The reference of all options, in Markdown.
#[must_use]
pub fn reference() -> String {
    let sections: Vec<String> = PLATFORM_SECTIONS.iter().map(|section| format!("`[{section}]`")).collect();
    let mut page = HEAD.replace("SECTIONS", &sections.join(", "));
    write(&root::GROUP.page("The file"), 2, &mut page);
    page
}

fn write(page: &Page, depth: usize, out: &mut String) {
    let Page { title, about, read_by, rows, below } = page;
    out.push_str(&format!("\n{} {}\n\n{about}", "#".repeat(depth), heading(title)));
    if !read_by.is_empty() {
        out.push_str(&format!(" Read by {read_by}."));
    }
    out.push('\n');
    if !rows.is_empty() {
        out.push_str("\n| key | value | left out | example | |\n|---|---|---|---|---|\n");
        rows.iter().for_each(|row| out.push_str(&line(row)));
    }
    below.iter().for_each(|page| write(page, (depth + 1).min(4), out));
}

/// What is written in the file is set as code.
fn heading(title: &str) -> String {
    match title.split_once(" of [") {
        Some((table, section)) => format!("{table} of `[{section}`"),
        None if title.starts_with(['[', 'k']) => format!("`{title}`"),
        None => title.to_owned(),
    }
}

fn line(row: &Row) -> String {
    let Row { key, form, left_out, example, about, read_by } = row;
    let by = if read_by.is_empty() { String::new() } else { format!(" Read by {read_by}.") };
    let example = if example.is_empty() { String::new() } else { format!("`{example}`") };
    let cells = [format!("`{key}`"), form.clone(), left_out.clone(), example, format!("{about}{by}")];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}
