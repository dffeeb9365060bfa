{% set hosts = {"web": {"port": 80, "tags": ["a", "b"]}, "db": {"port": 5432, "tags": []}} %}
{%- for name, host in hosts | dictsort %}
{{ name }}_state:
  test.present:
    - name: {{ name }}
    - result:
        port: {{ host.port }}
        url: "http://{{ name }}:{{ host["port"] }}/"
        {%- if host.tags %}
        tags:
          {%- for tag in host.tags %}
          - {{ tag }}
          {%- endfor %}
        {%- endif %}
        enabled: {{ host.port < 1024 }}
{%- hub.idem.event.put_nowait(body={"state": name ~ "_state", "port": host.port}, profile="idem-custom", tags={"ref": name}) %}
{%- endfor %}
