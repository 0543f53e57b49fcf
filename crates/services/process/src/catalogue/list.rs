//! Where the operator's list of links is, and when it is another one.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use config::ListPlace;
use enrich::Catalogue;
use event::keyed_hash_hex;
use outgoing::{Bounds, Fetched, Fetcher, Validators};

use crate::references::read_catalogue;

/// What is fetched at most, in bytes and in time: two million links take about 300 MB.
const BOUNDS: Bounds = Bounds { bytes: 512 << 20, time: Duration::from_secs(300) };
/// After a fetch that failed, the next one comes this soon.
const AGAIN: Duration = Duration::from_secs(30);

/// What a look at the list gives.
#[derive(Debug)]
pub(super) enum Look {
    /// Nothing that was not known.
    Nothing,
    /// A list that is whole, and may be the one in force.
    List(Catalogue),
    /// What is wrong. What was there before stays in force.
    Refused(String),
}

/// Looks at the list.
#[derive(Debug)]
pub(super) enum List {
    File(OfFile),
    Address(Box<OfAddress>),
}

impl List {
    /// `data` is the folder where the last good copy of a fetched list is kept.
    pub(super) fn at(place: &ListPlace, data: &Path) -> Self {
        match place {
            ListPlace::File(file) => Self::File(OfFile { file: file.clone(), read_as: None, seen: None }),
            ListPlace::Address { url, every, allow_private } => Self::Address(Box::new(OfAddress {
                shown: url.split(['?', '#']).next().unwrap_or_default().to_owned(),
                url: url.clone(),
                every: *every,
                allow_private: *allow_private,
                copy: data.join("links.csv"),
                known: None,
                due: Instant::now(),
                wrong: None,
            })),
        }
    }

    /// Looks whether there is another list. Where one is in force already (`has_list`), it stays so until a newer one
    /// is known to be whole: a file that may still be written is left alone, and the copy of this instance counts for
    /// nothing, since it may be older than what is in force.
    pub(super) fn look(&mut self, has_list: bool) -> Look {
        match self {
            Self::File(file) => file.look(has_list),
            Self::Address(address) => address.look(has_list),
        }
    }

    /// The next look gives the list again, whether it has changed or not.
    pub(super) fn look_again(&mut self) {
        match self {
            Self::File(file) => file.read_as = None,
            Self::Address(address) => {
                (address.known, address.wrong, address.due) = (None, None, Instant::now());
            }
        }
    }
}

/// A list in a file: it is read when it has changed and stands still.
#[derive(Debug)]
pub(super) struct OfFile {
    file: PathBuf,
    /// As it was when it was read last, used or not, there or not; `None`: it is to be read.
    read_as: Option<Option<Stamp>>,
    /// As it was when it was looked at last.
    seen: Option<Option<Stamp>>,
}

/// What a file looks like from outside: another file, or other bytes, have another stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    changed: SystemTime,
    bytes: u64,
    inode: u64,
}

impl Stamp {
    pub(crate) fn of(file: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(file).ok()?;
        Some(Self { changed: metadata.modified().ok()?, bytes: metadata.len(), inode: metadata.ino() })
    }
}

impl OfFile {
    fn look(&mut self, has_list: bool) -> Look {
        let stamp = Stamp::of(&self.file);
        // A file that is being written changes from look to look.
        let stands_still = self.seen.replace(stamp) == Some(stamp);
        let may_be_read = stands_still || (self.read_as.is_none() && !has_list);
        if !may_be_read || self.read_as == Some(stamp) {
            return Look::Nothing;
        }
        self.read_as = Some(stamp);
        match read_catalogue(&self.file) {
            Ok(list) => Look::List(list),
            Err(error) => Look::Refused(error.to_string()),
        }
    }
}

/// A list at an address: it is asked for every so often, and fetched when it has changed.
#[derive(Debug)]
pub(super) struct OfAddress {
    url: String,
    /// Without what may be a secret.
    shown: String,
    every: Duration,
    allow_private: bool,
    /// The last good copy; beside it stands what the server said to know it by.
    copy: PathBuf,
    /// What the server said of what it gave last, good or not; `None` before the first look.
    known: Option<Validators>,
    due: Instant,
    /// What was wrong with what the server gave last.
    wrong: Option<String>,
}

impl OfAddress {
    fn look(&mut self, has_list: bool) -> Look {
        let now = Instant::now();
        if now < self.due {
            return Look::Nothing;
        }
        let is_first = self.known.is_none();
        let known = self.known.get_or_insert_with(|| read_validators(&self.copy, &self.url)).clone();
        let fresh = self.copy.with_extension("fetched");
        match self.fetch(&known, &fresh) {
            Err(why) => {
                self.due = now + AGAIN.min(self.every);
                // The copy may be newer than what is in force: what is unchanged then is to be taken up all the same.
                self.known = None;
                self.or_the_copy(is_first && !has_list, format!("{} gives no list: {why}", self.shown))
            }
            Ok(Fetched::Unchanged) => {
                self.due = now + self.every;
                match (self.wrong.clone(), is_first) {
                    (Some(wrong), _) => Look::Refused(wrong),
                    (None, true) => self.copy_as_it_is(),
                    (None, false) => Look::Nothing,
                }
            }
            Ok(Fetched::New(validators)) => {
                self.due = now + self.every;
                self.known = Some(validators.clone());
                match self.keep(&fresh, &validators) {
                    Ok(list) => {
                        self.wrong = None;
                        Look::List(list)
                    }
                    Err(why) => {
                        let why = format!("{}: {why}", self.shown);
                        self.wrong = Some(why.clone());
                        self.or_the_copy(is_first && !has_list, why)
                    }
                }
            }
        }
    }

    /// The last good copy, of which the server says that it is the list.
    fn copy_as_it_is(&mut self) -> Look {
        match read_catalogue(&self.copy) {
            Ok(list) => Look::List(list),
            Err(why) => {
                // Without what the server knows it by, all of it comes with the next look.
                (self.known, self.due) = (Some(Validators::default()), Instant::now());
                Look::Refused(why.to_string())
            }
        }
    }

    /// The last good copy of this address, where no list was ever in force: the server may be away when we start.
    fn or_the_copy(&mut self, may_count: bool, why: String) -> Look {
        if !may_count || !is_of(&self.copy, &self.url) {
            return Look::Refused(why);
        }
        match read_catalogue(&self.copy) {
            Ok(list) => {
                tracing::warn!(service = crate::SERVICE, "{why}; the last copy of the list counts");
                Look::List(list)
            }
            Err(_) => {
                // Without a copy, what a server says to know it by is of no use.
                self.known = Some(Validators::default());
                Look::Refused(why)
            }
        }
    }

    fn fetch(&self, known: &Validators, to: &Path) -> Result<Fetched, String> {
        let fetcher = Fetcher::new(&self.url, self.allow_private, BOUNDS).map_err(|why| why.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("the system gives no way to wait for it: {error}"))?;
        let write = || -> std::io::Result<BufWriter<File>> {
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder)?;
            }
            Ok(BufWriter::new(File::create(to)?))
        };
        let mut writer = write().map_err(|error| format!("{} cannot be written: {error}", to.display()))?;
        let fetched = runtime.block_on(fetcher.fetch(known, &mut writer)).map_err(|why| why.to_string())?;
        // On the disk before it takes the place of the copy: half of a list is a shorter list.
        let written = writer.flush().and_then(|()| writer.get_ref().sync_all());
        written.map_err(|error| format!("{} cannot be written: {error}", to.display()))?;
        Ok(fetched)
    }

    /// Makes what was fetched the last good copy, if it is a list.
    fn keep(&self, fresh: &Path, validators: &Validators) -> Result<Catalogue, String> {
        let read = || Catalogue::read(BufReader::new(File::open(fresh)?));
        let list = read().map_err(|why| why.to_string())?;
        let kept = fs::rename(fresh, &self.copy).and_then(|()| write_validators(&self.copy, &self.url, validators));
        kept.map_err(|error| format!("{} cannot be written: {error}", self.copy.display()))?;
        Ok(list)
    }
}

fn beside(copy: &Path) -> PathBuf {
    copy.with_extension("validators")
}

/// What stands beside the copy: of which address it is (a hash, since an address may hold a secret), and the two
/// headers, one a line.
fn read_validators(copy: &Path, url: &str) -> Validators {
    if !copy.exists() || !is_of(copy, url) {
        return Validators::default();
    }
    let text = fs::read_to_string(beside(copy)).unwrap_or_default();
    let mut lines = text.lines().skip(1).map(|line| Some(line.to_owned()).filter(|line| !line.is_empty()));
    Validators { etag: lines.next().flatten(), modified: lines.next().flatten() }
}

/// Whether the copy was fetched from this address.
fn is_of(copy: &Path, url: &str) -> bool {
    let text = fs::read_to_string(beside(copy)).unwrap_or_default();
    text.lines().next() == Some(keyed_hash_hex(&[url]).as_str())
}

fn write_validators(copy: &Path, url: &str, Validators { etag, modified }: &Validators) -> std::io::Result<()> {
    let line = |text: &Option<String>| text.clone().unwrap_or_default();
    fs::write(beside(copy), format!("{}\n{}\n{}\n", keyed_hash_hex(&[url]), line(etag), line(modified)))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader as Lines};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A server that answers each request with what is set, and notes whether it was asked for changes only.
    struct Server {
        url: String,
        answer: Arc<Mutex<(u16, &'static str, &'static str)>>,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Server {
        fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let url = format!("http://{}/links.csv", listener.local_addr().expect("an address"));
            let (answer, asked) = (Arc::new(Mutex::new((200, "", ""))), Arc::new(Mutex::new(Vec::new())));
            let (with, noted) = (Arc::clone(&answer), Arc::clone(&asked));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let Ok(mut stream) = stream else { return };
                    let mut known = String::new();
                    for line in Lines::new(stream.try_clone().expect("a stream")).lines() {
                        let line = line.unwrap_or_default().to_lowercase();
                        if let Some(etag) = line.strip_prefix("if-none-match: ") {
                            known = etag.to_owned();
                        }
                        if line.is_empty() {
                            break;
                        }
                    }
                    let (status, etag, body) = *with.lock().expect("no panic");
                    let status = if status == 200 && known == etag { 304 } else { status };
                    noted.lock().expect("no panic").push(known);
                    let body = if status == 200 { body } else { "" };
                    let _ = write!(
                        stream,
                        "HTTP/1.1 {status} X\r\netag: {etag}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                        body.len()
                    );
                }
            });
            Self { url, answer, asked }
        }

        fn set(&self, status: u16, etag: &'static str, body: &'static str) {
            *self.answer.lock().expect("no panic") = (status, etag, body);
        }

        fn list(&self, data: &Path) -> List {
            let every = Duration::ZERO;
            List::at(&ListPlace::Address { url: self.url.clone(), every, allow_private: true }, data)
        }
    }

    fn seen(look: Look) -> String {
        match look {
            Look::Nothing => "nothing".to_owned(),
            Look::List(list) => format!("{} links", list.len()),
            Look::Refused(why) => why.split_once("links.csv").map_or(why.clone(), |(_, why)| why.to_owned()),
        }
    }

    #[test]
    fn a_list_at_an_address_comes_when_it_has_changed_and_its_last_good_copy_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start();
        server.set(200, "\"1\"", "link\na/1\n");
        let mut list = server.list(folder.path());
        assert_eq!(seen(list.look(false)), "1 links");
        assert_eq!(seen(list.look(false)), "nothing");
        server.set(200, "\"2\"", "link\na/1\na/1\n");
        assert_eq!(seen(list.look(false)), ": line 3: the link \"a/1\" stands in line 2 already");
        assert_eq!(
            seen(list.look(false)),
            ": line 3: the link \"a/1\" stands in line 2 already",
            "it is as wrong as it was"
        );
        // Who starts anew has the last good one, whatever the server says.
        assert_eq!(seen(server.list(folder.path()).look(false)), "1 links");
        server.set(503, "", "");
        assert_eq!(seen(list.look(false)), " gives no list: the server answered 503 Service Unavailable");
        let mut anew = server.list(folder.path());
        assert_eq!(seen(anew.look(false)), "1 links");
        server.set(200, "\"3\"", "link\na/1\na/2\n");
        assert_eq!(seen(anew.look(false)), "2 links");
        assert_eq!(seen(server.list(folder.path()).look(false)), "2 links", "304: the copy is the list");
        let asked = server.asked.lock().expect("no panic").clone();
        assert_eq!(asked, ["", "\"1\"", "\"1\"", "\"2\"", "\"1\"", "\"2\"", "\"1\"", "\"1\"", "\"3\""]);
    }

    #[test]
    fn where_a_list_is_in_force_a_server_that_is_away_changes_nothing_and_another_address_has_a_copy_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let (server, other) = (Server::start(), Server::start());
        server.set(200, "\"1\"", "link\na/1\n");
        assert_eq!(seen(server.list(folder.path()).look(false)), "1 links");
        server.set(503, "", "");
        let away = " gives no list: the server answered 503 Service Unavailable";
        assert_eq!(seen(server.list(folder.path()).look(true)), away, "an older copy does not take its place");
        // The same mark at another address is another list.
        other.set(200, "\"1\"", "link\na/1\na/2\n");
        assert_eq!(seen(other.list(folder.path()).look(true)), "2 links");
        assert_eq!(seen(server.list(folder.path()).look(false)), away, "the copy is of the other address now");
    }

    #[test]
    fn an_address_inside_is_not_asked_unless_that_is_allowed() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start();
        let place = ListPlace::Address { url: server.url.clone(), every: Duration::ZERO, allow_private: false };
        let mut list = List::at(&place, folder.path());
        let said = seen(list.look(false));
        assert!(said.contains("127.0.0.1 is not a public address; allow_private = true"), "{said}");
        assert!(server.asked.lock().expect("no panic").is_empty());
    }

    #[test]
    fn a_file_is_read_at_first_and_then_when_it_has_changed_and_stands_still() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("links.csv");
        fs::write(&file, "link,kind\nl_1,promo\n").expect("written");
        let mut list = List::at(&ListPlace::File(file.clone()), folder.path());
        assert_eq!(seen(list.look(false)), "1 links");
        assert_eq!(seen(list.look(false)), "nothing");
        fs::write(&file, "link,kind\nl_1,promo\nl_2,bio\n").expect("written");
        assert_eq!(seen(list.look(false)), "nothing", "it may still be written");
        assert_eq!(seen(list.look(false)), "2 links");
        fs::write(&file, "link,kind\nl_1,promo\nl_2\n").expect("written");
        let _ = list.look(false);
        let why = ": line 3: 1 fields, where the head has 2: a comma in a text needs quotation marks";
        assert_eq!(seen(list.look(false)), why);
        assert_eq!(seen(list.look(false)), "nothing", "it is said once");
        fs::remove_file(&file).expect("removed");
        let _ = list.look(false);
        assert!(seen(list.look(false)).starts_with(": it cannot be read"));
        assert_eq!(seen(list.look(false)), "nothing", "that it is missing is said once");
        // Where a list is in force, a file that may still be written is not taken as it is.
        fs::write(&file, "link,kind\nl_1,promo\n").expect("written");
        let mut again = List::at(&ListPlace::File(file.clone()), folder.path());
        assert_eq!([seen(again.look(true)), seen(again.look(true))], ["nothing", "1 links"]);
    }

    #[test]
    fn a_list_that_was_fetched_and_not_taken_up_comes_though_the_server_was_away_in_between() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start();
        server.set(200, "\"2\"", "link\na/1\na/2\n");
        let mut list = server.list(folder.path());
        assert_eq!(seen(list.look(true)), "2 links");
        list.look_again();
        server.set(503, "", "");
        assert_eq!(seen(list.look(true)), " gives no list: the server answered 503 Service Unavailable");
        server.set(200, "\"2\"", "link\na/1\na/2\n");
        assert_eq!(seen(list.look(true)), "2 links", "unchanged, and not what is in force");
        assert_eq!(seen(list.look(true)), "nothing");
        // What was wrong is not wrong any more once the server is back at what it gave before.
        server.set(200, "\"3\"", "link\na/1\na/1\n");
        assert_eq!(seen(list.look(true)), ": line 3: the link \"a/1\" stands in line 2 already");
        server.set(200, "\"2\"", "link\na/1\na/2\n");
        list.look_again();
        assert_eq!(seen(list.look(true)), "2 links");
    }
}
