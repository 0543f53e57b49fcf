//! Kafka and ClickHouse as production has them: TLS, passwords, and a user that may do what Hookline needs and no more.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use signature::{Scheme, Secret};
use testkit::house::free_address;
use testkit::{Program, Sender};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use traffic::canonical::Generator;

use crate::alerts::SECRET;
use crate::foreign::{Python, said};
use crate::harness::{Running, SOON, until};

/// All that the user of Hookline may: kind, prefix of names, operation. As in docs/operations.md, "Rights in Kafka".
const RIGHTS: [(&str, &str, &str); 6] = [
    ("TOPIC", "hookline.", "CREATE"),
    ("TOPIC", "hookline.", "DESCRIBE_CONFIGS"),
    ("TOPIC", "hookline.", "READ"),
    ("TOPIC", "hookline.", "WRITE"),
    ("GROUP", "hookline-", "READ"),
    ("TRANSACTIONAL_ID", "hookline-", "WRITE"),
];

/// Certificates of one authority, as PEM files: one that is good for years, one that has expired.
struct Certificates {
    authority: PathBuf,
    good: PathBuf,
    expired: PathBuf,
    /// The good one for a server of this test.
    server: Arc<ServerConfig>,
}

impl Certificates {
    fn make(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "An authority of this test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let signed = |until: i32| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
            // Its own: who has the name of its authority is taken for one that signed itself.
            params.distinguished_name.push(DnType::CommonName, "A server of this test");
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
            (params.signed_by(&key, &authority).unwrap(), key)
        };
        let pem = |until| {
            let (certificate, key) = signed(until);
            format!("{}{}{}", key.serialize_pem(), certificate.pem(), authority.pem())
        };
        let (certificate, key) = signed(2096);
        let server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        Self {
            authority: write("authority.pem", authority.pem()),
            good: write("good.pem", pem(2096)),
            expired: write("expired.pem", pem(2021)),
            server: Arc::new(server),
        }
    }
}

/// A broker that wants a password over TLS and holds users to their rights. At a second listener its certificate has
/// expired.
struct Broker {
    process: Child,
    secure: u16,
    expired: u16,
    /// Without a password: for its operator.
    inside: u16,
}

impl Broker {
    async fn start(folder: &Path, certificates: &Certificates) -> Self {
        let ports: Vec<u16> = (0..4).map(|_| free_address().unwrap().parse::<SocketAddr>().unwrap().port()).collect();
        let [secure, expired, inside, controller] = ports[..] else { panic!("{ports:?}") };
        let jaas = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        let listener = |name: &str, pem: &Path| {
            format!(
                "listener.name.{name}.scram-sha-512.sasl.jaas.config={jaas}\nlistener.name.{name}.sasl.enabled.mechanisms=SCRAM-SHA-512\n\
                 listener.name.{name}.ssl.keystore.type=PEM\nlistener.name.{name}.ssl.keystore.location={}\n",
                pem.display()
            )
        };
        let log = folder.join("kafka-log");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             listeners=SECURE://127.0.0.1:{secure},EXPIRED://127.0.0.1:{expired},INSIDE://127.0.0.1:{inside},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=SECURE://localhost:{secure},EXPIRED://localhost:{expired},INSIDE://127.0.0.1:{inside}\n\
             listener.security.protocol.map=SECURE:SASL_SSL,EXPIRED:SASL_SSL,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=INSIDE\ncontroller.listener.names=CONTROLLER\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\nlog.dirs={}\n{}{}\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nsuper.users=User:ANONYMOUS\n\
             allow.everyone.if.no.acl.found=false\nauto.create.topics.enable=false\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=4\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=4\nlog.index.size.max.bytes=1048576\n\
             log.cleaner.dedupe.buffer.size=33554432\ngroup.initial.rebalance.delay.ms=0\n",
            log.display(),
            listener("secure", &certificates.good),
            listener("expired", &certificates.expired),
        );
        let properties = folder.join("server.properties");
        std::fs::write(&properties, text).unwrap();
        let java = || {
            let mut command = Command::new("java");
            command.args(["-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
            command.arg(format!("{}/*", libraries().display())).stdin(Stdio::null());
            command
        };
        said(java().args(["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"]).arg(&properties));
        let output = std::fs::File::create(folder.join("kafka.log")).unwrap();
        let process = java().arg("kafka.Kafka").arg(&properties).stdout(Stdio::null()).stderr(output).spawn().unwrap();
        let this = Self { process, secure, expired, inside };
        let up = async || TcpStream::connect(("127.0.0.1", this.secure)).await.ok();
        until(Duration::from_secs(120), "the secured broker listens", up).await.unwrap();
        this
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The jars that `hookline up` has fetched: the engines run before this is asked.
fn libraries() -> PathBuf {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let root = named("HOOKLINE_CACHE")
        .or_else(|| Some(named("XDG_CACHE_HOME")?.join("hookline")))
        .unwrap_or_else(|| named("HOME").unwrap().join(".cache/hookline"));
    let mut found = std::fs::read_dir(&root).unwrap().filter_map(|entry| {
        let libs = entry.unwrap().path().join("libs");
        let kafka = libs.parent()?.file_name()?.to_str()?.starts_with("kafka-");
        (kafka && libs.exists()).then_some(libs)
    });
    found.next().unwrap_or_else(|| panic!("no Kafka in {}", root.display()))
}

/// The operator of the broker.
struct Operator {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Operator {
    fn start(python: &Python, broker: &Broker) -> Self {
        let mut command = python.script("kafka_rights.py", &[&format!("127.0.0.1:{}", broker.inside)]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let commands = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, commands, answers }
    }

    fn asks(&mut self, command: &Value) {
        writeln!(self.commands, "{command}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), "done", "{command}");
    }

    fn rights(&mut self, what: &str, rights: &[(&str, &str, &str)]) {
        self.asks(&json!({ "do": what, "user": "hookline", "rights": rights }));
    }

    fn password(&mut self, password: &str) {
        self.asks(&json!({ "do": "password", "user": "hookline", "password": password }));
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// TLS before an HTTP server that has none: what our client has to speak, with a certificate of an authority that it is
/// told of.
async fn behind_tls(to: SocketAddr, server: Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(server);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut inside) = acceptor.accept(stream).await else { return };
                let Ok(mut outside) = TcpStream::connect(to).await else { return };
                // A connection that breaks off is its client's business.
                let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
            });
        }
    });
    port
}

/// One installation on the secured engines.
struct Installation {
    folder: PathBuf,
    config: PathBuf,
    authority: PathBuf,
    brokers: String,
}

impl Installation {
    fn start(&self, service: &str, more: &[(&str, &str)]) -> (Program, String) {
        let (metrics, listen) = (free_address().unwrap(), free_address().unwrap());
        let config = self.config.to_str().unwrap();
        let mut arguments = vec![service, "--config", config, "--metrics", &metrics];
        if service == "ingest" {
            arguments.extend(["--listen", &listen]);
        }
        let authority = self.authority.to_str().unwrap();
        let variables = [("HOOKLINE_KAFKA_BROKERS", self.brokers.as_str()), ("SSL_CERT_FILE", authority)];
        // The later of two variables of a name counts.
        let variables = [&variables[..], more].concat();
        // A log for each start.
        let name = format!("{service}-{}", metrics.rsplit(':').next().unwrap());
        (Program::start(&name, &self.folder, &arguments, &variables).unwrap(), listen)
    }

    /// Starts a service, and waits until its log has all of this.
    async fn says(&self, service: &str, more: &[(&str, &str)], wanted: &[&str]) {
        let (program, _) = self.start(service, more);
        let line = || async {
            let log = program.log();
            log.lines().find(|line| wanted.iter().all(|part| line.contains(part))).map(str::to_owned)
        };
        match until(Duration::from_secs(90), "it says what is wrong", line).await {
            Ok(line) => println!("{wanted:?}: {}", line.trim()),
            Err(error) => panic!("{error}: {wanted:?} in\n{}", program.log()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_with_tls_passwords_and_the_smallest_set_of_rights() {
    let python = Python::with_clients();
    let running = Running::engines();
    let folder = running.folder.path().join("secured");
    std::fs::create_dir_all(&folder).unwrap();
    let certificates = Certificates::make(&folder);
    let broker = Broker::start(&folder, &certificates).await;
    let mut operator = Operator::start(&python, &broker);
    operator.password("first password");
    operator.rights("give", &RIGHTS[1..]);

    let clickhouse: SocketAddr = running.house.addresses.clickhouse.trim_start_matches("http://").parse().unwrap();
    let tls = behind_tls(clickhouse, Arc::clone(&certificates.server)).await;
    std::fs::write(folder.join("secret"), SECRET).unwrap();
    std::fs::write(folder.join("password"), "first password").unwrap();
    let text = format!(
        "version = 1\n[owner]\nme = {{ name = \"Me\" }}\n\
         [source.shop]\nadapter = \"canonical\"\nowner = \"me\"\nsecrets = [{{ id = \"first\", file = \"secret\" }}]\n\
         [destination.log]\nkind = \"csv\"\nowner = \"me\"\npath = \"messages.csv\"\n\
         [rule.each]\nowner = \"me\"\nwhen = {{ event = \"error\" }}\nalert = {{ each = true }}\nsend = {{ to = [\"log\"] }}\ndo = \"Look.\"\n\
         [kafka]\nbrokers = \"localhost:1\"\nlanes = 2\nreplication = 1\n\
         properties = {{ \"security.protocol\" = \"SASL_SSL\", \"sasl.mechanisms\" = \"SCRAM-SHA-512\", \"sasl.username\" = \"hookline\", \
         \"sasl.password\" = {{ file = \"password\" }}, \"ssl.ca.location\" = \"{}\" }}\n\
         [clickhouse]\nurl = \"https://localhost:{tls}\"\nuser = \"hookline\"\n[process]\ndata = \"{}\"\n",
        certificates.authority.display(),
        folder.join("windows").display(),
    );
    std::fs::write(folder.join("hookline.toml"), text).unwrap();
    let installation = Installation {
        config: folder.join("hookline.toml"),
        authority: certificates.authority.clone(),
        brokers: format!("localhost:{}", broker.secure),
        folder: folder.clone(),
    };

    // Topics cannot be created: said at the first start, the only one that needs the right.
    installation.says("process", &[], &["lacks the right Create on topics"]).await;
    operator.rights("give", &RIGHTS[..1]);
    let (process, _) = installation.start("process", &[]);
    let mut running_services = vec![process];
    for service in ["detect", "report", "notify"] {
        running_services.push(installation.start(service, &[]).0);
    }
    let (ingest, listen) = installation.start("ingest", &[]);
    running_services.push(ingest);
    let sender = |listen: &str| {
        Sender::new(&format!("http://{listen}"), "shop", Scheme::StandardWebhooks, Secret::new("first", SECRET))
            .unwrap()
    };
    let (asker, mut events) = (running.asker(), Generator::new(5));
    let rows = "SELECT uniqExact(event_key) FROM hookline.records";
    let whole = "SELECT toUInt64(sum(missing) + sum(repeated)) FROM hookline.ledger";
    let send = |listen: &str, bodies: Vec<Vec<u8>>| {
        let sender = sender(listen);
        async move { sender.deliver_all(bodies, 8).await.unwrap() }
    };
    send(&listen, (0..40).map(|_| events.error()).collect()).await;
    asker.until(rows, 40, SOON * 2).await.unwrap();
    let told =
        || async { std::fs::read_to_string(folder.join("messages.csv")).ok().filter(|text| text.lines().count() > 1) };
    until(SOON, "a message is in the file", told).await.unwrap();
    println!("the six rights are enough for all five services, over TLS with a password");

    // With one right less, one line names it, and the lanes go on where they stood once it is back.
    drop(running_services.remove(0));
    let refusals: [(usize, &str); 5] = [
        (1, "lacks the right DescribeConfigs on topics"),
        (2, "lacks the right Read on topics"),
        (3, "lacks the right Write on topics"),
        (4, "lacks the right Read on groups"),
        (5, "lacks the right Write on transactional ids"),
    ];
    for (place, line) in refusals {
        operator.rights("take", &RIGHTS[place..=place]);
        installation.says("process", &[], &[line]).await;
        operator.rights("give", &RIGHTS[place..=place]);
    }
    // Ingest with no right to write: it says so, too, and its senders keep what they have.
    operator.rights("take", &RIGHTS[3..=3]);
    let (sender, refused_body) = (sender(&listen), Generator::new(9).visit());
    let refused = || async {
        let (status, _) = sender.once(&refused_body).await.ok()?;
        (status.as_u16() == 503).then_some(())
    };
    until(SOON, "ingest refuses", refused).await.unwrap();
    operator.rights("give", &RIGHTS[3..=3]);
    sender.deliver(&refused_body).await.unwrap();
    let log = running_services.last().unwrap().log();
    assert!(log.contains("lacks the right Write on topics"), "{log}");

    // The password changes: who has the old one says so and waits. Restarted with the new one, nothing is missing.
    operator.password("second password");
    installation.says("process", &[], &["invalid credentials"]).await;
    std::fs::write(folder.join("password"), "second password").unwrap();
    drop(running_services);
    let mut running_services = vec![];
    for service in ["report", "process", "detect", "notify"] {
        running_services.push(installation.start(service, &[]).0);
    }
    let (ingest, listen) = installation.start("ingest", &[]);
    running_services.push(ingest);
    send(&listen, (0..40).map(|_| events.visit()).collect()).await;
    asker.until(rows, 81, SOON * 2).await.unwrap();
    asker.until(whole, 0, SOON).await.unwrap();
    drop(running_services);

    // A certificate that has expired: said in words.
    let expired = format!("localhost:{}", broker.expired);
    installation
        .says("process", &[("HOOKLINE_KAFKA_BROKERS", &expired)], &["certificate verify failed", "has expired"])
        .await;
}
