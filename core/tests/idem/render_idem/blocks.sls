{% block head %}head {{ params | length }}{% do hub.idem.event.put_nowait("in a block") %}{% endblock %}
body
{% block tail scoped %}tail{% endblock %}
{% autoescape true %}{{ "<a>" }}{% endautoescape %}
{{ "<b>" }} {{ "a & b" }}
