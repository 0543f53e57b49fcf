//! The page that shows what arrived.

const STYLE: &str = "
body{margin:0;background:#f4f4f6;font:15px/1.45 Lato,'Segoe UI',Helvetica,Arial,sans-serif;color:#1d1c1d}
section{max-width:760px;margin:0 auto;background:#fff;min-height:100vh;padding:0 0 24px}
h1{font-size:17px;margin:0;padding:14px 20px;border-bottom:1px solid #ddd}
article{display:flex;gap:10px;padding:10px 20px}article>div{flex:1;min-width:0;overflow-wrap:anywhere}
.logo{width:36px;height:36px;border-radius:4px;background:#4a154b;color:#fff;display:grid;place-items:center;flex:none}
.app{background:#ddd;border-radius:2px;padding:0 3px;font-size:10px}h3{margin:4px 0;font-size:18px}p{margin:3px 0}
.context,small{color:#616061;font-size:12px}.thread{margin:0 20px 8px 56px;border-left:3px solid #ddd}.pill{background:#e8f5fa;color:#1264a3;border-radius:3px;padding:0 3px}
.button{display:inline-block;border:1px solid #bbb;border-radius:4px;padding:4px 12px;margin:6px 6px 0 0;font-weight:bold}
.teams .logo{background:#464eb8;border-radius:50%}.card{border:1px solid #e1dfdd;border-radius:6px;padding:12px 16px;margin-top:4px;box-shadow:0 1px 3px #0002}
.large{font-size:20px}.small{font-size:12px}.bolder{font-weight:bold}.lighter{color:#616161}
.list article{border-bottom:1px solid #eee}em{font-style:normal;border-radius:9px;padding:1px 8px;color:#fff;font-size:12px;background:#1a7f37}
em.triggered{background:#c0392b}em.acknowledged{background:#c98a00}em.closed{background:#8250df}blockquote{margin:6px 0;padding:2px 12px;border-left:3px solid #ddd}
pre{white-space:pre-wrap;background:#f6f8fa;padding:8px}code{background:#f0f1f3;padding:0 3px}iframe{border:0;width:100%;height:160px}
";

/// A whole page, looked at anew every two seconds.
pub(super) fn whole(inside: &str) -> String {
    format!(
        "<!doctype html><html><head><meta charset=utf-8><meta http-equiv=refresh content=2><title>hookline-testkit</title><style>{STYLE}</style></head><body>{inside}</body></html>"
    )
}

/// A text inside HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The name of one who is pinged.
pub(super) fn pill(name: &str) -> String {
    format!("<span class=pill>{}</span>", escaped(name))
}

/// HTML of others, where it can do nothing.
pub(super) fn framed(html: &str) -> String {
    format!("<iframe sandbox srcdoc=\"{}\"></iframe>", html.replace('&', "&amp;").replace('"', "&quot;"))
}
