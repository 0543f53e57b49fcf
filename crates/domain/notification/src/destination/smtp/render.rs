//! The mails of a message, and what a server's answers mean.
//!
//! A mail has the same `Message-ID` on every attempt, so that one that is sent twice is one mail in most mailboxes.
//! What follows answers the first mail, under its subject: readers show them as one thread.

use std::fmt::Write;

use crate::destination::text::{cut, html, one_line};
use crate::destination::{Answer, Destination, Mail, MailServer, Outgoing, Step, Verdict};
use crate::message::MessageKind;

use super::config::is_address;

/// Bytes of a subject and of a text.
const SUBJECT: usize = 200;
const TEXT: usize = 60_000;
/// The header of an [`Answer`] that says how many of those who should get a mail the server does not take.
const REFUSED: &str = "refused-recipients";

pub(super) struct Smtp {
    pub(super) server: MailServer,
    pub(super) from: String,
    pub(super) to: Vec<String>,
    /// The domain of `from`: that of the ids of mails.
    pub(super) domain: String,
}

impl Destination for Smtp {
    fn step(&self, outgoing: &Outgoing<'_>, answers: &[Answer]) -> Step {
        match answers {
            [] => Step::Mail(Box::new(self.mail(outgoing))),
            [.., answer] => self.judge(outgoing, answer),
        }
    }
}

impl Smtp {
    fn mail(&self, outgoing: &Outgoing<'_>) -> Mail {
        let message = outgoing.message;
        let thread = message.thread.as_ref();
        let first = thread.map(|thread| thread.first.as_str()).filter(|first| *first != message.id);
        // A thread has one subject: what is new stands at the beginning of the body, which readers show beside it.
        let opened = first.and(thread).map(|thread| format!("Re: {}", one_line(&thread.title)));
        let subject = opened.unwrap_or_else(|| one_line(&message.title));
        let email = outgoing.pinged().and_then(|person| person.email.clone());
        let copy = email.filter(|email| is_address(email) && !self.to.contains(email));
        Mail {
            server: self.server.clone(),
            id: self.id(&message.id),
            answers: first.map(|first| self.id(first)),
            from: self.from.clone(),
            to: self.to.clone(),
            copy: copy.into_iter().collect(),
            subject: cut(&subject, SUBJECT),
            list: format!("{}.hookline.{}", message.rule, self.domain),
            text: format!("{}\n\n-- \nhookline {}\n", cut(&message.text, TEXT), message.id),
            html: page(outgoing),
            attachment: message.attachment.as_ref().map(|file| (file.name.clone(), file.csv.clone())),
        }
    }

    fn id(&self, bundle_id: &str) -> String {
        format!("{bundle_id}@{}", self.domain)
    }

    fn judge(&self, outgoing: &Outgoing<'_>, answer: &Answer) -> Step {
        let error = || format!("the mail server says {} {}", answer.status, cut(&one_line(&answer.body), 200));
        match answer.status {
            200..300 => {
                let id = self.id(&outgoing.message.id);
                // The others have it: sending it again would give it to them twice.
                Verdict::delivered(
                    answer,
                    match answer.header(REFUSED) {
                        Some(refused) => format!("<{id}>, not taken for {refused}"),
                        None => format!("<{id}>"),
                    },
                )
            }
            530 | 534 | 535 | 538 => Verdict::refused(answer, format!("{}; see user and password", error())),
            500.. => Verdict::rejected(answer, error()),
            _ => Verdict::retry(answer, error()),
        }
    }
}

fn page(outgoing: &Outgoing<'_>) -> String {
    let message = outgoing.message;
    let (colour, state) = match message.kind {
        MessageKind::Alert => ("#b3261e", "Alert"),
        MessageKind::Summary => ("#8a5a00", "Going on"),
        MessageKind::Resolved => ("#1e6b33", "Over"),
        MessageKind::Digest => ("#3d4f8a", "Digest"),
        MessageKind::Acknowledged => ("#605d62", "Taken care of"),
        MessageKind::Report => ("#3d4f8a", "Report"),
    };
    let mut page = format!(
        "<!doctype html><html><body style=\"font-family:sans-serif;font-size:15px;color:#1c1b1f\">\
         <div style=\"border-left:4px solid {colour};padding:2px 14px\">\
         <p style=\"margin:0;color:{colour};font-weight:bold\">{state}</p>\
         <h2 style=\"margin:4px 0 10px;font-size:18px\">{}</h2>",
        html(&one_line(&message.title))
    );
    let rest = message.text.split_once('\n').map_or("", |(_, rest)| rest);
    // Writing to a String cannot fail.
    for line in cut(rest, TEXT / 2).lines().filter(|line| !line.trim().is_empty()) {
        let _ = write!(page, "<p style=\"margin:3px 0\">{}</p>", html(line));
    }
    let _ = write!(
        page,
        "</div><p style=\"color:#605d62;font-size:12px\">{} &middot; hookline {}</p></body></html>",
        html(outgoing.name_of(&message.owner)),
        html(&message.id)
    );
    page
}
