//! Private brokers start, come back on the same port, and leave nothing behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use xtask::brokers::{BrokerError, Certificates, ClientCertificate, HOST, Kafka, RabbitMq};

#[test]
fn rabbitmq_comes_back_on_the_same_port_with_its_data_and_leaves_nothing_behind() {
    let mut broker = RabbitMq::builder()
        .tls(ClientCertificate::NotAsked)
        .vhost("other")
        .user("reader", "reader-secret")
        .permission("reader", "other", ["", "", ".*"])
        .start()
        .expect("starts");
    let (port, dir) = (broker.port(), broker.dir().to_owned());
    let permissions = broker
        .ctl(&["list_user_permissions", "reader"])
        .expect("lists");
    assert!(permissions.contains("other"), "{permissions}");
    assert_tls(broker.tls_port(), broker.certificates());
    broker.ctl(&["add_vhost", "later"]).expect("adds");

    broker.kill().expect("is killed");
    assert!(processes_of(&dir, false).is_empty());
    assert!(!listens(port));
    broker.restart().expect("starts again");
    assert_eq!(broker.port(), port);
    assert!(listens(port));
    let vhosts = broker.ctl(&["list_vhosts"]).expect("lists");
    assert!(vhosts.contains("later"), "{vhosts}");

    broker.stop().expect("stops");
    assert!(processes_of(&dir, false).is_empty());
    assert!(matches!(
        broker.ctl(&["list_vhosts"]),
        Err(BrokerError::Tool { .. })
    ));
    broker.restart().expect("starts again");
    drop(broker);
    assert_gone(&dir, port);
}

#[test]
fn kafka_comes_back_on_the_same_port_with_its_data_and_leaves_nothing_behind() {
    let mut broker = Kafka::builder()
        .sasl()
        .tls(ClientCertificate::Required)
        .auto_create_topics(false)
        .message_max_bytes(100_000)
        .partitions(3)
        .start()
        .expect("starts");
    let (port, dir) = (broker.port(), broker.dir().to_owned());
    broker.create_topic("kept", 2).expect("is made");
    for servers in [
        broker.sasl_servers(),
        broker.tls_servers(),
        broker.sasl_tls_servers(),
    ] {
        let servers = servers.expect("it was asked for");
        TcpStream::connect(&servers).expect("listens");
    }

    broker.kill().expect("is killed");
    assert!(processes_of(&dir, false).is_empty());
    assert!(!listens(port));
    broker.restart().expect("starts again");
    assert_eq!(broker.port(), port);
    let again = broker.create_topic("kept", 2);
    assert!(
        matches!(again, Err(BrokerError::Refused { .. })),
        "{again:?}"
    );

    broker.stop().expect("stops");
    assert!(processes_of(&dir, false).is_empty());
    broker.restart().expect("starts again");
    broker.delete_topic("kept").expect("is removed");
    drop(broker);
    assert_gone(&dir, port);
}

/// The test starts itself twice as the owner of both brokers, and ends these owners in different ways.
#[test]
fn brokers_end_with_owners_that_do_not_drop_them() {
    const ROLE: &str = "EVBUS_TEST_BROKER_OWNER";
    let name = "brokers_end_with_owners_that_do_not_drop_them";
    if std::env::var_os(ROLE).is_some() {
        let (rabbitmq, kafka) = (
            RabbitMq::start().expect("starts"),
            Kafka::start().expect("starts"),
        );
        println!("\nowner {} {}", rabbitmq.port(), rabbitmq.dir().display());
        println!("\nowner {} {}", kafka.port(), kafka.dir().display());
        // As in a `static`, nothing drops them.
        std::mem::forget((rabbitmq, kafka));
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).expect("reads");
        return;
    }
    let start = || {
        Command::new(std::env::current_exe().expect("has a path"))
            .args(["--exact", name, "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts")
    };
    let (mut killed, mut ending) = (start(), start());
    let brokers = [owned_by(&mut killed), owned_by(&mut ending)].concat();
    for (port, dir) in &brokers {
        assert!(listens(*port));
        assert!(!processes_of(dir, true).is_empty());
    }
    killed.kill().expect("is killed");
    killed.wait().expect("ends");
    drop(ending.stdin.take());
    assert!(ending.wait().expect("ends").success());
    for (port, dir) in &brokers {
        assert_gone(dir, *port);
    }
}

/// The port and directory of the two brokers, as printed by an owner.
fn owned_by(owner: &mut Child) -> Vec<(u16, PathBuf)> {
    let lines = BufReader::new(owner.stdout.as_mut().expect("is piped")).lines();
    let told: Vec<_> = lines
        .map_while(Result::ok)
        .filter_map(|line| {
            let (port, dir) = line.strip_prefix("owner ")?.split_once(' ')?;
            Some((port.parse().expect("a port"), PathBuf::from(dir)))
        })
        .take(2)
        .collect();
    assert_eq!(told.len(), 2, "the owner ended early");
    told
}

fn listens(port: u16) -> bool {
    TcpStream::connect((HOST, port)).is_ok()
}

fn assert_gone(dir: &Path, port: u16) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while dir.exists() || listens(port) || !processes_of(dir, true).is_empty() {
        let left = processes_of(dir, true);
        assert!(
            Instant::now() < deadline,
            "left: {left:?} in {}",
            dir.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The command lines of the processes that refer to a broker's directory in their command line, environment or working
/// directory; the keeper only if requested.
fn processes_of(dir: &Path, with_keeper: bool) -> Vec<String> {
    let dir = dir.to_str().expect("is text");
    let entries = fs::read_dir("/proc").expect("lists");
    entries
        .filter_map(|entry| {
            let process = entry.ok()?.path();
            let read = |file: &str| {
                let bytes = fs::read(process.join(file)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let command = read("cmdline");
            let works_in = fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
            let found = works_in || command.contains(dir) || read("environ").contains(dir);
            let counts = with_keeper || !command.contains("evbus-keeper");
            (found && counts).then_some(command)
        })
        .collect()
}

/// A client that trusts the broker's authority, and only that, accepts its certificate.
fn assert_tls(port: Option<u16>, certificates: Option<&Certificates>) {
    let (port, certificates) = port.zip(certificates).expect("it was asked for");
    let strangers = tempfile::tempdir().expect("makes");
    let stranger = Certificates::generate(strangers.path()).expect("makes");
    for (ca, trusted) in [(&certificates.ca, true), (&stranger.ca, false)] {
        let status = Command::new("openssl")
            .args(["s_client", "-verify_return_error", "-verify_hostname"])
            .args(["localhost", "-no-CApath", "-no-CAstore", "-connect"])
            .arg(format!("{HOST}:{port}"))
            .arg("-CAfile")
            .arg(ca)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("starts");
        assert_eq!(status.success(), trusted);
    }
}
