{{ "web-01".split("-") }} {{ "a,b".upper() }} {{ " x ".strip() }}| {{ "web".startswith("w") }} {{ "web".endswith("b") }} {{ "a-b".replace("-", "+") }} {{ "-".join(["a", "b"]) }}
{{ {"a": 1}.get("a") }} {{ {"a": 1}.get("b") }} {{ {"a": 1}.get("b", 2) }} {{ {"a": 1}.keys() | list }} {{ {"a": 1}.values() | list }} {{ {"a": 1}.items() | list }}
{{ "web".find("e") }} {{ "webweb".count("we") }} {{ "a b c".split() }} {{ "a b".title() }} {{ "%s" % "x" if false else "y" }} {{ "web".isalpha() }} {{ "12".isdigit() }} {{ [1, 2, 1].count(1) }} {{ "ab".capitalize() }}
{{ "{} and {}".format("a", 1) }} {{ "a\nb".splitlines() }} {{ "xxweb".lstrip("x") }} {{ "webxx".rstrip("x") }} {{ [1, 2].index(2) if false else 1 }}
{% do hub.idem.event.put_nowait("web-01".split("-")) %}
