//! Kafka's jars, fetched once with Maven and kept for all later runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::brokers::server::last_lines;
use crate::brokers::{BrokerError, lock, shared_dir};
use crate::system::{self, Need};

/// The Kafka of the tests; its server runs on Java 17 and newer.
pub const VERSION: &str = "4.2.0";
/// Kafka's log library: without it nothing is logged.
const LOGGER: &str = "1.7.36";

/// What it takes to run Kafka.
#[derive(Clone, Debug)]
pub(super) struct Installed {
    pub(super) java: PathBuf,
    pub(super) libs: PathBuf,
    /// An archive of classes loaded by an earlier run, with which Java starts Kafka in half the time. It depends on
    /// the Java version and may not exist yet.
    pub(super) archive: PathBuf,
}

/// Finds the jars; downloads them first if necessary. Concurrent processes wait.
pub(super) fn install() -> Result<Installed, BrokerError> {
    let (java, version) = system::java()?;
    let home = shared_dir().join(format!("kafka-{VERSION}"));
    let installed = Installed {
        java,
        libs: home.join("libs"),
        archive: home.join(format!("classes-java-{version}.jsa")),
    };
    if !installed.libs.is_dir() {
        let _lock = lock(&home)?;
        if !installed.libs.is_dir() {
            fetch(&home, &installed.libs)?;
        }
    }
    Ok(installed)
}

fn fetch(home: &Path, libs: &Path) -> Result<(), BrokerError> {
    system::check(&[Need::Maven])?;
    // In the same directory, so that it can be moved into place when it is complete.
    let work =
        tempfile::tempdir_in(home).map_err(BrokerError::file("make a directory in", home))?;
    let pom = work.path().join("pom.xml");
    fs::write(&pom, project()).map_err(BrokerError::file("write", &pom))?;
    let output = Command::new("mvn")
        .args(["--batch-mode", "--no-transfer-progress", "--file"])
        .arg(&pom)
        .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg("-DoutputDirectory=libs")
        .current_dir(work.path())
        .stdin(Stdio::null())
        .output()
        .map_err(BrokerError::io("start mvn"))?;
    if !output.status.success() {
        return Err(BrokerError::Tool {
            tool: "mvn",
            why: format!(
                "{} while fetching Kafka {VERSION}: {}",
                output.status,
                last_lines(&String::from_utf8_lossy(&output.stdout))
            ),
        });
    }
    fs::rename(work.path().join("libs"), libs).map_err(BrokerError::file("make", libs))
}

fn project() -> String {
    let dependency = |group, artifact, version| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    };
    format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>evbus</groupId>\
         <artifactId>brokers</artifactId><version>1</version><packaging>pom</packaging>\
         <dependencies>{}{}</dependencies></project>\n",
        dependency("org.apache.kafka", "kafka_2.13", VERSION),
        dependency("org.slf4j", "slf4j-simple", LOGGER)
    )
}
