FAULTS = ()
BY_NAME = {}
