"""`python activate.py FD COMMAND …` becomes COMMAND with the listening socket FD, as systemd hands one over."""

import os
import sys

if __name__ == "__main__":
    os.dup2(int(sys.argv[1]), 3)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="http")
    os.execvp(sys.argv[2], sys.argv[2:])
