"""Which definition the VM is started from: what is kept, the rule that chooses, what a start teaches."""
