#!/usr/bin/env python3
"""Starts a program as systemd does that has opened its sockets.

socket_activation.py NAME=ADDRESS... -- PROGRAM ARGUMENT...

ADDRESS is a port of 127.0.0.1, or the path of a socket. The sockets are 3 and following, and the
environment says so, as sd_listen_fds(3) has it.
"""

import os
import socket
import sys

FIRST = 3


def listen(address):
    if address.isdigit():
        opened = socket.socket(socket.AF_INET)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(("127.0.0.1", int(address)))
    else:
        opened = socket.socket(socket.AF_UNIX)
        opened.bind(address)
    opened.listen()
    return opened


def main():
    split = sys.argv.index("--")
    wanted = [argument.split("=", 1) for argument in sys.argv[1:split]]
    opened = [listen(address) for _, address in wanted]
    # First out of the way of the numbers that they get.
    moved = [os.dup2(one.fileno(), 100 + number) for number, one in enumerate(opened)]
    for number, descriptor in enumerate(moved):
        os.dup2(descriptor, FIRST + number)
    names = ":".join(name for name, _ in wanted)
    said = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(wanted)), "LISTEN_FDNAMES": names}
    command = sys.argv[split + 1 :]
    os.execve(command[0], command, {**os.environ, **said})


main()
