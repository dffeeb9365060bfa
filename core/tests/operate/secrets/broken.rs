//! Files that cannot be read, each with a canary where a reader could repeat it.

/// An acct file's text, and the message of `check`.
pub(crate) const BROKEN: [(&str, &str); 41] = [
    ("fixture-good: {a: {password: \"cAnArY", "found"),
    ("fixture-good: {a: {password: 'cAnArY\n", "found"),
    ("fixture-good: {a: {password: cAnArY: x}}", "found"),
    ("fixture-good: {a: {password: [cAnArY}}", "found"),
    ("fixture-good:\n  a:\n    password: cAnArY: x\n", "found"),
    (
        "fixture-good:\n  a:\n    password: @cAnArY\n",
        "found an unquoted `@`",
    ),
    (
        "fixture-good:\n  a:\n    password: !cAnArY x\n",
        "found a word that starts with `!`",
    ),
    (
        "fixture-good:\n  a:\n    password: !<cAnArY> x\n",
        "found a word that starts with `!`",
    ),
    (
        "fixture-good:\n  a:\n    password: *cAnArY\n",
        "found an unquoted `*`",
    ),
    ("fixture-good:\n  a:\n    password: %cAnArY\n", "found"),
    ("fixture-good:\n  a:\n\tpassword: cAnArY\n", "found a tab"),
    (
        "fixture-good:\n  a:\n    password: \"\\qcAnArY\"\n",
        "found",
    ),
    ("fixture-good:\n  a:\n    password: !!int cAnArY\n", "found"),
    (
        "fixture-good:\n  a:\n    password: !!float cAnArY\n",
        "found",
    ),
    (
        "fixture-good:\n  a:\n    password: !!binary cAnArY*\n",
        "found",
    ),
    (
        "fixture-good:\n  a:\n    password: !!timestamp cAnArY\n",
        "missing field",
    ),
    ("fixture-good: {a: {password: {[cAnArY]: 1}}}", "found"),
    ("fixture-good: {a: {<<: cAnArY}}", "found"),
    (
        "fixture-good: {a: {password: 77331094221577331094221577331094221500}}",
        "found",
    ),
    (
        "fixture-good: {a: {password: {% cAnArY %}}}",
        "found text that is not a Jinja template",
    ),
    (
        "fixture-good: {a: {password: {% if cAnArY -%}}}",
        "found text that is not a Jinja template",
    ),
    (
        "fixture-good: {a: {password: {{ 'cAnArY' | b64decode }}}}",
        "found a value that b64decode",
    ),
    (
        "fixture-good: {a: {password: {{ 'cAnArY' / 2 }}}}",
        "found an expression",
    ),
    (
        "fixture-good: {a: {password: {{ 'cAnArY' | int(base='cAnArY') }}}}",
        "found",
    ),
    (
        "fixture-good: {a: {password: {% include 'cAnArY' %}}}",
        "template to include not found",
    ),
    (
        "fixture-good: {a: {password: {% include '../cAnArY' %}}}",
        "found a template outside",
    ),
    (
        "#!cAnArY\nfixture-good: {}",
        "unknown render pipe in the first line",
    ),
    (
        "#!json\n{\"fixture-good\": cAnArY}",
        "found text that is not JSON",
    ),
    (
        "#!json\n{\"fixture-good\": \"cAnArY\\q\"}",
        "found text that is not JSON",
    ),
    (
        "#!json\n{\"fixture-good\": \"cAnArY",
        "found text that is not JSON",
    ),
    ("cAnArY", "found text at the top of the file"),
    ("- cAnArY", "found a list at the top of the file"),
    (
        "fixture-good: cAnArY",
        "found text, expected a mapping of patterns",
    ),
    (
        "fixture-good: [cAnArY]",
        "found text, expected a mapping with a profile pattern",
    ),
    (
        "fixture-good: {p: cAnArY}",
        "found text, expected a mapping of the provider's keys",
    ),
    (
        "match_plugin: [cAnArY]",
        "found a list, expected the name of a match plugin",
    ),
    (
        "fixture-good: {p: {evbus: {durable: cAnArY, when_full: cAnArY, required: cAnArY, ordered: cAnArY, \
         isolate: cAnArY, deadline: cAnArY, queue: {bytes: cAnArY, events: 773310942215}, \
         disk: {bytes: cAnArY}, dead_letters: {events: cAnArY, when_full: cAnArY}, \
         batch: {events: cAnArY}, retry: {max_age: cAnArY, max_attempts: 773310942215}}}}",
        "p.evbus.retry.max_attempts: found a number",
    ),
    (
        "fixture-good: {p: {key: {$env: cAnArY-x}, a: {$env: [cAnArY]}, b: {$file: [cAnArY]}}}",
        "found an invalid variable name under `$env`",
    ),
    (
        "fixture-good: {p: {key: {$exec: cAnArY}, a: {$exec: [./fails, cAnArY]}, b: {$exec: [{cAnArY: 1}]}}}",
        "1 `$exec` command was not run",
    ),
    (
        "fixture-good: {p: {path: {$exec: [./fails, cAnArY]}}}",
        "ended with exit status: 3",
    ),
    (
        "fixture-good: {p: {key: {$env: HOME, password: cAnArY}}}",
        "found `$env` next to other keys",
    ),
];
