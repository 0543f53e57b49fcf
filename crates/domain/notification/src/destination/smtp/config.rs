//! The section of mail: a server, who sends, who gets it.

use super::render::Smtp;
use crate::destination::{Destination, Fault, Form, Kind, MailServer, MailTls, Reach, SecretText, Setting, Values};

const HOW: &str = "write url = \"smtps://HOST:465\" (TLS from the beginning) or \"smtp://HOST:587\" (STARTTLS)";

pub(in crate::destination) const KIND: Kind = Kind {
    name: "smtp",
    settings: &[
        Setting {
            key: "url",
            about: "The server: `smtps://` is TLS from the beginning, `smtp://` is STARTTLS.",
            left_out: "",
            form: Form::SecretOrText,
            required: Some(HOW),
            example: "smtps://smtp.example.com:465",
        },
        Setting {
            key: "from",
            about: "The address that mails come from.",
            left_out: "",
            form: Form::Text,
            required: Some("name the address that mails come from"),
            example: "hookline@example.com",
        },
        Setting {
            key: "to",
            about: "The addresses that mails go to.",
            left_out: "",
            form: Form::Texts,
            required: Some("list the addresses: to = [\"growth@example.com\"]"),
            example: "growth@example.com",
        },
        Setting {
            key: "user",
            about: "The user, with `password`.",
            left_out: "none",
            form: Form::Text,
            required: None,
            example: "hookline",
        },
        Setting {
            key: "password",
            about: "That user's password.",
            left_out: "none",
            form: Form::Secret,
            required: None,
            example: "x",
        },
        Setting {
            key: "tls",
            about: "With `smtp://`: whether STARTTLS is used. `none` is for a relay in your own network, and never with a password.",
            left_out: "`starttls`",
            form: Form::Choice(&["starttls", "none"]),
            required: None,
            example: "starttls",
        },
        Setting {
            key: "ca",
            about: "A PEM file of certificates that are trusted beside those of the system.",
            left_out: "those of the system",
            form: Form::Path,
            required: None,
            example: "ca.pem",
        },
    ],
    keyed: false,
    acknowledges: false,
    reach: Reach::Mail,
    build,
};

fn build(values: &Values) -> Result<Box<dyn Destination>, Fault> {
    let (implicit, address) = match values.text("url") {
        url if url.starts_with("smtps://") => (true, &url["smtps://".len()..]),
        url if url.starts_with("smtp://") => (false, &url["smtp://".len()..]),
        _ => return Err(Fault::new("url", "url is not the address of a mail server", HOW)),
    };
    let (host, port) = host_and_port(address.trim_end_matches('/'), if implicit { 465 } else { 587 })?;
    let tls = match (implicit, values.text("tls")) {
        (true, "") => MailTls::Implicit,
        (true, _) => {
            return Err(Fault::new(
                "tls",
                "smtps:// is TLS from the beginning, and tls says otherwise",
                "leave tls out, or write smtp://",
            ));
        }
        (false, "none") => MailTls::None,
        (false, _) => MailTls::StartTls,
    };
    let login = match (values.has("user"), values.has("password")) {
        (true, true) => Some((values.text("user").to_owned(), SecretText::new(values.text("password")))),
        (false, false) => None,
        (true, false) => {
            return Err(Fault::new(
                "user",
                "there is a user without a password",
                "add password = { env = \"VARIABLE\" }",
            ));
        }
        (false, true) => {
            return Err(Fault::new("password", "there is a password without a user", "add user = \"NAME\""));
        }
    };
    if login.is_some() && tls == MailTls::None && !is_this_machine(&host) {
        let hint = "leave tls = \"none\" out, or user and password";
        return Err(Fault::new("tls", "the password would travel in clear text", hint));
    }
    let from = address_of("from", values.text("from"))?;
    let to = values.texts("to").iter().map(|one| address_of("to", one)).collect::<Result<Vec<_>, _>>()?;
    let ca = values.path("ca").map(ToOwned::to_owned);
    let domain = from.rsplit('@').next().unwrap_or_default().to_owned();
    Ok(Box::new(Smtp { server: MailServer { host, port, tls, login, ca }, from, to, domain }))
}

fn host_and_port(address: &str, usual: u16) -> Result<(String, u16), Fault> {
    let wrong = |message: &str| Fault::new("url", message, HOW);
    if address.contains('@') {
        return Err(Fault::new(
            "url",
            "the url holds a user",
            "write user = \"NAME\" and password = { env = \"VARIABLE\" }",
        ));
    }
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let named = host.chars().all(|one| one.is_ascii_alphanumeric() || "-_.:".contains(one));
    if host.is_empty() || !named {
        return Err(wrong("the url names no host"));
    }
    let port = match port {
        None => usual,
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("the url names no port"))?,
    };
    Ok((host.to_owned(), port))
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// An address of one mailbox, without a name.
pub(super) fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let word = |text: &str, also: &str| {
        !text.is_empty()
            && !text.starts_with('.')
            && !text.ends_with('.')
            && !text.contains("..")
            && text.chars().all(|one| one.is_ascii_alphanumeric() || also.contains(one))
    };
    local.len() <= 64 && domain.len() <= 255 && word(local, "!#$%&'*+-/=?^_`{|}~.") && word(domain, "-.")
}

fn address_of(key: &'static str, text: &str) -> Result<String, Fault> {
    match is_address(text) {
        true => Ok(text.to_owned()),
        false => Err(Fault::new(key, format!("{text:?} is not a mail address"), "write NAME@DOMAIN alone")),
    }
}
