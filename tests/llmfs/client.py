"""What the tests ask of python-9p (plan9port's codec):

codec           frames in hexadecimal, a line each, from standard input; decoded and encoded again
client ADDR     HOST:PORT or a socket's path: a session of the ancestor, its id and output printed
"""

import sys

from py9p.client import Client
from py9p.native import decode_message, encode_message

OREAD, OWRITE, OTRUNC = 0, 1, 16


def codec():
    for line in sys.stdin:
        print(encode_message(decode_message(bytes.fromhex(line))).hex())


class Mount:
    """A server as a tree of files, one fid each time."""

    def __init__(self, addr):
        host, _, port = addr.rpartition(":")
        self.client = Client.connect_tcp(host, int(port)) if host else Client.connect_unix(addr)
        self.client.negotiate()
        self.client.attach(0, uname="glenda")

    def cat(self, path):
        self.client.walk(0, 1, path)
        self.client.open(1, OREAD)
        data = b""
        while part := self.client.read(1, offset=len(data)):
            data += part
        self.client.clunk(1)
        return data.decode()

    def echo(self, text, path):
        self.client.walk(0, 1, path)
        self.client.open(1, OWRITE | OTRUNC)
        data = (text + "\n").encode()
        assert self.client.write(1, data) == len(data)
        self.client.clunk(1)


def client(addr):
    llm = Mount(addr)
    session = llm.cat("clone").strip()
    llm.echo("temp 0.0", f"{session}/ctl")
    llm.echo("steps 30", f"{session}/ctl")
    llm.echo("Once upon a time", f"{session}/prompt")
    llm.echo("generate", f"{session}/ctl")
    print(session)
    print(llm.cat(f"{session}/output"))
    assert llm.cat(f"{session}/status").startswith("done ")
    llm.client.walk(0, 1, f"{session}/prompt")
    assert llm.client.stat(1).length == len("Once upon a time\n")
    llm.client.clunk(1)
    llm.echo("close", f"{session}/ctl")
    llm.client.close()


if __name__ == "__main__":
    {"codec": codec, "client": client}[sys.argv[1]](*sys.argv[2:])
