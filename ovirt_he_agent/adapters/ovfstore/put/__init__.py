"""A document put into the OVF_STOREs of a domain so that a good store can be read at any moment.

``store`` looks at them, ``plan`` says what has to be written into one and
whether it may be, ``write`` writes it and reads it back; ``copy`` keeps what
an in-place write could lose. Everything here blocks.
"""
