"""The local VDSM: ``verbs.Vdsm`` is what others use; below it calls, connection, session."""
