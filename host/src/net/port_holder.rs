//! Who holds a port that cannot be had: a process that listens there, or a connection that happens to have it as its own end, as one may
//! where the port lies in the range from which the system gives connections theirs.

use std::{fmt, fs, net::SocketAddr, ops::RangeInclusive};

/// States of sockets, as the system's tables have them.
const LISTEN: &str = "0A";
const TIME_WAIT: &str = "06";

/// Where the system says from which range it gives connections their ports.
const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// What is known of who has a port, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PortHolder {
    port: u16,
    holder: Holder,
    /// The system gives ports of this range to connections, and this one is among them.
    given_out: Option<RangeInclusive<u16>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Listener,
    Connection,
    /// None that the tables show: in another namespace of the network, or bound and nothing else.
    Unseen,
}

impl PortHolder {
    /// Looks who has the port of `address` now.
    pub(super) fn of(address: SocketAddr) -> Self {
        // A socket of IPv6 may serve IPv4 as well.
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
        let tables: Vec<_> = tables.into_iter().filter_map(Result::ok).collect();
        let range = fs::read_to_string(RANGE).unwrap_or_default();
        Self::judge(address.port(), &tables, &range)
    }

    fn judge(port: u16, tables: &[String], range: &str) -> Self {
        let states: Vec<&str> = tables
            .iter()
            .flat_map(|table| table.lines().skip(1))
            .filter_map(|line| state_of(line, port))
            .collect();
        let holder = match &*states {
            states if states.contains(&LISTEN) => Holder::Listener,
            // One that only waits to be forgotten holds up nobody.
            states if states.iter().any(|state| *state != TIME_WAIT) => Holder::Connection,
            _ => Holder::Unseen,
        };
        Self {
            port,
            holder,
            given_out: read_range(range).filter(|range| range.contains(&port)),
        }
    }
}

/// The state of a socket whose own end has `port`.
fn state_of(line: &str, port: u16) -> Option<&str> {
    // 0: 0100007F:A3F1 00000000:0000 0A …
    let mut fields = line.split_whitespace().skip(1);
    let (_, own) = fields.next()?.rsplit_once(':')?;
    let state = fields.nth(1)?;
    (u16::from_str_radix(own, 16) == Ok(port)).then_some(state)
}

fn read_range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut ends = text.split_whitespace().map(str::parse);
    match (ends.next(), ends.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Some(first..=last),
        _ => None,
    }
}

impl fmt::Display for PortHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match self.holder {
            Holder::Listener => write!(
                f,
                "another process listens there, or this host by another --listen: stop it, or choose another port with --listen; \
                 ss -ltnp 'sport = :{port}' shows which"
            ),
            Holder::Connection => {
                write!(
                    f,
                    "no process listens there, but a connection has the port as its own end; ss -tnp 'sport = :{port}' shows which. \
                     Wait until it ends, or choose another port with --listen"
                )?;
                match &self.given_out {
                    Some(range) => write!(
                        f,
                        ". The system gives connections ports from {} to {}: to have it keep this one free, add it to those in \
                         net.ipv4.ip_local_reserved_ports, as by sysctl -w net.ipv4.ip_local_reserved_ports={port}",
                        range.start(),
                        range.end()
                    ),
                    None => Ok(()),
                }
            }
            Holder::Unseen => write!(
                f,
                "what holds it is not among the sockets that can be seen from here: it is bound and neither listens nor is \
                 connected, or was released just now; try again, or choose another port with --listen"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue";
    const RANGE: &str = "32768\t60999\n";

    fn told(lines: &[&str], port: u16) -> String {
        let table = [&[HEAD], lines].concat().join("\n");
        PortHolder::judge(port, &[table], RANGE).to_string()
    }

    #[test]
    fn a_listener_is_told_from_a_connection() {
        let listener = "   0: 0100007F:A3F1 00000000:0000 0A 00000000:00000000";
        let mine = "   1: 0100007F:A3F1 0100007F:1F90 01 00000000:00000000";
        let of_other = "   2: 0100007F:1F90 0100007F:A3F1 01 00000000:00000000";
        let forgotten = "   3: 0100007F:A3F1 0100007F:1F90 06 00000000:00000000";
        let listening = told(&[mine, listener], 41969);
        assert!(listening.contains("process listens there"), "{listening}");
        let connected = told(&[of_other, mine], 41969);
        for part in [
            "a connection has the port",
            "from 32768 to 60999",
            "ip_local_reserved_ports=41969",
        ] {
            assert!(connected.contains(part), "{connected}");
        }
        for unseen in [&[][..], &[of_other], &[forgotten]] {
            assert!(told(unseen, 41969).contains("not among the sockets"));
        }
        let six = "   0: 00000000000000000000000001000000:A3F1 00000000000000000000000000000000:0000 0A 0";
        assert!(told(&[six], 41969).contains("process listens there"));
        let below = told(&["   1: 0100007F:1F90 0100007F:A3F1 01"], 8080);
        assert!(
            below.contains("a connection") && !below.contains("reserved"),
            "{below}"
        );
    }
}
