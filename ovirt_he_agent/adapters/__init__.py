"""One edge each: VDSM, sanlock, volumes, systemd. They import the pure packages, never each other."""
