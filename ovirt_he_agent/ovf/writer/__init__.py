"""The OVF of a VM for which no engine has written one: made of the parameters in its vm.conf."""
