"""The whole job on this machine against servers on loopback."""
