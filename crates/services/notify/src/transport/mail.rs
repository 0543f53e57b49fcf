//! One mail to a server: bounded in time, to public addresses only, encrypted as its destination says.

use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use lettre::address::Address;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use notification::destination::{Answer, Mail, MailServer, MailTls, Verdict};
use outgoing::{is_public, refusal};
use runtime::clock::since_1970;
use runtime::with_causes;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a server may take to accept a connection, and for the whole attempt.
const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(30);
/// How long the goodbye may take: the mail is accepted by then.
const GOODBYE: Duration = Duration::from_secs(1);
/// Codes that mean that the server takes nothing from us as we are: it asks for a login, or for another one.
const LOGIN: [u16; 4] = [530, 534, 535, 538];

/// Hands a mail to its server. Without an answer, the attempt ends with a verdict.
pub(crate) async fn send(mail: &Mail, allow_private: bool) -> Result<Answer, Verdict> {
    match timeout(WHOLE, attempt(mail, allow_private)).await {
        Ok(answer) => answer,
        Err(_) => Err(retry(format!("the mail server did not finish within {} s", WHOLE.as_secs()))),
    }
}

fn retry(error: String) -> Verdict {
    Verdict::Retry { status: 0, error, after: None }
}

fn refused(error: String) -> Verdict {
    Verdict::Refused { status: 0, error }
}

async fn attempt(mail: &Mail, allow_private: bool) -> Result<Answer, Verdict> {
    let message = compose(mail)?;
    let addresses = resolve(&mail.server, allow_private).await?;
    let hello = ClientId::Domain(mail.from.rsplit('@').next().unwrap_or("localhost").to_owned());
    let mut connection = connect(&mail.server, &addresses, &hello).await?;
    if let Some((user, password)) = &mail.server.login {
        let login = Credentials::new(user.clone(), password.reveal().to_owned());
        // Of what a server offers, the first of these; both tell the password, under TLS.
        if let Err(error) = connection.auth(&[Mechanism::Plain, Mechanism::Login], &login).await {
            return match answer(&error) {
                // Any other permanent answer to a login is a refusal of it as well.
                Some(answer) if answer.status >= 500 && !LOGIN.contains(&answer.status) => Err(Verdict::Refused {
                    status: answer.status,
                    error: format!("the login is refused: {}", answer.body),
                }),
                Some(answer) => Ok(answer),
                None if error.is_client() => Err(refused(format!("no login is possible: {}", with_causes(&error)))),
                None => Err(broken(&error)),
            };
        }
    }
    let done = hand_over(&mut connection, mail, &message).await;
    drop(timeout(GOODBYE, connection.quit()).await);
    done
}

/// Says who sends and who gets the mail, then the mail.
async fn hand_over(connection: &mut AsyncSmtpConnection, mail: &Mail, message: &[u8]) -> Result<Answer, Verdict> {
    let of = |error: Error| answer(&error).ok_or_else(|| broken(&error));
    if let Err(error) = connection.command(MailFrom::new(Some(address(&mail.from)?), Vec::new())).await {
        return of(error);
    }
    let mut refusals = Vec::new();
    let people = mail.to.len() + mail.copy.len();
    for to in mail.to.iter().chain(&mail.copy) {
        match connection.command(Rcpt::new(address(to)?, Vec::new())).await {
            Ok(_) => {}
            Err(error) => match answer(&error) {
                // One who has left does not keep the mail from the others.
                Some(answer) if answer.status >= 500 && !LOGIN.contains(&answer.status) => refusals.push(answer),
                // The whole mail waits: the others would get it twice.
                Some(answer) => return Ok(answer),
                None => return Err(broken(&error)),
            },
        }
    }
    if refusals.len() == people {
        return Ok(refusals.pop().unwrap_or_default());
    }
    if let Err(error) = connection.command(Data).await {
        return of(error);
    }
    match connection.message(message).await {
        Ok(response) => {
            let mut headers = Vec::new();
            if let Some(first) = refusals.first() {
                tracing::warn!(
                    refused = refusals.len(),
                    people,
                    status = first.status,
                    "the mail server does not take a mail for everybody"
                );
                headers.push((
                    "refused-recipients".to_owned(),
                    format!("{} of {people}: {}", refusals.len(), first.status),
                ));
            }
            let body = response.first_line().unwrap_or_default().to_owned();
            Ok(Answer { status: response.code().into(), headers, retry_after: None, body })
        }
        // Whether it has the mail is not known: it is sent again under the same id.
        Err(error) => of(error),
    }
}

async fn connect(
    server: &MailServer,
    addresses: &[SocketAddr],
    hello: &ClientId,
) -> Result<AsyncSmtpConnection, Verdict> {
    let refused_by = |error: Error| match (error.status(), error.is_client()) {
        (Some(code), _) => {
            let (status, error) = (u16::from(code), format!("the mail server says {}", with_causes(&error)));
            Verdict::Retry { status, error, after: None }
        }
        (None, true) => refused(with_causes(&error)),
        (None, false) => broken(&error),
    };
    if server.tls == MailTls::Implicit {
        let tls = tls(server).await?;
        let connected = AsyncSmtpConnection::connect_tokio1(addresses, Some(CONNECT), hello, Some(tls), None);
        return connected.await.map_err(refused_by);
    }
    let stream = match timeout(CONNECT, TcpStream::connect(addresses)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(retry(format!("the mail server cannot be reached: {error}"))),
        Err(_) => return Err(retry(format!("the mail server did not answer within {} s", CONNECT.as_secs()))),
    };
    let mut connection =
        AsyncSmtpConnection::connect_with_transport(Box::new(stream), hello).await.map_err(refused_by)?;
    if server.tls == MailTls::StartTls {
        if !connection.can_starttls() {
            let error = "the mail server offers no STARTTLS: nothing is said to it in clear text";
            return Err(refused(format!("{error} (smtps:// is TLS from the beginning, tls = \"none\" does without)")));
        }
        connection.starttls(tls(server).await?, hello).await.map_err(refused_by)?;
    }
    Ok(connection)
}

/// Whom the server is trusted by.
async fn tls(server: &MailServer) -> Result<TlsParameters, Verdict> {
    let mut builder = TlsParameters::builder(server.host.clone());
    if let Some(file) = &server.ca {
        let failed = |error: String| refused(format!("the certificates of ca = {}: {error}", file.display()));
        let pem = tokio::fs::read(file).await.map_err(|error| failed(error.to_string()))?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| failed(with_causes(&error)))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(|error| refused(format!("no TLS could be set up: {}", with_causes(&error))))
}

/// The addresses of a server: what is checked is what is connected to.
async fn resolve(server: &MailServer, allow_private: bool) -> Result<Vec<SocketAddr>, Verdict> {
    let looked_up = timeout(CONNECT, tokio::net::lookup_host((server.host.as_str(), server.port))).await;
    let found: Vec<SocketAddr> = match looked_up {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => return Err(retry(format!("the name of the mail server is not found: {error}"))),
        Err(_) => return Err(retry("the name of the mail server is not found in time".to_owned())),
    };
    let public: Vec<SocketAddr> =
        found.iter().copied().filter(|address| allow_private || is_public(address.ip())).collect();
    match public.is_empty() {
        true => Err(refused(refusal(found.first().map(SocketAddr::ip)))),
        false => Ok(public),
    }
}

/// What the server said, if it said something.
fn answer(error: &Error) -> Option<Answer> {
    let status = u16::from(error.status()?);
    // What the server said is the cause; the error repeats the code beside it.
    let body = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    Some(Answer { status, body, ..Answer::default() })
}

fn broken(error: &Error) -> Verdict {
    retry(format!("the mail server did not finish: {}", with_causes(error)))
}

fn address(text: &str) -> Result<Address, Verdict> {
    text.parse().map_err(|error| refused(format!("an address cannot be written to: {error}")))
}

/// The bytes of a mail.
fn compose(mail: &Mail) -> Result<Vec<u8>, Verdict> {
    let failed = |error: String| {
        let error = format!("the mail cannot be written: {error}");
        Verdict::Rejected { status: 0, error }
    };
    let mailbox = |text: &str| Ok(Mailbox::new(None, address(text)?));
    let raw =
        |name: &'static str, value: &str| HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned());
    let mut builder = lettre::Message::builder()
        .from(Mailbox::new(Some("Hookline".to_owned()), address(&mail.from)?))
        .message_id(Some(format!("<{}>", mail.id)))
        .date(UNIX_EPOCH + since_1970())
        .subject(mail.subject.clone())
        .raw_header(raw("Auto-Submitted", "auto-generated"))
        .raw_header(raw("List-Id", &format!("<{}>", mail.list)));
    for to in &mail.to {
        builder = builder.to(mailbox(to)?);
    }
    for copy in &mail.copy {
        builder = builder.cc(mailbox(copy)?);
    }
    if let Some(first) = &mail.answers {
        builder = builder.in_reply_to(format!("<{first}>")).references(format!("<{first}>"));
    }
    let bodies = MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone());
    let bodies = match &mail.attachment {
        None => bodies,
        Some((name, csv)) => {
            let kind = ContentType::parse("text/csv; charset=utf-8").map_err(|error| failed(error.to_string()))?;
            let file = lettre::message::Attachment::new(name.clone()).body(csv.clone(), kind);
            MultiPart::mixed().multipart(bodies).singlepart(file)
        }
    };
    let message = builder.multipart(bodies).map_err(|error| failed(with_causes(&error)))?;
    Ok(message.formatted())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> Mail {
        let server = MailServer { host: "127.0.0.1".to_owned(), port: 1, tls: MailTls::None, login: None, ca: None };
        Mail {
            server,
            id: "b2@example.com".to_owned(),
            answers: Some("b1@example.com".to_owned()),
            from: "hookline@example.com".to_owned(),
            to: vec!["a@example.com".to_owned(), "b@example.com".to_owned()],
            copy: Vec::new(),
            subject: "Re: grün <!channel>".to_owned(),
            list: "promo.hookline.example.com".to_owned(),
            text: "grün\n.\nend".to_owned(),
            attachment: None,
            html: "<p>grün</p>".to_owned(),
        }
    }

    #[test]
    fn a_mail_is_written_in_ascii_with_its_id_and_thread() {
        let bytes = compose(&mail()).unwrap();
        assert!(bytes.is_ascii());
        let text = String::from_utf8(bytes).unwrap();
        for line in [
            "Message-ID: <b2@example.com>",
            "In-Reply-To: <b1@example.com>",
            "References: <b1@example.com>",
            "Auto-Submitted: auto-generated",
            "List-Id: <promo.hookline.example.com>",
            "To: a@example.com, b@example.com",
            "From: Hookline <hookline@example.com>",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}: {text}");
        }
        assert!(text.contains("multipart/alternative") && !text.contains("grün"));
    }

    #[tokio::test]
    async fn a_server_in_a_private_network_is_refused_unless_that_is_allowed() {
        let refused = send(&mail(), false).await.unwrap_err();
        assert!(matches!(refused, Verdict::Refused { error, .. } if error.contains("allow_private")));
        assert!(matches!(send(&mail(), true).await.unwrap_err(), Verdict::Retry { status: 0, .. }));
    }
}
