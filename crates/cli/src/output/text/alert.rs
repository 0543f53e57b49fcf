//! Why an alert fired, with a chart: for a terminal, and as SVG.

use operate::explain::{AlertReport, Chart, Point, Told};

use super::{Page, Text, line, time};

/// Columns and lines of the chart of a terminal.
const COLUMNS: usize = 70;
const LINES: usize = 12;

/// The size of a drawing, and where its plot begins and ends, in pixels.
const SIZE: (f64, f64) = (860.0, 320.0);
const PLOT: (f64, f64, f64, f64) = (56.0, 48.0, 840.0, 270.0);

impl Text for AlertReport {
    fn text(&self, page: &mut Page) {
        let test = if self.test { ", of test data" } else { "" };
        line!(page, "{}", title(self));
        line!(page, "  {}", self.why);
        line!(page, "  window     {} until {}{test}", time::shown(self.window_start), time::shown(self.window_end));
        line!(page, "  observed   {}", self.observed);
        if self.threshold > 0 {
            line!(page, "  asked for  {}", self.threshold);
        }
        let attribute = |name: &str| self.attributes.get(name).filter(|value| !value.is_empty());
        if let (Some(low), Some(high)) = (attribute("usual_low"), attribute("usual_high")) {
            line!(page, "  usual      {low} to {high}");
        }
        if let Some(level) = attribute("level") {
            line!(page, "  level      {level} (1 is what the profile has for this hour of the week)");
        }
        if let Some(missed) = attribute("missed") {
            line!(page, "  missed     at least {missed}");
        }
        line!(page, "  alert      {}, rule version {}, owner {}", self.alert_id, self.rule_version, self.owner);
        for told in &self.messages {
            line!(page, "  told       {}", became(told));
        }
        if self.messages.is_empty() {
            line!(page, "  told       no one yet: no message names it");
        }
        if let Some(chart) = &self.chart {
            line!(page, "");
            terminal(chart).iter().for_each(|drawn| line!(page, "{drawn}"));
        }
        self.notes.iter().for_each(|note| line!(page, "Note: {note}."));
    }
}

/// Where a message stands, and why.
fn became(told: &Told) -> String {
    let attempts = match told.attempts {
        0 => String::new(),
        1 => ", 1 attempt".to_owned(),
        many => format!(", {many} attempts"),
    };
    let why = if told.why.is_empty() { String::new() } else { format!(": {}", told.why) };
    format!("{}: {} {}{attempts}{why} (bundle {})", told.destination, told.stage, time::shown(told.at), told.bundle_id)
}

fn title(report: &AlertReport) -> String {
    let what = match report.transition.as_str() {
        "resolved" => "over",
        "fired" => "fired",
        _ => "met an event",
    };
    format!("{} {what}: {}, {}", report.rule, report.key, time::shown(report.window_end))
}

/// The most that is drawn: of counts and of what is usual; a bound that is far above both is drawn at the top.
fn top(chart: &Chart) -> f64 {
    let counts = chart.points.iter().map(|one| one.count as f64).fold(1.0, f64::max);
    let usual = chart.points.iter().filter_map(|one| one.usual).map(|usual| usual.1).fold(counts, f64::max);
    let bound = chart.points.iter().filter_map(|one| one.bound).fold(0.0, f64::max);
    if bound <= 3.0 * usual { usual.max(bound) } else { usual }
}

/// Points that a column stands for, as one: the most of counts, the widest of what is usual.
fn column(points: &[Point]) -> Option<Point> {
    let mut all = points.iter().copied();
    let first = all.next()?;
    Some(all.fold(first, |sum, one| Point {
        at: one.at,
        count: sum.count.max(one.count),
        usual: match (sum.usual, one.usual) {
            (Some(left), Some(right)) => Some((left.0.min(right.0), left.1.max(right.1))),
            (left, right) => left.or(right),
        },
        bound: match (sum.bound, one.bound) {
            (Some(left), Some(right)) => Some(left.min(right)),
            (left, right) => left.or(right),
        },
    }))
}

/// Lines of a terminal: counts as bars, what is usual shaded, what fires as a line.
fn terminal(chart: &Chart) -> Vec<String> {
    if chart.points.is_empty() {
        return Vec::new();
    }
    let each = chart.points.len().div_ceil(COLUMNS);
    let columns: Vec<Point> = chart.points.chunks(each).filter_map(column).collect();
    let top = top(chart);
    let height = |value: f64| (value / top * LINES as f64).round() as usize;
    let mut lines = Vec::new();
    for row in (1..=LINES).rev() {
        let letter = |one: &Point| {
            let bar = if one.count > 0 { height(one.count as f64).max(1) } else { 0 };
            let is_bound = one.bound.is_some_and(|bound| height(bound).clamp(1, LINES) == row);
            let is_usual = one.usual.is_some_and(|(low, high)| (height(low).max(1)..=height(high)).contains(&row));
            match (bar >= row, is_bound, is_usual) {
                (true, ..) => '█',
                (_, true, _) => '─',
                (_, _, true) => '░',
                _ => ' ',
            }
        };
        let mark = if row == LINES || row == LINES / 2 {
            format!("{:.0}", top * row as f64 / LINES as f64)
        } else {
            String::new()
        };
        let drawn: String = columns.iter().map(letter).collect();
        lines.push(format!("{mark:>8} │{}", drawn.trim_end()));
    }
    lines.push(format!("{:>8} └{}", 0, "─".repeat(columns.len())));
    let (first, last) = (chart.points.first(), chart.points.last());
    let [first, last] = [first, last].map(|one| one.map_or(0, |one| one.at));
    let at = columns.iter().position(|one| one.at >= chart.at).unwrap_or(columns.len());
    lines.push(format!("{:>8}  {}▲ {}", "", " ".repeat(at), time::shown(chart.at)));
    lines.push(format!("{:>8}  {} to {}", "", time::shown(first), time::shown(last)));
    let usual = if chart.points.iter().any(|one| one.usual.is_some()) { "   ░ usual" } else { "" };
    let fires = if chart.points.iter().any(|one| one.bound.is_some()) { "   ─ fires" } else { "" };
    lines.push(format!("{:>8}  █ events {}{usual}{fires}", "", chart.unit));
    lines
}

/// The same as a drawing that a browser shows and a page can hold. It loads nothing and runs nothing.
pub(crate) fn svg(report: &AlertReport, chart: &Chart) -> String {
    let (left, upper, right, lower) = PLOT;
    let (first, last) = (chart.points.first(), chart.points.last());
    let [first, last] = [first, last].map(|one| one.map_or(0, |one| one.at));
    let top = top(chart);
    let x = |at: i64| left + (at - first) as f64 / ((last - first).max(1)) as f64 * (right - left);
    let y = |value: f64| lower - (value / top).clamp(0.0, 1.0) * (lower - upper);
    let place = |at: i64, value: f64| format!("{:.1},{:.1}", x(at), y(value));
    let counts: Vec<String> = chart.points.iter().map(|one| place(one.at, one.count as f64)).collect();
    let bound: Vec<String> = chart.points.iter().filter_map(|one| Some(place(one.at, one.bound?))).collect();
    let known = || chart.points.iter().filter_map(|one| Some((one.at, one.usual?)));
    let usual: Vec<String> = known()
        .map(|(at, (_, high))| place(at, high))
        .chain(known().collect::<Vec<_>>().into_iter().rev().map(|(at, (low, _))| place(at, low)))
        .collect();
    let line = |points: &[String], class: &str| match points {
        [] => String::new(),
        points => format!("<polyline class=\"{class}\" points=\"{}\"/>\n", points.join(" ")),
    };
    let band = if usual.is_empty() {
        String::new()
    } else {
        format!("<polygon class=\"u\" points=\"{}\"/>\n", usual.join(" "))
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\" aria-labelledby=\"t d\">\n\
         <title id=\"t\">{}</title>\n<desc id=\"d\">{}</desc>\n\
         <style>text{{font:12px system-ui,sans-serif;fill:#1b1f24}}.h{{font-weight:600}}.b{{fill:#fff}}.u{{fill:#0969da;opacity:.18}}\
         .c{{fill:none;stroke:#0969da;stroke-width:1.5}}.f{{fill:none;stroke:#cf222e;stroke-width:1.5;stroke-dasharray:5 3}}\
         .a{{stroke:#8c959f}}.m{{stroke:#cf222e}}\
         @media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.b{{fill:#0d1117}}}}</style>\n\
         <rect class=\"b\" width=\"100%\" height=\"100%\"/>\n<text class=\"h\" x=\"{left}\" y=\"20\">{}</text>\n\
         <text x=\"{left}\" y=\"37\">{}</text>\n",
        SIZE.0,
        SIZE.1,
        escaped(&title(report)),
        escaped(&report.why),
        escaped(&title(report)),
        escaped(&report.why),
    );
    out.push_str(&band);
    out.push_str(&line(&bound, "f"));
    out.push_str(&line(&counts, "c"));
    out.push_str(&format!(
        "<path class=\"a\" fill=\"none\" d=\"M{left} {upper}V{lower}H{right}\"/>\n\
         <line class=\"m\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{upper}\" y2=\"{lower}\"/>\n",
        x(chart.at)
    ));
    for (at, value) in [(lower, 0.0), ((upper + lower) / 2.0, top / 2.0), (upper, top)] {
        out.push_str(&format!(
            "<text text-anchor=\"end\" x=\"{:.0}\" y=\"{:.0}\">{value:.0}</text>\n",
            left - 6.0,
            at + 4.0
        ));
    }
    for (at, anchor) in [(first, "start"), (last, "end")] {
        let text = time::shown(at);
        out.push_str(&format!("<text text-anchor=\"{anchor}\" x=\"{:.0}\" y=\"288\">{text}</text>\n", x(at)));
    }
    let (shaded, dashed) =
        (if usual.is_empty() { "" } else { "; shaded: usual" }, if bound.is_empty() { "" } else { "; dashed: fires" });
    out.push_str(&format!(
        "<text x=\"{left}\" y=\"308\">line: events {}{shaded}{dashed}; upright: this alert</text>\n</svg>\n",
        escaped(&chart.unit)
    ));
    out
}

fn escaped(text: &str) -> String {
    super::handbook::escaped(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn report() -> AlertReport {
        let at = 1_795_100_400_000;
        let point = |minute: i64| Point {
            at: at + minute * 60_000,
            count: if (0..8).contains(&minute) { 88 } else { 10 },
            usual: (minute > -80).then_some((4.0, 21.0)),
            bound: (minute > -80).then_some(52.0),
        };
        AlertReport {
            ok: true,
            alert_id: "0a1b".into(),
            rule: "promo-spike".into(),
            rule_version: "0123456789ab".into(),
            owner: "growth".into(),
            key: "go.example.com/<b>".into(),
            transition: "fired".into(),
            window_start: at - 300_000,
            window_end: at,
            observed: 88,
            threshold: 52,
            test: false,
            why: "88 clicks in 5 min; usual for Thursday 14:00 UTC is 4 to 21".into(),
            attributes: BTreeMap::from(
                [("usual_low", "4"), ("usual_high", "21"), ("level", "1.03")]
                    .map(|(name, value)| (name.into(), value.into())),
            ),
            messages: vec![
                Told {
                    destination: "chat".into(),
                    bundle_id: "b1".into(),
                    stage: "delivered".into(),
                    at,
                    attempts: 2,
                    why: String::new(),
                },
                Told {
                    destination: "crm".into(),
                    bundle_id: "b2".into(),
                    stage: "held".into(),
                    at,
                    attempts: 0,
                    why: "inhibit silent-source: source-silent fires for shop".into(),
                },
            ],
            chart: Some(Chart { unit: "in 5 min".into(), step_ms: 60_000, points: (-90..60).map(point).collect(), at }),
            notes: vec!["the rule has changed since: the chart is by the rule of now".into()],
        }
    }

    #[test]
    fn an_alert_is_drawn_on_a_terminal_and_as_svg() {
        let report = report();
        insta::assert_snapshot!("alert_text", Page::of(&report, "--config x.toml").shown());
        let drawn = svg(&report, report.chart.as_ref().unwrap());
        insta::assert_snapshot!("alert_svg", drawn);
        assert!(!drawn.contains("<b>") && !drawn.contains("script"));
    }

    #[test]
    fn a_chart_without_points_is_empty() {
        let chart = Chart { unit: "an hour".into(), step_ms: 1, points: Vec::new(), at: 0 };
        assert!(terminal(&chart).is_empty());
    }
}
