import os
import sys
import threading

from evbus_client import Client

client = Client(sys.argv[1])
client.subscribe("")
client.put_nowait(1, "parent")


def fire(name):
    for number in range(25):
        client.put(number, name)
        client.put_nowait(number, name)


threads = [threading.Thread(target=fire, args=(f"thread-{number}",)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

child = os.fork()
for number in range(9):
    client.put(number, "parent" if child else "child")
if child == 0:
    # Its own connection: what is published from now on.
    client.get_event(no_block=True)
    client.put_nowait("last", "child")
    client.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
client.close()
