use hyper::header::HeaderValue;

use super::*;

const PASSWORD: &str = "correct horse";

struct World {
    dir: tempfile::TempDir,
    telemetry: Arc<Telemetry>,
}

impl World {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), telemetry: Arc::default() }
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn users(&self, name: &str) -> PathBuf {
        let hash = bcrypt::hash(PASSWORD, 4).unwrap();
        self.write("web.yml", &format!("basic_auth_users: {{{name}: {hash}}}\n"))
    }

    fn open(&self, means: &Means) -> Result<Arc<Gate>, AccessError> {
        Gate::open(Side::Control, means.clone(), Arc::clone(&self.telemetry))
    }

    fn is_good(&self) -> bool {
        self.telemetry.lock().config.access["control"]
    }
}

async fn admits(gate: &Gate, authorization: &str) -> bool {
    let mut headers = HeaderMap::new();
    if !authorization.is_empty() {
        headers.insert(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
    }
    gate.admit(&headers, None).await.is_ok()
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

/// As if time had passed.
fn age(gate: &Gate) {
    gate.hold().looked -= LOOK_AGAIN;
}

#[tokio::test]
async fn each_of_several_means_opens() {
    let world = World::new();
    let web_config = Some(world.users("ada"));
    let token_file = Some(world.write("token", "s3cret\n"));
    let (right, wrong) = (basic("ada", PASSWORD), basic("ada", "other"));
    let token_as_password = basic("any", "s3cret");
    for (means, opens) in [
        (Means::default(), [true, true, true, true, true, true]),
        (
            Means { token_file: token_file.clone(), ..Means::default() },
            [false, true, true, false, true, false],
        ),
        (
            Means { web_config: web_config.clone(), ..Means::default() },
            [false, false, false, true, false, false],
        ),
        (Means { web_config, token_file }, [false, true, true, true, true, false]),
    ] {
        let gate = world.open(&means).unwrap();
        let shown = ["", "Bearer s3cret", "bearer  s3cret", &right, &token_as_password, &wrong];
        for (shown, opens) in shown.into_iter().zip(opens) {
            assert_eq!(admits(&gate, shown).await, opens, "{shown} with {means:?}");
        }
        for never in ["Bearer", "Bearer s3cret2", "Digest s3cret", "Basic s3cret", "Basic !!"] {
            assert_eq!(admits(&gate, never).await, !gate.asks(), "{never} with {means:?}");
        }
    }
}

#[tokio::test]
async fn files_are_read_anew_and_a_broken_one_changes_nothing() {
    let world = World::new();
    let web_config = Some(world.users("ada"));
    let gate = world.open(&Means { web_config, ..Means::default() }).unwrap();
    let (ada, bob) = (basic("ada", PASSWORD), basic("bob", PASSWORD));
    world.users("bob");
    assert!(admits(&gate, &ada).await, "nobody has looked yet");
    age(&gate);
    assert!(!admits(&gate, &ada).await && admits(&gate, &bob).await);
    world.write("web.yml", "basic_auth_users: {ada: plain}\n");
    age(&gate);
    assert!(admits(&gate, &bob).await && !admits(&gate, &ada).await);
    assert!(!world.is_good());
    world.users("ada");
    age(&gate);
    assert!(admits(&gate, &ada).await && world.is_good());
    std::fs::remove_file(world.dir.path().join("web.yml")).unwrap();
    age(&gate);
    assert!(admits(&gate, &ada).await && !world.is_good());
}

#[tokio::test]
async fn a_token_may_come_later_and_go() {
    let world = World::new();
    let token_file = Some(world.dir.path().join("token"));
    let gate = world.open(&Means { token_file, ..Means::default() }).unwrap();
    assert!(gate.asks() && !admits(&gate, "").await && !admits(&gate, "Bearer ").await);
    world.write("token", "first\n");
    age(&gate);
    assert!(admits(&gate, "Bearer first").await);
    world.write("token", "second\n");
    age(&gate);
    assert!(!admits(&gate, "Bearer first").await && admits(&gate, "Bearer second").await);
    world.write("token", "\n");
    age(&gate);
    assert!(admits(&gate, "Bearer second").await && !world.is_good());
}

#[test]
fn what_has_to_ask_is_not_opened() {
    let world = World::new();
    let means = Means { web_config: Some(world.users("ada")), ..Means::default() };
    let gate = world.open(&means).unwrap();
    gate.stay_closed();
    assert!(matches!(gate.prepare(Means::default()), Err(AccessError::Opened)));
    world.write("web.yml", "basic_auth_users: {}\n");
    age(&gate);
    assert!(gate.asks() && !world.is_good());
    let token_file = Some(world.write("token", "s3cret"));
    let prepared = gate.prepare(Means { token_file, ..Means::default() }).unwrap();
    gate.commit(prepared);
    assert!(gate.asks() && world.is_good());
}

#[tokio::test]
async fn who_comes_too_often_waits_whoever_he_is() {
    let world = World::new();
    let web_config = Some(world.write("web.yml", "rate_limit: {interval: 1h, burst: 2}\n"));
    let gate = world.open(&Means { web_config, ..Means::default() }).unwrap();
    let ask = |peer: &str| {
        let (gate, peer) = (Arc::clone(&gate), peer.parse().unwrap());
        async move { gate.admit(&HeaderMap::new(), Some(peer)).await }
    };
    assert_eq!(ask("192.0.2.1").await, Ok(()));
    assert_eq!(ask("192.0.2.1").await, Ok(()));
    let Err(Denied::TooOften(Side::Control, wait)) = ask("192.0.2.1").await else { panic!() };
    assert!(wait > Duration::from_mins(59) && wait <= Duration::from_hours(1), "{wait:?}");
    assert_eq!(ask("192.0.2.2").await, Ok(()));
}

#[test]
fn an_invitation_names_what_there_is() {
    let said = |users, token| Denied::Unknown { side: Side::Metrics, users, token }.to_string();
    assert_eq!(said(true, false), "show a name and password of --web.config.file");
    assert_eq!(
        said(false, true),
        "show the token of --web.token-file: Authorization: Bearer TOKEN"
    );
    assert_eq!(
        said(true, true),
        "show the token of --web.token-file: Authorization: Bearer TOKEN; or a name and password of \
         --web.config.file"
    );
}
