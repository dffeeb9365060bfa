import sys

from both import do, end, make

client = make(*sys.argv[1:])
client.subscribe("idem-")
do(client.put(1, profile="idem-run"))
assert do(client.get_event(60, "idem-"))["message"] == 1
end(client)
