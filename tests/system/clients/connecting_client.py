"""`connecting_client.py HOST WAYS`: by which ways, [[own address, port]…], the host is reached; both as JSON."""

import json
import socket
import sys

reached = []
for source, port in json.loads(sys.argv[2]):
    try:
        socket.create_connection((sys.argv[1], port), 3, (source, 0)).close()
        reached.append((source, port))
    except TimeoutError:
        pass
print(json.dumps(reached))
