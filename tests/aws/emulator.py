"""MiniStack, for as long as whoever started it lives: it ends with its standard input."""

import os
import signal
import threading

from ministack.app import main


def end_with_standard_input():
    os.read(0, 1)
    # Asked, not killed: it ends the functions that it runs, too.
    os.kill(os.getpid(), signal.SIGTERM)


threading.Thread(target=end_with_standard_input, daemon=True).start()
main()
