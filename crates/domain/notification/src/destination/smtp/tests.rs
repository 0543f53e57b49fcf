use super::super::testing::{answer, built, message, name, step, verdict};
use super::super::{Destination, Mail, MailTls, Step, Value, Values, Verdict, kind};
use crate::message::Message;
use crate::message::MessageKind::{Alert, Resolved, Summary};

fn values(url: &str) -> Values {
    let mut values = Values::default().with("url", url).with("from", "hookline@example.com");
    values.set("to", Value::Texts(vec!["growth@example.com".to_owned()]));
    values
}

fn smtp() -> Box<dyn Destination> {
    built("smtp", &values("smtps://smtp.example.com"))
}

fn mail(step: Step) -> Mail {
    match step {
        Step::Mail(mail) => *mail,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mail_keeps_its_id_and_what_follows_answers_the_first_under_its_subject() {
    let first = mail(step(&*smtp(), &message(Alert), "", &[]));
    assert_eq!((first.id.as_str(), first.answers.as_deref()), ("b1@example.com", None));
    assert_eq!(first, mail(step(&*smtp(), &message(Alert), "", &[])), "the same on every attempt");
    assert_eq!(first.copy, ["ann@example.com"], "the owner of the link, by the first mail");
    assert_eq!(first.list, "broken-destination.hookline.example.com");

    let mut over = message(Resolved);
    over.id = "b2".to_owned();
    let over = mail(step(&*smtp(), &over, "", &[]));
    assert_eq!((over.id.as_str(), over.answers.as_deref()), ("b2@example.com", Some("b1@example.com")));
    assert_eq!(over.subject, format!("Re: {}", first.subject));
    assert!(over.copy.is_empty() && over.html.contains(">Over<"));
    let more = Message { id: "b3".to_owned(), ..message(Summary) };
    assert!(mail(step(&*smtp(), &more, "", &[])).html.contains(">Going on<"));
}

#[test]
fn texts_of_senders_end_no_header_and_are_no_html() {
    let mut hostile = message(Alert);
    hostile.title = "x\r\nBcc: all@example.com\r\n\r\n<script>alert(1)</script>".to_owned();
    let mail = mail(step(&*smtp(), &hostile, "", &[]));
    assert!(!mail.subject.contains(['\r', '\n']), "{}", mail.subject);
    for markup in ["<script", "<!channel>", "<at>", "<!-- x"] {
        assert!(!mail.html.contains(markup), "{markup}: {}", mail.html);
    }
    assert!(mail.html.contains("&lt;script&gt;"));
}

#[test]
fn each_code_has_its_verdict() {
    let of = |status| verdict(step(&*smtp(), &message(Alert), "", &[answer(status, "said")]));
    for (status, expected) in [
        (250, "delivered"),
        (421, "retry"),
        (450, "retry"),
        (451, "retry"),
        (452, "retry"),
        (454, "retry"),
        (550, "rejected"),
        (552, "rejected"),
        (554, "rejected"),
        (530, "refused"),
        (534, "refused"),
        (535, "refused"),
    ] {
        assert_eq!(name(&of(status)), expected, "{status}");
    }
    let mut some = answer(250, "ok");
    some.headers = vec![("refused-recipients".to_owned(), "1 of 2: 550".to_owned())];
    let end = verdict(step(&*smtp(), &message(Alert), "", &[some]));
    assert!(
        matches!(end, Verdict::Delivered { receipt, .. } if receipt == "<b1@example.com>, not taken for 1 of 2: 550")
    );
}

#[test]
fn addresses_of_servers_say_when_they_are_encrypted() {
    let server = |values: &Values| mail(step(&*built("smtp", values), &message(Alert), "", &[])).server;
    let of = |url: &str| server(&values(url));
    for (url, host, port, tls) in [
        ("smtps://smtp.example.com", "smtp.example.com", 465, MailTls::Implicit),
        ("smtp://smtp.example.com/", "smtp.example.com", 587, MailTls::StartTls),
        ("smtp://[::1]:2525", "::1", 2525, MailTls::StartTls),
        ("smtp://127.0.0.1:25", "127.0.0.1", 25, MailTls::StartTls),
    ] {
        let server = of(url);
        assert_eq!((server.host.as_str(), server.port, server.tls), (host, port, tls), "{url}");
    }
    assert_eq!(server(&values("smtp://relay").with("tls", "none")).tls, MailTls::None);
}

#[test]
fn what_is_wrong_with_a_section_is_named_by_its_key() {
    let fault = |values: Values| (kind("smtp").unwrap().build)(&values).err().map(|fault| fault.key);
    let good = || values("smtp://smtp.example.com");
    assert_eq!(fault(good()), None);
    for url in ["http://x", "smtp://", "smtp://a:b@host", "smtp://host:x", "smtp://ho st", "smtp://host:0"] {
        assert_eq!(fault(values(url)), Some("url"), "{url}");
    }
    assert_eq!(fault(good().with("from", "Me <a@example.com>")), Some("from"));
    assert_eq!(fault(good().with("from", "a@b\r\nX: y")), Some("from"));
    assert_eq!(fault(good().with("user", "me")), Some("user"));
    assert_eq!(fault(good().with("password", "p")), Some("password"));
    let login = || good().with("user", "me").with("password", "p");
    assert_eq!(fault(login()), None);
    assert_eq!(fault(login().with("tls", "none")), Some("tls"), "a password in clear text");
    assert_eq!(fault(values("smtp://127.0.0.1").with("user", "me").with("password", "p").with("tls", "none")), None);
    assert_eq!(fault(values("smtps://x").with("tls", "none")), Some("tls"));
}
