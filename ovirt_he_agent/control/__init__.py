"""The local socket: JSON-RPC server and its blocking client."""
