//! Names of aiokafka's producer and of librdkafka that an acct file cannot use, each with the reason.
//!
//! Refused are settings that would make an acknowledgement untrue (a simulated broker, an unreported
//! message), that run code or send signals named by the file, or that mean nothing here and would be
//! silently ignored.

const CALLBACK: &str =
    "it is a function or an object of a program, which cannot be written as text";
const KERBEROS: &str = "Kerberos is not built in; use PLAIN or SCRAM";
const LOADS_CODE: &str = "only the host loads libraries";
const NO_TRANSACTIONS: &str = "events are acknowledged one by one, but transactions would acknowledge them together; remove it (`enable_idempotence` already keeps one connection's retries from storing a message twice)";
const OAUTH: &str = "OAuth is not built in; use PLAIN or SCRAM";
const PYTHON: &str = "it is a Python object; use PLAIN or SCRAM";
const REPORTS: &str = "every message must be reported, or none would be acknowledged";

/// Names, or beginnings and ends of names where a `*` stands for the rest.
const REFUSED: &[(&str, &str)] = &[
    ("*_cb", CALLBACK),
    ("default_topic_conf", CALLBACK),
    ("delivery.report.only.error", REPORTS),
    ("enable.sasl.oauthbearer.unsecure.jwt", OAUTH),
    ("enable_sasl_queue", OAUTH),
    ("enabled_events", REPORTS),
    ("interceptors", CALLBACK),
    (
        "internal.termination.signal",
        "it would cause signals inside the host",
    ),
    (
        "key_serializer",
        "it is a Python function; `key` is sent as UTF-8",
    ),
    ("log.queue", REPORTS),
    ("loop", "it is a Python object; remove it"),
    ("msg_order_cmp", CALLBACK),
    ("opaque", CALLBACK),
    ("plugin.library.paths", LOADS_CODE),
    (
        "queuing.strategy",
        "events are sent in the order in which they were fired",
    ),
    ("sasl.kerberos.*", KERBEROS),
    ("sasl.oauthbearer.*", OAUTH),
    ("sasl_kerberos_domain_name", KERBEROS),
    ("sasl_kerberos_service_name", KERBEROS),
    ("sasl_oauth_token_provider", PYTHON),
    ("ssl.engine.*", LOADS_CODE),
    ("ssl.providers", LOADS_CODE),
    ("ssl_ca", CALLBACK),
    ("ssl_certificate", CALLBACK),
    (
        "ssl_context",
        "it is a Python object; use the key `ssl` beside `connection`",
    ),
    ("ssl_engine_callback_data", CALLBACK),
    ("ssl_key", CALLBACK),
    (
        "test.*",
        "messages would be sent to a broker that librdkafka only simulates, and be lost; name real \
         brokers in `bootstrap_servers`",
    ),
    ("transaction.timeout.ms", NO_TRANSACTIONS),
    ("transaction_timeout_ms", NO_TRANSACTIONS),
    ("transactional.id", NO_TRANSACTIONS),
    ("transactional_id", NO_TRANSACTIONS),
    ("ut_*", "it is for librdkafka's own tests"),
    (
        "value_serializer",
        "it is a Python function; the event's body is sent as it is",
    ),
];

/// Why a name cannot be used, if so.
pub(crate) fn reason(name: &str) -> Option<&'static str> {
    let is_meant = |pattern: &str| match pattern.split_once('*') {
        Some((start, end)) => name.starts_with(start) && name.ends_with(end),
        None => name == pattern,
    };
    let (_, reason) = REFUSED.iter().find(|(pattern, _)| is_meant(pattern))?;
    Some(reason)
}
