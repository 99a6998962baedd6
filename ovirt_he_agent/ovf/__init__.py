"""PURE: what to start. From the bytes of an OVF_STORE to the domain XML that VDSM gets."""
