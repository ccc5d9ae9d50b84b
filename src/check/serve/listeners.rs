//! Listeners: are their addresses free, or an exporter's already, and who reaches them?

use std::io;
use std::net::SocketAddr;

use tokio::time::Instant;

use super::access::Seen;
use super::{Row, patience};
use crate::access::{Side, Survey};
use crate::cli::{HealthcheckArgs, Users};
use crate::config::Config;
use crate::healthcheck;
use crate::logging::chain;
use crate::model::{HANDED_OVER, UNIX_SOCKET};
use crate::server::Listener;

/// What there is to say of both.
pub(super) async fn rows(config: &Config, access: &Seen, end: Instant) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut in_reach = false;
    for address in &config.listen_addresses {
        let survey = access.metrics.as_ref();
        in_reach |= one(Side::Metrics, address, survey, end, &mut rows).await;
    }
    if let Some(control) = &config.control {
        let survey = access.control.as_ref();
        one(Side::Control, &control.address, survey, end, &mut rows).await;
    }
    let asks = access.metrics.as_ref().is_some_and(|survey| survey.asks);
    let how = match Users::effective(config.users, in_reach, asks) {
        Users::Plain => "shown as they are",
        Users::Hash => "shown as hashes",
        Users::None => "not shown",
    };
    rows.push(if config.users == Some(Users::Plain) && in_reach && !asks {
        let what = format!("{how}, to everybody who reaches the listener");
        Row::warn("user ids", what, "leave --users out, or ask for a token (--web.token-file)")
    } else {
        Row::ok("user ids", how)
    });
    rows
}

/// Looks at one. Returns whether others than this machine reach it.
async fn one(
    side: Side,
    address: &str,
    survey: Option<&Survey>,
    end: Instant,
    rows: &mut Vec<Row>,
) -> bool {
    let thing = format!("{} listener", side.label());
    if address.starts_with(HANDED_OVER) {
        let what = format!("{address} is opened by the service manager, and not looked at");
        rows.push(Row::ok(thing, what));
        return false;
    }
    let in_reach = match Listener::bind(address).await {
        Ok(listener) => {
            rows.push(Row::ok(&*thing, format!("{address} is free")));
            !listener.is_local()
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            rows.push(taken(&thing, address, survey, end).await);
            !is_local(address)
        }
        Err(error) => {
            let remedy = format!("correct {}", flag(side));
            let what = format!("cannot listen on {address}: {error}");
            rows.push(Row::fail(thing, what, remedy));
            return !is_local(address);
        }
    };
    if in_reach && survey.is_some_and(|survey| !survey.asks) {
        let may = match side {
            Side::Metrics => "read all metrics",
            Side::Control => "push events",
        };
        let what = format!("whoever reaches {address} may {may}");
        let remedy = format!("ask for a token ({}), or listen on 127.0.0.1", side.token_flag());
        rows.push(Row::warn(thing, what, remedy));
    }
    in_reach
}

/// Who has the address.
async fn taken(thing: &str, address: &str, survey: Option<&Survey>, end: Instant) -> Row {
    if address.starts_with(UNIX_SOCKET) || survey.is_some_and(|survey| survey.verifies_clients) {
        let what = format!("{address} is held by somebody who cannot be asked");
        return Row::warn(thing, what, "if that is no exporter, name another address");
    }
    let tls = survey.is_some_and(|survey| survey.tls);
    let args = HealthcheckArgs {
        listen_address: address.to_owned(),
        ready: false,
        tls,
        timeout: patience(end).into(),
    };
    let remedy = "end whoever holds it, or name another address";
    match healthcheck::who(&args).await {
        Ok(true) => {
            Row::ok(thing, format!("{address} is held by a running exporter, which is well"))
        }
        Ok(false) => Row::fail(thing, format!("{address} is held by somebody else"), remedy),
        Err(error) => Row::fail(thing, format!("{address} is in use: {}", chain(&error)), remedy),
    }
}

/// Whether only this machine reaches an address that cannot be bound.
fn is_local(address: &str) -> bool {
    if address.starts_with(UNIX_SOCKET) {
        return true;
    }
    match address.parse::<SocketAddr>() {
        Ok(address) => address.ip().is_loopback(),
        Err(_) => address.starts_with("localhost:"),
    }
}

fn flag(side: Side) -> &'static str {
    match side {
        Side::Metrics => "--web.listen-address",
        Side::Control => "--control.listen-address",
    }
}
