//! Which process a connection belongs to, as Linux tells it under `/proc`.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// The place in `pids` of the process that has the end at `own` of a connection on this machine to `other`.
pub(super) fn owner(own: SocketAddr, other: SocketAddr, pids: &[Option<u32>]) -> Option<usize> {
    // A JVM connects by IPv6 sockets, also to addresses of IPv4.
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| std::fs::read_to_string(table).unwrap_or_default());
    let inode = tables.iter().find_map(|table| inode(table, own, other))?;
    let socket = format!("socket:[{inode}]");
    pids.iter().position(|pid| pid.is_some_and(|pid| has(pid, &socket)))
}

fn has(pid: u32, socket: &str) -> bool {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == Path::new(socket)))
}

/// The inode of the socket with these ends: one port may have connections to several addresses.
fn inode(table: &str, own: SocketAddr, other: SocketAddr) -> Option<&str> {
    let wanted = [own, other].map(|address| (address.ip(), address.port()));
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        // Its number, its own end, the other end; the inode is the tenth.
        ([end(words.nth(1)?)?, end(words.next()?)?] == wanted).then(|| words.nth(6)).flatten()
    })
}

/// `0100007F:1F90` is 127.0.0.1:8080: words of the machine's byte order (little-endian here), then the port.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok()?.to_le_bytes());
    let ip = match ip.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let mut bytes = [0; 16];
            for (at, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at)?);
            }
            IpAddr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some((ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1 0000000000000000 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:1F91 0000000000000000FFFF00000100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 22 1";

    #[test]
    fn sockets_of_both_families_are_found_by_their_ends() {
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        assert_eq!(inode(TABLE, at(8080), SocketAddr::from(([0, 0, 0, 0], 0))), Some("11"));
        assert_eq!(inode(TABLE, at(8081), at(8080)), Some("22"));
        assert_eq!(inode(TABLE, at(8081), at(8082)), None, "another connection of the same port");
    }

    #[test]
    fn the_process_that_connects_is_told_from_others() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let other = listener.local_addr().unwrap();
        let stream = TcpStream::connect(other).unwrap();
        let own = stream.local_addr().unwrap();
        assert_eq!(owner(own, other, &[Some(1), None, Some(std::process::id())]), Some(2));
        drop(stream);
        assert_eq!(owner(own, other, &[Some(1)]), None);
    }
}
