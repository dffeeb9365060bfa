first:
  exec.run:
    - path: test.ping
second:
  exec.run:
    - path: test.event
    - kwargs:
        body: {"greeting": "für alle"}
        ingress_profile: idem-test
third:
  exec.run:
    - path: test.fail
fourth:
  time.sleep:
    - duration: 0
    - require:
      - exec: first
fifth:
  time.sleep:
    - duration: 0
    - require:
      - exec: third
