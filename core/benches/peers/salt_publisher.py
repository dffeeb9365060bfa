"""The event publisher of the installed Salt, as its master runs it, without the master around it.

Argument: the directory for its sockets.
"""

import logging
import sys

import salt.config
import salt.transport
import salt.utils.event


def main():
    # As a master's log is by default.
    logging.getLogger().setLevel(logging.WARNING)
    opts = salt.config.DEFAULT_MASTER_OPTS.copy()
    opts["sock_dir"] = sys.argv[1]
    # 3008 cuts a listener off when so many events wait for it, and under full load it counts without
    # letting them leave, so that no reader is fast enough.
    opts["pub_server_write_queue_size"] = sys.maxsize
    if hasattr(salt.transport, "ipc_publish_server"):
        server = salt.transport.ipc_publish_server("master", opts)
        server.publish_daemon(server.publish_payload)
    else:
        salt.utils.event.EventPublisher(opts).run()


main()
