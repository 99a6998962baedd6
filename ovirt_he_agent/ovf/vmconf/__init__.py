"""vm.conf, the text form of the legacy parameters of a VM: its reader and its writer."""
