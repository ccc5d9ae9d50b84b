//! Requests that a page of another site has a browser send.
//!
//! Whoever can be reached by a browser can be reached by every page that is open in it. Browsers say so
//! (`Sec-Fetch-Site`, `Origin`); and where a page's own name was made to mean this machine (DNS
//! rebinding), the name in `Host` gives it away.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{HOST, ORIGIN};
use hyper::http::uri::Authority;

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Why a request is taken for one of another site's page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// The browser says it.
    #[error(
        "a page of another site sent this (Sec-Fetch-Site: {0}); only programs and pages of this \
         address may ask"
    )]
    Site(String),
    /// The page is not ours.
    #[error("a page of {0} sent this (Origin); only programs and pages of this address may ask")]
    Origin(String),
    /// The name is not ours.
    #[error(
        "{0} is a name that others can own (Host); on loopback, ask for localhost or an \
             address, or set a token"
    )]
    Host(String),
}

/// Looks for signs of a browser that another site's page has sent. `authority` is that of the request's
/// own target, where it has one; `by_name` says that nobody but this machine can ask, and names that are not
/// its own give others away.
pub fn check(
    headers: &HeaderMap,
    authority: Option<&Authority>,
    by_name: bool,
) -> Result<(), Foreign> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let short = |text: &str| text.chars().take(100).collect::<String>();
    if let Some(site) = text(SEC_FETCH_SITE)
        && site != "same-origin"
        && site != "none"
    {
        return Err(Foreign::Site(short(&site)));
    }
    let host = headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let host = authority.or(host.as_ref());
    if let Some(origin) = text(ORIGIN.as_str()) {
        let of_page = origin.split_once("://").map(|(_, of_page)| of_page);
        let is_ours = of_page.zip(host).is_some_and(|(of_page, host)| *host == *of_page);
        if !is_ours {
            return Err(Foreign::Origin(short(&origin)));
        }
    }
    match host {
        Some(host) if by_name && !is_own_name(host.host()) => {
            Err(Foreign::Host(short(host.host())))
        }
        None if by_name && headers.contains_key(HOST) => {
            Err(Foreign::Host(short(&text(HOST.as_str()).unwrap_or_default())))
        }
        _ => Ok(()),
    }
}

/// An address, or a name that nobody can own whom a browser would find: without a dot, or under a domain
/// that is kept for private use.
fn is_own_name(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_private = || [".localhost", ".internal"].iter().any(|domain| host.ends_with(domain));
    address.parse::<IpAddr>().is_ok() || !host.contains('.') || is_private()
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn judge(headers: &[(&str, &str)], by_name: bool) -> Result<(), Foreign> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        check(&map, None, by_name)
    }

    #[test]
    fn programs_pass_and_pages_of_others_do_not() {
        for fine in [
            &[][..],
            &[("host", "127.0.0.1:9848")],
            &[("host", "localhost:9848")],
            &[("host", "LOCALHOST")],
            &[("host", "me.localhost.:1")],
            &[("host", "exporter:9848")],
            &[("host", "host.docker.internal:9848")],
            &[("host", "[::1]:9848")],
            &[("host", "localhost:9848"), ("origin", "http://localhost:9848")],
            &[("host", "127.0.0.1:9848"), ("sec-fetch-site", "same-origin")],
            &[("host", "127.0.0.1:9848"), ("sec-fetch-site", "none")],
        ] {
            assert_eq!(judge(fine, true), Ok(()), "{fine:?}");
        }
        for (wrong, foreign) in [
            (&[("sec-fetch-site", "cross-site")][..], Foreign::Site("cross-site".into())),
            (&[("sec-fetch-site", "same-site")], Foreign::Site("same-site".into())),
            (&[("host", "localhost"), ("origin", "null")], Foreign::Origin("null".into())),
            (
                &[("host", "localhost:9848"), ("origin", "http://localhost:3000")],
                Foreign::Origin("http://localhost:3000".into()),
            ),
            (&[("origin", "http://evil.example")], Foreign::Origin("http://evil.example".into())),
            (&[("host", "evil.example:9848")], Foreign::Host("evil.example".into())),
            (
                &[("host", "evil.example:9848"), ("origin", "http://evil.example:9848")],
                Foreign::Host("evil.example".into()),
            ),
            (&[("host", "localhost.evil.example")], Foreign::Host("localhost.evil.example".into())),
            (&[("host", "127.0.0.1.evil.example")], Foreign::Host("127.0.0.1.evil.example".into())),
            (&[("host", "a b")], Foreign::Host("a b".into())),
        ] {
            assert_eq!(judge(wrong, true), Err(foreign), "{wrong:?}");
        }
    }

    #[test]
    fn names_are_free_where_others_may_ask() {
        assert_eq!(judge(&[("host", "metrics.example:9848")], false), Ok(()));
        let own = [("host", "a.example:1"), ("origin", "https://a.example:1")];
        assert_eq!(judge(&own, false), Ok(()));
        let foreign = [("host", "a.example:1"), ("origin", "https://b.example:1")];
        assert!(judge(&foreign, false).is_err());
    }
}
