{{ "web server" | upper }} {{ "WEB" | lower }} {{ "web server" | title }} {{ "web server" | capitalize }} {{ " x " | trim }}|
{{ [3, 1, 2] | sort | join(", ") }} {{ [3, 1, 2] | sort(reverse=true) | first }} {{ [1, 2, 3] | last }} {{ [1, 2, 3] | sum }} {{ [1, 2] | length }} {{ "abc" | reverse }} {{ [1, 2, 3] | reverse | list }}
{{ [1, 1, 2] | unique | list }} {{ [1, 5, 3] | max }} {{ [1, 5, 3] | min }} {{ range(5) | select("odd") | list }} {{ range(5) | reject("odd") | list }} {{ ["a", "b"] | map("upper") | list }}
{{ [{"n": "a", "s": 1}, {"n": "b", "s": 2}] | map(attribute="n") | join("/") }} {{ [{"n": "a", "s": 1}, {"n": "b", "s": 2}] | selectattr("s", "gt", 1) | map(attribute="n") | list }}
{{ "a-b-c" | replace("-", ".") }} {{ "a-b-c" | replace("-", ".", 1) }} {{ "42" | int + 1 }} {{ "x" | int(7) }} {{ "1.5" | float }} {{ 3.7 | int }} {{ -3 | abs }} {{ 3.14159 | round(2) }} {{ 2.5 | round }} {{ 7 | string }}
{{ "ü" | b64encode }} {{ "w7w=" | b64decode }} {{ "a b&c" | urlencode }} {{ {"b": 2, "a": 1} | dictsort }} {{ {"a": 1} | items | list }}
{{ range(7) | batch(3) | list }} {{ range(7) | slice(3) | list }} {{ "a\nb" | indent(2) }} {{ "<a>" | e }} {{ "%s-%s" | format("a", 1) }} {{ "one two" | wordcount }} {{ "abc" | list }} {{ [1, 2] | tojson }}
{% filter upper %}block{% endfilter %} {{ [{"t": "x", "v": 1}, {"t": "y", "v": 2}, {"t": "x", "v": 3}] | groupby("t") | map(attribute="grouper") | list }}
{% do hub.idem.event.put_nowait({"sorted": [3, 1, 2] | sort, "joined": ["a", "b"] | join("-"), "keys": {"b": 1, "a": 2} | list, "n": "5" | int, "f": 1 | float}) %}
