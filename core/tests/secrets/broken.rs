//! Files that cannot be read, each with a canary where a reader could repeat it.

/// A text of the file, and what check says of it.
pub const BROKEN: [(&str, &str); 41] = [
    ("kafka: {a: {password: \"cAnArY", "found"),
    ("kafka: {a: {password: 'cAnArY\n", "found"),
    ("kafka: {a: {password: cAnArY: x}}", "found"),
    ("kafka: {a: {password: [cAnArY}}", "found"),
    ("kafka:\n  a:\n    password: cAnArY: x\n", "found"),
    ("kafka:\n  a:\n    password: @cAnArY\n", "found `@`"),
    (
        "kafka:\n  a:\n    password: !cAnArY x\n",
        "found a word that begins with `!`",
    ),
    (
        "kafka:\n  a:\n    password: !<cAnArY> x\n",
        "found a word that begins with `!`",
    ),
    ("kafka:\n  a:\n    password: *cAnArY\n", "found `*`"),
    ("kafka:\n  a:\n    password: %cAnArY\n", "found"),
    ("kafka:\n  a:\n\tpassword: cAnArY\n", "found a tab"),
    ("kafka:\n  a:\n    password: \"\\qcAnArY\"\n", "found"),
    ("kafka:\n  a:\n    password: !!int cAnArY\n", "found"),
    ("kafka:\n  a:\n    password: !!float cAnArY\n", "found"),
    ("kafka:\n  a:\n    password: !!binary cAnArY*\n", "found"),
    ("kafka:\n  a:\n    password: !!timestamp cAnArY\n", "found"),
    ("kafka: {a: {password: {[cAnArY]: 1}}}", "found"),
    ("kafka: {a: {<<: cAnArY}}", "found"),
    (
        "kafka: {a: {password: 77331094221577331094221577331094221500}}",
        "found",
    ),
    (
        "kafka: {a: {password: {% cAnArY %}}}",
        "found text that is no Jinja template",
    ),
    (
        "kafka: {a: {password: {% if cAnArY -%}}}",
        "found text that is no Jinja template",
    ),
    (
        "kafka: {a: {password: \"{{ 'cAnArY' 'cAnArY' }}\"}}",
        "found text that is no Jinja template",
    ),
    (
        "kafka: {a: {password: {{ 'cAnArY' | b64decode }}}}",
        "found a value that b64decode",
    ),
    (
        "kafka: {a: {password: {{ 'cAnArY' / 2 }}}}",
        "found an expression",
    ),
    (
        "kafka: {a: {password: {{ 'cAnArY' | int(base='cAnArY') }}}}",
        "found",
    ),
    (
        "kafka: {a: {password: {% include 'cAnArY' %}}}",
        "found no template",
    ),
    (
        "kafka: {a: {password: {% include '../cAnArY' %}}}",
        "found a template outside",
    ),
    ("#!cAnArY\nkafka: {}", "found a first line"),
    ("#!json\n{\"kafka\": cAnArY}", "found text that is not JSON"),
    (
        "#!json\n{\"kafka\": \"cAnArY\\q\"}",
        "found text that is not JSON",
    ),
    (
        "#!json\n{\"kafka\": \"cAnArY",
        "found text that is not JSON",
    ),
    ("cAnArY", "found text at the top of the file"),
    ("- cAnArY", "found a list at the top of the file"),
    ("kafka: cAnArY", "found text, expected profile patterns"),
    (
        "kafka: [cAnArY]",
        "found text, expected a mapping with a profile pattern",
    ),
    (
        "kafka: {p: cAnArY}",
        "found text, expected a mapping of the provider's keys",
    ),
    (
        "match_plugin: [cAnArY]",
        "found a list, expected the name of a match plugin",
    ),
    (
        "kafka: {p: {evbus: {durable: cAnArY, when_full: cAnArY, required: cAnArY, ordered: cAnArY, \
         isolate: cAnArY, deadline: cAnArY, queue: {bytes: cAnArY, events: 773310942215}, \
         disk: {bytes: cAnArY}, dead_letters: {events: cAnArY, when_full: cAnArY}, \
         batch: {events: cAnArY}, retry: {max_age: cAnArY, max_attempts: 773310942215}}}}",
        "p.evbus.retry.max_attempts: found a number",
    ),
    (
        "kafka: {p: {key: {$env: cAnArY-x}, a: {$env: [cAnArY]}, b: {$file: [cAnArY]}}}",
        "found no name under `$env`",
    ),
    (
        "kafka: {p: {key: {$exec: cAnArY}, a: {$exec: [./fails, cAnArY]}, b: {$exec: [{cAnArY: 1}]}}}",
        "ended with exit status: 3",
    ),
    (
        "kafka: {p: {key: {$env: HOME, password: cAnArY}}}",
        "found `$env` beside other keys",
    ),
];
