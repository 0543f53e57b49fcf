//! A TCP proxy whose links can be made silent or cut while it runs.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What a link does with what is sent over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Mode {
    /// Everything arrives.
    #[default]
    Pass,
    /// Connections stay open and new ones are accepted, and nothing arrives either way. What was sent waits in
    /// buffers, as what TCP sends again waits, and arrives once the link passes again.
    Silent,
    /// Requests do not arrive; answers do.
    RequestsLost,
    /// Answers do not arrive; requests do.
    AnswersLost,
    /// Connections are reset, and so is each new one.
    Cut,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    Answer,
}

impl Mode {
    /// The same for connections that the other end opens.
    pub(super) fn seen_from_the_other_end(self) -> Self {
        match self {
            Self::RequestsLost => Self::AnswersLost,
            Self::AnswersLost => Self::RequestsLost,
            Self::Pass | Self::Silent | Self::Cut => self,
        }
    }

    fn lets_through(self, way: Way) -> bool {
        match self {
            Self::Pass => true,
            Self::Silent | Self::Cut => false,
            Self::RequestsLost => way == Way::Answer,
            Self::AnswersLost => way == Way::Request,
        }
    }
}

/// Says who opened a connection, by the address that it comes from and that of the proxy: a number below that of the
/// proxy's callers. Blocking.
pub type Callers = Arc<dyn Fn(SocketAddr, SocketAddr) -> Option<usize> + Send + Sync>;

/// Listens at one address and passes on to another; how, is set for each caller.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    /// By caller.
    modes: Arc<Vec<watch::Sender<Mode>>>,
    /// Ends with the proxy, and with it every connection.
    _accepts: JoinSet<()>,
}

/// How much is passed on at once.
const CHUNK: usize = 64 << 10;
/// Between two tries to accept, when the system has no descriptor left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

impl Proxy {
    /// Listens at a free port of this machine and passes on to `target`, for anyone: there is one caller, 0.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn to(target: SocketAddr) -> io::Result<Self> {
        Self::between(target, 1, Arc::new(|_, _| Some(0))).await
    }

    /// As [`Self::to`], for `count` callers that `callers` tells apart. A connection of none of them is reset.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn between(target: SocketAddr, count: usize, callers: Callers) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let modes: Arc<Vec<watch::Sender<Mode>>> =
            Arc::new((0..count).map(|_| watch::Sender::new(Mode::default())).collect());
        let mut accepts = JoinSet::new();
        accepts.spawn(accept((listener, address), target, Arc::clone(&modes), callers));
        Ok(Self { address, modes, _accepts: accepts })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on connections of this caller are treated so, old and new ones.
    pub fn set(&self, caller: usize, mode: Mode) {
        if let Some(link) = self.modes.get(caller) {
            link.send_replace(mode);
        }
    }
}

async fn accept(
    (listener, address): (TcpListener, SocketAddr),
    target: SocketAddr,
    modes: Arc<Vec<watch::Sender<Mode>>>,
    callers: Callers,
) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let (modes, callers) = (Arc::clone(&modes), Arc::clone(&callers));
        connections.spawn(async move {
            let caller = tokio::task::spawn_blocking(move || callers(peer, address)).await.ok().flatten();
            match caller.and_then(|caller| modes.get(caller)) {
                Some(link) => pass_on(stream, target, link.subscribe()).await,
                None => reset(&stream),
            }
        });
    }
}

/// A closed socket says goodbye to its peer; one with this set tells it that the connection is gone.
#[allow(deprecated, reason = "a linger of zero never blocks, which is what the deprecation warns of")]
fn reset(stream: &TcpStream) {
    // Where it cannot be set, the peer hears an end instead of a reset.
    let _ = stream.set_linger(Some(Duration::ZERO));
}

async fn pass_on(caller: TcpStream, target: SocketAddr, mut mode: watch::Receiver<Mode>) {
    // A link that lets nothing to the target does not reach it at all.
    let way_is_open = mode.wait_for(|mode| *mode == Mode::Cut || mode.lets_through(Way::Request)).await;
    if way_is_open.map_or(Mode::Cut, |mode| *mode) == Mode::Cut {
        return reset(&caller);
    }
    let Ok(target) = TcpStream::connect(target).await else { return reset(&caller) };
    // What is small is sent at once, as it came.
    let _ = (caller.set_nodelay(true), target.set_nodelay(true));
    let (caller_reads, caller_writes) = caller.into_split();
    let (target_reads, target_writes) = target.into_split();
    let ends = [mode.clone(), mode.clone()];
    let [requests, answers] = ends;
    let mut cut = mode;
    let mut sockets = Sockets { requests: (caller_reads, target_writes), answers: (target_reads, caller_writes) };
    let is_cut = tokio::select! {
        // An error is the end of the proxy.
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => true,
        ended = async {
            tokio::try_join!(
                forward(&mut sockets.requests, requests, Way::Request),
                forward(&mut sockets.answers, answers, Way::Answer)
            )
        } => ended.is_err(),
    };
    if is_cut {
        let Sockets { requests, answers } = sockets;
        reset(requests.0.as_ref());
        reset(answers.0.as_ref());
        // A half that writes says goodbye when it is dropped.
        requests.1.forget();
        answers.1.forget();
    }
}

/// The halves of a connection by way.
struct Sockets {
    requests: (OwnedReadHalf, OwnedWriteHalf),
    answers: (OwnedReadHalf, OwnedWriteHalf),
}

/// Until the end of what comes this way.
async fn forward(
    (from, to): &mut (OwnedReadHalf, OwnedWriteHalf),
    mut mode: watch::Receiver<Mode>,
    way: Way,
) -> io::Result<()> {
    let gone = |_| io::Error::from(io::ErrorKind::ConnectionAborted);
    let mut chunk = vec![0; CHUNK];
    loop {
        mode.wait_for(|mode| mode.lets_through(way)).await.map_err(gone)?;
        let size = tokio::select! {
            biased;
            changed = mode.changed() => {
                changed.map_err(gone)?;
                continue;
            }
            read = from.read(&mut chunk) => read?,
        };
        if size == 0 {
            return to.shutdown().await;
        }
        to.write_all(chunk.get(..size).unwrap_or_default()).await?;
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpSocket;
    use tokio::time::timeout;

    use super::*;

    /// Longer than anything takes that is not held back.
    const SOON: Duration = Duration::from_secs(10);
    /// For what must not arrive.
    const A_WHILE: Duration = Duration::from_millis(150);

    /// A server that answers each byte with itself, and a proxy before it that knows two callers: at 127.0.0.1 and
    /// 127.0.0.2.
    async fn proxied() -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let target = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reads, mut writes) = stream.split();
                    tokio::io::copy(&mut reads, &mut writes).await
                });
            }
        });
        Proxy::between(target, 2, Arc::new(|peer, _| Some(usize::from(peer.ip() != Ipv4Addr::LOCALHOST))))
            .await
            .unwrap()
    }

    /// A connection of a caller.
    async fn connect(proxy: &Proxy, caller: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 0, 0, 1 + caller), 0).into()).unwrap();
        socket.connect(proxy.address()).await.unwrap()
    }

    async fn is_echoed(stream: &mut TcpStream, byte: u8) -> bool {
        stream.write_all(&[byte]).await.is_ok() && hears(stream, byte, SOON).await
    }

    async fn hears(stream: &mut TcpStream, byte: u8, within: Duration) -> bool {
        let mut heard = [0];
        let read = timeout(within, stream.read_exact(&mut heard)).await;
        matches!(read, Ok(Ok(_))) && heard == [byte]
    }

    async fn is_reset(stream: &mut TcpStream) -> bool {
        let mut heard = [0];
        let read = timeout(SOON, stream.read(&mut heard)).await.unwrap();
        read.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
    }

    #[tokio::test]
    async fn a_silent_link_keeps_connections_and_what_was_sent_arrives_when_it_passes_again() {
        let proxy = proxied().await;
        let mut old = connect(&proxy, 0).await;
        assert!(is_echoed(&mut old, 1).await);
        proxy.set(0, Mode::Silent);
        let mut new = connect(&proxy, 0).await;
        for stream in [&mut old, &mut new] {
            stream.write_all(&[2]).await.unwrap();
            assert!(!hears(stream, 2, A_WHILE).await);
        }
        // The other caller notices nothing.
        assert!(is_echoed(&mut connect(&proxy, 1).await, 3).await);
        proxy.set(0, Mode::Pass);
        assert!(hears(&mut old, 2, SOON).await && hears(&mut new, 2, SOON).await);
    }

    #[tokio::test]
    async fn a_link_that_loses_answers_carries_requests_and_one_that_loses_requests_carries_answers() {
        let proxy = proxied().await;
        let mut stream = connect(&proxy, 0).await;
        assert!(is_echoed(&mut stream, 1).await);
        proxy.set(0, Mode::AnswersLost);
        stream.write_all(&[2]).await.unwrap();
        assert!(!hears(&mut stream, 2, A_WHILE).await);
        // The echo is on its way back already, so a link that lets answers pass brings it.
        proxy.set(0, Mode::RequestsLost);
        assert!(hears(&mut stream, 2, SOON).await);
        stream.write_all(&[3]).await.unwrap();
        assert!(!hears(&mut stream, 3, A_WHILE).await);
        proxy.set(0, Mode::Pass);
        assert!(hears(&mut stream, 3, SOON).await);
    }

    #[tokio::test]
    async fn a_cut_link_resets_what_is_open_and_what_is_new_and_a_link_that_passes_takes_connections_again() {
        let proxy = proxied().await;
        let mut old = connect(&proxy, 0).await;
        assert!(is_echoed(&mut old, 1).await);
        proxy.set(0, Mode::Silent);
        let mut waiting = connect(&proxy, 0).await;
        proxy.set(0, Mode::Cut);
        assert!(is_reset(&mut old).await && is_reset(&mut waiting).await);
        assert!(is_reset(&mut connect(&proxy, 0).await).await);
        assert!(is_echoed(&mut connect(&proxy, 1).await, 2).await);
        proxy.set(0, Mode::Pass);
        assert!(is_echoed(&mut connect(&proxy, 0).await, 3).await);
    }

    #[tokio::test]
    async fn the_end_of_a_connection_goes_both_ways() {
        let proxy = proxied().await;
        let mut stream = connect(&proxy, 0).await;
        assert!(is_echoed(&mut stream, 1).await);
        stream.shutdown().await.unwrap();
        let mut heard = [0];
        assert_eq!(timeout(SOON, stream.read(&mut heard)).await.unwrap().unwrap(), 0);
    }
}
