#!yaml
a: "{{ not a template }}"
{% do hub.idem.event.put_nowait("never") %}
