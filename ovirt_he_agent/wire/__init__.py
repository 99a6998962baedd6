"""PURE: how VDSM talks. STOMP frames and JSON-RPC messages to and from bytes."""
