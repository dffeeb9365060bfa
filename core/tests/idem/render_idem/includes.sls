{% include "part.jinja" %}
{% import "macros.jinja" as macros %}
{{ macros.shout("web") }} {{ macros.CONSTANT }}
{% from "macros.jinja" import shout as loud %}
{{ loud("db") }}
{% include "absent.jinja" ignore missing %}
{% include ["absent.jinja", "part.jinja"] %}
