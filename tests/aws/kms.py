"""LocalStack's KMS, for as long as whoever started it lives: it ends with its standard input."""

import functools
import os
import signal
import threading

from twisted.internet import endpoints

# LocalStack 2026.3.0 listens on all addresses, whatever it is told.
endpoints.TCP4ServerEndpoint = functools.partial(endpoints.TCP4ServerEndpoint, interface="127.0.0.1")

from localstack.runtime.main import main  # noqa: E402


def end_with_standard_input():
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


threading.Thread(target=end_with_standard_input, daemon=True).start()
main()
