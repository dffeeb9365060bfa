//! Settings that librdkafka takes one by one and refuses together. It says so only when a producer is made,
//! and of several only the first.

use evbus_sdk::ConfigFault;

use crate::properties::Settings;

/// What the rules are about, apart from properties by their own names, which can all be read.
const IDEMPOTENCE: &[&str] = &["connection.acks", "connection.enable_idempotence"];
const LINGER: &[&str] = &["connection.linger_ms"];

const FIRST_PAUSE: &str = "reconnect.backoff.ms";
const LONGEST_PAUSE: &str = "reconnect.backoff.max.ms";
/// librdkafka's own, in milliseconds.
const DEFAULT_FIRST_PAUSE: f64 = 100.0;

/// A property and the limit that it has beside an idempotent producer.
struct Limit {
    property: &'static str,
    is_kept: fn(f64) -> bool,
    words: &'static str,
}

const OF_IDEMPOTENCE: [Limit; 3] = [
    Limit {
        property: "max.in.flight.requests.per.connection",
        is_kept: |number| number <= 5.0,
        words: "at most 5",
    },
    Limit {
        property: "message.send.max.retries",
        is_kept: |number| number >= 1.0,
        words: "at least 1",
    },
    Limit {
        property: "queue.buffering.backpressure.threshold",
        is_kept: |number| number <= 1.0,
        words: "1",
    },
];

/// A fault for every contradiction, at the key that the configuration has. To be asked when all defaults are set.
pub(crate) fn faults(settings: &Settings) -> Vec<ConfigFault> {
    let mut faults = Vec::new();
    let mut fault = |property: &str, keys, message: String| {
        if let Some(key) = settings.key(property) {
            faults.push(ConfigFault::of_keys(key, message, keys));
        }
    };
    let number = |property: &str| settings.number(property);
    if settings.is_true("enable.idempotence") {
        if settings.has_weak_acks() {
            fault(
                "request.required.acks",
                IDEMPOTENCE,
                "contradicts `enable_idempotence: true`, which requires `all`; change one of the two"
                    .to_owned(),
            );
        }
        for Limit {
            property,
            is_kept,
            words,
        } in OF_IDEMPOTENCE
        {
            if number(property).is_some_and(|number| !is_kept(number)) {
                fault(
                    property,
                    IDEMPOTENCE,
                    format!(
                        "an idempotent producer requires {words}; change it, or set `enable_idempotence: false`"
                    ),
                );
            }
        }
    } else if settings.is_true("enable.gapless.guarantee") {
        fault(
            "enable.gapless.guarantee",
            IDEMPOTENCE,
            "requires an idempotent producer; remove it, or set `enable_idempotence: true`"
                .to_owned(),
        );
    }
    // A timeout of 0 is none.
    let timeout = number("message.timeout.ms").filter(|ms| *ms > 0.0);
    if let (Some(linger), Some(timeout)) = (number("queue.buffering.max.ms"), timeout)
        && linger >= timeout
    {
        fault(
            "queue.buffering.max.ms",
            LINGER,
            "must be less than `message.timeout.ms`; change one of the two".to_owned(),
        );
    }
    let first = number(FIRST_PAUSE).unwrap_or(DEFAULT_FIRST_PAUSE);
    if number(LONGEST_PAUSE).is_some_and(|longest| longest < first) {
        let given = [FIRST_PAUSE, LONGEST_PAUSE].into_iter();
        let given = given.filter(|property| settings.key(property).is_some());
        for property in given.take(1) {
            fault(
                property,
                &[],
                format!(
                    "`{FIRST_PAUSE}` must not be greater than `{LONGEST_PAUSE}`; change one of the two"
                ),
            );
        }
    }
    faults
}
