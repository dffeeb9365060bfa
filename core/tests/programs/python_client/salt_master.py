"""The event bus of a Salt master, without the rest of it. Prints a line when its sockets are there."""

import asyncio
import os
import sys
import threading
import time

import salt._logging
import salt.config
import salt.utils.event

directory = sys.argv[1]
opts = salt.config.DEFAULT_MASTER_OPTS.copy()
opts.update(
    sock_dir=directory, cachedir=directory, pki_dir=directory, id="master", __role="master", ipc_mode="ipc"
)


def wait_for_sockets():
    wanted = {"master_event_pub.ipc", "master_event_pull.ipc"}
    while not wanted <= set(os.listdir(directory)):
        time.sleep(0.01)
    print("ready", flush=True)


threading.Thread(target=wait_for_sockets, daemon=True).start()
if hasattr(salt.utils.event, "EventPublisher"):
    if hasattr(salt._logging, "set_logging_options_dict"):
        salt._logging.set_logging_options_dict(opts)
    salt.utils.event.EventPublisher(opts).run()
else:
    # 3008 has the publisher in its transports.
    import salt.transport.base
    import tornado.ioloop

    server = salt.transport.base.ipc_publish_server("master", opts)
    loop = tornado.ioloop.IOLoop.current()

    async def publish(payload, *_):
        await server.publish_payload(payload)

    loop.add_callback(lambda: asyncio.ensure_future(server.publisher(publish, io_loop=loop)))
    loop.start()
