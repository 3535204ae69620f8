"""Bytes and messages: framing, connections, the table of requests, loopback sockets."""
