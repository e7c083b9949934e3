"""Tests, and attacks that run as commands.

Ctrl-C works in them and in the processes that they start: a shell has what it runs in the background ignore it, and
children inherit that.
"""

import signal
import threading

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
