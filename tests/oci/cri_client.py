#!/usr/bin/python3
"""One call of the Kubernetes container runtime interface: cri_client.py SOCKET METHOD. The request's
bytes come from standard input, the answer's go to standard output. For Debian's Python, which is
where python3-grpcio is."""
import sys

import grpc

channel = grpc.insecure_channel("unix://" + sys.argv[1])
call = channel.unary_unary("/runtime.v1.RuntimeService/" + sys.argv[2],
                           request_serializer=lambda data: data,
                           response_deserializer=lambda data: data)
try:
    sys.stdout.buffer.write(call(sys.stdin.buffer.read(), timeout=60))
except grpc.RpcError as error:
    sys.exit(f"{error.code().name}: {error.details()}")
