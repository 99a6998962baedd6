"""A domain's OVF_STORE: ``search`` finds the one that counts, ``one_store`` reads one; and why they fail."""
