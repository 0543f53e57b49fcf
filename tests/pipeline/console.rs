//! The console of a running `up`: every page answers, a source is switched through it, and who has no token changes
//! nothing.

use operate::dead_letters::redrive::{Redrive, Watch, redrive_watched};
use operate::installation::Needs;
use reqwest::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use reqwest::{Client, Response, StatusCode};
use traffic::dub::Generator;
use warehouse::DeadLetterFilter;

use crate::harness::{Running, SOON, until};
use crate::tool;

fn client() -> Client {
    // Already there when another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

async fn page(client: &Client, url: &str, cookie: &str) -> (StatusCode, String) {
    let answer = client.get(url).header(COOKIE, cookie).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

async fn post(client: &Client, url: &str, cookie: &str, form: &[(&str, &str)]) -> Response {
    let encoded = |text: &str| text.replace('%', "%25").replace('+', "%2B").replace('=', "%3D").replace('&', "%26");
    let pairs: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let request = client.post(url).header(COOKIE, cookie).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    request.body(pairs.join("&")).send().await.unwrap()
}

/// Deliveries of the source `canonical` that cannot be read: nothing but to discard them is left.
const UNREADABLE: u64 = 3;

/// Clicks of one event each, most of which ingest has set aside as dead letters, which a redrive can read. How many
/// were sent. Beside them [`UNREADABLE`] of another source.
async fn set_aside(running: &Running) -> u64 {
    let config = running.folder.path().join("data/hookline.toml");
    let quarantine = ["pause", "source/dub", "--quarantine", "--why", "a test", "--who", "ana"];
    assert_eq!(tool::tool(&config, &quarantine).await.unwrap().0, 0);
    // A standard that most of them break.
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}[naming]\nchannel = [\"email\"]\n")).unwrap();
    let reload = ["reload", "--who", "ana", "--why", "a naming standard"];
    assert_eq!(tool::tool(&config, &reload).await.unwrap().0, 0);
    let (asker, mut clicks, mut sent) = (running.asker(), Generator::new(5), 0);
    let letters =
        "SELECT count() FROM hookline.dead_letters WHERE state = 'open' AND reason = 'switched_to_quarantine'";
    let begun = std::time::Instant::now();
    while asker.number(letters).await.unwrap() == 0 {
        assert!(begun.elapsed() < 2 * SOON, "the source is in quarantine and nothing of it is set aside");
        assert_eq!(running.dub().once(&clicks.click()).await.unwrap().0.as_u16(), 202);
        sent += 1;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    // More than two steps of a redrive.
    let many: Vec<_> = (0..450).map(|_| clicks.click()).collect();
    running.dub().deliver_all(many, 16).await.unwrap();
    sent += 450;
    for number in 0..UNREADABLE {
        running.canonical().deliver(format!(r#"{{"id":"torn-{number}"}}"#).as_bytes()).await.unwrap();
    }
    let resume = ["resume", "source/dub", "--who", "ana"];
    assert_eq!(tool::tool(&config, &resume).await.unwrap().0, 0);
    until(2 * SOON, "every delivery is a row", || async {
        (asker.number("SELECT count() FROM hookline.records").await.ok()? == sent + UNREADABLE).then_some(())
    })
    .await
    .unwrap();
    sent
}

/// A redrive that is told to end before its first step leaves every letter as it is. A browser tells it in time or not.
async fn cancelled_before_it_began(running: &Running) {
    let config = running.folder.path().join("data/hookline.toml");
    let installation = operate::Installation::find(&config, Needs::Both, None).unwrap();
    let watch = Watch::default();
    watch.cancel();
    let (filter, why) =
        (DeadLetterFilter { source: Some("dub".into()), ..DeadLetterFilter::default() }, "a test".into());
    let request = Redrive { filter, why, all: false, force: false, who: "ana".into(), limit: 10_000, dry_run: false };
    let report = redrive_watched(&installation, &request, &watch).await.unwrap();
    assert!(report.cancelled && !report.ok && report.seen == 0, "{report:?}");
    let redriven = "SELECT count() FROM hookline.dead_letters WHERE state != 'open'";
    assert_eq!(running.asker().number(redriven).await.unwrap(), 0);
}

/// A tool of the browser's test; where one is missing, that is said and the rest of the tests stands.
async fn program(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), String> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).envs(variables.iter().copied());
    let output = command.output().await.map_err(|error| format!("{program}: {error}"))?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(()) } else { Err(format!("{program} {arguments:?}: {said}")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_real_browser_every_page_is_readable_and_every_action_works() {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    if !std::path::Path::new(&chromium).exists() {
        println!("LEFT OUT: the console in a browser, since {chromium} is missing");
        return;
    }
    let running = Running::everything();
    let console = running.house.addresses.console.clone().expect("the ready line names the console");
    let token = std::fs::read_to_string(running.folder.path().join("data/secrets/console")).unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tmp/browser");
    let packages = ["playwright-core@1.65.1", "axe-core@4.14.1"];
    let install =
        [&["install", "--silent", "--no-save", "--no-package-lock", "--prefix", folder][..], &packages].concat();
    std::fs::create_dir_all(folder).unwrap();
    program("npm", &install, &[]).await.unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/browser/console.js");
    let modules = format!("{folder}/node_modules");
    let sent = set_aside(&running).await;
    cancelled_before_it_began(&running).await;
    let variables = [("NODE_PATH", modules.as_str()), ("CHROMIUM", chromium.as_str())];
    program("node", &[script, &console, token.trim(), "dub", "canonical"], &variables).await.unwrap();

    // Each click counts once, redriven or not, and each decision has its name and its reason.
    let asker = running.asker();
    until(2 * SOON, "every click is an event", || async {
        let events = asker.number("SELECT count() FROM hookline.events").await.ok()?;
        let keys = asker.number("SELECT uniqExact(event_key) FROM hookline.events").await.ok()?;
        (events == sent && keys == sent).then_some(())
    })
    .await
    .unwrap();
    let others = "SELECT count() FROM hookline.dead_letters WHERE decided_by != 'a browser (console)' \
                  OR decided_why != if(source = 'canonical', '<b>noise</b>', '<b>mended</b>') \
                  OR state != if(source = 'canonical', 'discarded', 'redriven')";
    assert_eq!(asker.number(others).await.unwrap(), 0);
    let discarded = "SELECT count() FROM hookline.dead_letters WHERE state = 'discarded'";
    assert_eq!(asker.number(discarded).await.unwrap(), UNREADABLE);
}

/// What stands between two texts.
fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_what_runs_and_switches_a_source_with_the_token_alone() {
    let running = Running::everything();
    let console = running.house.addresses.console.clone().expect("the ready line names the console");
    let token = std::fs::read_to_string(running.folder.path().join("data/secrets/console")).unwrap();
    let client = client();
    let mut clicks = Generator::new(3);
    let (sender, click) = (running.dub(), clicks.click());
    assert_eq!(sender.once(&click).await.unwrap().0.as_u16(), 202);

    for (path, words) in [
        ("/", "What runs"),
        ("/ledger", "Ledger"),
        ("/sources", "dub"),
        ("/rules", "Rules and messages"),
        ("/dead-letters", "None is open"),
        ("/reports?name=link_hourly&days=7", "Complete through"),
        ("/links", "No naming standard is configured"),
        ("/handbook", "Who sends: the webhooks that are enabled"),
        ("/changes", "Nothing has been switched yet"),
        ("/sign-in", "Token"),
    ] {
        let url = format!("{console}{path}");
        until(SOON, path, || async {
            let (status, text) = page(&client, &url, "").await;
            (status == StatusCode::OK && text.contains(words)).then_some(())
        })
        .await
        .unwrap();
    }

    // Who is not signed in switches nothing, though the form's fields are right.
    let form = |key| {
        [("form_key", key), ("source", "dub"), ("state", "pause"), ("minutes", "5"), ("who", "ana"), ("why", "a test")]
    };
    let url = format!("{console}/sources");
    assert_eq!(post(&client, &url, "", &form("")).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(sender.once(&clicks.click()).await.unwrap().0.as_u16(), 202);

    let signed_in = post(&client, &format!("{console}/sign-in"), "", &[("token", token.trim())]).await;
    assert_eq!(signed_in.status(), StatusCode::SEE_OTHER);
    let cookie = signed_in.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let (_, sources) = page(&client, &url, &cookie).await;
    let key = between(&sources, "name=\"form_key\" value=\"", "\"").expect("the form of a session").to_owned();
    let switched = post(&client, &url, &cookie, &form(&key)).await;
    assert_eq!(switched.status(), StatusCode::SEE_OTHER, "{}", switched.text().await.unwrap());
    until(SOON, "the source is paused", || async { (sender.once(&click).await.ok()?.0.as_u16() == 503).then_some(()) })
        .await
        .unwrap();
    let (_, changes) = page(&client, &format!("{console}/changes"), &cookie).await;
    assert!(
        changes.contains("source/dub") && changes.contains("ana (console)") && changes.contains("a test"),
        "{changes}"
    );

    // The event that was sent first, by its key.
    let id = Generator::click_id(&click);
    let event = format!("{console}/event?id=click:{id}");
    until(SOON, "the event is explained", || async {
        let (status, text) = page(&client, &event, &cookie).await;
        (status == StatusCode::OK && text.contains("class=\"stages\"")).then_some(())
    })
    .await
    .unwrap();
}
